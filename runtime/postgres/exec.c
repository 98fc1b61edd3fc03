/* Running statements: preparing, sending, waiting for the answer, batches. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/fault.h"
#include "runtime/postgres/connection.h"
#include "runtime/postgres/internal.h"

static const ls_pg_statement begin_statement = {.name = "begin", .sql = "BEGIN"};
static const ls_pg_statement commit_statement = {.name = "commit", .sql = "COMMIT"};

/* Sends what is unsent and waits until the next result can be taken without blocking. It reads
 * while it sends: a server that cannot get rid of its answers takes no more statements. False: the
 * server has been silent for too long. A broken connection shows as the next result. */
static bool wait_for_result(ls_pg_connection *connection, ls_error *error) {
  PGconn *session = connection->session;
  int64_t timeout_ms = connection->options.answer_timeout_ms;
  for (;;) {
    int unsent = PQflush(session);
    if (!PQisBusy(session))
      return true;
    struct pollfd socket = {.fd = PQsocket(session),
                            .events = (short)(unsent > 0 ? POLLIN | POLLOUT : POLLIN)};
    if (socket.fd < 0)
      return true;
    int ready = poll(&socket, 1, timeout_ms > 0 && timeout_ms < INT32_MAX ? (int)timeout_ms : -1);
    if (ready == 0)
      return ls_error_set(error, LS_UNAVAILABLE, true, "08006",
                          "PostgreSQL did not answer within %" PRId64 " ms", timeout_ms);
    if (ready < 0 && errno != EINTR)
      return ls_error_set(error, LS_UNAVAILABLE, true, "08006", "poll: %s", strerrordesc_np(errno));
    if (ready > 0 && (socket.revents & ~POLLOUT) && !PQconsumeInput(session))
      return true;
  }
}

/* The session is gone: says so, and whether the work may have been done. */
static bool lost(ls_pg_connection *connection, bool may_commit, ls_error *error) {
  if (error) {
    error->code = LS_UNAVAILABLE;
    error->retriable = true;
    if (may_commit)
      memcpy(error->source, "08007", sizeof "08007");
  }
  ls_pg_drop_session(connection);
  return false;
}

