/* The schema of the test's own, and shorthands. */
#include "runtime/postgres/postgres_test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char schema[64];

void expect_done(bool done, const ls_error *error) {
  if (!done)
    fail_msg("%s [%s]: %s", ls_code_name(error->code), error->source, error->message);
}

ls_pg_connection *test_connect(const ls_pg_options *options) {
  ls_error error = {0};
  ls_pg_options copy = options ? *options : (ls_pg_options){0};
  char conninfo[128];
  (void)snprintf(conninfo, sizeof conninfo, "options='-c search_path=%s'", schema);
  copy.conninfo = conninfo;
  copy.application_name = "lockstep postgres_test";
  ls_pg_connection *connection = ls_pg_connect(&copy, &error);
  expect_done(connection != NULL, &error);
  return connection;
}

void test_sql(ls_pg_connection *connection, const char *sql) {
  ls_error error = {0};
  expect_done(ls_pg_exec_sql(connection, sql, &error), &error);
}

int64_t test_query_int8(ls_pg_connection *connection, const char *sql) {
  ls_error error = {0};
  /* Statements are known by their address, and queries here differ: a connection-lifetime copy
   * would be needed for each, so the value goes through a table instead. */
  static const ls_pg_statement read_value = {
      .name = "read_value", .sql = "SELECT value FROM test_value", .columns = {LS_PG_INT8}};
  char text[1024];
  (void)snprintf(
      text, sizeof text,
      "DROP TABLE IF EXISTS test_value; CREATE TABLE test_value AS SELECT (%s)::bigint AS value",
      sql);
  test_sql(connection, text);
  ls_pg_result *result = NULL;
  expect_done(ls_pg_exec(connection, &read_value, NULL, &result, &error), &error);
  assert_int_equal(ls_pg_row_count(result), 1);
  int64_t value = ls_pg_get_int8(result, 0, 0);
  ls_pg_result_destroy(result);
  return value;
}

int test_schema_setup(void **state) {
  (void)state;
  (void)snprintf(schema, sizeof schema, "postgres_test_%ld", (long)getpid());
  char sql[160];
  (void)snprintf(sql, sizeof sql, "CREATE SCHEMA %s", schema);
  ls_pg_connection *connection = test_connect(NULL);
  test_sql(connection, sql);
  ls_pg_connection_destroy(connection);
  return 0;
}

int test_schema_teardown(void **state) {
  (void)state;
  char sql[160];
  (void)snprintf(sql, sizeof sql, "SET client_min_messages = error; DROP SCHEMA %s CASCADE",
                 schema);
  ls_pg_connection *connection = test_connect(NULL);
  test_sql(connection, sql);
  ls_pg_connection_destroy(connection);
  return 0;
}
