/* A database's schema, brought up to date by numbered migrations.
 *
 * What was applied is kept in the table lockstep_schema_migrations, in the first schema of the
 * search path. Several processes may migrate at once: they take turns, and the later ones find
 * nothing to do. */
#ifndef LOCKSTEP_RUNTIME_POSTGRES_MIGRATE_H
#define LOCKSTEP_RUNTIME_POSTGRES_MIGRATE_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/error.h"
#include "runtime/postgres/connection.h"

/* In constant storage; lockstep_embed_migrations (CMake) makes arrays of them from files named
 * 0001_what_it_does.sql. */
typedef struct ls_pg_migration {
  int number;       /* from 1, ascending in an array */
  const char *name; /* what_it_does */
  const char *sql;  /* any commands that may run in a transaction, and that do not end it */
} ls_pg_migration;

/* Checks that the database has exactly these migrations of `component` ("order"), and applies those
 * it lacks if `allow`, each in a transaction of its own and without a statement timeout. `applied`
 * (may be NULL): how many that were, also on failure. Not within a transaction.
 *
 * LS_FAILED_PRECONDITION: it lacks some and `allow` is false; it has newer ones than these; one was
 * applied with another text, or is lacking below a number that was applied. Other errors are the
 * connection's, a failing migration's with its number and name. */
bool ls_pg_migrate(ls_pg_connection *connection, const char *component,
                   const ls_pg_migration *migrations, size_t count, bool allow, size_t *applied,
                   ls_error *error);

#endif
