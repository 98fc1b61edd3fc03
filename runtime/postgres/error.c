/* PostgreSQL's errors as ls_error. */
#include <string.h>

#include "runtime/postgres/internal.h"

static bool is_class(const char *sqlstate, const char *class_prefix) {
  return strncmp(sqlstate, class_prefix, strlen(class_prefix)) == 0;
}

void ls_pg_classify(const char *sqlstate, ls_code *code, bool *retriable) {
  static const char *const passing[] = {
      "08",    /* connection exceptions */
      "53",    /* insufficient resources */
      "25006", /* read only: connected to what has become a standby */
      "25P03", /* the session was idle too long, in a transaction … */
      "57P05", /* … or without one, and was ended */
      "26000", /* the session lost its prepared statements; they will be prepared again */
      "40001", /* serialization failure */
      "40P01", /* deadlock */
      "55P03", /* lock not available */
      "57P01", /* the server shuts down, */
      "57P02", /* crashed, */
      "57P03", /* or starts */
  };
  *code = LS_INTERNAL;
  *retriable = false;
  for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
    if (is_class(sqlstate, passing[i])) {
      *code = LS_UNAVAILABLE;
      *retriable = true;
      return;
    }
  }
  if (strcmp(sqlstate, "23505") == 0) {
    *code = LS_ALREADY_EXISTS;
  } else if (strcmp(sqlstate, "57014") == 0) {
    *code = LS_DEADLINE_EXCEEDED;
    *retriable = true;
  }
}

/* One line: libpq's messages have several and end in one. */
static void set_error(ls_error *error, const char *sqlstate, ls_code code, bool retriable,
                      const char *text) {
  ls_error_set(error, code, retriable, sqlstate, "%s", text && text[0] ? text : "no message");
  if (!error)
    return;
  for (char *c = error->message; *c; c++) {
    if (*c == '\n' || *c == '\r' || *c == '\t')
      *c = ' ';
  }
  size_t length = strlen(error->message);
  while (length > 0 && error->message[length - 1] == ' ')
    error->message[--length] = '\0';
}

void ls_pg_error_from_result(const PGresult *rows, ls_error *error) {
  const char *sqlstate = PQresultErrorField(rows, PG_DIAG_SQLSTATE);
  const char *function = PQresultErrorField(rows, PG_DIAG_SOURCE_FUNCTION);
  ls_code code = LS_INTERNAL;
  bool retriable = false;
  if (!sqlstate) { /* libpq's own: the connection broke, or its protocol did */
    set_error(error, "08006", LS_UNAVAILABLE, true, PQresultErrorMessage(rows));
    return;
  }
  ls_pg_classify(sqlstate, &code, &retriable);
  /* A plan prepared before a migration changed its columns: gone with the next use. The text of
   * this error is translated and its SQLSTATE is a general one, hence the name of the function. */
  if (strcmp(sqlstate, "0A000") == 0 && function &&
      strcmp(function, "RevalidateCachedQuery") == 0) {
    code = LS_UNAVAILABLE;
    retriable = true;
  }
  /* The primary message only: details quote the rows. */
  set_error(error, sqlstate, code, retriable, PQresultErrorField(rows, PG_DIAG_MESSAGE_PRIMARY));
}

void ls_pg_error_from_session(const PGconn *session, const char *sqlstate, ls_error *error) {
  set_error(error, sqlstate, LS_UNAVAILABLE, true, PQerrorMessage(session));
}
