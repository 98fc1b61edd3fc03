/* Migrations: once, in turn, and refused when the database is not what the program takes it for. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/log.h"
#include "runtime/postgres/migrate.h"
#include "runtime/postgres/postgres_test_support.h"
#include "test_migrations.h"

enum { REPLICAS = 4 };

/* A run in a thread of its own. */
typedef struct migrating {
  ls_pg_connection *connection;
  const ls_pg_migration *migrations;
  size_t count;
  pthread_barrier_t *start; /* NULL: at once */
  size_t applied;
  bool done;
  ls_error error;
} migrating;

static void *migrate_in_thread(void *arg) {
  migrating *self = arg;
  if (self->start)
    pthread_barrier_wait(self->start);
  self->done = ls_pg_migrate(self->connection, "order", self->migrations, self->count, true,
                             &self->applied, &self->error);
  return NULL;
}

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
  assert_int_equal(test_migrations[0].oldest, 0);
  assert_int_equal(test_migrations[1].oldest, 1);
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
  const ls_pg_migration migrations[] = {{1, "one", "CREATE TABLE one ()", 0},
                                        {2, "two", "CREATE TABLE two ()", 0},
                                        {4, "four", "CREATE TABLE four ()", 0}};
  expect_applied(connection, migrations, 1, true, 1);
  expect_refused(connection, migrations, 2, false, "is at migration 1, this program needs 2");
  expect_applied(connection, migrations, 3, true, 2);
  expect_refused(connection, migrations, 2, true, "newer than this program");
  expect_refused(connection, migrations, 2, false, "newer than this program");

  const ls_pg_migration changed[] = {
      {1, "one", "CREATE TABLE one ( )", 0}, migrations[1], migrations[2]};
  expect_refused(connection, changed, 3, true, "was changed after");
  expect_refused(connection, changed, 3, false, "was changed after");

  const ls_pg_migration inserted[] = {
      migrations[0], migrations[1], {3, "three", "CREATE TABLE three ()", 0}, migrations[2]};
  expect_refused(connection, inserted, 4, true, "only added at the end");
  const ls_pg_migration removed[] = {migrations[0], migrations[2]};
  expect_refused(connection, removed, 2, true, "does not know");
  expect_applied(connection, migrations, 3, false, 0);
}

/* 4 was made for programs that know 2, 5 for those that know 4, and 6 for none but its own. */
static const ls_pg_migration rolling[] = {
    {1, "one", "CREATE TABLE one ()", 0},   {2, "two", "CREATE TABLE two ()", 0},
    {4, "four", "CREATE TABLE four ()", 2}, {5, "five", "CREATE TABLE five ()", 4},
    {6, "six", "CREATE TABLE six ()", 0},
};

static void test_older_programs_go_on_beside_what_was_made_for_them(void **state) {
  ls_pg_connection *connection = *state;
  expect_applied(connection, rolling, 3, true, 3);
  expect_applied(connection, rolling, 2, false, 0);
  expect_applied(connection, rolling, 2, true, 0);
  expect_refused(connection, rolling, 1, false,
                 "has migration 2 (two), which takes a program that knows them up to 2 at least, "
                 "this program knows them up to 1");

  expect_applied(connection, rolling, 4, true, 1);
  expect_applied(connection, rolling, 3, true, 0);
  expect_refused(connection, rolling, 2, true, "migration 5 (five), which takes a program that");
  expect_refused(connection, rolling, 2, false, "knows them up to 4 at least");

  expect_applied(connection, rolling, 5, true, 1);
  expect_refused(connection, rolling, 4, false, "knows them up to 6 at least");
  expect_refused(connection, rolling, 3, true, "knows them up to 6 at least");
  assert_int_equal(test_query_int8(connection, "SELECT count(*) FROM lockstep_schema_migrations"),
                   5);
}

/* What is newer does not make up for what is lacking or was changed. */
static void test_older_programs_need_what_they_know(void **state) {
  ls_pg_connection *connection = *state;
  expect_applied(connection, rolling, 3, true, 3);
  const ls_pg_migration branch[] = {
      rolling[0], rolling[1], {3, "three", "CREATE TABLE three ()", 0}};
  expect_refused(connection, branch, 3, true, "migration 3 (three) of order was not applied");
  expect_refused(connection, branch, 3, false, "only added at the end");
  const ls_pg_migration changed[] = {rolling[0], {2, "two", "CREATE TABLE two ( )", 0}};
  expect_refused(connection, changed, 2, true, "was changed after");
}

