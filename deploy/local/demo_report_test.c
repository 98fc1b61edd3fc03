/* Tests of what the demo computes and says: percentiles, table, sentences, JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "deploy/local/demo_figures.h"
#include "deploy/local/demo_report.h"

/* Four cases with round figures. */
static void fill_cases(demo_figures cases[static DEMO_CASES]) {
  for (int i = 0; i < DEMO_CASES; i++) {
    bool full = demo_case_is_full((demo_case)i), domain = demo_case_is_domain((demo_case)i);
    cases[i] = (demo_figures){.which = (demo_case)i,
                              .orders = 2000,
                              .writes = 3000,
                              .events = 3000,
                              .kafka_bytes = full ? 1200000 : 300000,
                              .lookups = full ? 0 : 30,
                              .lookup_ids = full ? 0 : 2400,
                              .overtaken = domain ? 0 : 60,
                              .duplicates = 1,
                              .stale = domain ? 10 : 70,
                              .elapsed_us = 2000000,
                              .visible_p50_ms = 4 + i,
                              .visible_p99_ms = 40 + i,
                              .in_step = true};
  }
}

static void assert_contains(const ls_buffer *text, const char *part) {
  assert_false(text->failed);
  if (strstr(text->data, part) == NULL)
    fail_msg("\"%s\" is not in:\n%s", part, text->data);
}

static void assert_lacks(const ls_buffer *text, const char *part) {
  if (strstr(text->data, part) != NULL)
    fail_msg("\"%s\" is in:\n%s", part, text->data);
}

static void percentiles_are_of_the_nearest_rank(void **state) {
  (void)state;
  int64_t durations_us[] = {5000, 1000, 4000, 2000, 3000};
  assert_true(demo_percentile_ms(durations_us, 5, 50) == 3);
  assert_true(demo_percentile_ms(durations_us, 5, 99) == 5);
  assert_true(demo_percentile_ms(durations_us, 5, 100) == 5);
  assert_true(demo_percentile_ms(durations_us, 5, 20) == 1);
  assert_true(demo_percentile_ms(durations_us, 5, 20.1) == 2);
  assert_true(demo_percentile_ms(durations_us, 4, 50) == 2);
  assert_true(demo_percentile_ms(durations_us, 1, 1) == 1);
  assert_true(demo_percentile_ms(durations_us, 0, 50) < 0);
}

static void rates_need_a_time(void **state) {
  (void)state;
  assert_true(demo_events_per_second(&(demo_figures){.events = 500, .elapsed_us = 250000}) == 2000);
  assert_true(demo_events_per_second(&(demo_figures){.events = 500}) == 0);
  assert_true(demo_ratio(1, 4) == 0.25);
  assert_true(demo_ratio(1, 0) == 0);
}

static void the_table_is_aligned_and_narrow(void **state) {
  (void)state;
  demo_figures cases[DEMO_CASES];
  fill_cases(cases);
  cases[0].kafka_bytes = 1234567890;
  cases[1].visible_p50_ms = -1;
  ls_buffer text = LS_BUFFER_INIT;
  demo_report_table(cases, DEMO_CASES, &text);
  assert_contains(&text, "1,234,567,890");
  assert_contains(&text, "0.80");
  size_t lines = 0, width = 0;
  for (char *line = text.data; *line != '\0'; lines++) {
    size_t length = strcspn(line, "\n");
    assert_true(length <= 100);
    if (lines == 0)
      width = length;
    assert_int_equal(length, width);
    if (strncmp(line, "visible after, p50 ms", 21) == 0) /* the second case was not measured */
      assert_memory_equal(line + width - 2 * 17 - 3, "  -", 3);
    line += length + 1;
  }
  assert_true(lines > 10);
  ls_buffer_clear(&text);
}

