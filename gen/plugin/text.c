/* Growing text and its templates. */
#include "gen/plugin/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen/plugin/pool.h"

void text_clear(gen_text *out) {
  free(out->data);
  *out = (gen_text){0};
}

static void make_room(gen_text *out, size_t bytes) {
  if (bytes >= SIZE_MAX / 2 - out->length)
    out_of_memory();
  size_t needed = out->length + bytes + 1;
  if (needed <= out->capacity)
    return;
  size_t capacity = out->capacity == 0 ? 256 : out->capacity;
  while (capacity < needed)
    capacity *= 2;
  char *data = realloc(out->data, capacity);
  if (data == NULL)
    out_of_memory();
  out->data = data;
  out->capacity = capacity;
}

void text_bytes(gen_text *out, const void *data, size_t bytes) {
  make_room(out, bytes);
  if (bytes > 0)
    memcpy(out->data + out->length, data, bytes);
  out->length += bytes;
  out->data[out->length] = '\0';
}

void text_string(gen_text *out, const char *string) {
  text_bytes(out, string, strlen(string));
}

void text_format(gen_text *out, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  va_list again;
  va_copy(again, arguments);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (length < 0)
    out_of_memory();
  make_room(out, (size_t)length);
  (void)vsnprintf(out->data + out->length, (size_t)length + 1, format, again);
  va_end(again);
  out->length += (size_t)length;
}

static const char *hole_value(const text_hole *holes, const char *name, size_t name_bytes) {
  for (; holes->name != NULL; holes++)
    if (strlen(holes->name) == name_bytes && memcmp(holes->name, name, name_bytes) == 0)
      return holes->value;
  fprintf(stderr, "%s: a template has an unknown hole: $%.*s$\n", program_invocation_short_name,
          (int)name_bytes, name);
  _Exit(70);
}

void text_fill(gen_text *out, const char *template, const text_hole *holes) {
  for (;;) {
    const char *open = strchr(template, '$');
    if (open == NULL) {
      text_string(out, template);
      return;
    }
    text_bytes(out, template, (size_t)(open - template));
    size_t name_bytes = strcspn(open + 1, "$");
    text_string(out, hole_value(holes, open + 1, name_bytes));
    template = open + 1 + name_bytes;
    template += *template == '$';
  }
}

void text_literal(gen_text *out, const char *string) {
  text_string(out, "\"");
  for (; *string != '\0'; string++) {
    unsigned char character = (unsigned char)*string;
    if (character == '"' || character == '\\')
      text_format(out, "\\%c", character);
    else if (character < 0x20 || character > 0x7e || character == '?') /* '?': no trigraphs */
      text_format(out, "\\%03o", character);
    else
      text_bytes(out, string, 1);
  }
  text_string(out, "\"");
}

/* One line of a comment, such that it neither ends the comment nor seems to start another. */
static void comment_line(gen_text *out, const char *line, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) {
    bool printable = (unsigned char)line[i] >= 0x20;
    text_bytes(out, printable ? line + i : " ", 1);
    bool last = i + 1 == bytes;
    if (!last && ((line[i] == '*' && line[i + 1] == '/') || (line[i] == '/' && line[i + 1] == '*')))
      text_string(out, " ");
  }
}

void text_comment(gen_text *out, const char *indent, const char *comment) {
  if (comment == NULL)
    return;
  if (*comment == '*') /* of a comment that began with two asterisks */
    comment++;
  size_t lines = 0;
  bool blank = false;
  while (*comment != '\0') {
    size_t bytes = strcspn(comment, "\n");
    const char *line = comment;
    comment += bytes + (comment[bytes] == '\n');
    if (bytes > 0 && *line == ' ') {
      line++;
      bytes--;
    }
    while (bytes > 0 && strchr(" \t\r", line[bytes - 1]) != NULL)
      bytes--;
    if (bytes == 0) {
      blank = lines > 0;
      continue;
    }
    if (blank)
      text_format(out, "\n%s *", indent);
    blank = false;
    if (lines++ == 0)
      text_format(out, "%s/* ", indent);
    else
      text_format(out, "\n%s * ", indent);
    comment_line(out, line, bytes);
  }
  if (lines > 0)
    text_string(out, " */\n");
}
