/* The log: builds a line on the stack, writes it at once. */
#include "runtime/base/log.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/random.h"
#include "runtime/base/text.h"

enum { LINE_BYTES = 16 * 1024, TAIL_BYTES = 32 /* for "truncated" and the end of the line */ };

const char *const ls_log_level_names[] = {"debug", "info", "warn", "error", NULL};
const char *const ls_log_format_names[] = {"auto", "text", "json", NULL};

/* The logger is one of the two things in the process that are global; set before threads start. */
static struct {
  atomic_int level;
  bool text;
  int descriptor;
  char service[64];
  pthread_mutex_t write_mutex; /* a pipe takes lines above PIPE_BUF in pieces */
} logger = {
    .level = LS_LOG_INFO, .descriptor = STDERR_FILENO, .write_mutex = PTHREAD_MUTEX_INITIALIZER};

typedef struct log_line {
  char data[LINE_BYTES];
  size_t length;
  size_t limit;
  bool overflow; /* something did not fit; nothing more is appended until it is taken back */
} log_line;

void ls_log_init(const char *service_name, ls_log_level level, ls_log_format format) {
  snprintf(logger.service, sizeof logger.service, "%s", service_name);
  atomic_store_explicit(&logger.level, (int)level, memory_order_relaxed);
  logger.text = format == LS_LOG_TEXT || (format == LS_LOG_AUTO && isatty(logger.descriptor));
}

void ls_log_set_output(int descriptor) {
  logger.descriptor = descriptor;
}

void ls_log_set_level(ls_log_level level) {
  atomic_store_explicit(&logger.level, (int)level, memory_order_relaxed);
}

bool ls_log_enabled(ls_log_level level) {
  return (int)level >= atomic_load_explicit(&logger.level, memory_order_relaxed);
}

static void put(log_line *line, const char *data, size_t bytes) {
  if (line->overflow || bytes > line->limit - line->length) {
    line->overflow = true;
    return;
  }
  memcpy(line->data + line->length, data, bytes);
  line->length += bytes;
}

static void put_text(log_line *line, const char *text) {
  put(line, text, strlen(text));
}

static void put_format(log_line *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void put_format(log_line *line, const char *format, ...) {
  char text[64]; /* numbers */
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (length > 0)
    put(line, text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}

/* The inside of a JSON string (RFC 8259). Bytes that are not UTF-8 become U+FFFD. */
static void put_escaped(log_line *line, const char *text, size_t length) {
  for (size_t at = 0; at < length && !line->overflow;) {
    unsigned char byte = (unsigned char)text[at];
    size_t bytes = ls_text_character(text + at, length - at);
    if (bytes == 0) {
      put(line, "\xef\xbf\xbd", 3);
      at++;
      continue;
    }
    if (byte == '"' || byte == '\\') {
      char escaped[2] = {'\\', (char)byte};
      put(line, escaped, 2);
    } else if (byte == '\n') {
      put(line, "\\n", 2);
    } else if (byte == '\r') {
      put(line, "\\r", 2);
    } else if (byte == '\t') {
      put(line, "\\t", 2);
    } else if (byte < 0x20 || byte == 0x7f) {
      put_format(line, "\\u%04x", byte);
    } else {
      put(line, text + at, bytes);
    }
    at += bytes;
  }
}

static void put_quoted(log_line *line, const char *text, size_t length) {
  put(line, "\"", 1);
  put_escaped(line, text, length);
  put(line, "\"", 1);
}

/* In text format only what could be misread is quoted. */
static bool is_plain(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++) {
    unsigned char byte = (unsigned char)text[i];
    if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '\\' || byte == '=')
      return false;
  }
  return length > 0;
}

static void put_key(log_line *line, const char *key) {
  if (logger.text) {
    put(line, " ", 1);
    put_text(line, key);
    put(line, "=", 1);
    return;
  }
  put(line, line->length > 1 ? "," : "", line->length > 1 ? 1 : 0);
  put_quoted(line, key, strlen(key));
  put(line, ":", 1);
}

static void put_value(log_line *line, const char *text, size_t length) {
  if (logger.text && is_plain(text, length))
    put(line, text, length);
  else
    put_quoted(line, text, length);
}

static void put_pair(log_line *line, const char *key, const char *text) {
  put_key(line, key);
  put_value(line, text, strlen(text));
}

static void put_double(log_line *line, double value) {
  if (isfinite(value))
    put_format(line, "%.15g", value);
  else if (isnan(value))
    put_quoted(line, "NaN", 3); /* JSON has no number for these */
  else
    put_quoted(line, value > 0 ? "+Inf" : "-Inf", 4);
}