static void test_a_newer_schema_is_told_once(void **state) {
  ls_pg_connection *connection = *state;
  const ls_pg_migration told[] = {rolling[0], {7, "seven", "CREATE TABLE seven ()", 1}};
  expect_applied(connection, told, 2, true, 2);
  FILE *file = tmpfile();
  assert_non_null(file);
  ls_log_set_output(fileno(file));
  expect_applied(connection, told, 1, false, 0);
  expect_applied(connection, told, 1, true, 0);
  ls_log_set_output(STDERR_FILENO);
  rewind(file);
  char line[1024];
  int lines = 0;
  for (; fgets(line, sizeof line, file); lines++) {
    assert_non_null(strstr(line, "\"level\":\"warn\""));
    assert_non_null(strstr(line, "the database is newer than this program"));
    assert_non_null(strstr(line, "\"migration\":7"));
  }
  assert_int_equal(lines, 1);
  assert_int_equal(fclose(file), 0);
}

/* As programs did that knew no "oldest": in a table without it, or in one that has it by now. */
static void apply_as_before(ls_pg_connection *connection, const char *number, const char *sql) {
  char text[1024];
  snprintf(text, sizeof text,
           "CREATE TABLE IF NOT EXISTS lockstep_schema_migrations (component text NOT NULL,"
           " number integer NOT NULL, name text NOT NULL, checksum text NOT NULL,"
           " applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (component, number));"
           "INSERT INTO lockstep_schema_migrations (component, number, name, checksum) VALUES"
           " ('order', %s, 'before', encode(sha256(convert_to('%s', 'UTF8')), 'hex'));%s",
           number, sql, sql);
  test_sql(connection, text);
}

static const char count_columns[] = "SELECT count(*) FROM pg_attribute WHERE attname = 'oldest'"
                                    " AND attrelid = to_regclass('lockstep_schema_migrations')";

static void test_table_of_older_programs(void **state) {
  ls_pg_connection *connection = *state;
  apply_as_before(connection, "1", rolling[0].sql);
  /* Who has nothing to add reads it as it is, and may well not be its owner. */
  expect_applied(connection, rolling, 1, false, 0);
  expect_applied(connection, rolling, 1, true, 0);
  expect_refused(connection, rolling, 2, false, "is at migration 1, this program needs 2");
  apply_as_before(connection, "2", rolling[1].sql);
  expect_refused(connection, rolling, 1, false, "knows them up to 2 at least");
  assert_int_equal(test_query_int8(connection, count_columns), 0);

  expect_applied(connection, rolling, 3, true, 1);
  assert_int_equal(test_query_int8(connection, count_columns), 1);
  expect_applied(connection, rolling, 2, false, 0);
  expect_refused(connection, rolling, 1, false, "knows them up to 2 at least");

  /* An older program's row in the table of today. */
  apply_as_before(connection, "5", "CREATE TABLE five ()");
  expect_refused(connection, rolling, 2, false, "knows them up to 5 at least");
  expect_applied(connection, rolling, 4, true, 0);
}

/* Replicas that only look are not held up by a migration that takes its time, not even by the one
 * that finds the table without the column. */
static void test_looking_waits_for_no_migration(void **state) {
  ls_pg_connection *connection = *state;
  apply_as_before(connection, "1", rolling[0].sql);
  ls_pg_connection *other = test_connect(&(ls_pg_options){.statement_timeout_ms = 1000});
  const ls_pg_migration looking[] = {
      rolling[0], {2, "two", "CREATE TABLE two (); SELECT pg_advisory_xact_lock(1)", 0}};
  test_sql(other, "SELECT pg_advisory_lock(1)");
  pthread_t thread;
  migrating run = {.connection = connection, .migrations = looking, .count = 2};
  assert_int_equal(pthread_create(&thread, NULL, migrate_in_thread, &run), 0);
  while (test_query_int8(other, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                                " AND objid = 1 AND NOT granted") == 0)
    usleep(1000);
  ls_error error = {0};
  bool looked = ls_pg_migrate(other, "order", rolling, 1, false, NULL, &error);
  test_sql(other, "SELECT pg_advisory_unlock(1)");
  assert_int_equal(pthread_join(thread, NULL), 0);
  expect_done(looked, &error);
  expect_done(run.done, &run.error);
  assert_int_equal(run.applied, 1);
  ls_pg_connection_destroy(other);
}

