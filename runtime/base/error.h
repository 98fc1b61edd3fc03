/* The one error type: filled where something fails, passed up, logged once where it is handled.
 *
 * A function that can fail returns bool (true: done) or a pointer (NULL: failed) and takes an
 * `ls_error *` as its last parameter. The caller owns the struct; it holds no allocation, so it
 * needs no clean-up and may be copied. Any thread. */
#ifndef LOCKSTEP_RUNTIME_BASE_ERROR_H
#define LOCKSTEP_RUNTIME_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The canonical status codes of gRPC, with gRPC's numbers (google.rpc.Code). */
typedef enum ls_code {
  LS_OK = 0,
  LS_CANCELLED = 1,
  LS_UNKNOWN = 2,
  LS_INVALID_ARGUMENT = 3,
  LS_DEADLINE_EXCEEDED = 4,
  LS_NOT_FOUND = 5,
  LS_ALREADY_EXISTS = 6,
  LS_PERMISSION_DENIED = 7,
  LS_RESOURCE_EXHAUSTED = 8,
  LS_FAILED_PRECONDITION = 9,
  LS_ABORTED = 10,
  LS_OUT_OF_RANGE = 11,
  LS_UNIMPLEMENTED = 12,
  LS_INTERNAL = 13,
  LS_UNAVAILABLE = 14,
  LS_DATA_LOSS = 15,
  LS_UNAUTHENTICATED = 16
} ls_code;

typedef struct ls_error {
  ls_code code;
  bool retriable;    /* the same call may succeed later without anybody changing anything */
  char source[32];   /* what the failing party calls it: an SQLSTATE, a Kafka error name, "" */
  char message[480]; /* one line for a person, without a full stop */
} ls_error;

/* Resets to LS_OK. */
void ls_error_clear(ls_error *error);

/* Fills `error` (which may be NULL) and returns false, so that a failing function can say
 * `return ls_error_set(error, …)`. `source` may be NULL. A message too long is cut. */
bool ls_error_set(ls_error *error, ls_code code, bool retriable, const char *source,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Puts "<text>: " in front of the message, to say what was being done. Returns false. */
bool ls_error_prefix(ls_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* "INVALID_ARGUMENT" and so on; "UNKNOWN" for a number that is no code. Static storage. */
const char *ls_code_name(ls_code code);

#ifdef __cplusplus
}
#endif

#endif
