/* Checks of text from outside, and a buffer that grows. */
#ifndef LOCKSTEP_RUNTIME_BASE_TEXT_H
#define LOCKSTEP_RUNTIME_BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. A NUL
 * byte is well-formed. */
bool ls_text_is_utf8(const char *text, size_t length);

/* The bytes of the well-formed UTF-8 character at `text` (1 to 4), 0 when there is none. */
size_t ls_text_character(const char *text, size_t length);

bool ls_text_has_nul(const char *text, size_t length);

/* The shape of an ISO 4217 code: three letters A to Z. Whether it is in use is not checked. */
bool ls_text_is_currency(const char *text);

enum { LS_TEXT_DECIMAL_BYTES = 21 };

/* Writes a number in decimal, with a NUL behind it; gives its length. */
size_t ls_text_decimal(char out[LS_TEXT_DECIMAL_BYTES], uint64_t number);

/* A string that grows. Start with LS_BUFFER_INIT, end with ls_buffer_clear. `data` is
 * NUL-terminated once anything was appended. After an append that found no memory all later ones do
 * nothing, so one look at `failed` at the end suffices. One thread at a time. */
typedef struct ls_buffer {
  char *data; /* NULL while empty */
  size_t length;
  size_t capacity;
  bool failed; /* out of memory: the content is not complete */
} ls_buffer;

#define LS_BUFFER_INIT                                                                             \
  { NULL, 0, 0, false }

/* Each gives false when out of memory. */
bool ls_buffer_append(ls_buffer *buffer, const void *data, size_t bytes);
bool ls_buffer_append_text(ls_buffer *buffer, const char *text);
bool ls_buffer_printf(ls_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Frees and makes it empty; may be used again. */
void ls_buffer_clear(ls_buffer *buffer);

#ifdef __cplusplus
}
#endif

#endif