static void test_components_are_apart(void **state) {
  ls_pg_connection *connection = *state;
  ls_error error = {0};
  size_t applied = 0;
  const ls_pg_migration order[] = {{1, "one", "CREATE TABLE order_one ()", 0}};
  const ls_pg_migration delivery[] = {{1, "one", "CREATE TABLE delivery_one ()", 0}};
  expect_applied(connection, order, 1, true, 1);
  expect_done(ls_pg_migrate(connection, "delivery", delivery, 1, true, &applied, &error), &error);
  assert_int_equal(applied, 1);
}

static void test_failing_migration(void **state) {
  ls_pg_connection *connection = *state;
  ls_error error = {0};
  size_t applied = 0;
  const ls_pg_migration failing[] = {
      {1, "good", "CREATE TABLE good ()", 0},
      {2, "bad", "CREATE TABLE half (); SELECT * FROM not_there", 0}};
  assert_false(ls_pg_migrate(connection, "order", failing, 2, true, &applied, &error));
  assert_int_equal(error.code, LS_INTERNAL);
  assert_string_equal(error.source, "42P01");
  assert_non_null(strstr(error.message, "migration 2 (bad) of order"));
  assert_int_equal(applied, 1);
  assert_int_equal(
      test_query_int8(connection, "SELECT count(*) FROM pg_class WHERE oid = to_regclass('half')"),
      0);

  const ls_pg_migration committing[] = {failing[0], {2, "commits", "COMMIT", 0}};
  assert_false(ls_pg_migrate(connection, "order", committing, 2, true, &applied, &error));
  assert_int_equal(error.code, LS_INVALID_ARGUMENT);
  assert_false(ls_pg_in_transaction(connection));

  const ls_pg_migration impossible[] = {{1, "a", "SELECT 1", 0}, {2, "b", "SELECT 1", 3}};
  assert_false(ls_pg_migrate(connection, "order", impossible, 2, true, &applied, &error));
  assert_int_equal(error.code, LS_INVALID_ARGUMENT);

  const ls_pg_migration unordered[] = {{2, "b", "SELECT 1", 0}, {1, "a", "SELECT 1", 0}};
  assert_false(ls_pg_migrate(connection, "order", unordered, 2, true, &applied, &error));
  assert_int_equal(error.code, LS_INVALID_ARGUMENT);
}

static const ls_pg_migration slow[] = {
    {1, "one", "CREATE TABLE concurrent (id bigint); SELECT pg_sleep(0.1)", 0},
    {2, "two", "INSERT INTO concurrent VALUES (1); SELECT pg_sleep(0.1)", 0},
    {3, "three", "INSERT INTO concurrent VALUES (2)", 0}};

static void test_concurrent(void **state) {
  ls_pg_connection *connection = *state;
  pthread_barrier_t start;
  pthread_t threads[REPLICAS];
  migrating replicas[REPLICAS] = {0};
  assert_int_equal(pthread_barrier_init(&start, NULL, REPLICAS), 0);
  for (size_t i = 0; i < REPLICAS; i++) {
    /* Shorter than what the others' migrations take: waiting in turn is no statement's timeout. */
    replicas[i].connection =
        test_connect(&(ls_pg_options){.statement_timeout_ms = 20, .answer_timeout_ms = 1000});
    replicas[i].migrations = slow;
    replicas[i].count = sizeof slow / sizeof slow[0];
    replicas[i].start = &start;
    assert_int_equal(pthread_create(&threads[i], NULL, migrate_in_thread, &replicas[i]), 0);
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
      cmocka_unit_test_setup_teardown(test_older_programs_go_on_beside_what_was_made_for_them,
                                      fresh_schema, drop_schema),
      cmocka_unit_test_setup_teardown(test_older_programs_need_what_they_know, fresh_schema,
                                      drop_schema),
      cmocka_unit_test_setup_teardown(test_a_newer_schema_is_told_once, fresh_schema, drop_schema),
      cmocka_unit_test_setup_teardown(test_table_of_older_programs, fresh_schema, drop_schema),
      cmocka_unit_test_setup_teardown(test_looking_waits_for_no_migration, fresh_schema,
                                      drop_schema),
      cmocka_unit_test_setup_teardown(test_components_are_apart, fresh_schema, drop_schema),
      cmocka_unit_test_setup_teardown(test_failing_migration, fresh_schema, drop_schema),
      cmocka_unit_test_setup_teardown(test_concurrent, fresh_schema, drop_schema),
  };
  return cmocka_run_group_tests_name("migrate", tests, NULL, NULL);
}
