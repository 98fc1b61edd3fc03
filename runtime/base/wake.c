/* A wake is an eventfd. */
#include "runtime/base/wake.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/thread.h"

struct ls_wake {
  int descriptor;
};

ls_wake *ls_wake_new(ls_error *error) {
  ls_wake *wake = malloc(sizeof *wake);
  if (!wake) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "wake: out of memory");
    return NULL;
  }
  wake->descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake->descriptor < 0) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "eventfd: %s", strerror(errno));
    free(wake);
    return NULL;
  }
  return wake;
}

void ls_wake_signal(ls_wake *wake) {
  int saved_errno = errno;
  uint64_t one = 1;
  /* Fails only when the counter is full, and then it is readable as it should be. */
  ssize_t written = write(wake->descriptor, &one, sizeof one);
  (void)written;
  errno = saved_errno;
}

bool ls_wake_drain(ls_wake *wake) {
  uint64_t count;
  return read(wake->descriptor, &count, sizeof count) == (ssize_t)sizeof count;
}

int ls_wake_fd(const ls_wake *wake) {
  return wake->descriptor;
}

bool ls_wake_wait(ls_wake *wake, int64_t timeout_ms) {
  int64_t deadline_us = ls_deadline_us(timeout_ms);
  while (!ls_wake_drain(wake)) {
    int64_t left_ms = -1;
    if (deadline_us >= 0) {
      int64_t left_us = deadline_us - ls_clock_monotonic_us();
      if (left_us <= 0)
        return false;
      left_ms = (left_us + 999) / 1000;
    }
    struct pollfd poll_entry = {.fd = wake->descriptor, .events = POLLIN};
    poll(&poll_entry, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms);
  }
  return true;
}

void ls_wake_destroy(ls_wake *wake) {
  if (!wake)
    return;
  close(wake->descriptor);
  free(wake);
}
