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

/* The bytes of the UTF-8 character at `text`, of which there are `bytes`; 0 if it is none. */
static size_t character_bytes(const unsigned char *text, size_t bytes) {
  if (text[0] < 0x80)
    return 1;
  size_t length = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
  if (text[0] < 0xc2 || text[0] > 0xf4 || length > bytes)
    return 0;
  for (size_t i = 1; i < length; i++)
    if ((text[i] & 0xc0) != 0x80)
      return 0;
  return length;
}

/* True for the characters that make text after them run the other way, in which code can hide;
 * compilers warn of them. */
static bool changes_direction(const unsigned char *text, size_t length) {
  if (length == 2)
    return text[0] == 0xd8 && text[1] == 0x9c;
  if (length != 3 || text[0] != 0xe2)
    return false;
  return (text[1] == 0x80 &&
          (text[2] == 0x8e || text[2] == 0x8f || (text[2] >= 0xaa && text[2] <= 0xae))) ||
         (text[1] == 0x81 && text[2] >= 0xa6 && text[2] <= 0xa9);
}

/* True where the two characters at `text` would end a comment, start another, or be a trigraph. */
static bool has_meaning(const char *text) {
  return strncmp(text, "*/", 2) == 0 || strncmp(text, "/*", 2) == 0 || strncmp(text, "??", 2) == 0;
}

/* One line of a comment, such that it neither ends the comment nor seems to start another. */
static void comment_line(gen_text *out, const char *line, size_t bytes) {
  for (size_t i = 0; i < bytes;) {
    const unsigned char *at = (const unsigned char *)line + i;
    size_t length = character_bytes(at, bytes - i);
    if (length == 0)
      text_string(out, "?");
    else if (*at < 0x20 || *at == 0x7f || changes_direction(at, length))
      text_string(out, " ");
    else
      text_bytes(out, at, length);
    if (i + 1 < bytes && has_meaning(line + i))
      text_string(out, " ");
    i += length > 0 ? length : 1;
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

void text_clean_comment(gen_text *out, const char *comment) {
  text_string(out, "");
  while (*comment != '\0') {
    size_t bytes = strcspn(comment, "\n");
    comment_line(out, comment, bytes);
    comment += bytes;
    if (*comment != '\0')
      text_bytes(out, comment++, 1);
  }
}
