/* Attempts until one succeeds: see persist.h. */
#include "runtime/base/persist.h"

#include <signal.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/retry.h"

enum { PAUSE_MS = 100, MAX_PAUSE_MS = 2000 };

static void end_at_once(int signal_number) {
  _exit(128 + signal_number);
}

void ls_persist_init(void) {
  struct sigaction end = {.sa_handler = end_at_once};
  sigemptyset(&end.sa_mask);
  (void)sigaction(SIGTERM, &end, NULL); /* cannot fail: both are signals that may be caught */
  (void)sigaction(SIGINT, &end, NULL);
}

static bool may_pass(const ls_error *error) {
  return error->retriable && (error->code == LS_UNAVAILABLE || error->code == LS_DEADLINE_EXCEEDED);
}

bool ls_persist(const char *what, int64_t timeout_ms, ls_attempt attempt, void *arg,
                ls_error *error) {
  int64_t deadline_ms = ls_clock_monotonic_ms() + timeout_ms;
  ls_backoff backoff;
  ls_backoff_init(&backoff, PAUSE_MS, MAX_PAUSE_MS);
  for (bool is_first = true;; is_first = false) {
    ls_error failure = {0};
    if (attempt(arg, &failure))
      return true;
    int64_t left_ms = deadline_ms - ls_clock_monotonic_ms();
    if (!may_pass(&failure) || left_ms <= 0) {
      if (error)
        *error = failure;
      return false;
    }
    if (is_first)
      LS_WARN("waiting for what is not there yet", LS_STR("what", what),
              LS_INT("timeout_ms", timeout_ms), LS_ERR(&failure));
    int64_t wait_ms = ls_backoff_next(&backoff);
    ls_clock_sleep_ms(wait_ms < left_ms ? wait_ms : left_ms);
  }
}
