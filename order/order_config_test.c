/* The configuration's table, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "order/order_config.h"

/* Parses these flags, NULL at the end, without an environment. */
static order_config parse(char *const *flags, bool succeeds) {
  char *arguments[8] = {(char *)"order-service"};
  int count = 1;
  for (; flags[count - 1] != NULL; count++)
    arguments[count] = flags[count - 1];
  order_config config;
  int action = 0;
  ls_error error = {0};
  bool done = ls_config_parse(order_options, order_option_count, &order_program, count, arguments,
                              &config, &action, &error);
  if (done != succeeds)
    fail_msg("%s", done ? "accepted" : error.message);
  return config;
}

static void clear(order_config *config) {
  ls_config_clear(order_options, order_option_count, config);
}

static int no_environment(void **state) {
  (void)state;
  for (size_t i = 0; i < order_option_count; i++)
    if (order_options[i].env != NULL)
      unsetenv(order_options[i].env);
  return 0;
}

static void the_defaults_make_a_configuration(void **state) {
  (void)state;
  order_config config = parse((char *[]){NULL}, true);
  assert_string_equal(config.listen_address, "0.0.0.0:50051");
  assert_string_equal(config.domain_topic, "order-topic");
  assert_int_equal(config.write_batch, 256);
  assert_int_equal(config.shutdown_grace_ms, 10000);
  assert_int_equal(config.request_id_retention_ms, INT64_C(48) * 3600 * 1000);
  assert_true(config.migrate_on_start);
  ls_kafka_options kafka = order_config_kafka(&config);
  assert_string_equal(kafka.bootstrap_servers, "127.0.0.1:9092");
  assert_null(kafka.sasl_username);
  assert_false(order_config_tls(&config).enabled);
  clear(&config);
}

static void what_cannot_be_is_refused(void **state) {
  (void)state;
  static char *const cases[][2] = {
      {(char *)"--write-threads=0", NULL},
      {(char *)"--shutdown-grace=10", NULL},
      {(char *)"--request-id-retention=1h", NULL}, /* clients were promised 24 hours */
      {(char *)"--tls-key-file=/nowhere/key.pem", NULL},
      {(char *)"--pg-password=secret", NULL}, /* everybody would see it */
      {(char *)"--log-level=loud", NULL},
      {(char *)"--no-such-flag", NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    parse(cases[i], false);
}

static void libpq_gets_what_was_set_and_only_that(void **state) {
  (void)state;
  order_config config =
      parse((char *[]){(char *)"--pg-host=db", (char *)"--pg-user=it's \\ me", NULL}, true);
  char *conninfo = NULL;
  ls_pg_options options;
  assert_true(order_config_database(&config, &conninfo, &options));
  assert_string_equal(conninfo, "host='db' user='it\\'s \\\\ me'");
  assert_ptr_equal(options.conninfo, conninfo);
  assert_null(options.password);
  free(conninfo);
  clear(&config);
}

static void secrets_come_from_the_environment(void **state) {
  (void)state;
  setenv("PGPASSWORD", "secret", 1);
  order_config config = parse((char *[]){NULL}, true);
  unsetenv("PGPASSWORD");
  char *conninfo = NULL;
  ls_pg_options options;
  assert_true(order_config_database(&config, &conninfo, &options));
  assert_string_equal(options.password, "secret");
  assert_null(strstr(conninfo, "secret"));
  free(conninfo);
  clear(&config);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_defaults_make_a_configuration),
      cmocka_unit_test(what_cannot_be_is_refused),
      cmocka_unit_test(libpq_gets_what_was_set_and_only_that),
      cmocka_unit_test(secrets_come_from_the_environment),
  };
  return cmocka_run_group_tests_name("order_config", tests, no_environment, NULL);
}
