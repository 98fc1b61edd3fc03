/* Connections, statements, every type there and back, lost connections, notifications. */
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/postgres/postgres_test_support.h"

#define SKIPPED 77
#define MANY 100000

static int connect_one(void **state) {
  *state = test_connect(NULL);
  return 0;
}

static int destroy_one(void **state) {
  ls_pg_connection_destroy(*state);
  return 0;
}

/* Every array type at once, taken apart by UNNEST and put together again, so that the server's idea
 * of each element comes back both as a scalar and in an array. */
static void add_extremes(ls_pg_params *params) {
  ls_pg_params_array_begin(params, LS_PG_BOOL);
  ls_pg_params_bool(params, true);
  ls_pg_params_bool(params, false);
  ls_pg_params_null(params, LS_PG_BOOL);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_INT2);
  ls_pg_params_int2(params, INT16_MIN);
  ls_pg_params_int2(params, INT16_MAX);
  ls_pg_params_null(params, LS_PG_INT2);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_INT4);
  ls_pg_params_int4(params, INT32_MIN);
  ls_pg_params_int4(params, INT32_MAX);
  ls_pg_params_null(params, LS_PG_INT4);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_INT8);
  ls_pg_params_int8(params, INT64_MIN);
  ls_pg_params_int8(params, INT64_MAX);
  ls_pg_params_null(params, LS_PG_INT8);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_TEXT);
  ls_pg_params_text(params, "");
  ls_pg_params_text(params, "{\"quoted\", \\ \xe2\x82\xac NULL}");
  ls_pg_params_text(params, NULL);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_BYTEA);
  ls_pg_params_bytea(params, NULL, 0);
  ls_pg_params_bytea(params, "\0\xff\0", 3);
  ls_pg_params_null(params, LS_PG_BYTEA);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_TIMESTAMPTZ);
  ls_pg_params_timestamptz(params, INT64_MIN);
  ls_pg_params_timestamptz(params, INT64_C(1709210096123456));
  ls_pg_params_null(params, LS_PG_TIMESTAMPTZ);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_XID8);
  ls_pg_params_xid8(params, 0);
  ls_pg_params_xid8(params, UINT64_MAX);
  ls_pg_params_null(params, LS_PG_XID8);
  ls_pg_params_array_end(params);
}

static void test_scalars_round_trip(void **state) {
  static const ls_pg_statement statement = {
      .name = "unnest_all",
      .sql = "SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)",
      .columns = {LS_PG_BOOL, LS_PG_INT2, LS_PG_INT4, LS_PG_INT8, LS_PG_TEXT, LS_PG_BYTEA,
                  LS_PG_TIMESTAMPTZ, LS_PG_XID8}};
  ls_error error = {0};
  ls_pg_params *params = ls_pg_params_new();
  add_extremes(params);
  ls_pg_result *result = NULL;
  expect_done(ls_pg_exec(*state, &statement, params, &result, &error), &error);
  assert_int_equal(ls_pg_row_count(result), 3);
  assert_true(ls_pg_get_bool(result, 0, 0));
  assert_false(ls_pg_get_bool(result, 1, 0));
  assert_int_equal(ls_pg_get_int2(result, 0, 1), INT16_MIN);
  assert_int_equal(ls_pg_get_int2(result, 1, 1), INT16_MAX);
  assert_true(ls_pg_get_int4(result, 0, 2) == INT32_MIN);
  assert_true(ls_pg_get_int4(result, 1, 2) == INT32_MAX);
  assert_true(ls_pg_get_int8(result, 0, 3) == INT64_MIN);
  assert_true(ls_pg_get_int8(result, 1, 3) == INT64_MAX);
  size_t bytes = 99;
  assert_string_equal(ls_pg_get_text(result, 0, 4, &bytes), "");
  assert_int_equal(bytes, 0);
  assert_false(ls_pg_is_null(result, 0, 4));
  assert_string_equal(ls_pg_get_text(result, 1, 4, NULL), "{\"quoted\", \\ \xe2\x82\xac NULL}");
  assert_false(ls_pg_is_null(result, 0, 5));
  const void *data = ls_pg_get_bytea(result, 1, 5, &bytes);
  assert_int_equal(bytes, 3);
  assert_memory_equal(data, "\0\xff\0", 3);
  assert_true(ls_pg_get_timestamptz(result, 0, 6) == INT64_MIN);
  assert_true(ls_pg_get_timestamptz(result, 1, 6) == INT64_C(1709210096123456));
  assert_true(ls_pg_get_xid8(result, 0, 7) == 0);
  assert_true(ls_pg_get_xid8(result, 1, 7) == UINT64_MAX);
  for (size_t column = 0; column < 8; column++) {
    assert_false(ls_pg_is_null(result, 0, column));
    assert_true(ls_pg_is_null(result, 2, column));
  }
  /* A getter of another type, and places that do not exist, read as nothing. */
  assert_true(ls_pg_get_int8(result, 0, 2) == 0);
  assert_true(ls_pg_get_int8(result, 3, 3) == 0);
  assert_true(ls_pg_get_int8(result, 0, 8) == 0);
  assert_true(ls_pg_is_null(result, 0, 8));
  ls_pg_result_destroy(result);
  ls_pg_params_destroy(params);
}

