/* A database's schema, brought up to date by numbered migrations.
 *
 * What was applied is kept in the table lockstep_schema_migrations, in the first schema of the
 * search path. Several processes may migrate at once: they take turns, and the later ones find
 * nothing to do.
 *
 * While programs are replaced by newer ones, and when they are put back, older ones start on a
 * schema that is newer than they are. Each migration says which of them can work with what it
 * makes, and the table keeps that, since they do not have its text. */
#ifndef LOCKSTEP_RUNTIME_POSTGRES_MIGRATE_H
#define LOCKSTEP_RUNTIME_POSTGRES_MIGRATE_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/error.h"
#include "runtime/postgres/connection.h"

/* In constant storage; lockstep_embed_migrations (CMake) makes arrays of them from files named
 * 0001_what_it_does.sql, whose first line may be "-- compatible-with: NUMBER". */
typedef struct ls_pg_migration {
  int number;       /* from 1, ascending in an array */
  const char *name; /* what_it_does */
  const char *sql;  /* any commands that may run in a transaction, and that do not end it */
  int oldest; /* programs that know migrations up to this number, or further, can work with the
                 schema after it; 0: only those that know it itself, which is never wrong */
} ls_pg_migration;

/* Checks that the database has these migrations of `component` ("order"), and applies those it
 * lacks if `allow`, each in a transaction of its own and without a statement timeout. Newer ones
 * than these are accepted, with a line in the log, if all of them were made for programs as old as
 * this one. `applied` (may be NULL): how many that were, also on failure. Not within a transaction.
 *
 * LS_FAILED_PRECONDITION: it lacks some and `allow` is false; it has newer ones that are not for
 * this program; one was applied with another text, or is lacking below a number that was applied.
 * Other errors are the connection's, a failing migration's with its number and name. */
bool ls_pg_migrate(ls_pg_connection *connection, const char *component,
                   const ls_pg_migration *migrations, size_t count, bool allow, size_t *applied,
                   ls_error *error);

#endif
