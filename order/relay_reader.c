/* SQL of the relay: see relay_reader.h. */
#include "order/relay_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"

/* Partitions made ahead; the writers make one when they find none. */
enum { PARTITIONS_AHEAD = 4 };

static const ls_pg_statement lock_statement = {
    "relay_lock",
    "SELECT pg_try_advisory_lock(hashtextextended('lockstep outbox relay', 0))",
    {LS_PG_BOOL}};

static const ls_pg_statement load_statement = {
    "relay_load",
    "SELECT highest, gap_first, gap_last, gap_limit FROM outbox_relay",
    {LS_PG_INT8, LS_PG_INT8_ARRAY, LS_PG_INT8_ARRAY, LS_PG_INT8_ARRAY}};

/* For reading only: the rows and the gaps must be seen in one snapshot. */
static const ls_pg_statement isolation_statement = {
    "relay_isolation", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", {LS_PG_NONE}};

/* Before the snapshot is taken: a switch of the mode waits until this transaction is over, or is
 * over and seen (sql/0003_event_modes.sql). */
static const ls_pg_statement modes_lock_statement = {
    "relay_modes_lock", "LOCK TABLE event_modes IN ROW SHARE MODE", {LS_PG_NONE}};

static const ls_pg_statement snapshot_statement = {
    "relay_snapshot", "SELECT pg_snapshot_xmin(pg_current_snapshot())", {LS_PG_XID8}};

/* Which modes hold, the newest first: few, and mostly one. */
static const ls_pg_statement modes_statement = {
    "relay_modes",
    "SELECT after_sequence, event_payload, event_topics FROM event_modes "
    "ORDER BY after_sequence DESC",
    {LS_PG_INT8, LS_PG_INT2, LS_PG_INT2}};

/* An id that nobody had when the snapshot was taken. The snapshot's own upper end will not do: it
 * is the id after the newest that has ended, and transactions above it may be running, with numbers
 * below rows that can be seen already. */
static const ls_pg_statement transaction_statement = {
    "relay_transaction", "SELECT pg_current_xact_id()", {LS_PG_XID8}};

#define ROW_COLUMNS                                                                                \
  "outbox.sequence, outbox.order_id, outbox.version, outbox.type, outbox.occur_time, "             \
  "outbox.snapshot, outbox.trace_parent"
#define ROW_TYPES                                                                                  \
  { LS_PG_INT8, LS_PG_INT8, LS_PG_INT8, LS_PG_INT2, LS_PG_TIMESTAMPTZ, LS_PG_BYTEA, LS_PG_TEXT }

static const ls_pg_statement fresh_statement = {
    "relay_fresh",
    "SELECT " ROW_COLUMNS " FROM outbox WHERE sequence > $1 ORDER BY sequence LIMIT $2", ROW_TYPES};

/* LATERAL, so that each gap is looked for by key, whatever the planner thinks of the table's size.
 */
static const ls_pg_statement filled_statement = {
    "relay_filled",
    "SELECT " ROW_COLUMNS " FROM unnest($1::bigint[], $2::bigint[]) "
    "AS gap (first_sequence, last_sequence), "
    "LATERAL (SELECT * FROM outbox AS row WHERE row.sequence BETWEEN gap.first_sequence "
    "AND gap.last_sequence ORDER BY row.sequence LIMIT $3) AS outbox "
    "ORDER BY outbox.sequence LIMIT $3",
    ROW_TYPES};

/* Dense rows, or they would not be deferred: the range is read by key, and few are passed over. */
static const ls_pg_statement deferred_statement = {
    "relay_deferred",
    "SELECT " ROW_COLUMNS " FROM outbox WHERE sequence BETWEEN $1 AND $2 AND order_id = $3 "
    "ORDER BY sequence LIMIT $4",
    ROW_TYPES};

static const ls_pg_statement checkpoint_statement = {
    "relay_checkpoint",
    "UPDATE outbox_relay SET highest = $1, gap_first = $2, gap_last = $3, gap_limit = $4",
    {LS_PG_NONE}};

static const ls_pg_statement partitions_statement = {
    "relay_partitions", "SELECT outbox_add_partitions($1)", {LS_PG_INT4}};

/* The newest of the finished ones stays for whoever wants to look into it. */
static const ls_pg_statement finished_statement = {
    "relay_finished",
    "SELECT name FROM outbox_partitions WHERE limit_sequence < (SELECT max(limit_sequence) "
    "FROM outbox_partitions WHERE limit_sequence <= $1) ORDER BY limit_sequence",
    {LS_PG_TEXT}};

/* A checkpoint that is lost costs duplicates, so it need not wait for the disk. The outbox is never
 * analyzed, as its rows come and go: the plans that suit it are those by key. */
static const char session_settings[] =
    "SET synchronous_commit = off; SET plan_cache_mode = force_generic_plan; SET jit = off; "
    "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; "
    "SET enable_mergejoin = off; SET max_parallel_workers_per_gather = 0";

/* The server ends a session that says nothing for so long (from PostgreSQL 14 on): a leader that
 * hangs, or whose machine has vanished, does not lead for ever. */
enum { SESSION_LEASE_MS = 5000, KEEP_MS = 1000 };

static const char lease_format[] = "SELECT set_config('idle_session_timeout', '%d', false) "
                                   "WHERE current_setting('server_version_num')::integer >= 140000";

static const ls_pg_statement keep_statement = {"relay_keep", "SELECT true", {LS_PG_BOOL}};

struct relay_reader {
  ls_pg_connection *connection;
  ls_pg_params *fresh, *filled, *checkpoint;
  int64_t done_below; /* every lower sequence number is done, by the last checkpoint */
  int64_t kept_ms;    /* when the session was last heard of, or later */
};

relay_reader *relay_reader_new(const ls_pg_options *options, ls_error *error) {
  relay_reader *reader = calloc(1, sizeof *reader);
  if (reader == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
    return NULL;
  }
  reader->fresh = ls_pg_params_new();
  reader->filled = ls_pg_params_new();
  reader->checkpoint = ls_pg_params_new();
  if (reader->fresh == NULL || reader->filled == NULL || reader->checkpoint == NULL)
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
  else
    reader->connection = ls_pg_connect(options, error);
  char lease[160];
  snprintf(lease, sizeof lease, lease_format, SESSION_LEASE_MS);
  if (reader->connection == NULL || !ls_pg_exec_sql(reader->connection, session_settings, error) ||
      !ls_pg_exec_sql(reader->connection, lease, error) ||
      !ls_pg_listen(reader->connection, "order_outbox", error)) {
    relay_reader_destroy(reader);
    return NULL;
  }
  return reader;
}

void relay_reader_destroy(relay_reader *reader) {
  if (reader == NULL)
    return;
  ls_pg_connection_destroy(reader->connection);
  ls_pg_params_destroy(reader->fresh);
  ls_pg_params_destroy(reader->filled);
  ls_pg_params_destroy(reader->checkpoint);
  free(reader);
}

bool relay_reader_lead(relay_reader *reader, bool *leads, ls_error *error) {
  ls_pg_result *result;
  if (!ls_pg_exec(reader->connection, &lock_statement, NULL, &result, error))
    return false;
  *leads = ls_pg_get_bool(result, 0, 0);
  ls_pg_result_destroy(result);
  return true;
}

relay_core *relay_reader_load(relay_reader *reader, size_t capacity, ls_error *error) {
  ls_pg_result *result;
  if (!ls_pg_exec(reader->connection, &load_statement, NULL, &result, error))
    return NULL;
  relay_core *core = NULL;
  ls_pg_array first = ls_pg_get_array(result, 0, 1);
  ls_pg_array last = ls_pg_get_array(result, 0, 2);
  ls_pg_array limit = ls_pg_get_array(result, 0, 3);
  size_t count = first.count;
  relay_gap *gaps = malloc((count + 1) * sizeof *gaps);
  if (ls_pg_row_count(result) != 1) {
    ls_error_set(error, LS_FAILED_PRECONDITION, false, "",
                 "the table outbox_relay must have exactly one row");
  } else if (gaps != NULL) {
    ls_pg_value value;
    for (size_t i = 0; i < count; i++) {
      ls_pg_array_next(&first, &value);
      gaps[i].first = ls_pg_value_int8(value);
      ls_pg_array_next(&last, &value);
      gaps[i].last = ls_pg_value_int8(value);
      ls_pg_array_next(&limit, &value);
      gaps[i].limit = (uint64_t)ls_pg_value_int8(value);
    }
    core = relay_core_new(capacity, ls_pg_get_int8(result, 0, 0), gaps, count);
    if (core == NULL)
      ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
  } else {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
  }
  free(gaps);
  ls_pg_result_destroy(result);
  return core;
}

/* The result of modes_statement that holds for a row. */
static size_t mode_of(const ls_pg_result *modes, int64_t sequence) {
  size_t mode = 0;
  while (mode + 1 < ls_pg_row_count(modes) && ls_pg_get_int8(modes, mode, 0) >= sequence)
    mode++;
  return mode;
}

static relay_event *make_event(const ls_pg_result *rows, size_t row, const ls_pg_result *modes) {
  size_t bytes;
  const void *snapshot = ls_pg_get_bytea(rows, row, 5, &bytes);
  relay_event *event = malloc(sizeof *event + bytes);
  if (event == NULL)
    return NULL;
  size_t mode = mode_of(modes, ls_pg_get_int8(rows, row, 0));
  *event = (relay_event){
      .sequence = ls_pg_get_int8(rows, row, 0),
      .order_id = ls_pg_get_int8(rows, row, 1),
      .version = ls_pg_get_int8(rows, row, 2),
      .type = ls_pg_get_int2(rows, row, 3),
      .occur_time_us = ls_pg_get_timestamptz(rows, row, 4),
      .full_payload = ls_pg_get_int2(modes, mode, 1) == 1, /* EVENT_PAYLOAD_FULL */
      .domain_topic = ls_pg_get_int2(modes, mode, 2) == 1, /* EVENT_TOPICS_DOMAIN */
      .snapshot_bytes = bytes,
  };
  memcpy(event->snapshot, snapshot, bytes);
  size_t length;
  const char *trace_parent = ls_pg_get_text(rows, row, 6, &length);
  if (length < sizeof event->trace_parent)
    memcpy(event->trace_parent, trace_parent, length + 1);
  return event;
}

/* Frees the array, and the events that the core has not taken into its care. */
static void free_rows(relay_row *rows, size_t taken, size_t count) {
  for (size_t i = 0; rows != NULL && i < count; i++)
    if (i >= taken || rows[i].left_out)
      free(rows[i].event);
  free(rows);
}

/* `result` NULL: nothing was asked for. */
static relay_row *make_rows(const ls_pg_result *result, const ls_pg_result *modes, size_t *count) {
  *count = result != NULL ? ls_pg_row_count(result) : 0;
  relay_row *rows = calloc(*count + 1, sizeof *rows);
  for (size_t i = 0; rows != NULL && i < *count; i++) {
    relay_event *event = make_event(result, i, modes);
    if (event == NULL) {
      free_rows(rows, 0, i);
      return NULL;
    }
    rows[i] = (relay_row){event->sequence, event->order_id, event, false};
  }
  return rows;
}

static size_t snapshot_bytes(const relay_row *rows, size_t count) {
  size_t bytes = 0;
  for (size_t i = 0; i < count; i++)
    if (!rows[i].left_out)
      bytes += ((const relay_event *)rows[i].event)->snapshot_bytes;
  return bytes;
}

static bool leaves_gap(const ls_pg_result *fresh, int64_t after) {
  for (size_t i = 0; i < ls_pg_row_count(fresh); i++, after++)
    if (ls_pg_get_int8(fresh, i, 0) != after + 1)
      return true;
  return false;
}

/* Asked only when there is a gap to be given a limit: it uses an id up. */
static bool read_next_transaction(relay_reader *reader, uint64_t *id, ls_error *error) {
  ls_pg_result *result;
  if (!ls_pg_exec(reader->connection, &transaction_statement, NULL, &result, error))
    return false;
  *id = ls_pg_get_xid8(result, 0, 0);
  ls_pg_result_destroy(result);
  return true;
}

static bool give_to_core(relay_core *core, const ls_pg_result *snapshot, const ls_pg_result *modes,
                         const ls_pg_result *fresh_result, const ls_pg_result *filled_result,
                         uint64_t next_transaction, size_t limit, size_t *bytes, bool *more,
                         ls_error *error) {
  size_t fresh_count, filled_count, taken_fresh = 0, taken_filled = 0;
  relay_row *fresh = make_rows(fresh_result, modes, &fresh_count);
  relay_row *filled = make_rows(filled_result, modes, &filled_count);
  bool observed = false;
  if (fresh == NULL || filled == NULL)
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
  else if (filled_count ==
           limit) /* there may be more in the gaps, which must come before fresh rows */
    observed = relay_core_observe(core, filled, filled_count, NULL, 0, 0, 0, &taken_filled,
                                  &taken_fresh, error);
  else
    observed = relay_core_observe(core, filled, filled_count, fresh, fresh_count,
                                  ls_pg_get_xid8(snapshot, 0, 0), next_transaction, &taken_filled,
                                  &taken_fresh, error);
  if (observed) {
    *bytes += snapshot_bytes(filled, taken_filled) + snapshot_bytes(fresh, taken_fresh);
    *more = filled_count == limit || taken_filled < filled_count || taken_fresh < fresh_count ||
            fresh_count == limit;
  }
  free_rows(fresh, taken_fresh, fresh_count);
  free_rows(filled, taken_filled, filled_count);
  return observed;
}

/* What fills the gaps: asked for only where there are some. */
static void ask_for_gaps(ls_pg_params *params, const relay_gap *gaps, size_t count, size_t limit) {
  ls_pg_params_reset(params);
  ls_pg_params_array_begin(params, LS_PG_INT8);
  for (size_t i = 0; i < count; i++)
    ls_pg_params_int8(params, gaps[i].first);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_INT8);
  for (size_t i = 0; i < count; i++)
    ls_pg_params_int8(params, gaps[i].last);
  ls_pg_params_array_end(params);
  ls_pg_params_int8(params, (int64_t)limit);
}