static void test_arrays_round_trip(void **state) {
  static const ls_pg_statement statement = {
      .name = "arrays_back",
      .sql = "SELECT $1, $2, $3, $4, $5, $6, $7, $8",
      .columns = {LS_PG_BOOL_ARRAY, LS_PG_INT2_ARRAY, LS_PG_INT4_ARRAY, LS_PG_INT8_ARRAY,
                  LS_PG_TEXT_ARRAY, LS_PG_BYTEA_ARRAY, LS_PG_TIMESTAMPTZ_ARRAY, LS_PG_XID8_ARRAY}};
  ls_error error = {0};
  ls_pg_params *params = ls_pg_params_new();
  add_extremes(params);
  ls_pg_result *result = NULL;
  expect_done(ls_pg_exec(*state, &statement, params, &result, &error), &error);
  ls_pg_value first[8], second[8], third[8], beyond;
  for (size_t column = 0; column < 8; column++) {
    ls_pg_array array = ls_pg_get_array(result, 0, column);
    assert_int_equal(array.count, 3);
    assert_int_equal(ls_pg_type_array_of(array.element), statement.columns[column]);
    assert_true(ls_pg_array_next(&array, &first[column]));
    assert_true(ls_pg_array_next(&array, &second[column]));
    assert_true(ls_pg_array_next(&array, &third[column]));
    assert_false(ls_pg_array_next(&array, &beyond));
    assert_non_null(first[column].data);
    assert_null(third[column].data);
  }
  assert_true(ls_pg_value_bool(first[0]) && !ls_pg_value_bool(second[0]));
  assert_int_equal(ls_pg_value_int2(first[1]), INT16_MIN);
  assert_true(ls_pg_value_int4(second[2]) == INT32_MAX);
  assert_true(ls_pg_value_int8(first[3]) == INT64_MIN && ls_pg_value_int8(second[3]) == INT64_MAX);
  assert_int_equal(first[4].bytes, 0);
  assert_memory_equal(second[4].data, "{\"quoted", 8);
  assert_int_equal(second[5].bytes, 3);
  assert_true(ls_pg_value_timestamptz(first[6]) == INT64_MIN);
  assert_true(ls_pg_value_timestamptz(second[6]) == INT64_C(1709210096123456));
  assert_true(ls_pg_value_xid8(second[7]) == UINT64_MAX);
  ls_pg_result_destroy(result);
  ls_pg_params_destroy(params);
}

