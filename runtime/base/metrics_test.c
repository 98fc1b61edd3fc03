/* Tests of metrics by the exact text that Prometheus gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/log.h"
#include "runtime/base/metrics.h"
#include "runtime/base/thread.h"

/* What every registry begins with. */
#define HEAD                                                                                       \
  "# HELP lockstep_metrics_rejected_total Metrics that could not be had: a bound, memory or a "    \
  "mistake.\n"                                                                                     \
  "# TYPE lockstep_metrics_rejected_total counter\n"

static void assert_text(ls_metrics *metrics, const char *expected) {
  ls_buffer text = LS_BUFFER_INIT;
  assert_true(ls_metrics_write(metrics, &text));
  assert_string_equal(text.data, expected);
  ls_buffer_clear(&text);
}

static void counters_and_labels(void **state) {
  (void)state;
  ls_metrics *metrics = ls_metrics_new(0);
  ls_counter *plain = ls_metrics_counter(metrics, "plain_total", "Plain.", NULL);
  ls_counter *ok = ls_metrics_counter(metrics, "calls_total", "Calls.",
                                      LS_LABELS("method", "Get", "code", "OK"));
  ls_metrics_counter(metrics, "calls_total", "Other help.",
                     LS_LABELS("method", "Get", "code", "ABORTED"));
  ls_counter_add(plain, 3);
  ls_counter_add(ok, UINT64_C(9007199254740993)); /* more than a double holds */
  assert_ptr_equal(ls_metrics_counter(metrics, "calls_total", "Calls.",
                                      LS_LABELS("method", "Get", "code", "OK")),
                   ok);
  assert_int_equal(ls_counter_value(plain), 3);
  assert_text(metrics, HEAD "lockstep_metrics_rejected_total 0\n"
                            "# HELP plain_total Plain.\n"
                            "# TYPE plain_total counter\n"
                            "plain_total 3\n"
                            "# HELP calls_total Calls.\n"
                            "# TYPE calls_total counter\n"
                            "calls_total{method=\"Get\",code=\"OK\"} 9007199254740993\n"
                            "calls_total{method=\"Get\",code=\"ABORTED\"} 0\n");
  ls_metrics_destroy(metrics);
  ls_metrics_destroy(NULL);
}

static void gauges(void **state) {
  (void)state;
  ls_metrics *metrics = ls_metrics_new(0);
  ls_gauge *gauge = ls_metrics_gauge(metrics, "lag", "Lag.", NULL);
  ls_gauge_set(gauge, 0.1);
  ls_gauge_add(gauge, 0.2);
  assert_true(ls_gauge_value(gauge) == 0.1 + 0.2);
  ls_gauge_set(ls_metrics_gauge(metrics, "lag2", "", LS_LABELS("p", "0")), -INFINITY);
  ls_gauge_set(ls_metrics_gauge(metrics, "lag2", "", LS_LABELS("p", "1")), (double)NAN);
  ls_gauge_set(ls_metrics_gauge(metrics, "lag2", "", LS_LABELS("p", "2")), 1e300);
  ls_gauge_set(ls_metrics_gauge(metrics, "lag2", "", LS_LABELS("p", "3")), -2.5);
  assert_text(metrics, HEAD "lockstep_metrics_rejected_total 0\n"
                            "# HELP lag Lag.\n"
                            "# TYPE lag gauge\n"
                            "lag 0.30000000000000004\n"
                            "# HELP lag2 \n"
                            "# TYPE lag2 gauge\n"
                            "lag2{p=\"0\"} -Inf\n"
                            "lag2{p=\"1\"} NaN\n"
                            "lag2{p=\"2\"} 1e+300\n"
                            "lag2{p=\"3\"} -2.5\n");
  ls_metrics_destroy(metrics);
}

