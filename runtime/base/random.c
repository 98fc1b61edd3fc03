/* Randomness and identifiers: see random.h. */
#include "runtime/base/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { TRACE_ID_AT = 3, SPAN_ID_AT = 36, FLAGS_AT = 53 };

void ls_random_bytes(void *data, size_t bytes) {
  unsigned char *at = data;
  while (bytes > 0) {
    ssize_t got = getrandom(at, bytes, 0);
    if (got < 0) {
      if (errno == EINTR)
        continue;
      /* Only a kernel older than 3.17 or a filter that forbids the call gets here; no identifier
       * made without it would be safe. */
      perror("getrandom");
      abort();
    }
    at += got;
    bytes -= (size_t)got;
  }
}

static void write_hex(const unsigned char *data, size_t bytes, char *out) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < bytes; i++) {
    out[2 * i] = digits[data[i] >> 4];
    out[2 * i + 1] = digits[data[i] & 15];
  }
}

void ls_uuid_v4(char out[37]) {
  unsigned char data[16];
  ls_random_bytes(data, sizeof data);
  data[6] = (unsigned char)((data[6] & 0x0f) | 0x40);
  data[8] = (unsigned char)((data[8] & 0x3f) | 0x80);
  write_hex(data, 4, out);
  out[8] = '-';
  write_hex(data + 4, 2, out + 9);
  out[13] = '-';
  write_hex(data + 6, 2, out + 14);
  out[18] = '-';
  write_hex(data + 8, 2, out + 19);
  out[23] = '-';
  write_hex(data + 10, 6, out + 24);
  out[36] = '\0';
}

void ls_trace_parent_new(char out[56]) {
  unsigned char data[24];
  ls_random_bytes(data, sizeof data);
  data[0] |= 1; /* an id of zeros is no id */
  data[16] |= 1;
  memcpy(out, "00-", 3);
  write_hex(data, 16, out + TRACE_ID_AT);
  out[SPAN_ID_AT - 1] = '-';
  write_hex(data + 16, 8, out + SPAN_ID_AT);
  memcpy(out + FLAGS_AT - 1, "-01", 4);
}

void ls_trace_parent_child(const char *parent, char out[56]) {
  char child[56];
  ls_trace_parent_new(child);
  if (parent && ls_trace_parent_valid(parent, strlen(parent))) {
    memcpy(child + TRACE_ID_AT, parent + TRACE_ID_AT, LS_TRACE_ID_LENGTH);
    memcpy(child + FLAGS_AT, parent + FLAGS_AT, 2);
  }
  memcpy(out, child, sizeof child);
}

static bool is_hex(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++) {
    if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
      return false;
  }
  return true;
}

static bool is_zeros(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++) {
    if (text[i] != '0')
      return false;
  }
  return true;
}

bool ls_trace_parent_valid(const char *text, size_t length) {
  if (!text || length < LS_TRACE_PARENT_LENGTH)
    return false;
  if (!is_hex(text, 2) || memcmp(text, "ff", 2) == 0)
    return false;
  if (length > LS_TRACE_PARENT_LENGTH &&
      (memcmp(text, "00", 2) == 0 || text[LS_TRACE_PARENT_LENGTH] != '-'))
    return false;
  return text[TRACE_ID_AT - 1] == '-' && text[SPAN_ID_AT - 1] == '-' && text[FLAGS_AT - 1] == '-' &&
         is_hex(text + TRACE_ID_AT, 32) && !is_zeros(text + TRACE_ID_AT, 32) &&
         is_hex(text + SPAN_ID_AT, 16) && !is_zeros(text + SPAN_ID_AT, 16) &&
         is_hex(text + FLAGS_AT, 2);
}

bool ls_trace_parent_trace_id(const char *text, size_t length, char out[33]) {
  out[0] = '\0';
  if (!ls_trace_parent_valid(text, length))
    return false;
  memcpy(out, text + TRACE_ID_AT, LS_TRACE_ID_LENGTH);
  out[LS_TRACE_ID_LENGTH] = '\0';
  return true;
}
