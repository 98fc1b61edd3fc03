/* Sessions: connecting and reconnecting, what the server says unasked, notifications. */
#include "runtime/postgres/connection.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/base/config.h"
#include "runtime/base/log.h"
#include "runtime/postgres/internal.h"

#define CONNECT_TIMEOUT_MS 5000
#define DEAD_PEER_TIMEOUT_MS 15000
#define ANSWER_MARGIN_MS 5000 /* for the server to cancel a statement and say so */
#define SERVER_VERSION_MIN 130000

/* Names and values for PQconnectdbParams; numbers keep their text here. */
typedef struct connect_params {
  const char *names[16];
  const char *values[16];
  char texts[16][24];
  size_t count;
} connect_params;

static void add_text(connect_params *params, const char *name, const char *value) {
  params->names[params->count] = name;
  params->values[params->count++] = value;
}

static void add_number(connect_params *params, const char *name, int64_t value) {
  char *text = params->texts[params->count];
  (void)snprintf(text, sizeof params->texts[0], "%" PRId64, value);
  add_text(params, name, text);
}

static int64_t at_least(int64_t value, int64_t minimum) {
  return value < minimum ? minimum : value;
}

/* libpq would quote the offending piece in its message, and that may be the password. */
static bool check_conninfo(const char *conninfo, ls_error *error) {
  if (!strchr(conninfo, '=') && strncmp(conninfo, "postgres://", 11) != 0 &&
      strncmp(conninfo, "postgresql://", 13) != 0)
    return true; /* a database's name */
  PQconninfoOption *parts = PQconninfoParse(conninfo, NULL);
  if (!parts)
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                        "not a PostgreSQL connection string (not shown, it may hold a password)");
  bool is_good = true;
  for (PQconninfoOption *part = parts; part->keyword; part++) {
    /* The rest of a password with an @ in it. A leading @ is an abstract socket. */
    if (strcmp(part->keyword, "host") == 0 && part->val && part->val[0] &&
        strchr(part->val + 1, '@'))
      is_good = false;
  }
  PQconninfoFree(parts);
  if (!is_good)
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                        "the connection string has an @ in its host: write %%40 for an @ in the "
                        "password");
  return true;
}

static void log_notice(void *arg, const PGresult *notice) {
  (void)arg;
  const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  const char *text = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
  if (!severity || !text)
    return;
  if (strcmp(severity, "WARNING") == 0 || strcmp(severity, "FATAL") == 0)
    LS_WARN("postgres says", LS_STR("severity", severity), LS_STR("text", text));
  else
    LS_DEBUG("postgres says", LS_STR("severity", severity), LS_STR("text", text));
}

/* The keepalives are the server's: without them it takes a client whose machine vanished for
 * connected, for hours, and what that one has locked for locked. */
static bool set_timeouts(ls_pg_connection *connection, ls_error *error) {
  int64_t dead_peer_ms = connection->options.dead_peer_timeout_ms;
  int64_t dead_peer_s = at_least(dead_peer_ms / 1000, 1);
  const struct {
    const char *name;
    int64_t value;
  } settings[] = {
      {"statement_timeout", connection->options.statement_timeout_ms},
      {"lock_timeout", connection->options.lock_timeout_ms},
      {"idle_in_transaction_session_timeout", connection->options.idle_in_transaction_timeout_ms},
      {"tcp_keepalives_idle", at_least(dead_peer_s / 2, 1)},
      {"tcp_keepalives_interval", at_least(dead_peer_s / 8, 1)},
      {"tcp_keepalives_count", 4},
      {"tcp_user_timeout", dead_peer_ms},
  };
  char sql[512];
  size_t length = 0;
  for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
    if (settings[i].value > 0)
      length += (size_t)snprintf(sql + length, sizeof sql - length, "SET %s = %" PRId64 ";",
                                 settings[i].name, settings[i].value);
  }
  return length == 0 || ls_pg_exec_sql(connection, sql, error);
}

static bool listen_to(ls_pg_connection *connection, const char *channel, ls_error *error) {
  char *quoted = PQescapeIdentifier(connection->session, channel, strlen(channel));
  if (!quoted)
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "not the name of a channel: %s",
                        channel);
  char sql[512];
  int length = snprintf(sql, sizeof sql, "LISTEN %s", quoted);
  PQfreemem(quoted);
  if (length < 0 || (size_t)length >= sizeof sql)
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "a channel's name is too long");
  return ls_pg_exec_sql(connection, sql, error);
}

