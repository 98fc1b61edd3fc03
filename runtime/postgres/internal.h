/* What the files of this library share; not for others. */
#ifndef LOCKSTEP_RUNTIME_POSTGRES_INTERNAL_H
#define LOCKSTEP_RUNTIME_POSTGRES_INTERNAL_H

#include <libpq-fe.h>

#include "runtime/postgres/connection.h"

/* 2000-01-01, from which PostgreSQL counts, in Unix time. */
#define LS_PG_EPOCH_US INT64_C(946684800000000)

/* A statement as this session knows it. */
typedef struct ls_pg_prepared {
  const ls_pg_statement *statement;
  char server_name[64];
  Oid *types;
  int type_count;
} ls_pg_prepared;

struct ls_pg_connection {
  PGconn *session; /* NULL: not connected */

  char *conninfo; /* the options, copied; NULL: not given */
  char *password;
  char *password_file;
  char *application_name;
  ls_pg_options options; /* its numbers, with the defaults filled in */

  ls_pg_prepared *prepared;
  size_t prepared_count, prepared_capacity;
  unsigned next_statement; /* numbers server names, so that none is used twice in a session */

  char **channels;
  size_t channel_count;
};

/* Parameters as libpq takes them; valid until the params change. */
typedef struct ls_pg_bound_params {
  int count;
  const Oid *types;
  const char *const *values;
  const int *lengths;
  const int *formats;
} ls_pg_bound_params;

ls_pg_bound_params ls_pg_params_bind(const ls_pg_params *params);

/* A result without rows, made before a statement runs: what is committed is not lost for want of
 * memory. NULL when out of memory. */
ls_pg_result *ls_pg_result_new(void);

/* Takes `rows` over. */
void ls_pg_result_fill(ls_pg_result *result, PGresult *rows);

/* What the SQLSTATE means for the caller. */
void ls_pg_classify(const char *sqlstate, ls_code *code, bool *retriable);

/* Fills `error` from a failed result. */
void ls_pg_error_from_result(const PGresult *rows, ls_error *error);

/* Fills `error` from libpq's own message about the session. */
void ls_pg_error_from_session(const PGconn *session, const char *sqlstate, ls_error *error);

/* Closes the session and forgets what was prepared in it. */
void ls_pg_drop_session(ls_pg_connection *connection);

/* False with LS_UNAVAILABLE when there is no session. */
bool ls_pg_require_session(const ls_pg_connection *connection, ls_error *error);

void ls_pg_forget_prepared(ls_pg_connection *connection);

/* The statement prepared in this session, now if it was not, with the types of `params`. NULL on
 * failure. Lives until the next call of this or the end of the session. */
const ls_pg_prepared *ls_pg_prepare(ls_pg_connection *connection, const ls_pg_statement *statement,
                                    const ls_pg_params *params, ls_error *error);

/* Waits for the end of one command's answer and gives its rows (the caller clears them; NULL on
 * failure). `may_commit`: if the session is lost here, nobody knows what was committed. */
bool ls_pg_collect(ls_pg_connection *connection, bool may_commit, PGresult **rows, ls_error *error);

/* A PQsend… refused: fills `error`, drops the session, whose state nobody knows. Returns false. */
bool ls_pg_send_failed(ls_pg_connection *connection, ls_error *error);

#endif
