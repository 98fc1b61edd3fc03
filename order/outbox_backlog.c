/* What waits in the outbox, and the relay's mode. */
#include "order/outbox_backlog.h"

#include "runtime/base/clock.h"
#include "runtime/postgres/params.h"
#include "runtime/postgres/result.h"

/* The bound on rows looked at, in both halves. */
#define MAX_ROWS "10000"
enum { MAX_ROWS_NUMBER = 10000 };

static const ls_pg_statement backlog_statement = {
    .name = "outbox_backlog",
    .sql = "SELECT count(*), min(occur_time), "
           "(SELECT greatest(last_value - highest, 0) FROM outbox_sequence, outbox_relay) "
           "FROM ((SELECT occur_time FROM outbox "
           "WHERE sequence > (SELECT highest FROM outbox_relay) "
           "ORDER BY sequence LIMIT " MAX_ROWS ") "
           "UNION ALL "
           "(SELECT occur_time FROM outbox_relay, "
           "unnest(gap_first, gap_last) AS gap (first, last), "
           "LATERAL (SELECT occur_time FROM outbox "
           "WHERE sequence BETWEEN gap.first AND gap.last) AS late LIMIT " MAX_ROWS ")) AS waiting",
    .columns = {LS_PG_INT8, LS_PG_TIMESTAMPTZ, LS_PG_INT8}};

static const ls_pg_statement read_mode_statement = {
    .name = "outbox_mode_read",
    .sql = "SELECT event_payload, event_topics, mode_set_time FROM outbox_relay",
    .columns = {LS_PG_INT2, LS_PG_INT2, LS_PG_TIMESTAMPTZ}};

static const ls_pg_statement write_mode_statement = {
    .name = "outbox_mode_write",
    .sql = "UPDATE outbox_relay SET event_payload = $1, event_topics = $2, mode_set_time = now() "
           "WHERE (event_payload, event_topics) <> ($1, $2)"};

static const ls_pg_statement notify_statement = {.name = "outbox_notify",
                                                 .sql =
                                                     "SELECT pg_notify('" OUTBOX_CHANNEL "', '')",
                                                 .columns = {LS_PG_VOID}};

bool outbox_backlog_read(ls_pg_connection *connection, outbox_backlog *backlog, ls_error *error) {
  ls_pg_result *result = NULL;
  *backlog = (outbox_backlog){0};
  if (!ls_pg_exec(connection, &backlog_statement, NULL, &result, error))
    return false;
  backlog->rows = ls_pg_get_int8(result, 0, 0);
  if (!ls_pg_is_null(result, 0, 1)) {
    int64_t age_us = ls_clock_wall_us() - ls_pg_get_timestamptz(result, 0, 1);
    backlog->oldest_age_us = age_us > 0 ? age_us : 0;
  }
  int64_t distance = ls_pg_get_int8(result, 0, 2);
  if (backlog->rows >= MAX_ROWS_NUMBER && backlog->rows < distance)
    backlog->rows = distance;
  ls_pg_result_destroy(result);
  return true;
}

static void take_mode(const ls_pg_result *result, outbox_mode *mode) {
  mode->payload = (Order__V1__EventPayload)ls_pg_get_int2(result, 0, 0);
  mode->topics = (Order__V1__EventTopics)ls_pg_get_int2(result, 0, 1);
  mode->set_time_us = ls_pg_get_timestamptz(result, 0, 2);
}

bool outbox_mode_read(ls_pg_connection *connection, outbox_mode *mode, ls_error *error) {
  ls_pg_result *result = NULL;
  if (!ls_pg_exec(connection, &read_mode_statement, NULL, &result, error))
    return false;
  take_mode(result, mode);
  ls_pg_result_destroy(result);
  return true;
}

bool outbox_mode_write(ls_pg_connection *connection, outbox_mode *mode, ls_error *error) {
  ls_pg_params *params = ls_pg_params_new();
  if (params == NULL)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of memory");
  ls_pg_params_int2(params, (int16_t)mode->payload);
  ls_pg_params_int2(params, (int16_t)mode->topics);
  ls_pg_batch_item items[] = {{.statement = &write_mode_statement, .params = params},
                              {.statement = &read_mode_statement},
                              {.statement = &notify_statement}};
  bool done = ls_pg_exec_batch(connection, LS_PG_BEGIN_COMMIT, items, 3, error);
  if (done)
    take_mode(items[1].result, mode);
  ls_pg_batch_clear(items, 3);
  ls_pg_params_destroy(params);
  return done;
}

bool outbox_notify(ls_pg_connection *connection, ls_error *error) {
  return ls_pg_exec(connection, &notify_statement, NULL, NULL, error);
}
