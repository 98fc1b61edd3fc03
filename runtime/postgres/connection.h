/* A connection to PostgreSQL that runs prepared statements, one at a time or several in one network
 * round trip.
 *
 * A connection belongs to one thread at a time. Everything blocks until the server has answered,
 * for at most answer_timeout_ms without a sign of it.
 *
 * Errors carry the SQLSTATE as their source. LS_UNAVAILABLE (retriable): the connection is lost, or
 * the server could not do it just now (SQLSTATE classes 08 and 53, 40001, 40P01, 55P03,
 * 57P01-57P03, 25006), or there is none. LS_ALREADY_EXISTS: unique violation. LS_DEADLINE_EXCEEDED:
 * a server-side timeout. LS_INTERNAL: everything else. When a connection is lost while a COMMIT is
 * under way, nobody knows whether it took place, and the source is 08007: the work must be safe to
 * do again.
 */
#ifndef LOCKSTEP_RUNTIME_POSTGRES_CONNECTION_H
#define LOCKSTEP_RUNTIME_POSTGRES_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/error.h"
#include "runtime/postgres/params.h"
#include "runtime/postgres/result.h"
#include "runtime/postgres/types.h"

typedef struct ls_pg_connection ls_pg_connection;

typedef struct ls_pg_options {
  const char *conninfo;      /* a libpq connection string or URI; NULL: the PG* environment. What
                                it says wins over connect_timeout_ms and dead_peer_timeout_ms */
  const char *password;      /* NULL: the connection string's, the environment's, the password
                                file's. Never in an error or log */
  const char *password_file; /* read for each new session, and wins over `password`; NULL: none */
  const char *application_name; /* unless the connection string or PGAPPNAME say another */
  int64_t connect_timeout_ms;   /* for each host, to the second; 0: 5,000 */
  int64_t dead_peer_timeout_ms; /* TCP gives up on a peer silent for so long; 0: 15,000 */
  int64_t statement_timeout_ms; /* the server cancels a statement then; 0: the server's setting */
  int64_t lock_timeout_ms;      /* the same for one wait for a lock */
  int64_t idle_in_transaction_timeout_ms; /* the server ends a session that left one open so long */
  int64_t answer_timeout_ms;              /* a server silent for so long is taken for dead; 0:
                                             statement_timeout_ms              and 5,000 more if that is set,
                                             else never */
} ls_pg_options;

/* Connects; the server must be PostgreSQL 13 or later. `options` NULL: all defaults; copied. NULL
 * with LS_UNAVAILABLE (retriable), LS_UNAUTHENTICATED (a password is missing), LS_INVALID_ARGUMENT
 * (not a connection string), LS_FAILED_PRECONDITION (server too old). */
ls_pg_connection *ls_pg_connect(const ls_pg_options *options, ls_error *error);

/* Whether connecting failed because the server does not let this user with this password into this
 * database (SQLSTATE 28…, 3D000, 42501): it is retriable, as passwords rotate and databases are
 * made, but somebody has to do so. */
bool ls_pg_is_refused(const ls_error *error);

/* Ends the session. NULL is fine. */
void ls_pg_connection_destroy(ls_pg_connection *connection);

/* A new session with the same options; statements are prepared again as they are used, channels are
 * listened to again. What was notified in between is lost: look at the data. On failure it stays
 * unconnected, every use fails with LS_UNAVAILABLE, and this may be called again. */
bool ls_pg_reconnect(ls_pg_connection *connection, ls_error *error);

/* False once the connection is known to be lost; notices without blocking that the server closed
 * it. */
bool ls_pg_is_alive(ls_pg_connection *connection);

/* To be polled for reading while waiting for notifications; -1 when not connected. Another one
 * after a reconnect. */
int ls_pg_socket(const ls_pg_connection *connection);

/* 150004 for 15.4; 0 when not connected. */
int ls_pg_server_version(const ls_pg_connection *connection);

enum { LS_PG_COLUMNS_MAX = 32 };

/* A statement in constant storage: connections know it by its address. It is prepared once in a
 * session, when it is first used, with the types of the parameters given then; later uses must give
 * the same. `columns` are exactly those it returns, none for a statement that returns no rows: what
 * the database has otherwise is refused with LS_FAILED_PRECONDITION before anything is run. */
typedef struct ls_pg_statement {
  const char *name; /* for errors and pg_prepared_statements */
  const char *sql;  /* one command */
  ls_pg_type columns[LS_PG_COLUMNS_MAX];
} ls_pg_statement;

/* Runs one statement. `params` NULL: none. `result` may be NULL when the rows do not matter; else
 * the caller destroys it, and it is NULL on failure. In a transaction a failure leaves nothing but
 * ls_pg_rollback to do. */
bool ls_pg_exec(ls_pg_connection *connection, const ls_pg_statement *statement,
                const ls_pg_params *params, ls_pg_result **result, ls_error *error);

/* Runs SQL text of one or more commands without parameters; rows are dropped. No COPY. */
bool ls_pg_exec_sql(ls_pg_connection *connection, const char *sql, ls_error *error);

/* What a batch does around its statements. */
typedef enum ls_pg_transaction {
  LS_PG_CONTINUE = 0, /* runs in the open transaction; without one, in one of its own */
  LS_PG_BEGIN = 1,    /* begins one and leaves it open */
  LS_PG_COMMIT = 2,   /* runs in the open one and commits it */
  LS_PG_BEGIN_COMMIT = LS_PG_BEGIN | LS_PG_COMMIT
} ls_pg_transaction;

/* One statement of a batch. The same params may serve several. */
typedef struct ls_pg_batch_item {
  const ls_pg_statement *statement;
  const ls_pg_params *params; /* NULL: none */
  ls_pg_result *result; /* set on success; the caller destroys it, or calls ls_pg_batch_clear */
} ls_pg_batch_item;

/* Runs the statements one after the other in one network round trip (and what preparing takes, the
 * first time). All or nothing: on failure the transaction is rolled back, also one that was open
 * before, all results are NULL, `error` is the first failing statement's, and the connection is
 * ready for the next use unless it was lost. */
bool ls_pg_exec_batch(ls_pg_connection *connection, ls_pg_transaction transaction,
                      ls_pg_batch_item *items, size_t count, ls_error *error);

/* Destroys the results and sets them NULL. */
void ls_pg_batch_clear(ls_pg_batch_item *items, size_t count);

/* True while a transaction is open, failed ones included. */
bool ls_pg_in_transaction(const ls_pg_connection *connection);

/* Ends an open transaction without its changes; nothing to do without one. If it cannot, the
 * connection is dropped, and the server does it: false means lost, not undone. */
bool ls_pg_rollback(ls_pg_connection *connection, ls_error *error);

/* Listens to a channel, now and after reconnecting. */
bool ls_pg_listen(ls_pg_connection *connection, const char *channel, ls_error *error);

/* Takes the notifications that have come, without blocking, and says how many in `count`. Those
 * that came along with the answer to a statement do not make the socket readable: call this after
 * those too. False: the connection is lost. */
bool ls_pg_notifications(ls_pg_connection *connection, size_t *count, ls_error *error);

#endif
