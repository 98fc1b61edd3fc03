/* The delivery service's database: how to reach it, and whether its schema is this program's.
 * Shared by all sessions. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_DATABASE_H
#define LOCKSTEP_DELIVERY_DELIVERY_DATABASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/error.h"
#include "runtime/postgres/connection.h"

typedef struct delivery_database {
  ls_pg_options options;
  bool may_migrate;        /* brings the schema up to date if it is behind */
  _Atomic bool is_current; /* found to be right once; false at first */
} delivery_database;

/* Looks whether the schema is right, and makes it so if it may, until it was once: a process that
 * serves goes on when a newer version migrates under it, for migrations keep to what the version
 * before them uses. LS_FAILED_PRECONDITION (not retriable): a person has to do something. Any
 * thread. */
bool delivery_database_check(delivery_database *database, ls_pg_connection *connection,
                             ls_error *error);

/* The same whatever was found before; `applied`: how many migrations were made. */
bool delivery_database_migrate(delivery_database *database, ls_pg_connection *connection,
                               size_t *applied, ls_error *error);

#endif
