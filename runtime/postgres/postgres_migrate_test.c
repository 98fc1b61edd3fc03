/* Migrations: once, in turn, and refused when the database is not what the program takes it for. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "runtime/postgres/migrate.h"
#include "runtime/postgres/postgres_test_support.h"
#include "test_migrations.h"

enum { REPLICAS = 4 };

static int fresh_schema(void **state) {
  if (test_schema_setup(state) != 0)
    return -1;
  *state = test_connect(NULL);
  return 0;
}

static int drop_schema(void **state) {
  ls_pg_connection_destroy(*state);
  return test_schema_teardown(state);
}

static void expect_refused(ls_pg_connection *connection, const ls_pg_migration *migrations,
                           size_t count, bool allow, const char *text) {
  ls_error error = {0};
  size_t applied = 99;
  assert_false(ls_pg_migrate(connection, "order", migrations, count, allow, &applied, &error));
  assert_int_equal(error.code, LS_FAILED_PRECONDITION);
  assert_false(error.retriable);
  if (!strstr(error.message, text))
    fail_msg("expected \"%s\" in: %s", text, error.message);
  assert_int_equal(applied, 0);
  assert_false(ls_pg_in_transaction(connection));
}

static void expect_applied(ls_pg_connection *connection, const ls_pg_migration *migrations,
                           size_t count, bool allow, size_t expected) {
  ls_error error = {0};
  size_t applied = 99;
  expect_done(ls_pg_migrate(connection, "order", migrations, count, allow, &applied, &error),
              &error);
  assert_int_equal(applied, expected);
  assert_false(ls_pg_in_transaction(connection));
}

static void test_embedded(void **state) {
  ls_pg_connection *connection = *state;
  assert_int_equal(test_migrations_count, 2);
  assert_string_equal(test_migrations[1].name, "colour");
  expect_refused(connection, test_migrations, 2, false, "--migrate");
  expect_applied(connection, test_migrations, 2, true, 2);
  assert_int_equal(test_query_int8(connection,
                                   "SELECT count(*) FROM things WHERE colour = 'it''s green;' AND"
                                   " label = E'a;\"b\\\\c ${PATH} @list@ [x]] \\u00fc \\u20ac'"),
                   1);
  expect_applied(connection, test_migrations, 2, true, 0);
  expect_applied(connection, test_migrations, 2, false, 0);
  assert_int_equal(test_query_int8(connection, "SELECT count(*) FROM lockstep_schema_migrations"),
                   2);
}

static void test_behind_newer_and_changed(void **state) {
  ls_pg_connection *connection = *state;
  const ls_pg_migration migrations[] = {{1, "one", "CREATE TABLE one ()"},
                                        {2, "two", "CREATE TABLE two ()"},
                                        {4, "four", "CREATE TABLE four ()"}};
  expect_applied(connection, migrations, 1, true, 1);
  expect_refused(connection, migrations, 2, false, "is at migration 1, this program needs 2");
  expect_applied(connection, migrations, 3, true, 2);
  expect_refused(connection, migrations, 2, true, "newer than this program");
  expect_refused(connection, migrations, 2, false, "newer than this program");

  const ls_pg_migration changed[] = {
      {1, "one", "CREATE TABLE one ( )"}, migrations[1], migrations[2]};
  expect_refused(connection, changed, 3, true, "was changed after");
  expect_refused(connection, changed, 3, false, "was changed after");

  const ls_pg_migration inserted[] = {
      migrations[0], migrations[1], {3, "three", "CREATE TABLE three ()"}, migrations[2]};
  expect_refused(connection, inserted, 4, true, "only added at the end");
  const ls_pg_migration removed[] = {migrations[0], migrations[2]};
  expect_refused(connection, removed, 2, true, "does not know");
  expect_applied(connection, migrations, 3, false, 0);
}

static void test_components_are_apart(void **state) {
  ls_pg_connection *connection = *state;
  ls_error error = {0};
  size_t applied = 0;
  const ls_pg_migration order[] = {{1, "one", "CREATE TABLE order_one ()"}};
  const ls_pg_migration delivery[] = {{1, "one", "CREATE TABLE delivery_one ()"}};
  expect_applied(connection, order, 1, true, 1);
  expect_done(ls_pg_migrate(connection, "delivery", delivery, 1, true, &applied, &error), &error);
  assert_int_equal(applied, 1);
}

static void test_failing_migration(void **state) {
  ls_pg_connection *connection = *state;
  ls_error error = {0};
  size_t applied = 0;
  const ls_pg_migration failing[] = {{1, "good", "CREATE TABLE good ()"},
                                     {2, "bad", "CREATE TABLE half (); SELECT * FROM not_there"}};
  assert_false(ls_pg_migrate(connection, "order", failing, 2, true, &applied, &error));
  assert_int_equal(error.code, LS_INTERNAL);
  assert_string_equal(error.source, "42P01");
  assert_non_null(strstr(error.message, "migration 2 (bad) of order"));
  assert_int_equal(applied, 1);
  assert_int_equal(
      test_query_int8(connection, "SELECT count(*) FROM pg_class WHERE oid = to_regclass('half')"),
      0);

  const ls_pg_migration committing[] = {failing[0], {2, "commits", "COMMIT"}};
  assert_false(ls_pg_migrate(connection, "order", committing, 2, true, &applied, &error));
  assert_int_equal(error.code, LS_INVALID_ARGUMENT);
  assert_false(ls_pg_in_transaction(connection));

  const ls_pg_migration unordered[] = {{2, "b", "SELECT 1"}, {1, "a", "SELECT 1"}};
  assert_false(ls_pg_migrate(connection, "order", unordered, 2, true, &applied, &error));
  assert_int_equal(error.code, LS_INVALID_ARGUMENT);
}

static const ls_pg_migration slow[] = {
    {1, "one", "CREATE TABLE concurrent (id bigint); SELECT pg_sleep(0.1)"},
    {2, "two", "INSERT INTO concurrent VALUES (1); SELECT pg_sleep(0.1)"},
    {3, "three", "INSERT INTO concurrent VALUES (2)"}};

typedef struct replica {
  ls_pg_connection *connection;
  pthread_barrier_t *start;
  size_t applied;
  bool done;
  ls_error error;
} replica;

static void *migrate_replica(void *arg) {
  replica *self = arg;
  pthread_barrier_wait(self->start);
  self->done =
      ls_pg_migrate(self->connection, "order", slow, 3, true, &self->applied, &self->error);
  return NULL;
}

static void test_concurrent(void **state) {
  ls_pg_connection *connection = *state;
  pthread_barrier_t start;
  pthread_t threads[REPLICAS];
  replica replicas[REPLICAS] = {0};
  assert_int_equal(pthread_barrier_init(&start, NULL, REPLICAS), 0);
  for (size_t i = 0; i < REPLICAS; i++) {
    /* Shorter than what the others' migrations take: waiting in turn is no statement's timeout. */
    replicas[i].connection =
        test_connect(&(ls_pg_options){.statement_timeout_ms = 20, .answer_timeout_ms = 1000});
    replicas[i].start = &start;
    assert_int_equal(pthread_create(&threads[i], NULL, migrate_replica, &replicas[i]), 0);
  }
  size_t applied = 0;
  for (size_t i = 0; i < REPLICAS; i++) {
    assert_int_equal(pthread_join(threads[i], NULL), 0);
    expect_done(replicas[i].done, &replicas[i].error);
    applied += replicas[i].applied;
    ls_pg_connection_destroy(replicas[i].connection);
  }
  pthread_barrier_destroy(&start);
  assert_int_equal(applied, 3);
  assert_int_equal(test_query_int8(connection, "SELECT count(*) FROM concurrent"), 2);
}

int run_migrate_tests(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_embedded, fresh_schema, drop_schema),
      cmocka_unit_test_setup_teardown(test_behind_newer_and_changed, fresh_schema, drop_schema),
      cmocka_unit_test_setup_teardown(test_components_are_apart, fresh_schema, drop_schema),
      cmocka_unit_test_setup_teardown(test_failing_migration, fresh_schema, drop_schema),
      cmocka_unit_test_setup_teardown(test_concurrent, fresh_schema, drop_schema),
  };
  return cmocka_run_group_tests_name("migrate", tests, NULL, NULL);
}