static bool ends_session(const PGresult *rows) {
  const char *severity = PQresultErrorField(rows, PG_DIAG_SEVERITY_NONLOCALIZED);
  return severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

/* True when the server no longer has what was prepared, or cannot use it any more. */
static bool is_stale(const PGresult *rows) {
  const char *sqlstate = PQresultErrorField(rows, PG_DIAG_SQLSTATE);
  const char *function = PQresultErrorField(rows, PG_DIAG_SOURCE_FUNCTION);
  if (!sqlstate)
    return false;
  return strcmp(sqlstate, "26000") == 0 || (strcmp(sqlstate, "0A000") == 0 && function &&
                                            strcmp(function, "RevalidateCachedQuery") == 0);
}

bool ls_pg_collect(ls_pg_connection *connection, bool may_commit, PGresult **rows,
                   ls_error *error) {
  bool has_failed = false;
  bool is_lost = false;
  bool has_stale = false;
  *rows = NULL;
  while (!is_lost) {
    if (!wait_for_result(connection, has_failed ? NULL : error)) {
      has_failed = is_lost = true;
      break;
    }
    PGresult *next = PQgetResult(connection->session);
    if (!next)
      break;
    switch (PQresultStatus(next)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
      PQclear(*rows);
      *rows = next;
      continue;
    case PGRES_PIPELINE_ABORTED:
      if (!has_failed)
        ls_error_set(error, LS_ABORTED, true, NULL, "not run: a statement before it failed");
      break;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
      ls_error_set(error, LS_INTERNAL, false, NULL, "COPY is not supported");
      PQclear(next);
      PQclear(*rows);
      *rows = NULL;
      ls_pg_drop_session(connection);
      return false;
    default:
      if (!has_failed)
        ls_pg_error_from_result(next, error);
      has_stale |= is_stale(next);
      is_lost |= ends_session(next);
    }
    has_failed = true;
    PQclear(next);
  }
  is_lost |= PQstatus(connection->session) != CONNECTION_OK;
  if (is_lost && !has_failed) {
    ls_pg_error_from_session(connection->session, "08006", error);
    has_failed = true;
  }
  if (has_failed) {
    PQclear(*rows);
    *rows = NULL;
  }
  if (is_lost)
    return lost(connection, may_commit, error);
  if (has_stale)
    ls_pg_forget_prepared(connection);
  return !has_failed;
}

bool ls_pg_send_failed(ls_pg_connection *connection, ls_error *error) {
  ls_pg_error_from_session(connection->session, "08006", error);
  ls_pg_drop_session(connection);
  return false;
}

static bool check_columns(const ls_pg_statement *statement, const PGresult *description,
                          ls_error *error) {
  int declared = 0;
  while (declared < LS_PG_COLUMNS_MAX && statement->columns[declared] != LS_PG_NONE)
    declared++;
  int given = PQnfields(description);
  if (given != declared)
    return ls_error_set(
        error, LS_FAILED_PRECONDITION, false, NULL,
        "the database returns %d columns where the program expects %d: is its schema "
        "another version's?",
        given, declared);
  for (int i = 0; i < given; i++) {
    ls_pg_type type = (ls_pg_type)PQftype(description, i);
    if (type != statement->columns[i])
      return ls_error_set(error, LS_FAILED_PRECONDITION, false, NULL,
                          "column %d (%s) is of %s (OID %u) where the program expects %s: is the "
                          "database's schema another version's?",
                          i + 1, PQfname(description, i), ls_pg_type_name(type), (unsigned)type,
                          ls_pg_type_name(statement->columns[i]));
  }
  return true;
}

/* The types are fixed when a statement is prepared; another one would be read as garbage. */
static bool check_types(const ls_pg_prepared *prepared, ls_pg_bound_params bound, ls_error *error) {
  if (bound.count != prepared->type_count)
    return ls_error_set(error, LS_INTERNAL, false, NULL,
                        "%d parameters, but it was prepared with %d", bound.count,
                        prepared->type_count);
  for (int i = 0; i < bound.count; i++) {
    if (bound.types[i] != prepared->types[i])
      return ls_error_set(error, LS_INTERNAL, false, NULL,
                          "parameter %d is of %s, but it was prepared with %s", i + 1,
                          ls_pg_type_name((ls_pg_type)bound.types[i]),
                          ls_pg_type_name((ls_pg_type)prepared->types[i]));
  }
  return true;
}

/* A free entry at the end of the prepared ones, with the types copied; NULL when out of memory. */
static ls_pg_prepared *new_entry(ls_pg_connection *connection, const ls_pg_statement *statement,
                                 ls_pg_bound_params bound) {
  if (connection->prepared_count == connection->prepared_capacity) {
    size_t capacity = connection->prepared_capacity ? connection->prepared_capacity * 2 : 16;
    ls_pg_prepared *grown = realloc(connection->prepared, capacity * sizeof *grown);
    if (!grown)
      return NULL;
    connection->prepared = grown;
    connection->prepared_capacity = capacity;
  }
  ls_pg_prepared *entry = &connection->prepared[connection->prepared_count];
  *entry = (ls_pg_prepared){.statement = statement, .type_count = bound.count};
  entry->types = malloc(((size_t)bound.count + 1) * sizeof *entry->types);
  if (!entry->types)
    return NULL;
  if (bound.count > 0)
    memcpy(entry->types, bound.types, (size_t)bound.count * sizeof *entry->types);
  (void)snprintf(entry->server_name, sizeof entry->server_name, "%.48s_%u", statement->name,
                 connection->next_statement++);
  return entry;
}

/* Sends the text, and asks back what it returns. */
static bool prepare_and_check(ls_pg_connection *connection, const ls_pg_prepared *entry,
                              ls_error *error) {
  const ls_pg_statement *statement = entry->statement;
  PGresult *rows = NULL;
  if (!PQsendPrepare(connection->session, entry->server_name, statement->sql, entry->type_count,
                     entry->types))
    return ls_pg_send_failed(connection, error);
  if (!ls_pg_collect(connection, false, &rows, error))
    return false;
  PQclear(rows);
  if (!PQsendDescribePrepared(connection->session, entry->server_name))
    return ls_pg_send_failed(connection, error);
  if (!ls_pg_collect(connection, false, &rows, error))
    return false;
  bool is_good = check_columns(statement, rows, error);
  PQclear(rows);
  if (!is_good) {
    char sql[96];
    (void)snprintf(sql, sizeof sql, "DEALLOCATE \"%s\"", entry->server_name);
    (void)ls_pg_exec_sql(connection, sql, NULL);
  }
  return is_good;
}

const ls_pg_prepared *ls_pg_prepare(ls_pg_connection *connection, const ls_pg_statement *statement,
                                    const ls_pg_params *params, ls_error *error) {
  if (params && !ls_pg_params_check(params, error))
    goto failed;
  ls_pg_bound_params bound = ls_pg_params_bind(params);
  for (size_t i = 0; i < connection->prepared_count; i++) {
    const ls_pg_prepared *prepared = &connection->prepared[i];
    if (prepared->statement == statement) {
      if (!check_types(prepared, bound, error))
        goto failed;
      return prepared;
    }
  }
  ls_pg_prepared *entry = new_entry(connection, statement, bound);
  if (!entry) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of memory to prepare");
    goto failed;
  }
  ls_pg_prepared candidate = *entry; /* a lost session clears the list */
  if (!prepare_and_check(connection, &candidate, error)) {
    free(candidate.types);
    goto failed;
  }
  connection->prepared_count++;
  return entry;

failed:
  ls_error_prefix(error, "statement %s", statement->name);
  return NULL;
}

