/* Tests of the wake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>

#include "runtime/base/clock.h"
#include "runtime/base/thread.h"
#include "runtime/base/wake.h"

static bool is_readable(const ls_wake *wake) {
  struct pollfd entry = {.fd = ls_wake_fd(wake), .events = POLLIN};
  return poll(&entry, 1, 0) == 1;
}

static void signals_add_up_to_one(void **state) {
  (void)state;
  ls_wake *wake = ls_wake_new(NULL);
  assert_non_null(wake);
  assert_false(is_readable(wake));
  assert_false(ls_wake_drain(wake));
  ls_wake_signal(wake);
  ls_wake_signal(wake);
  assert_true(is_readable(wake));
  assert_true(ls_wake_drain(wake));
  assert_false(ls_wake_drain(wake));
  assert_false(is_readable(wake));
  ls_wake_destroy(wake);
  ls_wake_destroy(NULL);
}

static void *signal_it(void *arg) {
  ls_wake_signal(arg);
  return NULL;
}

static void wait_ends_by_signal_or_timeout(void **state) {
  (void)state;
  ls_wake *wake = ls_wake_new(NULL);
  assert_false(ls_wake_wait(wake, 0));
  int64_t before = ls_clock_monotonic_ms();
  assert_false(ls_wake_wait(wake, 15));
  assert_true(ls_clock_monotonic_ms() - before >= 14);
  pthread_t thread;
  assert_true(ls_thread_start(&thread, "signal", signal_it, wake, NULL));
  assert_true(ls_wake_wait(wake, -1));
  assert_false(is_readable(wake));
  pthread_join(thread, NULL);
  ls_wake_destroy(wake);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(signals_add_up_to_one),
      cmocka_unit_test(wait_ends_by_signal_or_timeout),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