static void histograms(void **state) {
  (void)state;
  static const double bounds[] = {0.005, 0.1, 2};
  ls_metrics *metrics = ls_metrics_new(0);
  ls_histogram *histogram =
      ls_metrics_histogram(metrics, "seconds", "Time.", bounds, 3, LS_LABELS("m", "Get"));
  ls_histogram_observe(histogram, 0.005); /* a bound belongs to its bucket */
  ls_histogram_observe(histogram, 0.25);
  ls_histogram_observe(histogram, 0.5);
  ls_histogram_observe(histogram, 3);
  ls_histogram *second =
      ls_metrics_histogram(metrics, "seconds", "Time.", bounds, 3, LS_LABELS("m", "List"));
  ls_histogram_observe(second, 0);
  assert_text(metrics, HEAD "lockstep_metrics_rejected_total 0\n"
                            "# HELP seconds Time.\n"
                            "# TYPE seconds histogram\n"
                            "seconds_bucket{m=\"Get\",le=\"0.005\"} 1\n"
                            "seconds_bucket{m=\"Get\",le=\"0.1\"} 1\n"
                            "seconds_bucket{m=\"Get\",le=\"2\"} 3\n"
                            "seconds_bucket{m=\"Get\",le=\"+Inf\"} 4\n"
                            "seconds_sum{m=\"Get\"} 3.755\n"
                            "seconds_count{m=\"Get\"} 4\n"
                            "seconds_bucket{m=\"List\",le=\"0.005\"} 1\n"
                            "seconds_bucket{m=\"List\",le=\"0.1\"} 1\n"
                            "seconds_bucket{m=\"List\",le=\"2\"} 1\n"
                            "seconds_bucket{m=\"List\",le=\"+Inf\"} 1\n"
                            "seconds_sum{m=\"List\"} 0\n"
                            "seconds_count{m=\"List\"} 1\n");
  ls_metrics_destroy(metrics);
}

static void text_is_escaped(void **state) {
  (void)state;
  ls_metrics *metrics = ls_metrics_new(0);
  ls_metrics_counter(metrics, "a_total", "Back\\slash, \"quote\",\nline.",
                     LS_LABELS("l", "Back\\slash, \"quote\",\nline."));
  assert_text(metrics, HEAD "lockstep_metrics_rejected_total 0\n"
                            "# HELP a_total Back\\\\slash, \"quote\",\\nline.\n"
                            "# TYPE a_total counter\n"
                            "a_total{l=\"Back\\\\slash, \\\"quote\\\",\\nline.\"} 0\n");
  ls_metrics_destroy(metrics);
}

static double read_number(void *arg) {
  return *(const double *)arg;
}

static void callbacks(void **state) {
  (void)state;
  double lag = 12;
  double sent = 3;
  ls_metrics *metrics = ls_metrics_new(0);
  assert_true(ls_metrics_gauge_callback(metrics, "lag", "L.", NULL, read_number, &lag));
  assert_true(ls_metrics_counter_callback(metrics, "sent_total", "S.", NULL, read_number, &sent));
  assert_text(metrics, HEAD "lockstep_metrics_rejected_total 0\n"
                            "# HELP lag L.\n# TYPE lag gauge\nlag 12\n"
                            "# HELP sent_total S.\n# TYPE sent_total counter\nsent_total 3\n");
  ls_metrics_remove_callbacks(metrics, &lag);
  assert_text(metrics, HEAD "lockstep_metrics_rejected_total 0\n"
                            "# HELP sent_total S.\n# TYPE sent_total counter\nsent_total 3\n");
  assert_true(ls_metrics_gauge_callback(metrics, "lag", "L.", NULL, read_number, &sent));
  assert_text(metrics, HEAD "lockstep_metrics_rejected_total 0\n"
                            "# HELP lag L.\n# TYPE lag gauge\nlag 3\n"
                            "# HELP sent_total S.\n# TYPE sent_total counter\nsent_total 3\n");
  ls_metrics_destroy(metrics);
}

/* A mistake costs the metric, never the caller. */
static void what_is_rejected(void **state) {
  (void)state;
  static const double descending[] = {2, 1};
  ls_log_set_level(LS_LOG_ERROR + 1);
  ls_metrics *metrics = ls_metrics_new(2);
  ls_counter *first = ls_metrics_counter(metrics, "a_total", "A.", LS_LABELS("l", "1"));
  ls_counter_add(first, 1);
  ls_counter_add(ls_metrics_counter(metrics, "", "Bad.", NULL), 5);
  ls_metrics_counter(metrics, "0a", "Bad.", NULL);
  ls_metrics_counter(metrics, "a-b", "Bad.", NULL);
  ls_metrics_counter(metrics, "b_total", "Bad.", LS_LABELS("a:b", "1"));
  ls_metrics_counter(metrics, "b_total", "Bad.", LS_LABELS("__a", "1"));
  ls_metrics_counter(metrics, "b_total", "Bad.", LS_LABELS("a"));
  ls_metrics_counter(metrics, "a_total", "Other labels.", LS_LABELS("m", "1"));
  ls_metrics_counter(metrics, "a_total", "No labels.", NULL);
  ls_gauge_set(ls_metrics_gauge(metrics, "a_total", "Type.", LS_LABELS("l", "1")), 5);
  ls_gauge_set(ls_metrics_gauge(metrics, "a_total", "Type.", LS_LABELS("l", "2")), 5);
  ls_histogram_observe(ls_metrics_histogram(metrics, "h", "H.", descending, 2, NULL), 1);
  ls_metrics_histogram(metrics, "h", "H.", NULL, 0, LS_LABELS("le", "1"));
  ls_metrics_counter(
      metrics, "nine_total", "Too many labels.",
      LS_LABELS("a", "", "b", "", "c", "", "d", "", "e", "", "f", "", "g", "", "h", "", "i", ""));
  ls_counter *second = ls_metrics_counter(metrics, "a_total", "A.", LS_LABELS("l", "2"));
  assert_ptr_not_equal(second, first);
  ls_counter_add(ls_metrics_counter(metrics, "a_total", "A.", LS_LABELS("l", "3")), 1);
  ls_log_set_level(LS_LOG_INFO);
  assert_text(metrics, HEAD "lockstep_metrics_rejected_total 14\n"
                            "# HELP a_total A.\n"
                            "# TYPE a_total counter\n"
                            "a_total{l=\"1\"} 1\n"
                            "a_total{l=\"2\"} 0\n");
  ls_metrics_destroy(metrics);
}

