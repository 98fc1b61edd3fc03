/* The configuration's table, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
  assert_string_equal(config.operations_address, "");
  assert_int_equal(config.action_timeout_ms, 60000);
  assert_int_equal(config.topic_retention_ms, 0);
  assert_int_equal(config.topic_min_insync_replicas, 0);
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
      {(char *)"--topic-retention=8761h", NULL},
      {(char *)"--topic-min-insync-replicas=101", NULL},
      {(char *)"--action-timeout=2h", NULL},
      {(char *)"--no-such-flag", NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    parse(cases[i], false);
}

static void replicas_in_sync_are_no_more_than_there_are(void **state) {
  (void)state;
  static const struct {
    const char *replication;
    const char *in_sync;
    bool is_good;
  } cases[] = {
      {"--topic-replication=3", "--topic-min-insync-replicas=2", true},
      {"--topic-replication=3", "--topic-min-insync-replicas=3", true},
      {"--topic-replication=3", "--topic-min-insync-replicas=4", false},
      {"--topic-replication=1", "--topic-min-insync-replicas=0", true},
      /* The cluster's default is the cluster's to know. */
      {"--topic-replication=0", "--topic-min-insync-replicas=4", true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    ls_error error = {0};
    order_config config = parse((char *[]){(char *)(uintptr_t)cases[i].replication,
                                           (char *)(uintptr_t)cases[i].in_sync, NULL},
                                true);
    assert_int_equal(order_config_check(&config, &error), cases[i].is_good);
    assert_int_equal(error.code, cases[i].is_good ? LS_OK : LS_INVALID_ARGUMENT);
    clear(&config);
  }
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

static void the_paths_of_secrets_are_handed_on(void **state) {
  (void)state;
  char path[] = "/tmp/lockstep_order_config_XXXXXX";
  int descriptor = mkstemp(path);
  assert_true(descriptor >= 0);
  close(descriptor);
  setenv("PGPASSWORD_FILE", path, 1);
  setenv("KAFKA_SASL_PASSWORD_FILE", path, 1);
  order_config config = parse((char *[]){NULL}, true);
  unsetenv("PGPASSWORD_FILE");
  unsetenv("KAFKA_SASL_PASSWORD_FILE");
  unlink(path);
  char *conninfo = NULL;
  ls_pg_options options;
  assert_true(order_config_database(&config, &conninfo, &options));
  assert_string_equal(options.password_file, path);
  assert_string_equal(order_config_kafka(&config).sasl_password_file, path);
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
  assert_null(options.password_file);
  assert_null(strstr(conninfo, "secret"));
  free(conninfo);
  clear(&config);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_defaults_make_a_configuration),
      cmocka_unit_test(what_cannot_be_is_refused),
      cmocka_unit_test(replicas_in_sync_are_no_more_than_there_are),
      cmocka_unit_test(the_paths_of_secrets_are_handed_on),
      cmocka_unit_test(libpq_gets_what_was_set_and_only_that),
      cmocka_unit_test(secrets_come_from_the_environment),
  };
  return cmocka_run_group_tests_name("order_config", tests, no_environment, NULL);
}
