/* Configurations: what is set, what is refused, what is not told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/kafka/consumer.h"
#include "runtime/kafka/options.h"
#include "runtime/kafka/producer.h"

static void expect_property(const rd_kafka_conf_t *conf, const char *name, const char *expected) {
  char value[256];
  size_t bytes = sizeof value;
  assert_int_equal(rd_kafka_conf_get(conf, name, value, &bytes), RD_KAFKA_CONF_OK);
  assert_string_equal(value, expected);
}

static void test_all_options(void **state) {
  (void)state;
  ls_error error = {0};
  const ls_kafka_options options = {.bootstrap_servers = "a:1,b:2",
                                    .client_id = "order",
                                    .security_protocol = "sasl_plaintext",
                                    .sasl_mechanism = "PLAIN",
                                    .sasl_username = "user",
                                    .sasl_password = "word",
                                    .tls_ca_file = "",
                                    .extra = "socket.nagle.disable=false, retry.backoff.ms=7"};
  rd_kafka_conf_t *conf = ls_kafka_conf_new(&options, &error);
  assert_non_null(conf);
  expect_property(conf, "bootstrap.servers", "a:1,b:2");
  expect_property(conf, "client.id", "order");
  expect_property(conf, "security.protocol", "sasl_plaintext");
  expect_property(conf, "sasl.mechanism", "PLAIN");
  expect_property(conf, "sasl.username", "user");
  expect_property(conf, "sasl.password", "word");
  expect_property(conf, "socket.nagle.disable", "false"); /* extra wins over the default */
  expect_property(conf, "socket.keepalive.enable", "true");
  expect_property(conf, "retry.backoff.ms", "7");
  rd_kafka_conf_destroy(conf);
}

static void test_defaults(void **state) {
  (void)state;
  rd_kafka_conf_t *conf = ls_kafka_conf_new(&(ls_kafka_options){.bootstrap_servers = "a:1"}, NULL);
  assert_non_null(conf);
  expect_property(conf, "socket.nagle.disable", "true");
  expect_property(conf, "statistics.interval.ms", "0");
  rd_kafka_conf_destroy(conf);
}

static void expect_refused(const ls_kafka_options *options, const char *text) {
  ls_error error = {0};
  assert_null(ls_kafka_conf_new(options, &error));
  assert_int_equal(error.code, LS_INVALID_ARGUMENT);
  assert_false(error.retriable);
  if (!strstr(error.message, text))
    fail_msg("expected \"%s\" in: %s", text, error.message);
  assert_null(strstr(error.message, "geheim"));
}

static void test_refused(void **state) {
  (void)state;
  expect_refused(&(ls_kafka_options){0}, "bootstrap servers");
  expect_refused(&(ls_kafka_options){.bootstrap_servers = ""}, "bootstrap servers");
  expect_refused(
      &(ls_kafka_options){.bootstrap_servers = "a:1", .security_protocol = "carrier_pigeon"},
      "security.protocol");
  expect_refused(&(ls_kafka_options){.bootstrap_servers = "a:1", .extra = "no.such=geheim"},
                 "no such Kafka property \"no.such\"");
  expect_refused(&(ls_kafka_options){.bootstrap_servers = "a:1", .extra = "retries=geheim"},
                 "\"retries\"");
  expect_refused(&(ls_kafka_options){.bootstrap_servers = "a:1", .extra = "geheim"},
                 "property=value");
  expect_refused(&(ls_kafka_options){.bootstrap_servers = "a:1", .extra = "=geheim"},
                 "property=value");
  expect_refused(
      &(ls_kafka_options){.bootstrap_servers = "a:1", .sasl_password_file = "/not/there"},
      "/not/there");
}

static void test_password_file(void **state) {
  (void)state;
  char path[] = "/tmp/lockstep_kafka_options_XXXXXX";
  int descriptor = mkstemp(path);
  assert_true(descriptor >= 0);
  assert_int_equal(write(descriptor, "secret word\n", 12), 12);
  close(descriptor);
  rd_kafka_conf_t *conf = ls_kafka_conf_new(
      &(ls_kafka_options){.bootstrap_servers = "a:1", .sasl_password_file = path}, NULL);
  unlink(path);
  assert_non_null(conf);
  expect_property(conf, "sasl.password", "secret word");
  rd_kafka_conf_destroy(conf);
}

/* What correctness needs cannot be switched off from outside; what contradicts it is refused. */
static void test_clients_refuse(void **state) {
  (void)state;
  ls_error error = {0};
  const ls_kafka_options contradicting = {.bootstrap_servers = "127.0.0.1:1",
                                          .extra = "max.in.flight=1000"};
  assert_null(ls_kafka_producer_new(&contradicting, NULL, NULL, NULL, &error));
  assert_int_equal(error.code, LS_INVALID_ARGUMENT);
  const ls_kafka_options overridden = {.bootstrap_servers = "127.0.0.1:1",
                                       .extra = "enable.idempotence=false,acks=0"};
  ls_kafka_producer *producer = ls_kafka_producer_new(&overridden, NULL, NULL, NULL, &error);
  assert_non_null(producer);
  expect_property(rd_kafka_conf(ls_kafka_producer_handle(producer)), "enable.idempotence", "true");
  ls_kafka_producer_destroy(producer);
  assert_null(ls_kafka_producer_new(&overridden, &(ls_kafka_producer_options){.compression = "rar"},
                                    NULL, NULL, &error));
  assert_int_equal(error.code, LS_INVALID_ARGUMENT);

  const ls_kafka_options plain = {.bootstrap_servers = "127.0.0.1:1"};
  const char *const topics[] = {"t"};
  assert_null(ls_kafka_consumer_new(
      &plain, &(ls_kafka_consumer_options){.topics = topics, .topic_count = 1}, &error));
  assert_int_equal(error.code, LS_INVALID_ARGUMENT);
  assert_null(ls_kafka_consumer_new(&plain, &(ls_kafka_consumer_options){.group_id = "g"}, &error));
  assert_int_equal(error.code, LS_INVALID_ARGUMENT);
}

static void expect_meaning(rd_kafka_resp_err_t from, ls_code code, bool retriable,
                           const char *source) {
  ls_error error = {0};
  assert_false(ls_kafka_error_set(&error, from, NULL));
  assert_int_equal(error.code, code);
  assert_int_equal(error.retriable, retriable);
  assert_string_equal(error.source, source);
  assert_true(error.message[0] != '\0');
}

static void test_errors(void **state) {
  (void)state;
  expect_meaning(RD_KAFKA_RESP_ERR__TRANSPORT, LS_UNAVAILABLE, true, "_TRANSPORT");
  expect_meaning(RD_KAFKA_RESP_ERR__PARTITION_EOF, LS_OUT_OF_RANGE, true, "_PARTITION_EOF");
  expect_meaning(RD_KAFKA_RESP_ERR__QUEUE_FULL, LS_RESOURCE_EXHAUSTED, true, "_QUEUE_FULL");
  expect_meaning(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, LS_OUT_OF_RANGE, false,
                 "MSG_SIZE_TOO_LARGE");
  expect_meaning(RD_KAFKA_RESP_ERR__FATAL, LS_FAILED_PRECONDITION, false, "_FATAL");
  expect_meaning(RD_KAFKA_RESP_ERR_INVALID_MSG, LS_INTERNAL, false, "INVALID_MSG");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all_options),    cmocka_unit_test(test_defaults),
      cmocka_unit_test(test_refused),        cmocka_unit_test(test_password_file),
      cmocka_unit_test(test_clients_refuse), cmocka_unit_test(test_errors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