static void sentences_follow_from_the_figures(void **state) {
  (void)state;
  demo_figures cases[DEMO_CASES];
  fill_cases(cases);
  ls_buffer text = LS_BUFFER_INIT;
  demo_report_sentences(cases, DEMO_CASES, &text);
  assert_contains(&text, "Zero payload sent 4.0 times fewer bytes an event over Kafka than full "
                         "payload (100, not 400)");
  assert_contains(&text, "0.80 lookups an event");
  assert_contains(&text, "in calls of 80.0 orders each; full payload needed none.");
  assert_contains(&text, "topic per event 120 events (2.0 %) came after a newer one");
  assert_contains(&text, "domain topic 0 (0.0 %); all 8,000 deliveries equal their orders.");
  assert_contains(&text, "within 4.0 ms of their answer (full payload, domain topic)\nto 7.0 ms "
                         "(zero payload, topic per event).");
  ls_buffer_clear(&text);
}

static void sentences_turn_with_the_figures(void **state) {
  (void)state;
  demo_figures cases[DEMO_CASES];
  fill_cases(cases);
  cases[DEMO_ZERO_DOMAIN].kafka_bytes = cases[DEMO_ZERO_PER_EVENT].kafka_bytes = 2400000;
  cases[DEMO_FULL_DOMAIN].lookup_ids = 300;
  cases[DEMO_FULL_DOMAIN].mismatches = 3;
  cases[DEMO_FULL_PER_EVENT].overtaken = cases[DEMO_ZERO_PER_EVENT].overtaken = 0;
  ls_buffer text = LS_BUFFER_INIT;
  demo_report_sentences(cases, DEMO_CASES, &text);
  assert_contains(&text, "2.0 times more bytes");
  assert_contains(&text, "full payload needed 0.05.");
  assert_contains(&text, "No event came after a newer one of its order");
  assert_contains(&text, "per event; 3 of 8,000 deliveries do not equal their orders.");
  assert_lacks(&text, "equal their orders.\nAll");
  ls_buffer_clear(&text);
}

static void one_case_is_compared_with_nothing(void **state) {
  (void)state;
  demo_figures cases[DEMO_CASES];
  fill_cases(cases);
  ls_buffer text = LS_BUFFER_INIT;
  demo_report_sentences(&cases[DEMO_ZERO_DOMAIN], 1, &text);
  assert_contains(&text, "All 2,000 deliveries equal their orders.");
  assert_contains(&text, "within 6.0 ms of their answer (zero payload, domain topic).\n");
  assert_lacks(&text, "times");
  assert_lacks(&text, "topic per event");
  ls_buffer_clear(&text);
}

static void json_has_the_agreed_fields(void **state) {
  (void)state;
  demo_figures cases[DEMO_CASES];
  fill_cases(cases);
  cases[DEMO_FULL_PER_EVENT].visible_p50_ms = cases[DEMO_FULL_PER_EVENT].visible_p99_ms = -1;
  ls_buffer text = LS_BUFFER_INIT;
  demo_report_json(cases, 2, "a \"b\\\n", &text);
  assert_false(text.failed);
  assert_string_equal(
      text.data,
      "{\"broker\": \"a \\\"b\\\\\\u000a\", \"cases\": [\n"
      "  {\"payload\": \"full\", \"topics\": \"domain\", \"orders\": 2000, \"events\": 3000, "
      "\"lookups\": 0, \"lookup_ids\": 0, \"kafka_bytes\": 1200000, "
      "\"events_per_second\": 1500.000, \"visible_p50_ms\": 4.000, \"visible_p99_ms\": 40.000, "
      "\"overtaken\": 0, \"duplicates\": 1, \"stale\": 10, \"mismatches\": 0},\n"
      "  {\"payload\": \"full\", \"topics\": \"per_event\", \"orders\": 2000, \"events\": 3000, "
      "\"lookups\": 0, \"lookup_ids\": 0, \"kafka_bytes\": 1200000, "
      "\"events_per_second\": 1500.000, \"visible_p50_ms\": null, \"visible_p99_ms\": null, "
      "\"overtaken\": 60, \"duplicates\": 1, \"stale\": 70, \"mismatches\": 0}\n"
      "]}\n");
  ls_buffer_clear(&text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(percentiles_are_of_the_nearest_rank),
      cmocka_unit_test(rates_need_a_time),
      cmocka_unit_test(the_table_is_aligned_and_narrow),
      cmocka_unit_test(sentences_follow_from_the_figures),
      cmocka_unit_test(sentences_turn_with_the_figures),
      cmocka_unit_test(one_case_is_compared_with_nothing),
      cmocka_unit_test(json_has_the_agreed_fields),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