static bool send_prepared(ls_pg_connection *connection, const ls_pg_prepared *prepared,
                          const ls_pg_params *params) {
  ls_pg_bound_params bound = ls_pg_params_bind(params);
  return PQsendQueryPrepared(connection->session, prepared->server_name, bound.count, bound.values,
                             bound.lengths, bound.formats, 1) == 1;
}

bool ls_pg_exec(ls_pg_connection *connection, const ls_pg_statement *statement,
                const ls_pg_params *params, ls_pg_result **result, ls_error *error) {
  PGresult *rows = NULL;
  if (result)
    *result = NULL;
  if (!ls_pg_require_session(connection, error))
    return false;
  const ls_pg_prepared *prepared = ls_pg_prepare(connection, statement, params, error);
  if (!prepared)
    return false;
  ls_pg_result *filled = result ? ls_pg_result_new() : NULL;
  if (result && !filled)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of memory for a result");
  bool may_commit = !ls_pg_in_transaction(connection);
  bool done = send_prepared(connection, prepared, params) || ls_pg_send_failed(connection, error);
  if (done) {
    LS_FAULT_POINT_OF("postgres.sent.", statement->name);
    done = ls_pg_collect(connection, may_commit, &rows, error);
  }
  if (!done) {
    free(filled);
    return ls_error_prefix(error, "statement %s", statement->name);
  }
  if (!result) {
    PQclear(rows);
    return true;
  }
  ls_pg_result_fill(filled, rows);
  *result = filled;
  return true;
}

bool ls_pg_exec_sql(ls_pg_connection *connection, const char *sql, ls_error *error) {
  PGresult *rows = NULL;
  if (!ls_pg_require_session(connection, error))
    return false;
  if (!PQsendQuery(connection->session, sql))
    return ls_pg_send_failed(connection, error);
  bool done = ls_pg_collect(connection, true, &rows, error);
  PQclear(rows);
  return done;
}

bool ls_pg_in_transaction(const ls_pg_connection *connection) {
  return connection->session && PQtransactionStatus(connection->session) != PQTRANS_IDLE;
}

bool ls_pg_rollback(ls_pg_connection *connection, ls_error *error) {
  if (!ls_pg_in_transaction(connection))
    return true;
  if (ls_pg_exec_sql(connection, "ROLLBACK", error))
    return true;
  ls_pg_drop_session(connection);
  return false;
}

void ls_pg_batch_clear(ls_pg_batch_item *items, size_t count) {
  for (size_t i = 0; i < count; i++) {
    ls_pg_result_destroy(items[i].result);
    items[i].result = NULL;
  }
}

/* Everything a batch may fail on before it is sent. */
static bool prepare_batch(ls_pg_connection *connection, ls_pg_transaction transaction,
                          ls_pg_batch_item *items, size_t count, ls_error *error) {
  if (((transaction & LS_PG_BEGIN) && !ls_pg_prepare(connection, &begin_statement, NULL, error)) ||
      ((transaction & LS_PG_COMMIT) && !ls_pg_prepare(connection, &commit_statement, NULL, error)))
    return false;
  for (size_t i = 0; i < count; i++) {
    if (!ls_pg_prepare(connection, items[i].statement, items[i].params, error))
      return false;
    items[i].result = ls_pg_result_new();
    if (!items[i].result)
      return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of memory for results");
  }
  return true;
}

static bool send_batch_statement(ls_pg_connection *connection, const ls_pg_statement *statement,
                                 const ls_pg_params *params, ls_error *error) {
  const ls_pg_prepared *prepared = ls_pg_prepare(connection, statement, params, error);
  if (!prepared)
    return false;
  return send_prepared(connection, prepared, params) || ls_pg_send_failed(connection, error);
}

