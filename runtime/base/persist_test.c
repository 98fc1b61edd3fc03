/* Tests of attempts: when they end, and how often it is said that they go on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/persist.h"

/* Fails `failures` times with `error`, and then succeeds. */
typedef struct script {
  int failures;
  ls_error error;
  int attempts;
} script;

static bool follow(void *arg, ls_error *error) {
  script *self = arg;
  if (self->attempts++ >= self->failures)
    return true;
  *error = self->error;
  return false;
}

static script failing(int failures, ls_code code, bool retriable) {
  script self = {.failures = failures};
  ls_error_set(&self.error, code, retriable, "X1", "attempt failed");
  return self;
}

static void goes_on_until_it_succeeds(void **state) {
  (void)state;
  static const ls_code passing[] = {LS_UNAVAILABLE, LS_DEADLINE_EXCEEDED};
  for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
    script self = failing(3, passing[i], true);
    assert_true(ls_persist("a test", 60000, follow, &self, NULL));
    assert_int_equal(self.attempts, 4);
  }
}

static void ends_at_once_where_waiting_does_not_help(void **state) {
  (void)state;
  static const struct {
    ls_code code;
    bool retriable;
  } lasting[] = {{LS_UNAVAILABLE, false},
                 {LS_UNAUTHENTICATED, false},
                 {LS_FAILED_PRECONDITION, false},
                 {LS_RESOURCE_EXHAUSTED, true}};
  for (size_t i = 0; i < sizeof lasting / sizeof lasting[0]; i++) {
    ls_error error = {0};
    script self = failing(1, lasting[i].code, lasting[i].retriable);
    assert_false(ls_persist("a test", 60000, follow, &self, &error));
    assert_int_equal(self.attempts, 1);
    assert_int_equal(error.code, lasting[i].code);
    assert_string_equal(error.message, "attempt failed");
  }
}

static void ends_when_time_is_up(void **state) {
  (void)state;
  ls_error error = {0};
  script self = failing(1000000, LS_UNAVAILABLE, true);
  int64_t begin_ms = ls_clock_monotonic_ms();
  assert_false(ls_persist("a test", 300, follow, &self, &error));
  int64_t took_ms = ls_clock_monotonic_ms() - begin_ms;
  assert_true(took_ms >= 300 && took_ms < 5000);
  assert_true(self.attempts >= 2 && self.attempts < 100);
  assert_int_equal(error.code, LS_UNAVAILABLE);

  self = failing(1000000, LS_UNAVAILABLE, true); /* without time there is one attempt */
  assert_false(ls_persist("a test", 0, follow, &self, NULL));
  assert_int_equal(self.attempts, 1);
}

static void says_once_that_it_waits(void **state) {
  (void)state;
  int ends[2];
  char text[4096];
  assert_int_equal(pipe(ends), 0);
  ls_log_init("test", LS_LOG_INFO, LS_LOG_JSON);
  ls_log_set_output(ends[1]);
  script self = failing(3, LS_UNAVAILABLE, true);
  assert_true(ls_persist("a database", 60000, follow, &self, NULL));
  ls_log_set_output(STDERR_FILENO);
  ssize_t length = read(ends[0], text, sizeof text - 1);
  assert_true(length > 0);
  text[length] = '\0';
  const char *line_end = strchr(text, '\n');
  assert_non_null(line_end);
  assert_int_equal(line_end[1], '\0');
  assert_non_null(strstr(text, "\"what\":\"a database\""));
  assert_non_null(strstr(text, "attempt failed"));
  close(ends[0]);
  close(ends[1]);
}

static void a_signal_ends_the_wait(void **state) {
  (void)state;
  static const int signals[] = {SIGTERM, SIGINT};
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      script self = failing(1000000, LS_UNAVAILABLE, true);
      ls_persist_init();
      ls_log_init("test", LS_LOG_INFO, LS_LOG_JSON);
      ls_log_set_output(ends[1]); /* its line says that the wait has begun */
      _exit(ls_persist("a test", 60000, follow, &self, NULL) ? 0 : 1);
    }
    char byte;
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(kill(child, signals[i]), 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 128 + signals[i]);
    close(ends[0]);
    close(ends[1]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(goes_on_until_it_succeeds),
      cmocka_unit_test(ends_at_once_where_waiting_does_not_help),
      cmocka_unit_test(ends_when_time_is_up),
      cmocka_unit_test(says_once_that_it_waits),
      cmocka_unit_test(a_signal_ends_the_wait),
  };
  return cmocka_run_group_tests_name("persist", tests, NULL, NULL);
}
