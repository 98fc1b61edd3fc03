/* Batches: several statements in one round trip and one transaction. */
#include <stdlib.h>
#include <string.h>

#include "runtime/postgres/postgres_test_support.h"

static const ls_pg_statement insert_one = {
    .name = "batch_insert",
    .sql = "INSERT INTO batch_rows (id) VALUES ($1) RETURNING id",
    .columns = {LS_PG_INT8}};
static const ls_pg_statement count_all = {
    .name = "batch_count", .sql = "SELECT count(*) FROM batch_rows", .columns = {LS_PG_INT8}};
static const ls_pg_statement wide_row = {
    .name = "batch_wide", .sql = "SELECT repeat('x', 100000) || $1", .columns = {LS_PG_TEXT}};

static int connect_one(void **state) {
  *state = test_connect(NULL);
  test_sql(*state, "DROP TABLE IF EXISTS batch_rows; CREATE TABLE batch_rows (id bigint UNIQUE)");
  return 0;
}

static int destroy_one(void **state) {
  ls_pg_connection_destroy(*state);
  return 0;
}

static ls_pg_params *int8_params(int64_t value) {
  ls_pg_params *params = ls_pg_params_new();
  assert_non_null(params);
  ls_pg_params_int8(params, value);
  return params;
}

static void test_success(void **state) {
  ls_pg_connection *connection = *state;
  ls_error error = {0};
  ls_pg_params *first = int8_params(1), *second = int8_params(2);
  ls_pg_batch_item items[] = {{.statement = &insert_one, .params = first},
                              {.statement = &count_all},
                              {.statement = &insert_one, .params = second},
                              {.statement = &count_all}};
  expect_done(ls_pg_exec_batch(connection, LS_PG_BEGIN_COMMIT, items, 4, &error), &error);
  assert_int_equal(ls_pg_get_int8(items[0].result, 0, 0), 1);
  assert_int_equal(ls_pg_affected_rows(items[0].result), 1);
  assert_int_equal(ls_pg_get_int8(items[1].result, 0, 0), 1);
  assert_int_equal(ls_pg_get_int8(items[2].result, 0, 0), 2);
  assert_int_equal(ls_pg_get_int8(items[3].result, 0, 0), 2);
  assert_false(ls_pg_in_transaction(connection));
  ls_pg_batch_clear(items, 4);
  assert_null(items[0].result);
  assert_int_equal(test_query_int8(connection, "SELECT count(*) FROM batch_rows"), 2);
  ls_pg_params_destroy(first);
  ls_pg_params_destroy(second);
}

/* The failing statement's error, nothing done, and the connection works: whatever the transaction.
 */
static void expect_all_or_nothing(ls_pg_connection *connection, ls_pg_transaction transaction) {
  ls_error error = {0};
  ls_pg_params *first = int8_params(11), *second = int8_params(12);
  ls_pg_batch_item items[] = {{.statement = &insert_one, .params = first},
                              {.statement = &insert_one, .params = first},
                              {.statement = &insert_one, .params = second}};
  assert_false(ls_pg_exec_batch(connection, transaction, items, 3, &error));
  assert_int_equal(error.code, LS_ALREADY_EXISTS);
  assert_string_equal(error.source, "23505");
  assert_non_null(strstr(error.message, "statement batch_insert: "));
  for (size_t i = 0; i < 3; i++)
    assert_null(items[i].result);
  assert_false(ls_pg_in_transaction(connection));
  assert_int_equal(test_query_int8(connection, "SELECT count(*) FROM batch_rows"), 0);

  expect_done(ls_pg_exec_batch(connection, LS_PG_BEGIN_COMMIT, items, 1, &error), &error);
  ls_pg_batch_clear(items, 1);
  assert_int_equal(test_query_int8(connection, "SELECT count(*) FROM batch_rows"), 1);
  test_sql(connection, "TRUNCATE batch_rows");
  ls_pg_params_destroy(first);
  ls_pg_params_destroy(second);
}

static void test_failure_in_the_middle(void **state) {
  expect_all_or_nothing(*state, LS_PG_BEGIN_COMMIT);
  expect_all_or_nothing(*state, LS_PG_BEGIN);
  expect_all_or_nothing(*state, LS_PG_CONTINUE);
  test_sql(*state, "BEGIN");
  expect_all_or_nothing(*state, LS_PG_COMMIT);
  test_sql(*state, "BEGIN");
  expect_all_or_nothing(*state, LS_PG_CONTINUE);
}

static void test_transaction_over_several_batches(void **state) {
  ls_pg_connection *connection = *state;
  ls_pg_connection *other = test_connect(NULL);
  ls_error error = {0};
  ls_pg_params *first = int8_params(1), *second = int8_params(2), *third = int8_params(3);
  ls_pg_batch_item item = {.statement = &insert_one, .params = first};
  expect_done(ls_pg_exec_batch(connection, LS_PG_BEGIN, &item, 1, &error), &error);
  ls_pg_batch_clear(&item, 1);
  assert_true(ls_pg_in_transaction(connection));
  item.params = second;
  expect_done(ls_pg_exec_batch(connection, LS_PG_CONTINUE, &item, 1, &error), &error);
  ls_pg_batch_clear(&item, 1);
  assert_int_equal(test_query_int8(other, "SELECT count(*) FROM batch_rows"), 0);
  item.params = third;
  expect_done(ls_pg_exec_batch(connection, LS_PG_COMMIT, &item, 1, &error), &error);
  ls_pg_batch_clear(&item, 1);
  assert_false(ls_pg_in_transaction(connection));
  assert_int_equal(test_query_int8(other, "SELECT count(*) FROM batch_rows"), 3);
  ls_pg_params_destroy(first);
  ls_pg_params_destroy(second);
  ls_pg_params_destroy(third);
  ls_pg_connection_destroy(other);
}

