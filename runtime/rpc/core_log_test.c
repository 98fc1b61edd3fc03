/* What of the core's log comes out where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <grpc/support/log.h>

#include "runtime/base/log.h"
#include "runtime/rpc/core_log.h"

static int ends[2];

static int set_up(void **state) {
  (void)state;
  assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
  ls_log_set_output(ends[1]);
  ls_log_set_level(LS_LOG_DEBUG);
  ls_rpc_core_log_install();
  ls_rpc_core_log_install();
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  ls_log_set_output(STDERR_FILENO);
  close(ends[0]);
  close(ends[1]);
  return 0;
}

/* What was logged since the last time. */
static const char *logged(void) {
  static char text[8192];
  ssize_t length = read(ends[0], text, sizeof text - 1);
  text[length > 0 ? length : 0] = '\0';
  return text;
}

static void errors_are_warnings_with_their_source(void **state) {
  (void)state;
  gpr_log("src/core/lib/some.cc", 7, GPR_LOG_SEVERITY_ERROR, "it \"broke\": %d", 5);
  const char *text = logged();
  assert_non_null(strstr(text, "warn"));
  assert_non_null(strstr(text, "it \\\"broke\\\": 5"));
  assert_non_null(strstr(text, "\"source\":\"some.cc:7\""));
}

static void the_rest_is_for_debugging(void **state) {
  (void)state;
  gpr_log("some.cc", 8, GPR_LOG_SEVERITY_INFO, "as usual");
  const char *text = logged();
  assert_non_null(strstr(text, "debug"));
  assert_non_null(strstr(text, "as usual"));
  gpr_log("tcp_server_posix.cc", 9, GPR_LOG_SEVERITY_ERROR, "Failed accept4: Invalid argument");
  text = logged();
  assert_non_null(strstr(text, "debug"));
  assert_null(strstr(text, "warn"));
  ls_log_set_level(LS_LOG_INFO);
  gpr_log("some.cc", 8, GPR_LOG_SEVERITY_INFO, "as usual");
  gpr_log("tcp_server_posix.cc", 9, GPR_LOG_SEVERITY_ERROR, "Failed accept4: Invalid argument");
  assert_string_equal(logged(), "");
  ls_log_set_level(LS_LOG_DEBUG);
}

static void what_repeats_does_not_flood(void **state) {
  (void)state;
  for (int i = 0; i < 100; i++)
    gpr_log("some.cc", 20, GPR_LOG_SEVERITY_ERROR, "again");
  gpr_log("some.cc", 21, GPR_LOG_SEVERITY_ERROR, "something else");
  const char *text = logged();
  size_t lines = 0;
  for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
    lines++;
  assert_true(lines >= 2 && lines < 50);
  assert_non_null(strstr(text, "something else"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(errors_are_warnings_with_their_source),
      cmocka_unit_test(the_rest_is_for_debugging),
      cmocka_unit_test(what_repeats_does_not_flood),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