static void put_error(log_line *line, const ls_error *error) {
  if (!error)
    return;
  put_pair(line, "error", error->message);
  put_pair(line, "error_code", ls_code_name(error->code));
  if (error->source[0] != '\0')
    put_pair(line, "error_source", error->source);
}

static void put_field(log_line *line, const ls_log_field *field) {
  if (field->kind == LS_LOG_FIELD_ERROR) {
    put_error(line, field->value.error);
    return;
  }
  put_key(line, field->key);
  switch (field->kind) {
  case LS_LOG_FIELD_INT:
    put_format(line, "%lld", (long long)field->value.integer);
    break;
  case LS_LOG_FIELD_UINT:
    put_format(line, "%llu", (unsigned long long)field->value.natural);
    break;
  case LS_LOG_FIELD_DOUBLE:
    put_double(line, field->value.real);
    break;
  case LS_LOG_FIELD_BOOL:
    put_text(line, field->value.boolean ? "true" : "false");
    break;
  case LS_LOG_FIELD_TEXT: {
    const char *data = field->value.text.data;
    size_t length = field->value.text.length;
    if (!data)
      put_text(line, "null");
    else
      put_value(line, data, length == SIZE_MAX ? strlen(data) : length);
    break;
  }
  case LS_LOG_FIELD_ERROR:
  case LS_LOG_FIELD_END:
    break;
  }
}

static void put_head(log_line *line, ls_log_level level, const char *message) {
  char time[LS_RFC3339_BYTES];
  char thread[16] = "";
  ls_clock_format_rfc3339(ls_clock_wall_us(), 3, time);
  pthread_getname_np(pthread_self(), thread, sizeof thread);
  size_t message_length = strlen(message);
  if (message_length > LINE_BYTES / 8) /* six bytes each, when all are escaped */
    message_length = LINE_BYTES / 8;
  if (logger.text) {
    static const char *const columns[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
    put_text(line, time);
    put(line, " ", 1);
    put_text(line, columns[level]);
    put(line, " [", 2);
    put_escaped(line, thread, strlen(thread));
    put(line, "] ", 2);
    put_escaped(line, message, message_length);
    return;
  }
  put(line, "{", 1);
  put_pair(line, "time", time);
  put_pair(line, "level", ls_log_level_names[level]);
  put_pair(line, "service", logger.service);
  put_pair(line, "thread", thread);
  put_key(line, "message");
  put_quoted(line, message, message_length);
}

static void write_line(const log_line *line) {
  pthread_mutex_lock(&logger.write_mutex);
  size_t written = 0;
  while (written < line->length) {
    ssize_t result = write(logger.descriptor, line->data + written, line->length - written);
    if (result > 0)
      written += (size_t)result;
    else if (result < 0 && errno != EINTR)
      break; /* there is nobody left to tell */
  }
  pthread_mutex_unlock(&logger.write_mutex);
}

void ls_log(ls_log_level level, const char *trace_parent, const char *message,
            const ls_log_field *fields) {
  if (!ls_log_enabled(level))
    return;
  int saved_errno = errno;
  log_line line;
  line.length = 0;
  line.limit = LINE_BYTES - TAIL_BYTES;
  line.overflow = false;
  put_head(&line, level, message);
  char trace_id[33];
  if (trace_parent && ls_trace_parent_trace_id(trace_parent, strlen(trace_parent), trace_id))
    put_pair(&line, "trace_id", trace_id);
  bool truncated = line.overflow;
  for (const ls_log_field *field = fields; field->kind != LS_LOG_FIELD_END; field++) {
    size_t before = line.length;
    put_field(&line, field);
    if (line.overflow) { /* take the piece back: a later, smaller field may still fit */
      line.length = before;
      line.overflow = false;
      truncated = true;
    }
  }
  line.limit = LINE_BYTES;
  if (truncated) {
    put_key(&line, "truncated");
    put_text(&line, "true");
  }
  put_text(&line, logger.text ? "\n" : "}\n");
  write_line(&line);
  errno = saved_errno;
}

bool ls_log_every(ls_log_limit *limit, int64_t interval_ms) {
  int64_t now = ls_clock_monotonic_us();
  int64_t next = atomic_load_explicit(&limit->next_us, memory_order_relaxed);
  if (now >= next &&
      atomic_compare_exchange_strong_explicit(&limit->next_us, &next, now + interval_ms * 1000,
                                              memory_order_relaxed, memory_order_relaxed))
    return true;
  atomic_fetch_add_explicit(&limit->suppressed, 1, memory_order_relaxed);
  return false;
}

uint64_t ls_log_suppressed(ls_log_limit *limit) {
  return atomic_exchange_explicit(&limit->suppressed, 0, memory_order_relaxed);
}
