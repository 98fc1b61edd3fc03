/* Text that grows, and templates with named holes to write it with. */
#ifndef LOCKSTEP_GEN_TEXT_H
#define LOCKSTEP_GEN_TEXT_H

#include <stddef.h>

/* Start with {0}; end with text_clear. `data` is NUL-terminated once something was added. */
typedef struct gen_text {
  char *data;
  size_t length;
  size_t capacity;
} gen_text;

typedef struct text_hole {
  const char *name;
  const char *value;
} text_hole;

void text_clear(gen_text *out);
void text_bytes(gen_text *out, const void *data, size_t bytes);
void text_string(gen_text *out, const char *string);
void text_format(gen_text *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds `template` with each $name$ replaced by the hole's value. `holes` ends with a NULL name. A
 * hole that is not among them is a mistake in the generator: it says which and ends with status 70.
 */
void text_fill(gen_text *out, const char *template, const text_hole *holes);

/* Adds `string` as a C string literal, quotes included. */
void text_literal(gen_text *out, const char *string);

/* Adds a comment of a .proto file, as protoc gives it, as a C comment of its own lines; nothing
 * when it is NULL or blank. */
void text_comment(gen_text *out, const char *indent, const char *comment);

/* Adds `comment` such that it can stand in a C comment whose lines begin with something else, and
 * that compilers do not warn of it. */
void text_clean_comment(gen_text *out, const char *comment);

#endif