static void test_large_arrays(void **state) {
  static const ls_pg_statement statement = {
      .name = "large",
      .sql = "SELECT count(*), sum(i)::bigint, sum(length(t)), array_agg(i ORDER BY i DESC),"
             " max(extract(epoch FROM s) * 1000000)::bigint FROM unnest($1, $2, $3) AS u(i, t, s)",
      .columns = {LS_PG_INT8, LS_PG_INT8, LS_PG_INT8, LS_PG_INT8_ARRAY, LS_PG_INT8}};
  ls_error error = {0};
  ls_pg_params *params = ls_pg_params_new();
  ls_pg_params_array_begin(params, LS_PG_INT8);
  for (int64_t i = 1; i <= MANY; i++)
    ls_pg_params_int8(params, i);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_TEXT);
  for (int64_t i = 1; i <= MANY; i++)
    ls_pg_params_text(params, "0123456789");
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_TIMESTAMPTZ);
  for (int64_t i = 1; i <= MANY; i++)
    ls_pg_params_timestamptz(params, i);
  ls_pg_params_array_end(params);
  ls_pg_result *result = NULL;
  expect_done(ls_pg_exec(*state, &statement, params, &result, &error), &error);
  assert_int_equal(ls_pg_get_int8(result, 0, 0), MANY);
  assert_int_equal(ls_pg_get_int8(result, 0, 1), (int64_t)MANY * (MANY + 1) / 2);
  assert_int_equal(ls_pg_get_int8(result, 0, 2), (int64_t)MANY * 10);
  assert_int_equal(ls_pg_get_int8(result, 0, 4), MANY);
  ls_pg_array array = ls_pg_get_array(result, 0, 3);
  assert_int_equal(array.count, MANY);
  ls_pg_value value;
  for (int64_t i = MANY; i >= 1; i--) {
    assert_true(ls_pg_array_next(&array, &value));
    assert_int_equal(ls_pg_value_int8(value), i);
  }
  ls_pg_result_destroy(result);
  ls_pg_params_destroy(params);
}

static const ls_pg_statement insert_row = {.name = "insert_row",
                                           .sql = "INSERT INTO exec_rows (id) SELECT unnest($1)"};

static void test_affected_rows_and_unique_violation(void **state) {
  ls_pg_connection *connection = *state;
  ls_error error = {0};
  test_sql(connection, "CREATE TABLE exec_rows (id bigint PRIMARY KEY)");
  ls_pg_params *params = ls_pg_params_new();
  ls_pg_params_int8_array(params, (const int64_t[]){1, 2, 3}, 3);
  ls_pg_result *result = NULL;
  expect_done(ls_pg_exec(connection, &insert_row, params, &result, &error), &error);
  assert_int_equal(ls_pg_affected_rows(result), 3);
  assert_int_equal(ls_pg_row_count(result), 0);
  ls_pg_result_destroy(result);

  assert_false(ls_pg_exec(connection, &insert_row, params, &result, &error));
  assert_null(result);
  assert_int_equal(error.code, LS_ALREADY_EXISTS);
  assert_string_equal(error.source, "23505");
  assert_false(error.retriable);
  assert_non_null(strstr(error.message, "statement insert_row: "));
  assert_true(ls_pg_is_alive(connection));
  assert_int_equal(test_query_int8(connection, "SELECT count(*) FROM exec_rows"), 3);
  ls_pg_params_destroy(params);
}

static void test_types_must_stay_the_same(void **state) {
  ls_pg_connection *connection = *state;
  static const ls_pg_statement statement = {
      .name = "typed", .sql = "SELECT $1::bigint", .columns = {LS_PG_INT8}};
  ls_error error = {0};
  ls_pg_params *params = ls_pg_params_new();
  ls_pg_params_int8(params, 1);
  expect_done(ls_pg_exec(connection, &statement, params, NULL, &error), &error);
  ls_pg_params_reset(params);
  ls_pg_params_timestamptz(params, 1);
  assert_false(ls_pg_exec(connection, &statement, params, NULL, &error));
  assert_int_equal(error.code, LS_INTERNAL);
  assert_non_null(strstr(error.message, "is of timestamptz"));
  assert_false(ls_pg_exec(connection, &statement, NULL, NULL, &error));
  assert_int_equal(error.code, LS_INTERNAL);
  ls_pg_params_destroy(params);
}

