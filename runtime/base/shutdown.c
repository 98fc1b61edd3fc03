/* Signals to a flag and an eventfd. */
#include "runtime/base/shutdown.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/thread.h"

/* Process-wide because signals are. Atomic besides being signal-safe: the handler may run in any
 * thread that does not block signals, and others read. */
static volatile _Atomic sig_atomic_t stop_requested;
static volatile _Atomic sig_atomic_t signals_seen;
static volatile _Atomic sig_atomic_t stop_descriptor = -1;

static void handle_signal(int signal_number) {
  if (signals_seen++ > 0)
    _exit(128 + signal_number);
  ls_shutdown_request();
}

bool ls_shutdown_init(ls_error *error) {
  if (stop_descriptor < 0) {
    int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (descriptor < 0)
      return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "eventfd: %s", strerror(errno));
    stop_descriptor = descriptor;
  }
  struct sigaction stop = {.sa_handler = handle_signal, .sa_flags = SA_RESTART};
  sigemptyset(&stop.sa_mask);
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  sigemptyset(&ignore.sa_mask);
  if (sigaction(SIGTERM, &stop, NULL) != 0 || sigaction(SIGINT, &stop, NULL) != 0 ||
      sigaction(SIGPIPE, &ignore, NULL) != 0)
    return ls_error_set(error, LS_INTERNAL, false, NULL, "sigaction: %s", strerror(errno));
  return true;
}

bool ls_shutdown_requested(void) {
  return stop_requested != 0;
}

int ls_shutdown_fd(void) {
  return stop_descriptor;
}

bool ls_shutdown_wait(int64_t timeout_ms) {
  int64_t deadline_us = ls_deadline_us(timeout_ms);
  while (!ls_shutdown_requested()) {
    int64_t left_ms = -1;
    if (deadline_us >= 0) {
      int64_t left_us = deadline_us - ls_clock_monotonic_us();
      if (left_us <= 0)
        return false;
      left_ms = (left_us + 999) / 1000;
    }
    struct pollfd poll_entry = {.fd = stop_descriptor, .events = POLLIN};
    poll(&poll_entry, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms);
  }
  return true;
}

/* Also called by the signal handler: async-signal-safe only. */
void ls_shutdown_request(void) {
  int saved_errno = errno;
  stop_requested = 1;
  uint64_t one = 1;
  ssize_t written = write(stop_descriptor, &one, sizeof one);
  (void)written; /* a full counter is readable too */
  errno = saved_errno;
}
