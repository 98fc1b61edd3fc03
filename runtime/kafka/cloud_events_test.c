/* Headers there, and what foreign ones are read as. Reading back what was written is part of
 * consumer_test, over a broker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/kafka/cloud_events.h"

static void expect_header(const rd_kafka_headers_t *headers, const char *name,
                          const char *expected) {
  const void *value = NULL;
  size_t bytes = 0;
  assert_int_equal(rd_kafka_header_get_last(headers, name, &value, &bytes), 0);
  assert_int_equal(bytes, strlen(expected));
  assert_memory_equal(value, expected, bytes);
}

static void test_all_attributes(void **state) {
  (void)state;
  const ls_cloud_event event = {.id = "id-1",
                                .source = "/order",
                                .type = "order.v1.created",
                                .subject = "42",
                                .trace_parent =
                                    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                .time_us = INT64_C(1709210096123456)};
  rd_kafka_headers_t *headers = ls_cloud_event_headers(&event, NULL);
  assert_non_null(headers);
  assert_int_equal(rd_kafka_header_cnt(headers), 8);
  expect_header(headers, "ce_specversion", "1.0");
  expect_header(headers, "ce_id", "id-1");
  expect_header(headers, "ce_source", "/order");
  expect_header(headers, "ce_type", "order.v1.created");
  expect_header(headers, "ce_subject", "42");
  expect_header(headers, "ce_time", "2024-02-29T12:34:56.123456Z");
  expect_header(headers, "content-type", "application/protobuf");
  expect_header(headers, "traceparent", event.trace_parent);
  rd_kafka_headers_destroy(headers);
}

static void test_absent_attributes(void **state) {
  (void)state;
  size_t bytes = 0;
  rd_kafka_headers_t *headers =
      ls_cloud_event_headers(&(ls_cloud_event){.id = "x", .content_type = "text/plain"}, &bytes);
  assert_non_null(headers);
  assert_int_equal(rd_kafka_header_cnt(headers), 3);
  assert_int_equal(bytes, strlen("ce_specversion1.0ce_idxcontent-typetext/plain"));
  expect_header(headers, "content-type", "text/plain");
  rd_kafka_headers_destroy(headers);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_attributes),
      cmocka_unit_test(test_absent_attributes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