bool relay_reader_read(relay_reader *reader, relay_core *core, size_t limit, size_t *bytes,
                       bool *more, ls_error *error) {
  int64_t after;
  size_t room, gap_count;
  const relay_gap *gaps;
  relay_core_plan(core, &after, &room, &gaps, &gap_count);
  *more = false;
  if (room == 0)
    return true;
  if (limit > room)
    limit = room;

  ls_pg_params_reset(reader->fresh);
  ls_pg_params_int8(reader->fresh, after);
  ls_pg_params_int8(reader->fresh, (int64_t)limit);
  if (gap_count > 0)
    ask_for_gaps(reader->filled, gaps, gap_count, limit);

  enum { SNAPSHOT = 2, MODES, FRESH, FILLED, ITEMS };
  size_t item_count = gap_count > 0 ? ITEMS : FILLED;
  ls_pg_batch_item items[ITEMS] = {
      {&isolation_statement, NULL, NULL},      {&modes_lock_statement, NULL, NULL},
      {&snapshot_statement, NULL, NULL},       {&modes_statement, NULL, NULL},
      {&fresh_statement, reader->fresh, NULL}, {&filled_statement, reader->filled, NULL}};
  if (!ls_pg_exec_batch(reader->connection, LS_PG_BEGIN_COMMIT, items, item_count, error))
    return false;
  uint64_t next_transaction = 0;
  bool given = (!leaves_gap(items[FRESH].result, after) ||
                read_next_transaction(reader, &next_transaction, error)) &&
               give_to_core(core, items[SNAPSHOT].result, items[MODES].result, items[FRESH].result,
                            items[FILLED].result, next_transaction, limit, bytes, more, error);
  ls_pg_batch_clear(items, item_count);
  return given;
}