static bool send_batch(ls_pg_connection *connection, ls_pg_transaction transaction,
                       const ls_pg_batch_item *items, size_t count, ls_error *error) {
  if (!PQenterPipelineMode(connection->session))
    return ls_pg_send_failed(connection, error);
  if ((transaction & LS_PG_BEGIN) &&
      !send_batch_statement(connection, &begin_statement, NULL, error))
    return false;
  for (size_t i = 0; i < count; i++) {
    if (!send_batch_statement(connection, items[i].statement, items[i].params, error))
      return false;
  }
  if ((transaction & LS_PG_COMMIT) &&
      !send_batch_statement(connection, &commit_statement, NULL, error))
    return false;
  if (PQpipelineSync(connection->session))
    return true;
  /* What was written before this failed may have reached the server. */
  ls_pg_error_from_session(connection->session, "08006", error);
  return lost(connection, (transaction & LS_PG_COMMIT) != 0, error);
}

/* One statement's answer. After the first failure the others are only read away. */
static bool receive_one(ls_pg_connection *connection, bool may_commit, const char *name,
                        ls_pg_result *result, bool *is_good, ls_error *error) {
  PGresult *rows = NULL;
  if (ls_pg_collect(connection, may_commit && *is_good, &rows, *is_good ? error : NULL)) {
    if (result)
      ls_pg_result_fill(result, rows);
    else
      PQclear(rows);
  } else if (*is_good) {
    ls_error_prefix(error, "statement %s", name);
    *is_good = false;
  }
  return connection->session != NULL;
}

/* Reads up to the synchronization point. A transaction that was the pipeline's own is committed
 * there, and may fail there. False: the session is lost, and dropped. */
static bool receive_sync(ls_pg_connection *connection, bool may_commit, bool *is_good,
                         ls_error *error) {
  for (;;) {
    if (!wait_for_result(connection, *is_good ? error : NULL))
      break;
    PGresult *sync = PQgetResult(connection->session);
    ExecStatusType status = PQresultStatus(sync);
    if (status == PGRES_PIPELINE_SYNC) {
      PQclear(sync);
      return true;
    }
    if (sync && *is_good) {
      ls_pg_error_from_result(sync, error);
      *is_good = false;
    }
    PQclear(sync);
    if (PQstatus(connection->session) != CONNECTION_OK) {
      if (*is_good)
        ls_pg_error_from_session(connection->session, "08006", error);
      break;
    }
  }
  return lost(connection, may_commit && *is_good, *is_good ? error : NULL);
}

/* Reads all answers and leaves pipeline mode. False if a statement failed or the session was lost
 * (and dropped). */
static bool receive_batch(ls_pg_connection *connection, ls_pg_transaction transaction,
                          bool may_commit, ls_pg_batch_item *items, size_t count, ls_error *error) {
  bool is_good = true;
  if ((transaction & LS_PG_BEGIN) &&
      !receive_one(connection, may_commit, begin_statement.name, NULL, &is_good, error))
    return false;
  for (size_t i = 0; i < count; i++) {
    if (!receive_one(connection, may_commit, items[i].statement->name, items[i].result, &is_good,
                     error))
      return false;
  }
  if ((transaction & LS_PG_COMMIT) &&
      !receive_one(connection, may_commit, commit_statement.name, NULL, &is_good, error))
    return false;
  if (!receive_sync(connection, may_commit, &is_good, error))
    return false;
  if (!PQexitPipelineMode(connection->session))
    ls_pg_drop_session(connection); /* the answers are here; the next use finds it unconnected */
  return is_good;
}

bool ls_pg_exec_batch(ls_pg_connection *connection, ls_pg_transaction transaction,
                      ls_pg_batch_item *items, size_t count, ls_error *error) {
  for (size_t i = 0; i < count; i++)
    items[i].result = NULL;
  if (!ls_pg_require_session(connection, error))
    return false;
  bool may_commit = (transaction & LS_PG_COMMIT) ||
                    (!(transaction & LS_PG_BEGIN) && !ls_pg_in_transaction(connection));
  if (prepare_batch(connection, transaction, items, count, error)) {
    if (send_batch(connection, transaction, items, count, error)) {
      for (size_t i = 0; i < count; i++)
        LS_FAULT_POINT_OF("postgres.sent.", items[i].statement->name);
      if (receive_batch(connection, transaction, may_commit, items, count, error))
        return true;
    } else {
      ls_pg_drop_session(connection); /* half a pipeline */
    }
  }
  ls_pg_batch_clear(items, count);
  (void)ls_pg_rollback(connection, NULL);
  return false;
}