static PGconn *open_session(const ls_pg_connection *connection, const char *password) {
  const ls_pg_options *options = &connection->options;
  int64_t dead_peer_s = at_least(options->dead_peer_timeout_ms / 1000, 1);
  connect_params params = {.count = 0};
  /* The connection string wins over what stands before it, and loses to what stands after it. */
  add_number(&params, "connect_timeout", at_least((options->connect_timeout_ms + 999) / 1000, 1));
  add_number(&params, "keepalives", 1);
  add_number(&params, "keepalives_idle", at_least(dead_peer_s / 2, 1));
  add_number(&params, "keepalives_interval", at_least(dead_peer_s / 8, 1));
  add_number(&params, "keepalives_count", 4);
  add_number(&params, "tcp_user_timeout", options->dead_peer_timeout_ms);
  if (connection->application_name)
    add_text(&params, "fallback_application_name", connection->application_name);
  if (connection->conninfo)
    add_text(&params, "dbname", connection->conninfo);
  add_text(&params, "client_encoding", "UTF8");
  if (password)
    add_text(&params, "password", password);
  add_text(&params, NULL, NULL);
  return PQconnectdbParams(params.names, params.values, 1);
}

/* Opens a session with the password as it is now. False: `session` is NULL. */
static bool open_with_password(const ls_pg_connection *connection, PGconn **session,
                               ls_error *error) {
  char *from_file = NULL;
  *session = NULL;
  if (connection->password_file) {
    ls_error reason = {0};
    from_file = ls_config_read_secret(connection->password_file, &reason);
    if (!from_file) /* it may be about to be replaced */
      return ls_error_set(error, LS_UNAVAILABLE, true, "08001", "the password's file %s",
                          reason.message);
  }
  *session = open_session(connection, from_file ? from_file : connection->password);
  ls_config_forget_secret(from_file);
  return *session ||
         ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of memory to connect");
}

/* The last line that ends in an SQLSTATE, as the server's refusals do when nothing but that is
 * asked for. */
static bool find_sqlstate(const char *text, char sqlstate[6]) {
  static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  bool is_found = false;
  for (const char *line_end; (line_end = strchr(text, '\n')) != NULL; text = line_end + 1) {
    if (line_end - text < 8 || strncmp(line_end - 8, ":  ", 3) != 0 ||
        strspn(line_end - 5, alphabet) != 5)
      continue;
    memcpy(sqlstate, line_end - 5, 5);
    sqlstate[5] = '\0';
    is_found = true;
  }
  return is_found;
}

/* Why a session failed. libpq tells it in the server's words and language, without the SQLSTATE,
 * unless it was told before that it should: so this asks again, and says in `error` what was said
 * first. True: this time it went well. */
static bool ask_for_reason(const ls_pg_connection *connection, int64_t took_ms, ls_error *error) {
  char sqlstate[6];
  ls_pg_error_from_session(connection->session, "08001", error);
  if (PQconnectionNeedsPassword(connection->session)) {
    if (error) {
      error->code = LS_UNAUTHENTICATED;
      error->retriable = false;
    }
    return false;
  }
  if (took_ms > connection->options.connect_timeout_ms / 2)
    return false; /* nobody answers */
  (void)PQsetErrorVerbosity(connection->session, PQERRORS_SQLSTATE);
  PQreset(connection->session);
  (void)PQsetErrorVerbosity(connection->session, PQERRORS_DEFAULT);
  if (PQstatus(connection->session) == CONNECTION_OK)
    return true;
  if (error && find_sqlstate(PQerrorMessage(connection->session), sqlstate))
    (void)snprintf(error->source, sizeof error->source, "%s", sqlstate);
  return false;
}

bool ls_pg_is_refused(const ls_error *error) {
  return strncmp(error->source, "28", 2) == 0 || strcmp(error->source, "3D000") == 0 ||
         strcmp(error->source, "42501") == 0;
}

static bool connect_session(ls_pg_connection *connection, ls_error *error) {
  int64_t begin_ms = ls_clock_monotonic_ms();
  if (!open_with_password(connection, &connection->session, error))
    return false;
  PGconn *session = connection->session;
  if (PQstatus(session) != CONNECTION_OK &&
      !ask_for_reason(connection, ls_clock_monotonic_ms() - begin_ms, error))
    goto failed;
  PQsetNoticeReceiver(session, log_notice, NULL);
  if (PQserverVersion(session) < SERVER_VERSION_MIN) {
    ls_error_set(error, LS_FAILED_PRECONDITION, false, NULL,
                 "PostgreSQL %d is too old, version %d or later is needed",
                 PQserverVersion(session) / 10000, SERVER_VERSION_MIN / 10000);
    goto failed;
  }
  if (PQsetnonblocking(session, 1) != 0) {
    ls_pg_error_from_session(session, "08006", error);
    goto failed;
  }
  if (!set_timeouts(connection, error))
    goto failed;
  for (size_t i = 0; i < connection->channel_count; i++) {
    if (!listen_to(connection, connection->channels[i], error))
      goto failed;
  }
  return true;

failed:
  ls_pg_drop_session(connection);
  return false;
}

/* Copies a text that may be NULL. */
static bool copy_text(char **copy, const char *text) {
  *copy = text ? strdup(text) : NULL;
  return *copy || !text;
}

