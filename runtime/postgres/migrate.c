/* Applying numbered migrations, one transaction each, under an advisory lock. */
#include "runtime/postgres/migrate.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/fault.h"
#include "runtime/base/log.h"
#include "runtime/postgres/internal.h"

/* One lock for all components: they share the table. "lockstep" in ASCII. */
static const ls_pg_statement lock_statement = {
    .name = "migrations_lock",
    .sql = "SELECT pg_advisory_xact_lock(x'6c6f636b73746570'::bigint)",
    .columns = {LS_PG_VOID},
};

static const ls_pg_statement table_exists_statement = {
    .name = "migrations_table_exists",
    .sql = "SELECT to_regclass('lockstep_schema_migrations') IS NOT NULL",
    .columns = {LS_PG_BOOL},
};

/* What was applied, beside what this program has under the same number: whether it has it at all,
 * and whether the texts are the same. The server computes the checksums, of both sides alike. */
static const ls_pg_statement state_statement = {
    .name = "migrations_state",
    .sql = "SELECT a.number, a.name, m.number IS NOT NULL,"
           "       coalesce(a.checksum = encode(sha256(convert_to(m.sql, 'UTF8')), 'hex'), false)"
           "  FROM lockstep_schema_migrations a"
           "  LEFT JOIN unnest($2, $3) AS m(number, sql) ON m.number = a.number"
           " WHERE a.component = $1"
           " ORDER BY a.number",
    .columns = {LS_PG_INT4, LS_PG_TEXT, LS_PG_BOOL, LS_PG_BOOL},
};

static const ls_pg_statement record_statement = {
    .name = "migrations_record",
    .sql = "INSERT INTO lockstep_schema_migrations (component, number, name, checksum)"
           " VALUES ($1, $2, $3, encode(sha256(convert_to($4, 'UTF8')), 'hex'))",
};

static const char begin_sql[] = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
                                "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;"
                                "SET LOCAL idle_in_transaction_session_timeout = 0";

static const char table_sql[] = "CREATE TABLE IF NOT EXISTS lockstep_schema_migrations ("
                                "  component text NOT NULL,"
                                "  number integer NOT NULL,"
                                "  name text NOT NULL,"
                                "  checksum text NOT NULL,"
                                "  applied_at timestamptz NOT NULL DEFAULT now(),"
                                "  PRIMARY KEY (component, number))";

/* What a run works on. */
typedef struct migration_run {
  ls_pg_connection *connection;
  const char *component;
  const ls_pg_migration *migrations;
  size_t count;
  ls_pg_params *params;
} migration_run;

static bool check_numbers(const ls_pg_migration *migrations, size_t count, ls_error *error) {
  int previous = 0;
  for (size_t i = 0; i < count; i++) {
    if (migrations[i].number <= previous)
      return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                          "migration %d stands after migration %d", migrations[i].number, previous);
    previous = migrations[i].number;
  }
  return true;
}

static bool table_exists(ls_pg_connection *connection, bool *exists, ls_error *error) {
  ls_pg_result *result = NULL;
  if (!ls_pg_exec(connection, &table_exists_statement, NULL, &result, error))
    return false;
  *exists = ls_pg_get_bool(result, 0, 0);
  ls_pg_result_destroy(result);
  return true;
}

/* Compares what was applied with what this program has: each applied one must be the one at its
 * place. `present`: how many of the program's were applied. */
static bool compare(const migration_run *run, const ls_pg_result *state, size_t *present,
                    ls_error *error) {
  size_t rows = ls_pg_row_count(state);
  int newest = run->count > 0 ? run->migrations[run->count - 1].number : 0;
  for (size_t i = 0; i < rows; i++) {
    int number = ls_pg_get_int4(state, i, 0);
    const char *name = ls_pg_get_text(state, i, 1, NULL);
    if (number > newest)
      return ls_error_set(error, LS_FAILED_PRECONDITION, false, NULL,
                          "the database is newer than this program: its schema of %s has migration "
                          "%d (%s), the program knows them up to %d",
                          run->component, number, name, newest);
    if (!ls_pg_get_bool(state, i, 2))
      return ls_error_set(error, LS_FAILED_PRECONDITION, false, NULL,
                          "the database's schema of %s has migration %d (%s), which this program "
                          "does not know",
                          run->component, number, name);
    if (!ls_pg_get_bool(state, i, 3))
      return ls_error_set(error, LS_FAILED_PRECONDITION, false, NULL,
                          "migration %d (%s) of %s was changed after it had been applied to this "
                          "database: add a new one instead",
                          number, name, run->component);
    if (number != run->migrations[i].number)
      return ls_error_set(error, LS_FAILED_PRECONDITION, false, NULL,
                          "migration %d (%s) of %s was not applied to this database, but %d (%s) "
                          "was: migrations are only added at the end",
                          run->migrations[i].number, run->migrations[i].name, run->component,
                          number, name);
  }
  *present = rows;
  return true;
}

