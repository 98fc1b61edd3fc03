/* Text: see text.h. */
#include "runtime/base/text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t ls_text_character(const char *text, size_t length) {
  if (length == 0)
    return 0;
  const unsigned char *byte = (const unsigned char *)text;
  if (byte[0] < 0x80)
    return 1;
  /* The second byte's range is what rules out overlong forms, surrogates and too large values
   * (Unicode, table 3-7). */
  size_t bytes;
  unsigned char low = 0x80, high = 0xbf;
  if (byte[0] >= 0xc2 && byte[0] <= 0xdf) {
    bytes = 2;
  } else if (byte[0] >= 0xe0 && byte[0] <= 0xef) {
    bytes = 3;
    if (byte[0] == 0xe0)
      low = 0xa0;
    else if (byte[0] == 0xed)
      high = 0x9f;
  } else if (byte[0] >= 0xf0 && byte[0] <= 0xf4) {
    bytes = 4;
    if (byte[0] == 0xf0)
      low = 0x90;
    else if (byte[0] == 0xf4)
      high = 0x8f;
  } else {
    return 0;
  }
  if (length < bytes || byte[1] < low || byte[1] > high)
    return 0;
  for (size_t i = 2; i < bytes; i++) {
    if ((byte[i] & 0xc0) != 0x80)
      return 0;
  }
  return bytes;
}

bool ls_text_is_utf8(const char *text, size_t length) {
  size_t at = 0;
  while (at < length) {
    uint64_t eight;
    while (length - at >= sizeof eight) { /* most text is ASCII: eight bytes at a time */
      memcpy(&eight, text + at, sizeof eight);
      if (eight & UINT64_C(0x8080808080808080))
        break;
      at += sizeof eight;
    }
    if (at == length)
      break;
    size_t bytes = ls_text_character(text + at, length - at);
    if (bytes == 0)
      return false;
    at += bytes;
  }
  return true;
}

bool ls_text_has_nul(const char *text, size_t length) {
  return length > 0 && memchr(text, '\0', length) != NULL;
}

bool ls_text_is_currency(const char *text) {
  for (size_t i = 0; i < 3; i++) {
    if (text[i] < 'A' || text[i] > 'Z')
      return false;
  }
  return text[3] == '\0';
}

size_t ls_text_decimal(char out[LS_TEXT_DECIMAL_BYTES], uint64_t number) {
  char digits[LS_TEXT_DECIMAL_BYTES];
  size_t first = sizeof digits;
  digits[--first] = '\0';
  do
    digits[--first] = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  memcpy(out, digits + first, sizeof digits - first);
  return sizeof digits - first - 1;
}

/* Room for `bytes` more and a NUL. */
static bool reserve(ls_buffer *buffer, size_t bytes) {
  if (buffer->failed)
    return false;
  if (bytes < buffer->capacity - buffer->length)
    return true;
  if (bytes >= SIZE_MAX / 2 - buffer->length) {
    buffer->failed = true;
    return false;
  }
  size_t needed = buffer->length + bytes + 1;
  size_t capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
  while (capacity < needed)
    capacity *= 2;
  char *data = realloc(buffer->data, capacity);
  if (!data) {
    buffer->failed = true;
    return false;
  }
  buffer->data = data;
  buffer->capacity = capacity;
  return true;
}

bool ls_buffer_append(ls_buffer *buffer, const void *data, size_t bytes) {
  if (!reserve(buffer, bytes))
    return false;
  if (bytes > 0)
    memcpy(buffer->data + buffer->length, data, bytes);
  buffer->length += bytes;
  buffer->data[buffer->length] = '\0';
  return true;
}

bool ls_buffer_append_text(ls_buffer *buffer, const char *text) {
  return ls_buffer_append(buffer, text, strlen(text));
}

bool ls_buffer_printf(ls_buffer *buffer, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (length < 0 || !reserve(buffer, (size_t)length)) {
    buffer->failed = true;
    return false;
  }
  va_start(arguments, format);
  vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, arguments);
  va_end(arguments);
  buffer->length += (size_t)length;
  return true;
}

void ls_buffer_clear(ls_buffer *buffer) {
  free(buffer->data);
  *buffer = (ls_buffer)LS_BUFFER_INIT;
}
