/* The producer against the mock cluster: what is delivered, what is refused, what fails. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/clock.h"
#include "runtime/kafka/mock_cluster.h"
#include "runtime/kafka/producer.h"

#define DEADLINE_MS 20000

/* What the delivery callback was told. */
typedef struct deliveries {
  size_t acknowledged;
  size_t failed;
  ls_error error;    /* the last failure */
  int32_t partition; /* of the last one */
  void *opaque;
} deliveries;

static void on_delivery(const ls_kafka_delivery *delivery, void *arg) {
  deliveries *seen = arg;
  seen->opaque = delivery->opaque;
  seen->partition = delivery->partition;
  if (delivery->error) {
    seen->failed++;
    seen->error = *delivery->error;
  } else {
    seen->acknowledged++;
  }
}

static int make_cluster(void **state) {
  *state = mock_cluster_new();
  mock_cluster_create_topic(*state, "t", 7);
  return 0;
}

static int destroy_cluster(void **state) {
  mock_cluster_destroy(*state);
  return 0;
}

static ls_kafka_producer *
make_producer(mock_cluster *mock, const ls_kafka_producer_options *options, deliveries *seen) {
  ls_error error = {0};
  ls_kafka_producer *producer =
      ls_kafka_producer_new(&mock->options, options, on_delivery, seen, &error);
  if (!producer)
    fail_msg("%s", error.message);
  return producer;
}

static void expect_flushed(ls_kafka_producer *producer) {
  ls_error error = {0};
  if (!ls_kafka_producer_flush(producer, DEADLINE_MS, &error))
    fail_msg("%s", error.message);
}

static ls_kafka_record text_record(const char *key, const char *value) {
  return (ls_kafka_record){.topic = "t",
                           .key = key,
                           .key_bytes = strlen(key),
                           .value = value,
                           .value_bytes = value ? strlen(value) : 0};
}

static void test_partitions_are_the_java_clients(void **state) {
  /* Hashes as the Java client's own tests state them. */
  const struct {
    const char *key;
    int32_t hash;
  } known[] = {{"21", -973932308},
               {"foobar", -790332482},
               {"a-little-bit-long-string", -985981536},
               {"a-little-bit-longer-string", -1486304829}};
  deliveries seen = {0};
  int opaque = 0;
  ls_kafka_producer *producer = make_producer(*state, NULL, &seen);
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    ls_kafka_record record = text_record(known[i].key, "value");
    record.opaque = &opaque;
    assert_true(ls_kafka_produce(producer, &record, NULL));
    assert_int_equal(ls_kafka_producer_in_flight(producer), 1);
    expect_flushed(producer);
    assert_int_equal(seen.acknowledged, i + 1);
    assert_int_equal(seen.partition, (known[i].hash & INT32_MAX) % 7);
    assert_ptr_equal(seen.opaque, &opaque);
  }
  assert_int_equal(ls_kafka_producer_in_flight(producer), 0);
  ls_kafka_producer_destroy(producer);
  assert_int_equal(seen.failed, 0);
}

static void test_too_large(void **state) {
  deliveries seen = {0};
  ls_error error = {0};
  char value[2000];
  ls_kafka_producer *producer =
      make_producer(*state, &(ls_kafka_producer_options){.message_max_bytes = 1000}, &seen);
  memset(value, 'x', sizeof value);
  ls_kafka_record record = {.topic = "t", .value = value, .value_bytes = sizeof value};
  assert_false(ls_kafka_produce(producer, &record, &error));
  assert_int_equal(error.code, LS_OUT_OF_RANGE);
  assert_false(error.retriable);
  record.value_bytes = 100;
  assert_true(ls_kafka_produce(producer, &record, &error));
  expect_flushed(producer);
  assert_int_equal(seen.acknowledged, 1);
  ls_kafka_producer_destroy(producer);
}

static void test_queue_full_and_purge(void **state) {
  mock_cluster *mock = *state;
  deliveries seen = {0};
  ls_error error = {0};
  rd_kafka_mock_broker_set_down(mock->cluster, 1);
  ls_kafka_producer *producer =
      make_producer(mock, &(ls_kafka_producer_options){.queue_messages = 10}, &seen);
  ls_kafka_record record = text_record("k", "v");
  for (int i = 0; i < 10; i++)
    assert_true(ls_kafka_produce(producer, &record, &error));
  record.headers = rd_kafka_headers_new(1);
  assert_false(ls_kafka_produce(producer, &record, &error));
  assert_int_equal(error.code, LS_RESOURCE_EXHAUSTED);
  assert_true(error.retriable);
  rd_kafka_headers_destroy(record.headers); /* still the caller's */

  assert_false(ls_kafka_producer_flush(producer, 10, &error));
  assert_int_equal(error.code, LS_DEADLINE_EXCEEDED);
  ls_kafka_producer_purge(producer);
  assert_int_equal(seen.failed, 10);
  assert_int_equal(seen.error.code, LS_CANCELLED);
  assert_int_equal(ls_kafka_producer_in_flight(producer), 0);

  record.headers = NULL;
  assert_true(ls_kafka_produce(producer, &record, &error));
  ls_kafka_producer_destroy(producer); /* reports what it gives up */
  assert_int_equal(seen.failed, 11);
  assert_int_equal(seen.acknowledged, 0);
}