/* The value of a metric without labels in the text. */
static double value_of(const char *text, const char *name) {
  char line[100];
  snprintf(line, sizeof line, "\n%s ", name);
  const char *found = strstr(text, line);
  if (found)
    return strtod(found + strlen(line), NULL);
  fail_msg("no %s", name);
  return 0;
}

static void process_metrics_are_plausible(void **state) {
  (void)state;
  ls_metrics *metrics = ls_metrics_new(0);
  assert_true(ls_metrics_add_process(metrics));
  ls_buffer text = LS_BUFFER_INIT;
  assert_true(ls_metrics_write(metrics, &text));
  double now = (double)time(NULL);
  double start = value_of(text.data, "process_start_time_seconds");
  assert_true(start > now - 3600 && start < now + 2);
  assert_true(value_of(text.data, "process_resident_memory_bytes") > 100000);
  assert_true(value_of(text.data, "process_cpu_seconds_total") >= 0);
  double open_before = value_of(text.data, "process_open_fds");
  assert_true(value_of(text.data, "process_max_fds") >= open_before);
  ls_buffer_clear(&text);
  int extra = dup(STDERR_FILENO);
  assert_true(ls_metrics_write(metrics, &text));
  assert_true(value_of(text.data, "process_open_fds") == open_before + 1);
  close(extra);
  ls_buffer_clear(&text);
  ls_metrics_destroy(metrics);
}

enum { THREADS = 4, ROUNDS = 5000, SERIES = 20 };

static void *count(void *arg) {
  static const double bounds[] = {1};
  ls_metrics *metrics = arg;
  for (int i = 0; i < ROUNDS; i++) {
    char label[16];
    snprintf(label, sizeof label, "%d", i % SERIES);
    ls_counter_add(ls_metrics_counter(metrics, "t_total", "T.", LS_LABELS("l", label)), 1);
    ls_gauge_add(ls_metrics_gauge(metrics, "t", "T.", NULL), 0.5);
    ls_histogram_observe(ls_metrics_histogram(metrics, "th", "T.", bounds, 1, NULL), 2);
  }
  return NULL;
}

static void threads_lose_nothing(void **state) {
  (void)state;
  ls_metrics *metrics = ls_metrics_new(0);
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    assert_true(ls_thread_start(&threads[i], "count", count, metrics, NULL));
  for (int i = 0; i < 20; i++) { /* scrapes meanwhile */
    ls_buffer text = LS_BUFFER_INIT;
    assert_true(ls_metrics_write(metrics, &text));
    ls_buffer_clear(&text);
  }
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  uint64_t sum = 0;
  for (int i = 0; i < SERIES; i++) {
    char label[16];
    snprintf(label, sizeof label, "%d", i);
    sum += ls_counter_value(ls_metrics_counter(metrics, "t_total", "T.", LS_LABELS("l", label)));
  }
  assert_int_equal(sum, THREADS * ROUNDS);
  assert_true(ls_gauge_value(ls_metrics_gauge(metrics, "t", "T.", NULL)) == THREADS * ROUNDS * 0.5);
  ls_buffer text = LS_BUFFER_INIT;
  assert_true(ls_metrics_write(metrics, &text));
  assert_true(value_of(text.data, "th_sum") == THREADS * ROUNDS * 2);
  assert_true(value_of(text.data, "th_count") == THREADS * ROUNDS);
  ls_buffer_clear(&text);
  ls_metrics_destroy(metrics);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(counters_and_labels),
      cmocka_unit_test(gauges),
      cmocka_unit_test(histograms),
      cmocka_unit_test(text_is_escaped),
      cmocka_unit_test(callbacks),
      cmocka_unit_test(what_is_rejected),
      cmocka_unit_test(process_metrics_are_plausible),
      cmocka_unit_test(threads_lose_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
