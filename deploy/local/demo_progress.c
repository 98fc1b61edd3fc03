/* Progress on stdout. */
#include "deploy/local/demo_progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "runtime/base/clock.h"

enum { TITLE_WIDTH = 31, TERMINAL_INTERVAL_US = 100000, PLAIN_INTERVAL_US = 2000000 };

demo_progress demo_progress_new(void) {
  return (demo_progress){.title = "", .terminal = isatty(STDOUT_FILENO) == 1};
}

void demo_progress_begin(demo_progress *progress, const char *title) {
  progress->title = title;
  progress->next_us = progress->terminal
                          ? 0
                          : ls_clock_monotonic_us() + PLAIN_INTERVAL_US; /* short work: no line */
}

void demo_progress_clear(demo_progress *progress) {
  if (progress->terminal)
    (void)fputs("\r\033[K", stdout);
  (void)fflush(stdout);
}

static void show(demo_progress *progress, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void show(demo_progress *progress, const char *format, va_list arguments) {
  demo_progress_clear(progress);
  printf("%-*s", TITLE_WIDTH, progress->title);
  vprintf(format, arguments);
}

void demo_progress_update(demo_progress *progress, const char *format, ...) {
  int64_t now_us = ls_clock_monotonic_us();
  if (now_us < progress->next_us)
    return;
  progress->next_us = now_us + (progress->terminal ? TERMINAL_INTERVAL_US : PLAIN_INTERVAL_US);
  va_list arguments;
  va_start(arguments, format);
  show(progress, format, arguments);
  va_end(arguments);
  if (!progress->terminal)
    (void)fputc('\n', stdout);
  (void)fflush(stdout);
}

void demo_progress_end(demo_progress *progress, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  show(progress, format, arguments);
  va_end(arguments);
  (void)fputc('\n', stdout);
  (void)fflush(stdout);
}