bool relay_reader_read_deferred(relay_reader *reader, relay_core *core, size_t *bytes,
                                ls_error *error) {
  int64_t order_id, first, last;
  size_t limit;
  if (!relay_core_plan_deferred(core, &order_id, &first, &last, &limit))
    return true;
  ls_pg_params_reset(reader->fresh);
  ls_pg_params_int8(reader->fresh, first);
  ls_pg_params_int8(reader->fresh, last);
  ls_pg_params_int8(reader->fresh, order_id);
  ls_pg_params_int8(reader->fresh, (int64_t)limit);
  enum { MODES = 2, ROWS, ITEMS };
  ls_pg_batch_item items[ITEMS] = {{&isolation_statement, NULL, NULL},
                                   {&modes_lock_statement, NULL, NULL},
                                   {&modes_statement, NULL, NULL},
                                   {&deferred_statement, reader->fresh, NULL}};
  if (!ls_pg_exec_batch(reader->connection, LS_PG_BEGIN_COMMIT, items, ITEMS, error))
    return false;
  size_t count;
  relay_row *rows = make_rows(items[ROWS].result, items[MODES].result, &count);
  bool observed = rows != NULL && relay_core_observe_deferred(core, order_id, rows, count, error);
  if (rows == NULL)
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
  if (observed)
    *bytes += snapshot_bytes(rows, count);
  free_rows(rows, observed ? count : 0, count);
  ls_pg_batch_clear(items, ITEMS);
  return observed;
}