static bool read_state(const migration_run *run, size_t *present, ls_error *error) {
  ls_pg_result *state = NULL;
  ls_pg_params_reset(run->params);
  ls_pg_params_text(run->params, run->component);
  ls_pg_params_array_begin(run->params, LS_PG_INT4);
  for (size_t i = 0; i < run->count; i++)
    ls_pg_params_int4(run->params, run->migrations[i].number);
  ls_pg_params_array_end(run->params);
  ls_pg_params_array_begin(run->params, LS_PG_TEXT);
  for (size_t i = 0; i < run->count; i++)
    ls_pg_params_text(run->params, run->migrations[i].sql);
  ls_pg_params_array_end(run->params);
  bool done = ls_pg_exec(run->connection, &state_statement, run->params, &state, error) &&
              compare(run, state, present, error);
  ls_pg_result_destroy(state);
  return done;
}

/* Only looks: a replica may start before the migrations ran, and must not wait for their lock. */
static bool check(const migration_run *run, ls_error *error) {
  bool exists = false;
  size_t present = 0;
  if (!table_exists(run->connection, &exists, error) ||
      (exists && !read_state(run, &present, error)))
    return false;
  if (present == run->count)
    return true;
  return ls_error_set(
      error, LS_FAILED_PRECONDITION, false, NULL,
      "the database's schema of %s is at migration %d, this program needs %d: run it "
      "once with --migrate",
      run->component, present > 0 ? run->migrations[present - 1].number : 0,
      run->migrations[run->count - 1].number);
}

static bool apply(const migration_run *run, const ls_pg_migration *migration, ls_error *error) {
  if (!ls_pg_exec_sql(run->connection, migration->sql, error))
    goto failed;
  if (!run->connection->session ||
      PQtransactionStatus(run->connection->session) != PQTRANS_INTRANS) {
    ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "it ends the transaction it runs in");
    goto failed;
  }
  ls_pg_params_reset(run->params);
  ls_pg_params_text(run->params, run->component);
  ls_pg_params_int4(run->params, migration->number);
  ls_pg_params_text(run->params, migration->name);
  ls_pg_params_text(run->params, migration->sql);
  if (!ls_pg_exec(run->connection, &record_statement, run->params, NULL, error))
    goto failed;
  return true;

failed:
  return ls_error_prefix(error, "migration %d (%s) of %s", migration->number, migration->name,
                         run->component);
}

/* Applies the first that is lacking; `more` is false when none is. */
static bool apply_next(const migration_run *run, bool *more, ls_error *error) {
  size_t present = 0;
  *more = false;
  if (!ls_pg_exec_sql(run->connection, begin_sql, error) ||
      !ls_pg_exec(run->connection, &lock_statement, NULL, NULL, error) ||
      !ls_pg_exec_sql(run->connection, table_sql, error) || !read_state(run, &present, error))
    goto failed;
  if (present < run->count && !apply(run, &run->migrations[present], error))
    goto failed;
  if (present < run->count)
    LS_FAULT_POINT("postgres.migrated");
  if (!ls_pg_exec_sql(run->connection, "COMMIT", error))
    goto failed;
  if (present < run->count) {
    *more = true;
    LS_INFO("migration applied", LS_STR("component", run->component),
            LS_INT("number", run->migrations[present].number),
            LS_STR("name", run->migrations[present].name));
  }
  return true;

failed:
  (void)ls_pg_rollback(run->connection, NULL);
  return false;
}

bool ls_pg_migrate(ls_pg_connection *connection, const char *component,
                   const ls_pg_migration *migrations, size_t count, bool allow, size_t *applied,
                   ls_error *error) {
  size_t done_count = 0;
  bool done = false;
  int64_t answer_timeout_ms = connection->options.answer_timeout_ms;
  migration_run run = {.connection = connection,
                       .component = component,
                       .migrations = migrations,
                       .count = count,
                       .params = ls_pg_params_new()};
  if (!run.params) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of memory to migrate");
    goto cleanup;
  }
  if (!check_numbers(migrations, count, error))
    goto cleanup;
  if (!allow) {
    done = check(&run, error);
    goto cleanup;
  }
  /* Waiting for another process's migration, and a migration itself, take as long as they take. */
  connection->options.answer_timeout_ms = 0;
  bool more = true;
  while (more && (done = apply_next(&run, &more, error)))
    done_count += more ? 1 : 0;

cleanup:
  connection->options.answer_timeout_ms = answer_timeout_ms;
  ls_pg_params_destroy(run.params);
  if (applied)
    *applied = done_count;
  return done;
}
