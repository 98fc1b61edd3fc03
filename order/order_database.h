/* The order service's database: how to reach it, and whether its schema is this program's. Shared
 * by all sessions. */
#ifndef LOCKSTEP_ORDER_ORDER_DATABASE_H
#define LOCKSTEP_ORDER_ORDER_DATABASE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "runtime/base/error.h"
#include "runtime/postgres/connection.h"

typedef struct order_database {
  ls_pg_options options;
  bool may_migrate;        /* brings the schema up to date if it is behind */
  _Atomic bool is_current; /* found to be right once; false at first */
} order_database;

/* Looks whether the schema is right, and makes it so if it may, until it was once: a process that
 * serves goes on when a newer version migrates under it, for migrations keep to what the version
 * before them uses. LS_FAILED_PRECONDITION (not retriable): a person has to do something. Any
 * thread. */
bool order_database_check(order_database *database, ls_pg_connection *connection, ls_error *error);

#endif