bool relay_reader_checkpoint(relay_reader *reader, relay_core *core, int64_t *highest,
                             int64_t *gap_count, ls_error *error) {
  const relay_gap *gaps;
  size_t count;
  if (!relay_core_checkpoint(core, highest, &gaps, &count, error))
    return false;
  ls_pg_params *params = reader->checkpoint;
  ls_pg_params_reset(params);
  ls_pg_params_int8(params, *highest);
  *gap_count = 0;
  ls_pg_params_array_begin(params, LS_PG_INT8);
  for (size_t i = 0; i < count; i++) {
    ls_pg_params_int8(params, gaps[i].first);
    *gap_count += gaps[i].last - gaps[i].first + 1;
  }
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_INT8);
  for (size_t i = 0; i < count; i++)
    ls_pg_params_int8(params, gaps[i].last);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_INT8);
  for (size_t i = 0; i < count; i++)
    ls_pg_params_int8(params, (int64_t)gaps[i].limit);
  ls_pg_params_array_end(params);

  bool written = ls_pg_exec(reader->connection, &checkpoint_statement, params, NULL, error);
  if (written)
    reader->done_below = count > 0 ? gaps[0].first : *highest + 1;
  return written;
}

bool relay_reader_keep(relay_reader *reader, ls_error *error) {
  int64_t now_ms = ls_clock_monotonic_ms();
  if (now_ms < reader->kept_ms + KEEP_MS)
    return true;
  reader->kept_ms = now_ms;
  return ls_pg_exec(reader->connection, &keep_statement, NULL, NULL, error);
}

