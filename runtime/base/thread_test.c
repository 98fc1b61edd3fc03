/* Tests of threads and timed waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/base/thread.h"

typedef struct thread_report {
  char name[16];
  sigset_t blocked;
} thread_report;

static void *look_around(void *arg) {
  thread_report *report = arg;
  pthread_getname_np(pthread_self(), report->name, sizeof report->name);
  pthread_sigmask(SIG_SETMASK, NULL, &report->blocked);
  return report;
}

static void thread_is_named_and_deaf(void **state) {
  (void)state;
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, NULL, &before);
  pthread_t thread;
  thread_report report;
  void *result;
  assert_true(ls_thread_start(&thread, "a-name-that-is-too-long", look_around, &report, NULL));
  pthread_join(thread, &result);
  assert_ptr_equal(result, &report);
  assert_string_equal(report.name, "a-name-that-is-");
  assert_int_equal(sigismember(&report.blocked, SIGTERM), 1);
  assert_int_equal(sigismember(&report.blocked, SIGINT), 1);
  assert_int_equal(sigismember(&report.blocked, SIGUSR1), 1);
  assert_int_equal(sigismember(&report.blocked, SIGSEGV), 0);
  pthread_sigmask(SIG_SETMASK, NULL, &after);
  for (int number = 1; number < 32; number++)
    assert_int_equal(sigismember(&before, number), sigismember(&after, number));
}

typedef struct gate_state {
  pthread_mutex_t mutex;
  pthread_cond_t condition;
  bool open;
} gate_state;

static void *open_gate(void *arg) {
  gate_state *gate = arg;
  pthread_mutex_lock(&gate->mutex);
  gate->open = true;
  pthread_cond_signal(&gate->condition);
  pthread_mutex_unlock(&gate->mutex);
  return NULL;
}

static void waits_end_by_signal_or_deadline(void **state) {
  (void)state;
  gate_state gate = {.mutex = PTHREAD_MUTEX_INITIALIZER};
  assert_true(ls_condition_init(&gate.condition));
  pthread_mutex_lock(&gate.mutex);
  int64_t deadline_us = ls_deadline_us(15);
  while (ls_condition_wait_until(&gate.condition, &gate.mutex, deadline_us))
    continue;
  assert_true(ls_clock_monotonic_us() >= deadline_us);
  assert_false(ls_condition_wait_until(&gate.condition, &gate.mutex, 0));

  for (int round = 0; round < 2; round++) { /* with a deadline, and without */
    gate.open = false;
    pthread_t thread;
    assert_true(ls_thread_start(&thread, "open", open_gate, &gate, NULL));
    deadline_us = ls_deadline_us(round == 0 ? 30000 : -1);
    bool in_time = true;
    while (!gate.open && in_time)
      in_time = ls_condition_wait_until(&gate.condition, &gate.mutex, deadline_us);
    assert_true(gate.open);
    pthread_mutex_unlock(&gate.mutex);
    pthread_join(thread, NULL);
    pthread_mutex_lock(&gate.mutex);
  }
  pthread_mutex_unlock(&gate.mutex);
  pthread_cond_destroy(&gate.condition);
}

static void deadlines_do_not_overflow(void **state) {
  (void)state;
  assert_true(ls_deadline_us(-1) == -1);
  assert_true(ls_deadline_us(INT64_MAX) == -1);
  int64_t now = ls_clock_monotonic_us();
  assert_true(ls_deadline_us(1000) >= now + 1000000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(thread_is_named_and_deaf),
      cmocka_unit_test(waits_end_by_signal_or_deadline),
      cmocka_unit_test(deadlines_do_not_overflow),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
