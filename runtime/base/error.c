/* The error type: see error.h. */
#include "runtime/base/error.h"

#include <stdio.h>
#include <string.h>

#include "runtime/base/text.h"

/* One line: what fails often hands over text with line breaks (libpq does), which would tear the
 * log. A cut text must not end in half a UTF-8 character. */
static void make_one_line(char *text, bool cut) {
  size_t length = strlen(text);
  for (size_t i = 0; i < length; i++) {
    unsigned char byte = (unsigned char)text[i];
    if (byte < 0x20 || byte == 0x7f)
      text[i] = ' ';
  }
  if (cut) {
    size_t start = length; /* of the last character */
    while (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
      start--;
    start -= start > 0;
    if (ls_text_character(text + start, length - start) == 0)
      length = start;
  }
  while (length > 0 && text[length - 1] == ' ')
    length--;
  text[length] = '\0';
}

void ls_error_clear(ls_error *error) {
  if (!error)
    return;
  error->code = LS_OK;
  error->retriable = false;
  error->source[0] = '\0';
  error->message[0] = '\0';
}

bool ls_error_set(ls_error *error, ls_code code, bool retriable, const char *source,
                  const char *format, ...) {
  if (!error)
    return false;
  /* Built aside: the arguments may point into `error` itself. */
  ls_error next = {.code = code, .retriable = retriable};
  if (source)
    snprintf(next.source, sizeof next.source, "%s", source);
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(next.message, sizeof next.message, format, arguments);
  va_end(arguments);
  make_one_line(next.message, length >= (int)sizeof next.message);
  *error = next;
  return false;
}

bool ls_error_prefix(ls_error *error, const char *format, ...) {
  if (!error)
    return false;
  char message[sizeof error->message];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  bool cut = length >= (int)sizeof message;
  if (length >= 0 && !cut) {
    size_t used = (size_t)length;
    int rest = snprintf(message + used, sizeof message - used, ": %s", error->message);
    cut = rest >= (int)(sizeof message - used);
  }
  make_one_line(message, cut);
  memcpy(error->message, message, sizeof message);
  return false;
}

const char *ls_code_name(ls_code code) {
  switch (code) {
  case LS_OK:
    return "OK";
  case LS_CANCELLED:
    return "CANCELLED";
  case LS_UNKNOWN:
    return "UNKNOWN";
  case LS_INVALID_ARGUMENT:
    return "INVALID_ARGUMENT";
  case LS_DEADLINE_EXCEEDED:
    return "DEADLINE_EXCEEDED";
  case LS_NOT_FOUND:
    return "NOT_FOUND";
  case LS_ALREADY_EXISTS:
    return "ALREADY_EXISTS";
  case LS_PERMISSION_DENIED:
    return "PERMISSION_DENIED";
  case LS_RESOURCE_EXHAUSTED:
    return "RESOURCE_EXHAUSTED";
  case LS_FAILED_PRECONDITION:
    return "FAILED_PRECONDITION";
  case LS_ABORTED:
    return "ABORTED";
  case LS_OUT_OF_RANGE:
    return "OUT_OF_RANGE";
  case LS_UNIMPLEMENTED:
    return "UNIMPLEMENTED";
  case LS_INTERNAL:
    return "INTERNAL";
  case LS_UNAVAILABLE:
    return "UNAVAILABLE";
  case LS_DATA_LOSS:
    return "DATA_LOSS";
  case LS_UNAUTHENTICATED:
    return "UNAUTHENTICATED";
  }
  return "UNKNOWN";
}