static void test_schema_mismatch_is_told(void **state) {
  ls_pg_connection *connection = *state;
  static const ls_pg_statement wrong_type = {
      .name = "wrong_type", .sql = "SELECT 1::int4 AS amount", .columns = {LS_PG_INT8}};
  static const ls_pg_statement wrong_count = {
      .name = "wrong_count", .sql = "SELECT 1::int8, 2::int8", .columns = {LS_PG_INT8}};
  ls_error error = {0};
  assert_false(ls_pg_exec(connection, &wrong_type, NULL, NULL, &error));
  assert_int_equal(error.code, LS_FAILED_PRECONDITION);
  assert_non_null(strstr(error.message, "column 1 (amount) is of int4"));
  assert_false(ls_pg_exec(connection, &wrong_count, NULL, NULL, &error));
  assert_int_equal(error.code, LS_FAILED_PRECONDITION);
  assert_int_equal(test_query_int8(connection, "SELECT count(*) FROM pg_prepared_statements"
                                               " WHERE name LIKE 'wrong%'"),
                   0);
}

/* A migration that runs beside us changes what a prepared statement returns. */
static void test_stale_plan_is_prepared_again(void **state) {
  ls_pg_connection *connection = *state;
  static const ls_pg_statement statement = {
      .name = "stale", .sql = "SELECT * FROM stale", .columns = {LS_PG_INT8}};
  ls_error error = {0};
  test_sql(connection, "CREATE TABLE stale (id bigint)");
  expect_done(ls_pg_exec(connection, &statement, NULL, NULL, &error), &error);
  test_sql(connection, "ALTER TABLE stale ADD COLUMN more text");
  assert_false(ls_pg_exec(connection, &statement, NULL, NULL, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  assert_true(error.retriable);
  assert_false(ls_pg_exec(connection, &statement, NULL, NULL, &error));
  assert_int_equal(error.code, LS_FAILED_PRECONDITION); /* two columns now, and that is told */
  test_sql(connection, "ALTER TABLE stale DROP COLUMN more");
  expect_done(ls_pg_exec(connection, &statement, NULL, NULL, &error), &error);
  test_sql(connection, "DEALLOCATE ALL");
  assert_false(ls_pg_exec(connection, &statement, NULL, NULL, &error));
  assert_true(error.retriable);
  expect_done(ls_pg_exec(connection, &statement, NULL, NULL, &error), &error);
}

static void test_statement_timeout(void **state) {
  (void)state;
  ls_error error = {0};
  ls_pg_connection *connection = test_connect(&(ls_pg_options){.statement_timeout_ms = 50});
  assert_false(ls_pg_exec_sql(connection, "SELECT pg_sleep(60)", &error));
  assert_int_equal(error.code, LS_DEADLINE_EXCEEDED);
  assert_string_equal(error.source, "57014");
  assert_true(ls_pg_is_alive(connection));
  ls_pg_connection_destroy(connection);
}

static void test_silent_server_is_given_up(void **state) {
  (void)state;
  ls_error error = {0};
  ls_pg_connection *connection = test_connect(&(ls_pg_options){.answer_timeout_ms = 100});
  int64_t start_ms = ls_clock_monotonic_ms();
  assert_false(ls_pg_exec_sql(connection, "SELECT pg_sleep(60)", &error));
  assert_true(ls_clock_monotonic_ms() - start_ms < 30000);
  assert_int_equal(error.code, LS_UNAVAILABLE);
  assert_false(ls_pg_is_alive(connection));
  expect_done(ls_pg_reconnect(connection, &error), &error);
  ls_pg_connection_destroy(connection);
}

static int64_t backend_pid(ls_pg_connection *connection) {
  static const ls_pg_statement statement = {
      .name = "backend_pid", .sql = "SELECT pg_backend_pid()::bigint", .columns = {LS_PG_INT8}};
  ls_error error = {0};
  ls_pg_result *result = NULL;
  expect_done(ls_pg_exec(connection, &statement, NULL, &result, &error), &error);
  int64_t pid = ls_pg_get_int8(result, 0, 0);
  ls_pg_result_destroy(result);
  return pid;
}

/* Ends another session, and returns once it has gone. */
static void terminate(ls_pg_connection *killer, int64_t pid) {
  char sql[96];
  (void)snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%" PRId64 ", 30000)::int", pid);
  assert_int_equal(test_query_int8(killer, sql), 1);
}

static void test_reconnect_after_termination(void **state) {
  ls_pg_connection *killer = *state;
  ls_pg_connection *connection = test_connect(NULL);
  ls_error error = {0};
  int64_t pid = backend_pid(connection);
  int socket = ls_pg_socket(connection);
  assert_true(socket >= 0);
  terminate(killer, pid);
  static const ls_pg_statement statement = {
      .name = "after", .sql = "SELECT 1::int8", .columns = {LS_PG_INT8}};
  assert_false(ls_pg_exec(connection, &statement, NULL, NULL, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  assert_true(error.retriable);
  assert_false(ls_pg_is_alive(connection));
  assert_int_equal(ls_pg_socket(connection), -1);
  assert_false(ls_pg_exec(connection, &statement, NULL, NULL, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  assert_false(ls_pg_exec_sql(connection, "SELECT 1", &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);

  expect_done(ls_pg_reconnect(connection, &error), &error);
  assert_true(ls_pg_is_alive(connection));
  expect_done(ls_pg_exec(connection, &statement, NULL, NULL, &error), &error);
  assert_true(backend_pid(connection) != pid); /* prepared again */

  terminate(killer, backend_pid(connection));
  assert_false(ls_pg_is_alive(connection)); /* noticed without using it */
  ls_pg_connection_destroy(connection);
}

static void test_rollback(void **state) {
  ls_pg_connection *connection = *state;
  ls_error error = {0};
  test_sql(connection, "CREATE TABLE rolled (id bigint)");
  assert_false(ls_pg_in_transaction(connection));
  expect_done(ls_pg_rollback(connection, &error), &error);
  test_sql(connection, "BEGIN; INSERT INTO rolled VALUES (1)");
  assert_true(ls_pg_in_transaction(connection));
  assert_false(ls_pg_exec_sql(connection, "nonsense", &error));
  assert_int_equal(error.code, LS_INTERNAL);
  assert_string_equal(error.source, "42601");
  assert_true(ls_pg_in_transaction(connection));
  expect_done(ls_pg_rollback(connection, &error), &error);
  assert_false(ls_pg_in_transaction(connection));
  assert_int_equal(test_query_int8(connection, "SELECT count(*) FROM rolled"), 0);
}

/* Waits until `count` notifications have come. */
static void expect_notifications(ls_pg_connection *connection, size_t count) {
  ls_error error = {0};
  size_t total = 0;
  int64_t deadline_ms = ls_clock_monotonic_ms() + 20000;
  while (total < count && ls_clock_monotonic_ms() < deadline_ms) {
    size_t now = 0;
    expect_done(ls_pg_notifications(connection, &now, &error), &error);
    total += now;
    struct pollfd socket = {.fd = ls_pg_socket(connection), .events = POLLIN};
    if (total < count)
      poll(&socket, 1, 100);
  }
  assert_int_equal(total, count);
}

static void test_listen(void **state) {
  ls_pg_connection *sender = *state;
  ls_pg_connection *listener = test_connect(NULL);
  ls_error error = {0};
  size_t count = 99;
  expect_done(ls_pg_listen(listener, "Odd \"name\"", &error), &error);
  expect_done(ls_pg_notifications(listener, &count, &error), &error);
  assert_int_equal(count, 0);
  test_sql(sender, "NOTIFY \"Odd \"\"name\"\"\", 'a'");
  test_sql(sender, "NOTIFY other");
  test_sql(sender, "NOTIFY \"Odd \"\"name\"\"\", 'b'");
  expect_notifications(listener, 2);
  /* Along with an answer. */
  test_sql(listener, "NOTIFY \"Odd \"\"name\"\"\"; SELECT 1");
  expect_notifications(listener, 1);

  terminate(sender, backend_pid(listener));
  assert_false(ls_pg_notifications(listener, &count, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  expect_done(ls_pg_reconnect(listener, &error), &error);
  test_sql(sender, "NOTIFY \"Odd \"\"name\"\"\"");
  expect_notifications(listener, 1);
  ls_pg_connection_destroy(listener);
}

/* A port that nobody listens on. */
static int closed_port(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t bytes = sizeof address;
  int descriptor = socket(AF_INET, SOCK_STREAM, 0);
  assert_true(descriptor >= 0);
  assert_int_equal(bind(descriptor, (struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(getsockname(descriptor, (struct sockaddr *)&address, &bytes), 0);
  close(descriptor);
  return ntohs(address.sin_port);
}

static void test_connect_failures(void **state) {
  (void)state;
  ls_error error = {0};
  char conninfo[128];
  (void)snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%d password=geheim",
                 closed_port());
  assert_null(ls_pg_connect(&(ls_pg_options){.conninfo = conninfo}, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  assert_true(error.retriable);
  assert_null(strstr(error.message, "geheim"));
  assert_null(strchr(error.message, '\n'));
  assert_string_equal(error.source, "08001");
  assert_false(ls_pg_is_refused(&error));

  const char *const invalid[] = {"host=localhost password='geheim", "host=localhost geheim",
                                 "postgresql://user:gehe@im@localhost:5432/db",
                                 "postgresql://user:geheim%zz@localhost/db"};
  for (size_t i = 0; i < sizeof invalid / sizeof invalid[0]; i++) {
    assert_null(ls_pg_connect(&(ls_pg_options){.conninfo = invalid[i]}, &error));
    assert_int_equal(error.code, LS_INVALID_ARGUMENT);
    assert_false(error.retriable);
    assert_null(strstr(error.message, "geh"));
    assert_null(strstr(error.message, "im@"));
  }
}

static void expect_refusal(const ls_pg_options *options, const char *sqlstate) {
  ls_error error = {0};
  assert_null(ls_pg_connect(options, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  assert_true(error.retriable);
  assert_string_equal(error.source, sqlstate);
  assert_true(ls_pg_is_refused(&error));
  assert_non_null(strstr(error.message, "FATAL")); /* the server's words, too */
  assert_null(strstr(error.message, "geheim"));
}

static void test_refusals_are_told_apart(void **state) {
  (void)state;
  expect_refusal(&(ls_pg_options){.conninfo = "dbname=no_such_database"}, "3D000");
  expect_refusal(&(ls_pg_options){.password = "geheim"}, "28P01");
}

static void test_password_file(void **state) {
  (void)state;
  ls_error error = {0};
  char path[] = "/tmp/lockstep_postgres_password_XXXXXX";
  int descriptor = mkstemp(path);
  assert_true(descriptor >= 0);
  assert_int_equal(write(descriptor, "geheim\n", 7), 7);
  close(descriptor);
  const ls_pg_options options = {.password = "overridden", .password_file = path};
  expect_refusal(&options, "28P01");
  assert_int_equal(unlink(path), 0);
  assert_null(ls_pg_connect(&options, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  assert_true(error.retriable);
  assert_false(ls_pg_is_refused(&error));
  assert_non_null(strstr(error.message, path));
}

int run_exec_tests(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_scalars_round_trip, connect_one, destroy_one),
      cmocka_unit_test_setup_teardown(test_arrays_round_trip, connect_one, destroy_one),
      cmocka_unit_test_setup_teardown(test_large_arrays, connect_one, destroy_one),
      cmocka_unit_test_setup_teardown(test_affected_rows_and_unique_violation, connect_one,
                                      destroy_one),
      cmocka_unit_test_setup_teardown(test_types_must_stay_the_same, connect_one, destroy_one),
      cmocka_unit_test_setup_teardown(test_schema_mismatch_is_told, connect_one, destroy_one),
      cmocka_unit_test_setup_teardown(test_stale_plan_is_prepared_again, connect_one, destroy_one),
      cmocka_unit_test(test_statement_timeout),
      cmocka_unit_test(test_silent_server_is_given_up),
      cmocka_unit_test_setup_teardown(test_reconnect_after_termination, connect_one, destroy_one),
      cmocka_unit_test_setup_teardown(test_rollback, connect_one, destroy_one),
      cmocka_unit_test_setup_teardown(test_listen, connect_one, destroy_one),
      cmocka_unit_test(test_connect_failures),
      cmocka_unit_test(test_refusals_are_told_apart),
      cmocka_unit_test(test_password_file),
  };
  return cmocka_run_group_tests_name("exec", tests, test_schema_setup, test_schema_teardown);
}

int main(void) {
  if (!secure_getenv("PGHOST")) {
    fputs("skipped: PGHOST is not set\n", stderr);
    return SKIPPED;
  }
  int failures = run_exec_tests();
  failures += run_batch_tests();
  failures += run_migrate_tests();
  return failures > 0 ? 1 : 0;
}