static void expect_failure(mock_cluster *mock, rd_kafka_resp_err_t injected, ls_code expected) {
  deliveries seen = {0};
  ls_error error = {0};
  ls_kafka_producer *producer = make_producer(mock, NULL, &seen);
  rd_kafka_mock_push_request_errors(mock->cluster, MOCK_PRODUCE, 1, injected);
  ls_kafka_record record = text_record("k", "v");
  assert_true(ls_kafka_produce(producer, &record, &error));
  expect_flushed(producer);
  assert_int_equal(seen.failed, 1);
  assert_int_equal(seen.error.code, expected);
  assert_false(seen.error.retriable);
  assert_false(ls_kafka_producer_is_fatal(producer, &error));
  if (expected == LS_PERMISSION_DENIED) {
    /* Remembered for the topic, until its metadata is read again. */
    assert_false(ls_kafka_produce(producer, &record, &error));
    assert_int_equal(error.code, LS_PERMISSION_DENIED);
  } else {
    assert_true(ls_kafka_produce(producer, &record, &error));
    expect_flushed(producer);
    assert_int_equal(seen.acknowledged, 1);
  }
  ls_kafka_producer_destroy(producer);
}

static void test_delivery_failures(void **state) {
  expect_failure(*state, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, LS_OUT_OF_RANGE);
  expect_failure(*state, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, LS_PERMISSION_DENIED);
}

static void test_passing_errors_are_retried(void **state) {
  mock_cluster *mock = *state;
  deliveries seen = {0};
  ls_kafka_producer *producer = make_producer(mock, NULL, &seen);
  rd_kafka_mock_push_request_errors(mock->cluster, MOCK_PRODUCE, 2,
                                    RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                    RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT);
  ls_kafka_record record = text_record("k", "v");
  assert_true(ls_kafka_produce(producer, &record, NULL));
  expect_flushed(producer);
  assert_int_equal(seen.acknowledged, 1);
  assert_int_equal(seen.failed, 0);
  ls_kafka_producer_destroy(producer);
}

static void test_timeout(void **state) {
  mock_cluster *mock = *state;
  deliveries seen = {0};
  rd_kafka_mock_broker_set_down(mock->cluster, 1);
  ls_kafka_producer *producer =
      make_producer(mock, &(ls_kafka_producer_options){.message_timeout_ms = 200}, &seen);
  ls_kafka_record record = text_record("k", "v");
  assert_true(ls_kafka_produce(producer, &record, NULL));
  expect_flushed(producer);
  assert_int_equal(seen.failed, 1);
  assert_int_equal(seen.error.code, LS_UNAVAILABLE);
  assert_true(seen.error.retriable);
  ls_kafka_producer_destroy(producer);
}

static void test_wake(void **state) {
  deliveries seen = {0};
  int descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  assert_true(descriptor >= 0);
  ls_kafka_producer *producer = make_producer(*state, NULL, &seen);
  ls_kafka_producer_wake_by(producer, descriptor);
  for (size_t round = 1; round <= 3; round++) {
    ls_kafka_record record = text_record("k", "v");
    assert_true(ls_kafka_produce(producer, &record, NULL));
    int64_t deadline_ms = ls_clock_monotonic_ms() + DEADLINE_MS;
    while (seen.acknowledged < round && ls_clock_monotonic_ms() < deadline_ms) {
      struct pollfd wake = {.fd = descriptor, .events = POLLIN};
      assert_int_equal(poll(&wake, 1, DEADLINE_MS), 1);
      uint64_t count = 0;
      assert_int_equal(read(descriptor, &count, sizeof count), sizeof count);
      while (ls_kafka_producer_poll(producer, 0) > 0)
        ;
    }
    assert_int_equal(seen.acknowledged, round);
  }
  ls_kafka_producer_destroy(producer);
  close(descriptor);
}

static void test_fatal(void **state) {
  deliveries seen = {0};
  ls_error error = {0};
  ls_kafka_producer *producer = make_producer(*state, NULL, &seen);
  assert_false(ls_kafka_producer_is_fatal(producer, &error));
  rd_kafka_test_fatal_error(ls_kafka_producer_handle(producer),
                            RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "made up");
  assert_true(ls_kafka_producer_is_fatal(producer, &error));
  assert_int_equal(error.code, LS_FAILED_PRECONDITION);
  assert_false(error.retriable);
  assert_string_equal(error.source, "OUT_OF_ORDER_SEQUENCE_NUMBER");
  ls_kafka_record record = text_record("k", "v");
  assert_false(ls_kafka_produce(producer, &record, &error));
  assert_int_equal(error.code, LS_FAILED_PRECONDITION);
  ls_kafka_producer_destroy(producer);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_partitions_are_the_java_clients, make_cluster,
                                      destroy_cluster),
      cmocka_unit_test_setup_teardown(test_too_large, make_cluster, destroy_cluster),
      cmocka_unit_test_setup_teardown(test_queue_full_and_purge, make_cluster, destroy_cluster),
      cmocka_unit_test_setup_teardown(test_delivery_failures, make_cluster, destroy_cluster),
      cmocka_unit_test_setup_teardown(test_passing_errors_are_retried, make_cluster,
                                      destroy_cluster),
      cmocka_unit_test_setup_teardown(test_timeout, make_cluster, destroy_cluster),
      cmocka_unit_test_setup_teardown(test_wake, make_cluster, destroy_cluster),
      cmocka_unit_test_setup_teardown(test_fatal, make_cluster, destroy_cluster),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