int relay_reader_keep_ms(void) {
  return KEEP_MS;
}

/* A DDL statement that waits for no one longer than a moment: everybody else waits behind it. False
 * only if the session is lost. */
static bool try_drop(relay_reader *reader, const char *name, ls_error *error) {
  char sql[256];
  snprintf(sql, sizeof sql, "BEGIN; SET LOCAL lock_timeout = '50ms'; DROP TABLE %s; COMMIT", name);
  if (ls_pg_exec_sql(reader->connection, sql, error)) {
    LS_INFO("outbox partition dropped", LS_STR("partition", name));
    return true;
  }
  if (!ls_pg_is_alive(reader->connection))
    return false;
  LS_DEBUG("outbox partition is in use and stays for now", LS_STR("partition", name),
           LS_ERR(error));
  return ls_pg_rollback(reader->connection, error);
}

bool relay_reader_housekeep(relay_reader *reader, ls_error *error) {
  ls_pg_params *params = reader->checkpoint;
  ls_pg_params_reset(params);
  ls_pg_params_int4(params, PARTITIONS_AHEAD);
  if (!ls_pg_exec(reader->connection, &partitions_statement, params, NULL, error))
    return false;
  ls_pg_params_reset(params);
  ls_pg_params_int8(params, reader->done_below);
  ls_pg_result *result;
  if (!ls_pg_exec(reader->connection, &finished_statement, params, &result, error))
    return false;
  bool alive = true;
  for (size_t i = 0; alive && i < ls_pg_row_count(result); i++)
    alive = try_drop(reader, ls_pg_get_text(result, i, 0, NULL), error);
  ls_pg_result_destroy(result);
  return alive;
}

int relay_reader_socket(const relay_reader *reader) {
  return ls_pg_socket(reader->connection);
}

bool relay_reader_notifications(relay_reader *reader, size_t *count, ls_error *error) {
  return ls_pg_notifications(reader->connection, count, error);
}
