/* Tests of the log: lines are written to a pipe and read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/thread.h"

static int pipe_ends[2];
static char text[1 << 20];

static int open_pipe(void **state) {
  (void)state;
  if (pipe2(pipe_ends, O_NONBLOCK) != 0 || fcntl(pipe_ends[1], F_SETPIPE_SZ, 1 << 19) < 0)
    return -1;
  ls_log_set_output(pipe_ends[1]);
  ls_log_init("order", LS_LOG_INFO, LS_LOG_JSON);
  return 0;
}

static int close_pipe(void **state) {
  (void)state;
  ls_log_set_output(STDERR_FILENO);
  close(pipe_ends[0]);
  close(pipe_ends[1]);
  return 0;
}

/* All that was logged since the last time. */
static const char *logged(void) {
  ssize_t length = read(pipe_ends[0], text, sizeof text - 1);
  text[length > 0 ? length : 0] = '\0';
  return text;
}

/* What stands behind the thread's name in a JSON line: the time differs each time. */
static const char *tail_of(const char *line) {
  const char *tail = strstr(line, "\"message\":");
  assert_non_null(tail);
  return tail;
}

static void json_line(void **state) {
  (void)state;
  LS_INFO("started");
  const char *line = logged();
  int64_t time;
  assert_memory_equal(line, "{\"time\":\"", 9);
  assert_true(ls_clock_parse_rfc3339(line + 9, 24, &time));
  assert_true(ls_clock_wall_us() - time < 60000000);
  assert_string_equal(strstr(line, "\",\"level\""),
                      "\",\"level\":\"info\",\"service\":\"order\",\"thread\":\"base_log_test\","
                      "\"message\":\"started\"}\n");
}

static void json_fields(void **state) {
  (void)state;
  LS_WARN("fields", LS_INT("int", -3), LS_UINT("uint", UINT64_MAX), LS_DOUBLE("double", 0.25),
          LS_DOUBLE("nan", NAN), LS_BOOL("yes", true), LS_STR("text", "a b"), LS_STR("none", NULL),
          LS_STRN("part", "abcdef", 3));
  assert_string_equal(tail_of(logged()),
                      "\"message\":\"fields\",\"int\":-3,\"uint\":18446744073709551615,"
                      "\"double\":0.25,\"nan\":\"NaN\",\"yes\":true,\"text\":\"a b\","
                      "\"none\":null,\"part\":\"abc\"}\n");
}

static void json_escapes(void **state) {
  (void)state;
  LS_INFO("q\"b\\n\n", LS_STR("control", "\x01\t\x7f"), LS_STR("good", "\xc3\xa9"),
          LS_STR("bad", "a\xff\xc3"), LS_STRN("nul", "\0", 1));
  assert_string_equal(tail_of(logged()),
                      "\"message\":\"q\\\"b\\\\n\\n\",\"control\":\"\\u0001\\t\\u007f\","
                      "\"good\":\"\xc3\xa9\",\"bad\":\"a\xef\xbf\xbd\xef\xbf\xbd\","
                      "\"nul\":\"\\u0000\"}\n");
}

static void error_and_trace(void **state) {
  (void)state;
  ls_error error;
  ls_error_set(&error, LS_UNAVAILABLE, true, "08006", "gone");
  LS_ERROR_TRACE("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "failed",
                 LS_ERR(&error));
  assert_string_equal(tail_of(logged()),
                      "\"message\":\"failed\",\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\","
                      "\"error\":\"gone\",\"error_code\":\"UNAVAILABLE\","
                      "\"error_source\":\"08006\"}\n");
  LS_INFO_TRACE("garbage", "no trace");
  assert_string_equal(tail_of(logged()), "\"message\":\"no trace\"}\n");
}

static int evaluations;
static int evaluate(void) {
  return ++evaluations;
}

static void levels(void **state) {
  (void)state;
  LS_DEBUG("off", LS_INT("n", evaluate()));
  assert_string_equal(logged(), "");
  assert_int_equal(evaluations, 0);
  ls_log_set_level(LS_LOG_DEBUG);
  LS_DEBUG("on", LS_INT("n", evaluate()));
  assert_non_null(strstr(logged(), "\"level\":\"debug\""));
  ls_log_set_level(LS_LOG_ERROR);
  LS_WARN("off");
  assert_string_equal(logged(), "");
}

static void text_line(void **state) {
  (void)state;
  ls_log_init("order", LS_LOG_INFO, LS_LOG_TEXT);
  LS_WARN("took\nleadership", LS_INT("epoch", 3), LS_STR("topic", "order-topic"),
          LS_STR("why", "two words"), LS_STR("empty", ""));
  const char *line = logged();
  assert_string_equal(line + 24, " WARN  [base_log_test] took\\nleadership epoch=3 "
                                 "topic=order-topic why=\"two words\" empty=\"\"\n");
}

static void too_long_is_cut_and_says_so(void **state) {
  (void)state;
  static char long_text[40000];
  memset(long_text, 'x', sizeof long_text - 1);
  LS_INFO("long", LS_STR("big", long_text), LS_INT("after", 1));
  assert_string_equal(tail_of(logged()), "\"message\":\"long\",\"after\":1,\"truncated\":true}\n");
  memset(long_text, '\n', sizeof long_text - 1);
  ls_log(LS_LOG_INFO, NULL, long_text, &LS_LOG_END);
  size_t length = strlen(logged());
  assert_true(length < 16384);
  assert_string_equal(text + length - 3, "\"}\n");
}

static void errno_is_kept(void **state) {
  (void)state;
  ls_log_set_output(-1);
  errno = ENOENT;
  LS_INFO("nowhere");
  assert_int_equal(errno, ENOENT);
}

enum { THREADS = 4, LINES = 100 };

static void *log_lines(void *arg) {
  (void)arg;
  for (int i = 0; i < LINES; i++)
    LS_INFO("line", LS_INT("i", i));
  return NULL;
}

static void lines_of_threads_stay_whole(void **state) {
  (void)state;
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    assert_true(ls_thread_start(&threads[i], "logger", log_lines, NULL, NULL));
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  int lines = 0;
  logged();
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    assert_memory_equal(line, "{\"time\":", 8);
    assert_non_null(strstr(line, "\"thread\":\"logger\""));
    assert_int_equal(line[strlen(line) - 1], '}');
    lines++;
  }
  assert_int_equal(lines, THREADS * LINES);
}

static void repeated_lines_are_limited(void **state) {
  (void)state;
  ls_log_limit limit = {0};
  assert_true(ls_log_every(&limit, 3600000));
  for (int i = 0; i < 9; i++)
    assert_false(ls_log_every(&limit, 3600000));
  assert_int_equal(ls_log_suppressed(&limit), 9);
  assert_int_equal(ls_log_suppressed(&limit), 0);
  ls_log_limit always = {0};
  assert_true(ls_log_every(&always, 0));
  assert_true(ls_log_every(&always, 0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pipe, close_pipe)

int main(void) {
  pthread_setname_np(pthread_self(), "base_log_test");
  const struct CMUnitTest tests[] = {
      TEST(json_line),
      TEST(json_fields),
      TEST(json_escapes),
      TEST(error_and_trace),
      TEST(levels),
      TEST(text_line),
      TEST(too_long_is_cut_and_says_so),
      TEST(errno_is_kept),
      TEST(lines_of_threads_stay_whole),
      TEST(repeated_lines_are_limited),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
