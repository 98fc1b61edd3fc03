/* The log: one line per event on stderr, JSON for machines or text for people.
 *
 *   LS_INFO("relay took leadership", LS_INT("epoch", epoch), LS_STR("topic", topic));
 *   LS_WARN_TRACE(trace_parent, "lookup failed", LS_INT("order_id", id), LS_ERR(&error));
 *
 * The message is fixed text, what varies goes into fields. Each line is one write(2) and at most 16
 * KiB; what does not fit is left out and the line says so. Secrets are nobody's field. Any thread.
 */
#ifndef LOCKSTEP_RUNTIME_BASE_LOG_H
#define LOCKSTEP_RUNTIME_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ls_log_level { LS_LOG_DEBUG, LS_LOG_INFO, LS_LOG_WARN, LS_LOG_ERROR } ls_log_level;

typedef enum ls_log_format {
  LS_LOG_AUTO, /* text when stderr is a terminal, else JSON */
  LS_LOG_TEXT,
  LS_LOG_JSON
} ls_log_format;

/* Names in the order of the enums, NULL-terminated, for options of kind ENUM. */
extern const char *const ls_log_level_names[];
extern const char *const ls_log_format_names[];

/* Sets what the lines say. Once, before other threads start; without it the log is JSON from info
 * on. `service_name` is copied. */
void ls_log_init(const char *service_name, ls_log_level level, ls_log_format format);

/* Lines go to this descriptor instead of stderr. Before other threads start. */
void ls_log_set_output(int descriptor);

/* May be changed while running. */
void ls_log_set_level(ls_log_level level);
bool ls_log_enabled(ls_log_level level);

typedef enum ls_log_kind {
  LS_LOG_FIELD_END,
  LS_LOG_FIELD_INT,
  LS_LOG_FIELD_UINT,
  LS_LOG_FIELD_DOUBLE,
  LS_LOG_FIELD_BOOL,
  LS_LOG_FIELD_TEXT,
  LS_LOG_FIELD_ERROR
} ls_log_kind;

/* A field; made by the macros below. */
typedef struct ls_log_field {
  ls_log_kind kind;
  const char *key; /* snake_case */
  union {
    int64_t integer;
    uint64_t natural;
    double real;
    bool boolean;
    struct {
      const char *data; /* NULL is null */
      size_t length;    /* SIZE_MAX: up to the NUL */
    } text;
    const ls_error *error;
  } value;
} ls_log_field;

#define LS_INT(name, number)                                                                       \
  ((ls_log_field){.kind = LS_LOG_FIELD_INT, .key = (name), .value.integer = (int64_t)(number)})
#define LS_UINT(name, number)                                                                      \
  ((ls_log_field){.kind = LS_LOG_FIELD_UINT, .key = (name), .value.natural = (uint64_t)(number)})
#define LS_DOUBLE(name, number)                                                                    \
  ((ls_log_field){.kind = LS_LOG_FIELD_DOUBLE, .key = (name), .value.real = (double)(number)})
#define LS_BOOL(name, truth)                                                                       \
  ((ls_log_field){.kind = LS_LOG_FIELD_BOOL, .key = (name), .value.boolean = (truth)})
#define LS_STR(name, string)                                                                       \
  ((ls_log_field){.kind = LS_LOG_FIELD_TEXT, .key = (name), .value.text = {(string), SIZE_MAX}})
#define LS_STRN(name, string, bytes)                                                               \
  ((ls_log_field){.kind = LS_LOG_FIELD_TEXT, .key = (name), .value.text = {(string), (bytes)}})
/* An ls_error: adds "error" (its message), "error_code" and, if there is one, "error_source". */
#define LS_ERR(pointer)                                                                            \
  ((ls_log_field){.kind = LS_LOG_FIELD_ERROR, .key = "error", .value.error = (pointer)})
#define LS_LOG_END ((ls_log_field){.kind = LS_LOG_FIELD_END})

/* Writes a line unless the level is off. `trace_parent` (a W3C traceparent) may be NULL; of a valid
 * one the line gets "trace_id". `fields` ends with LS_LOG_END. Keeps errno. */
void ls_log(ls_log_level level, const char *trace_parent, const char *message,
            const ls_log_field *fields);

/* Fields are not evaluated when the level is off. */
#define LS_LOG_LINE(level, trace_parent, message, ...)                                             \
  do {                                                                                             \
    if (ls_log_enabled(level))                                                                     \
      ls_log(level, trace_parent, message, (const ls_log_field[]){__VA_ARGS__});                   \
  } while (0)

#define LS_DEBUG(...) LS_LOG_LINE(LS_LOG_DEBUG, NULL, __VA_ARGS__, LS_LOG_END)
#define LS_INFO(...) LS_LOG_LINE(LS_LOG_INFO, NULL, __VA_ARGS__, LS_LOG_END)
#define LS_WARN(...) LS_LOG_LINE(LS_LOG_WARN, NULL, __VA_ARGS__, LS_LOG_END)
#define LS_ERROR(...) LS_LOG_LINE(LS_LOG_ERROR, NULL, __VA_ARGS__, LS_LOG_END)
#define LS_DEBUG_TRACE(trace_parent, ...)                                                          \
  LS_LOG_LINE(LS_LOG_DEBUG, trace_parent, __VA_ARGS__, LS_LOG_END)
#define LS_INFO_TRACE(trace_parent, ...)                                                           \
  LS_LOG_LINE(LS_LOG_INFO, trace_parent, __VA_ARGS__, LS_LOG_END)
#define LS_WARN_TRACE(trace_parent, ...)                                                           \
  LS_LOG_LINE(LS_LOG_WARN, trace_parent, __VA_ARGS__, LS_LOG_END)
#define LS_ERROR_TRACE(trace_parent, ...)                                                          \
  LS_LOG_LINE(LS_LOG_ERROR, trace_parent, __VA_ARGS__, LS_LOG_END)

#ifndef __cplusplus /* which has no _Atomic */
/* What keeps a repeated error from flooding the log; zeros at first. Shared by any threads. */
typedef struct ls_log_limit {
  _Atomic int64_t next_us;
  _Atomic uint64_t suppressed;
} ls_log_limit;

/* True at most once in `interval_ms`; the other times are counted. */
bool ls_log_every(ls_log_limit *limit, int64_t interval_ms);

/* How often ls_log_every said no since this was last asked, for a field of the line that is
 * written. */
uint64_t ls_log_suppressed(ls_log_limit *limit);
#endif

#ifdef __cplusplus
}
#endif

#endif