/* A deferred constraint fails at the end of the transaction, not in its statement. */
static void test_commit_that_fails(void **state) {
  ls_pg_connection *connection = *state;
  ls_error error = {0};
  test_sql(connection, "DROP TABLE batch_rows; CREATE TABLE batch_rows (id bigint UNIQUE"
                       " DEFERRABLE INITIALLY DEFERRED)");
  ls_pg_params *params = int8_params(5);
  ls_pg_batch_item items[] = {{.statement = &insert_one, .params = params},
                              {.statement = &insert_one, .params = params}};
  const ls_pg_transaction transactions[] = {LS_PG_BEGIN_COMMIT, LS_PG_CONTINUE};
  for (size_t i = 0; i < 2; i++) {
    assert_false(ls_pg_exec_batch(connection, transactions[i], items, 2, &error));
    assert_int_equal(error.code, LS_ALREADY_EXISTS);
    assert_null(items[0].result);
    assert_null(items[1].result);
    assert_true(ls_pg_is_alive(connection));
    assert_false(ls_pg_in_transaction(connection));
    assert_int_equal(test_query_int8(connection, "SELECT count(*) FROM batch_rows"), 0);
  }
  ls_pg_params_destroy(params);
}

/* Both directions are fuller than any socket buffer: whoever only sends, or only reads, hangs. */
static void test_large_both_ways(void **state) {
  enum { STATEMENTS = 300, TEXT_BYTES = 100000 };
  ls_pg_connection *connection = *state;
  ls_error error = {0};
  char *text = malloc(TEXT_BYTES);
  assert_non_null(text);
  memset(text, 'y', TEXT_BYTES);
  ls_pg_params *params = ls_pg_params_new();
  ls_pg_params_text_bytes(params, text, TEXT_BYTES);
  ls_pg_batch_item items[STATEMENTS];
  for (size_t i = 0; i < STATEMENTS; i++)
    items[i] = (ls_pg_batch_item){.statement = &wide_row, .params = params};
  expect_done(ls_pg_exec_batch(connection, LS_PG_BEGIN_COMMIT, items, STATEMENTS, &error), &error);
  for (size_t i = 0; i < STATEMENTS; i++) {
    size_t bytes = 0;
    const char *value = ls_pg_get_text(items[i].result, 0, 0, &bytes);
    assert_int_equal(bytes, 2 * TEXT_BYTES);
    assert_true(value[0] == 'x' && value[bytes - 1] == 'y');
  }
  ls_pg_batch_clear(items, STATEMENTS);
  ls_pg_params_destroy(params);
  free(text);
}

static void test_lost_in_the_middle(void **state) {
  ls_pg_connection *connection = *state;
  static const ls_pg_statement suicide = {.name = "batch_suicide",
                                          .sql = "SELECT pg_terminate_backend(pg_backend_pid())",
                                          .columns = {LS_PG_BOOL}};
  ls_error error = {0};
  ls_pg_params *params = int8_params(21);
  ls_pg_batch_item items[] = {{.statement = &insert_one, .params = params},
                              {.statement = &suicide},
                              {.statement = &insert_one, .params = params}};
  assert_false(ls_pg_exec_batch(connection, LS_PG_BEGIN_COMMIT, items, 3, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  assert_true(error.retriable);
  assert_string_equal(error.source, "08007");
  assert_null(items[0].result);
  assert_false(ls_pg_is_alive(connection));
  assert_false(ls_pg_exec_batch(connection, LS_PG_BEGIN_COMMIT, items, 1, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  expect_done(ls_pg_reconnect(connection, &error), &error);
  expect_done(ls_pg_exec_batch(connection, LS_PG_BEGIN_COMMIT, items, 1, &error), &error);
  ls_pg_batch_clear(items, 1);
  ls_pg_params_destroy(params);
}

static void test_bad_parameters_do_nothing(void **state) {
  ls_pg_connection *connection = *state;
  ls_error error = {0};
  ls_pg_params *good = int8_params(31), *bad = int8_params(32);
  ls_pg_params_array_end(bad);
  ls_pg_batch_item items[] = {{.statement = &insert_one, .params = good},
                              {.statement = &insert_one, .params = bad}};
  assert_false(ls_pg_exec_batch(connection, LS_PG_BEGIN_COMMIT, items, 2, &error));
  assert_int_equal(error.code, LS_INTERNAL);
  assert_int_equal(test_query_int8(connection, "SELECT count(*) FROM batch_rows"), 0);
  expect_done(ls_pg_exec_batch(connection, LS_PG_BEGIN_COMMIT, NULL, 0, &error), &error);
  ls_pg_params_destroy(good);
  ls_pg_params_destroy(bad);
}

int run_batch_tests(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_success, connect_one, destroy_one),
      cmocka_unit_test_setup_teardown(test_failure_in_the_middle, connect_one, destroy_one),
      cmocka_unit_test_setup_teardown(test_transaction_over_several_batches, connect_one,
                                      destroy_one),
      cmocka_unit_test_setup_teardown(test_commit_that_fails, connect_one, destroy_one),
      cmocka_unit_test_setup_teardown(test_large_both_ways, connect_one, destroy_one),
      cmocka_unit_test_setup_teardown(test_lost_in_the_middle, connect_one, destroy_one),
      cmocka_unit_test_setup_teardown(test_bad_parameters_do_nothing, connect_one, destroy_one),
  };
  return cmocka_run_group_tests_name("batch", tests, test_schema_setup, test_schema_teardown);
}