static void fill_defaults(ls_pg_options *options) {
  options->conninfo = options->password = options->password_file = options->application_name = NULL;
  if (options->connect_timeout_ms <= 0)
    options->connect_timeout_ms = CONNECT_TIMEOUT_MS;
  if (options->dead_peer_timeout_ms <= 0)
    options->dead_peer_timeout_ms = DEAD_PEER_TIMEOUT_MS;
  if (options->answer_timeout_ms <= 0 && options->statement_timeout_ms > 0)
    options->answer_timeout_ms = options->statement_timeout_ms + ANSWER_MARGIN_MS;
}

ls_pg_connection *ls_pg_connect(const ls_pg_options *options, ls_error *error) {
  static const ls_pg_options all_defaults;
  if (!options)
    options = &all_defaults;
  if (options->conninfo && !check_conninfo(options->conninfo, error))
    return NULL;
  ls_pg_connection *connection = calloc(1, sizeof *connection);
  if (!connection || !copy_text(&connection->conninfo, options->conninfo) ||
      !copy_text(&connection->password, options->password) ||
      !copy_text(&connection->password_file, options->password_file) ||
      !copy_text(&connection->application_name, options->application_name)) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of memory to connect");
    goto failed;
  }
  connection->options = *options;
  fill_defaults(&connection->options);
  if (!connect_session(connection, error))
    goto failed;
  return connection;

failed:
  ls_pg_connection_destroy(connection);
  return NULL;
}

void ls_pg_forget_prepared(ls_pg_connection *connection) {
  for (size_t i = 0; i < connection->prepared_count; i++)
    free(connection->prepared[i].types);
  connection->prepared_count = 0;
}

void ls_pg_drop_session(ls_pg_connection *connection) {
  PQfinish(connection->session);
  connection->session = NULL;
  ls_pg_forget_prepared(connection);
}

void ls_pg_connection_destroy(ls_pg_connection *connection) {
  if (!connection)
    return;
  ls_pg_drop_session(connection);
  free(connection->prepared);
  for (size_t i = 0; i < connection->channel_count; i++)
    free(connection->channels[i]);
  free(connection->channels);
  free(connection->application_name);
  ls_config_forget_secret(connection->password);
  free(connection->password_file);
  ls_config_forget_secret(connection->conninfo);
  free(connection);
}

bool ls_pg_reconnect(ls_pg_connection *connection, ls_error *error) {
  ls_pg_drop_session(connection);
  return connect_session(connection, error);
}

bool ls_pg_require_session(const ls_pg_connection *connection, ls_error *error) {
  if (connection->session)
    return true;
  return ls_error_set(error, LS_UNAVAILABLE, true, "08003", "not connected to PostgreSQL");
}

/* Reads what has come, without blocking. False: the session is lost, and dropped. */
static bool consume_input(ls_pg_connection *connection, ls_error *error) {
  if (!ls_pg_require_session(connection, error))
    return false;
  struct pollfd socket = {.fd = PQsocket(connection->session), .events = POLLIN};
  bool is_good = PQstatus(connection->session) == CONNECTION_OK;
  /* The end of the connection shows only after what was sent before it has been read; a server that
   * never stops sending is left for the next call. */
  for (int i = 0; is_good && i < 16 && poll(&socket, 1, 0) > 0; i++)
    is_good = PQconsumeInput(connection->session) == 1;
  if (is_good) {
    (void)PQisBusy(connection->session); /* parses it */
    return true;
  }
  ls_pg_error_from_session(connection->session, "08006", error);
  ls_pg_drop_session(connection);
  return false;
}

bool ls_pg_is_alive(ls_pg_connection *connection) {
  return consume_input(connection, NULL);
}

int ls_pg_socket(const ls_pg_connection *connection) {
  return connection->session ? PQsocket(connection->session) : -1;
}

int ls_pg_server_version(const ls_pg_connection *connection) {
  return connection->session ? PQserverVersion(connection->session) : 0;
}

bool ls_pg_listen(ls_pg_connection *connection, const char *channel, ls_error *error) {
  if (!ls_pg_require_session(connection, error) || !listen_to(connection, channel, error))
    return false;
  for (size_t i = 0; i < connection->channel_count; i++) {
    if (strcmp(connection->channels[i], channel) == 0)
      return true;
  }
  char **channels =
      realloc(connection->channels, (connection->channel_count + 1) * sizeof *channels);
  if (channels)
    connection->channels = channels;
  char *copy = channels ? strdup(channel) : NULL;
  if (!copy)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of memory to listen");
  channels[connection->channel_count++] = copy;
  return true;
}

bool ls_pg_notifications(ls_pg_connection *connection, size_t *count, ls_error *error) {
  *count = 0;
  if (!consume_input(connection, error))
    return false;
  PGnotify *notification;
  while ((notification = PQnotifies(connection->session)) != NULL) {
    PQfreemem(notification);
    (*count)++;
  }
  return true;
}
