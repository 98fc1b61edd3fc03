/* Tests of shutdown: each in a process of its own, because a request is never taken back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/shutdown.h"
#include "runtime/base/thread.h"

enum { GOOD = 42 };

/* The exit status of a child that runs `body`, or -1 when a signal killed it. */
static int run(int (*body)(void)) {
  pid_t child = fork();
  if (child == 0) {
    alarm(30);
    _exit(ls_shutdown_init(NULL) ? body() : 1);
  }
  assert_true(child > 0);
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool is_readable(void) {
  struct pollfd entry = {.fd = ls_shutdown_fd(), .events = POLLIN};
  return poll(&entry, 1, 0) == 1;
}

static int take_one_signal(void) {
  if (ls_shutdown_requested() || is_readable() || ls_shutdown_wait(0) || ls_shutdown_wait(10))
    return 2;
  raise(SIGTERM);
  return ls_shutdown_requested() && is_readable() && ls_shutdown_wait(-1) && is_readable() ? GOOD
                                                                                           : 3;
}

static int take_two_signals(void) {
  raise(SIGINT);
  raise(SIGTERM);
  return 2;
}

static int request_then_take_a_signal(void) {
  ls_shutdown_request();
  ls_shutdown_request();
  raise(SIGINT);
  return ls_shutdown_requested() && is_readable() ? GOOD : 2;
}

static int write_to_a_closed_pipe(void) {
  int ends[2];
  if (pipe(ends) != 0 || close(ends[0]) != 0)
    return 2;
  return write(ends[1], "x", 1) == -1 ? GOOD : 3;
}

static void *request(void *arg) {
  ls_shutdown_request();
  return arg;
}

static int wait_for_another_thread(void) {
  pthread_t thread;
  if (!ls_thread_start(&thread, "request", request, NULL, NULL))
    return 2;
  bool requested = ls_shutdown_wait(20000);
  pthread_join(thread, NULL);
  return requested ? GOOD : 3;
}

static void first_signal_requests(void **state) {
  (void)state;
  assert_int_equal(run(take_one_signal), GOOD);
}

static void second_signal_exits(void **state) {
  (void)state;
  assert_int_equal(run(take_two_signals), 128 + SIGTERM);
}

static void own_request_is_no_signal(void **state) {
  (void)state;
  assert_int_equal(run(request_then_take_a_signal), GOOD);
}

static void broken_pipes_do_not_kill(void **state) {
  (void)state;
  assert_int_equal(run(write_to_a_closed_pipe), GOOD);
}

static void wait_ends_with_the_request(void **state) {
  (void)state;
  assert_int_equal(run(wait_for_another_thread), GOOD);
}

static void nothing_before_init(void **state) {
  (void)state;
  assert_int_equal(ls_shutdown_fd(), -1);
  assert_false(ls_shutdown_requested());
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing_before_init),      cmocka_unit_test(first_signal_requests),
      cmocka_unit_test(second_signal_exits),      cmocka_unit_test(own_request_is_no_signal),
      cmocka_unit_test(broken_pipes_do_not_kill), cmocka_unit_test(wait_ends_with_the_request),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
