/* Applying numbered migrations, one transaction each, under an advisory lock. */
#include "runtime/postgres/migrate.h"

#include <stdatomic.h>
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
 * and whether the texts are the same. The server computes the checksums, of both sides alike. Read
 * as JSON because programs from before the column "oldest" may have made the table, and those that
 * go on beside newer ones add rows without it; then nobody is known to work with what is newer. */
static const ls_pg_statement state_statement = {
    .name = "migrations_state",
    .sql = "SELECT a.number, a.name, m.number IS NOT NULL,"
           "       coalesce(a.checksum = encode(sha256(convert_to(m.sql, 'UTF8')), 'hex'), false),"
           "       coalesce((to_jsonb(a)->>'oldest')::integer, a.number)"
           "  FROM lockstep_schema_migrations a"
           "  LEFT JOIN unnest($2, $3) AS m(number, sql) ON m.number = a.number"
           " WHERE a.component = $1"
           " ORDER BY a.number",
    .columns = {LS_PG_INT4, LS_PG_TEXT, LS_PG_BOOL, LS_PG_BOOL, LS_PG_INT4},
};

static const ls_pg_statement column_exists_statement = {
    .name = "migrations_column_exists",
    .sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute"
           " WHERE attrelid = to_regclass('lockstep_schema_migrations')"
           "   AND attname = 'oldest' AND NOT attisdropped)",
    .columns = {LS_PG_BOOL},
};

static const ls_pg_statement record_statement = {
    .name = "migrations_record",
    .sql = "INSERT INTO lockstep_schema_migrations (component, number, name, checksum, oldest)"
           " VALUES ($1, $2, $3, encode(sha256(convert_to($4, 'UTF8')), 'hex'), $5)",
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
                                "  oldest integer,"
                                "  PRIMARY KEY (component, number))";

static const char column_sql[] =
    "ALTER TABLE lockstep_schema_migrations ADD COLUMN IF NOT EXISTS oldest integer";

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
    if (migrations[i].oldest < 0 || migrations[i].oldest > migrations[i].number)
      return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                          "migration %d is no later one than migration %d, with whose programs it "
                          "is said to be compatible",
                          migrations[i].number, migrations[i].oldest);
    previous = migrations[i].number;
  }
  return true;
}

/* The answer of a statement that gives one truth value. */
static bool ask(ls_pg_connection *connection, const ls_pg_statement *statement, bool *answer,
                ls_error *error) {
  ls_pg_result *result = NULL;
  if (!ls_pg_exec(connection, statement, NULL, &result, error))
    return false;
  *answer = ls_pg_get_bool(result, 0, 0);
  ls_pg_result_destroy(result);
  return true;
}

/* Once for each state of the schema: every session of a program that starts comes by here. */
static void tell_newer(const migration_run *run, int newest, int known) {
  static atomic_int told;
  if (atomic_exchange(&told, newest) != newest)
    LS_WARN("the database is newer than this program, which can work with it",
            LS_STR("component", run->component), LS_INT("migration", newest),
            LS_INT("known", known));
}

/* Rows from `first` on are of migrations that this program does not know yet, because it is older.
 * It can work beside them if each says so. */
static bool accept_newer(const migration_run *run, const ls_pg_result *state, size_t first,
                         int known, ls_error *error) {
  size_t rows = ls_pg_row_count(state);
  size_t strictest = first;
  for (size_t i = first; i < rows; i++)
    if (ls_pg_get_int4(state, i, 4) > ls_pg_get_int4(state, strictest, 4))
      strictest = i;
  if (ls_pg_get_int4(state, strictest, 4) > known)
    return ls_error_set(error, LS_FAILED_PRECONDITION, false, NULL,
                        "the database is newer than this program: its schema of %s has migration "
                        "%d (%s), which takes a program that knows them up to %d at least, this "
                        "program knows them up to %d",
                        run->component, ls_pg_get_int4(state, strictest, 0),
                        ls_pg_get_text(state, strictest, 1, NULL),
                        ls_pg_get_int4(state, strictest, 4), known);
  if (first < run->count)
    return ls_error_set(error, LS_FAILED_PRECONDITION, false, NULL,
                        "migration %d (%s) of %s was not applied to this database, but %d (%s) "
                        "was: migrations are only added at the end",
                        run->migrations[first].number, run->migrations[first].name, run->component,
                        ls_pg_get_int4(state, first, 0), ls_pg_get_text(state, first, 1, NULL));
  tell_newer(run, ls_pg_get_int4(state, rows - 1, 0), known);
  return true;
}

/* Compares what was applied with what this program has: each applied one must be the one at its
 * place, or newer than all and made for older programs too. `present`: how many of the program's
 * were applied. */
static bool compare(const migration_run *run, const ls_pg_result *state, size_t *present,
                    ls_error *error) {
  size_t rows = ls_pg_row_count(state);
  int newest = run->count > 0 ? run->migrations[run->count - 1].number : 0;
  for (size_t i = 0; i < rows; i++) {
    int number = ls_pg_get_int4(state, i, 0);
    const char *name = ls_pg_get_text(state, i, 1, NULL);
    if (number > newest) {
      *present = i;
      return accept_newer(run, state, i, newest, error);
    }
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
  if (!ask(run->connection, &table_exists_statement, &exists, error) ||
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
  ls_pg_params_int4(run->params, migration->oldest > 0 ? migration->oldest : migration->number);
  if (!ls_pg_exec(run->connection, &record_statement, run->params, NULL, error))
    goto failed;
  return true;

failed:
  return ls_error_prefix(error, "migration %d (%s) of %s", migration->number, migration->name,
                         run->component);
}

/* Applies the first that is lacking; `more` is false when none is. A table that lacks the column is
 * given it in a transaction of its own: the lock that takes would have all replicas that only look
 * wait until the migration is done. */
static bool apply_next(const migration_run *run, bool *more, size_t *applied, ls_error *error) {
  const ls_pg_migration *next = NULL;
  size_t present = 0;
  bool has_column = true;
  *more = false;
  if (!ls_pg_exec_sql(run->connection, begin_sql, error) ||
      !ls_pg_exec(run->connection, &lock_statement, NULL, NULL, error) ||
      !ls_pg_exec_sql(run->connection, table_sql, error) || !read_state(run, &present, error))
    goto failed;
  if (present < run->count) {
    *more = true;
    if (!ask(run->connection, &column_exists_statement, &has_column, error))
      goto failed;
    if (has_column)
      next = &run->migrations[present];
    if (next ? !apply(run, next, error) : !ls_pg_exec_sql(run->connection, column_sql, error))
      goto failed;
  }
  if (next)
    LS_FAULT_POINT("postgres.migrated");
  if (!ls_pg_exec_sql(run->connection, "COMMIT", error))
    goto failed;
  if (next) {
    *applied += 1;
    LS_INFO("migration applied", LS_STR("component", run->component),
            LS_INT("number", next->number), LS_STR("name", next->name));
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
  bool more = false;
  do {
    done = apply_next(&run, &more, &done_count, error);
  } while (done && more);

cleanup:
  connection->options.answer_timeout_ms = answer_timeout_ms;
  ls_pg_params_destroy(run.params);
  if (applied)
    *applied = done_count;
  return done;
}
