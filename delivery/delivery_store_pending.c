/* Pending orders and the walk over all orders in the store. */
#include <string.h>

#include "delivery/delivery_store.h"
#include "delivery/delivery_store_internal.h"

/* --- In the batches of delivery_store_apply --- */

/* The record kept is the one that asked for the highest version. When the next attempt is due stays
 * as it was: events of an order whose lookup fails must not use its tries up. */
const ls_pg_statement delivery_statement_pending = {
    .name = "delivery_pending",
    .sql =
        "INSERT INTO pending_orders AS p (order_id, min_version, poked, next_attempt_time, reason, "
        "  create_time, source_topic, source_partition, source_offset, record_key, record_value, "
        "  record_headers) "
        "SELECT n.order_id, n.min_version, n.poked, "
        "  statement_timestamp() + $3 * interval '1 millisecond', n.reason, "
        "  statement_timestamp(), n.topic, n.\"partition\", n.\"offset\", n.key, n.value, "
        "n.headers "
        "FROM unnest($1::bigint[], $2::bigint[], $4::boolean[], $5::text[], $6::text[], $7::int[], "
        "    $8::bigint[], $9::bytea[], $10::bytea[], $11::bytea[]) "
        "  AS n(order_id, min_version, poked, reason, topic, \"partition\", \"offset\", key, "
        "value, "
        "headers) "
        "ORDER BY n.order_id "
        "ON CONFLICT (order_id) DO UPDATE SET (min_version, source_topic, source_partition, "
        "    source_offset, record_key, record_value, record_headers) = "
        "  (SELECT newest.* FROM (VALUES "
        "    (p.min_version, p.source_topic, p.source_partition, p.source_offset, p.record_key, "
        "     p.record_value, p.record_headers), "
        "    (excluded.min_version, excluded.source_topic, excluded.source_partition, "
        "     excluded.source_offset, excluded.record_key, excluded.record_value, "
        "     excluded.record_headers)) "
        "   AS newest(version, topic, part, place, key, value, headers) "
        "   ORDER BY newest.version DESC LIMIT 1), "
        "  poked = p.poked OR excluded.poked, generation = p.generation + 1, "
        "  reason = excluded.reason"};

#define EACH_PENDING(type, append)                                                                 \
  ls_pg_params_array_begin(params, type);                                                          \
  for (size_t i = 0; i < count; i++) {                                                             \
    const delivery_work *work = &works[i];                                                         \
    if (work->decision.pending)                                                                    \
      append;                                                                                      \
  }                                                                                                \
  ls_pg_params_array_end(params)

static const order_record *pending_record(const void *items, size_t index) {
  const delivery_work *work = (const delivery_work *)items + index;
  return work->decision.pending ? work->records[work->decision.pending_event] : NULL;
}

void delivery_store_add_pending(ls_pg_params *params, const delivery_work *works, size_t count,
                                int64_t delay_ms) {
  EACH_PENDING(LS_PG_INT8, ls_pg_params_int8(params, work->order_id));
  EACH_PENDING(LS_PG_INT8, ls_pg_params_int8(params, work->decision.min_version));
  ls_pg_params_int8(params, delay_ms);
  EACH_PENDING(LS_PG_BOOL, ls_pg_params_bool(params, work->decision.poked));
  EACH_PENDING(LS_PG_TEXT, delivery_store_add_reason(params, work->lookup_problem));
  delivery_store_add_records(params, pending_record, works, count);
}

const ls_pg_statement delivery_statement_pending_done = {
    .name = "delivery_pending_done",
    .sql = "DELETE FROM pending_orders p USING unnest($1::bigint[], $2::bigint[], $3::bigint[]) "
           "  AS n(order_id, generation, claim) "
           "WHERE p.order_id = n.order_id AND p.generation = n.generation AND p.claim = n.claim"};

/* One that is done but was asked for anew stays, and is due at once. */
const ls_pg_statement delivery_statement_pending_release = {
    .name = "delivery_pending_release",
    .sql = "UPDATE pending_orders p SET lease_time = '-infinity', attempts = n.attempts, "
           "  next_attempt_time = statement_timestamp() + n.delay_ms * interval '1 millisecond', "
           "  reason = coalesce(n.reason, p.reason) "
           "FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::bigint[], $5::text[]) "
           "  AS n(order_id, claim, attempts, delay_ms, reason) "
           "WHERE p.order_id = n.order_id AND p.claim = n.claim"};

void delivery_store_add_done(ls_pg_params *params, const delivery_pending_end *ends, size_t count) {
  ls_pg_params_array_begin(params, LS_PG_INT8);
  for (size_t i = 0; i < count; i++)
    if (ends[i].done)
      ls_pg_params_int8(params, ends[i].order_id);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_INT8);
  for (size_t i = 0; i < count; i++)
    if (ends[i].done)
      ls_pg_params_int8(params, ends[i].generation);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_INT8);
  for (size_t i = 0; i < count; i++)
    if (ends[i].done)
      ls_pg_params_int8(params, ends[i].claim);
  ls_pg_params_array_end(params);
}

void delivery_store_add_release(ls_pg_params *params, const delivery_pending_end *ends,
                                size_t count) {
  ls_pg_params_array_begin(params, LS_PG_INT8);
  for (size_t i = 0; i < count; i++)
    ls_pg_params_int8(params, ends[i].order_id);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_INT8);
  for (size_t i = 0; i < count; i++)
    ls_pg_params_int8(params, ends[i].claim);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_INT4);
  for (size_t i = 0; i < count; i++)
    ls_pg_params_int4(params, ends[i].done ? 0 : ends[i].attempts);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_INT8);
  for (size_t i = 0; i < count; i++)
    ls_pg_params_int8(params, ends[i].done ? 0 : ends[i].delay_ms);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_TEXT);
  for (size_t i = 0; i < count; i++) {
    if (ends[i].done || ends[i].reason == NULL)
      ls_pg_params_null(params, LS_PG_TEXT);
    else
      delivery_store_add_reason(params, ends[i].reason);
  }
  ls_pg_params_array_end(params);
}

/* --- By themselves --- */

static const ls_pg_statement claim_statement = {
    .name = "delivery_pending_claim",
    .sql = "WITH due AS MATERIALIZED ("
           "  SELECT order_id FROM pending_orders "
           "  WHERE next_attempt_time <= statement_timestamp() "
           "    AND lease_time <= statement_timestamp() "
           "  ORDER BY next_attempt_time LIMIT $1 FOR UPDATE SKIP LOCKED), "
           "claimed AS ("
           "  UPDATE pending_orders p "
           "  SET lease_time = statement_timestamp() + $2 * interval '1 millisecond', "
           "    claim = nextval('pending_claims') "
           "  FROM due WHERE p.order_id = due.order_id "
           "  RETURNING p.order_id, p.min_version, p.attempts, p.generation, p.poked, "
           "    p.reconciling, p.claim) "
           "SELECT c.order_id, c.min_version, c.attempts, c.generation, "
           "  coalesce(d.order_version, 0), c.poked, c.reconciling, c.claim "
           "FROM claimed c LEFT JOIN deliveries d ON d.order_id = c.order_id ORDER BY c.order_id",
    .columns = {LS_PG_INT8, LS_PG_INT8, LS_PG_INT4, LS_PG_INT8, LS_PG_INT8, LS_PG_BOOL, LS_PG_BOOL,
                LS_PG_INT8}};

bool delivery_store_claim_pending(delivery_store *store, int32_t limit, int64_t lease_ms,
                                  ls_arena *arena, delivery_pending **pending, size_t *count,
                                  ls_error *error) {
  *count = 0;
  if (!delivery_store_connect(store, error))
    return false;
  ls_pg_params *params = delivery_store_params(store, 0);
  ls_pg_params_int8(params, limit);
  ls_pg_params_int8(params, lease_ms);
  ls_pg_result *rows;
  if (!ls_pg_exec(store->connection, &claim_statement, params, &rows, error))
    return false;
  size_t found = ls_pg_row_count(rows);
  *pending = ls_arena_alloc(arena, (found > 0 ? found : 1) * sizeof **pending);
  if (*pending == NULL) {
    ls_pg_result_destroy(rows);
    return delivery_store_exhausted(error);
  }
  for (size_t row = 0; row < found; row++)
    (*pending)[row] = (delivery_pending){.order_id = ls_pg_get_int8(rows, row, 0),
                                         .min_version = ls_pg_get_int8(rows, row, 1),
                                         .attempts = ls_pg_get_int4(rows, row, 2),
                                         .generation = ls_pg_get_int8(rows, row, 3),
                                         .applied_version = ls_pg_get_int8(rows, row, 4),
                                         .poked = ls_pg_get_bool(rows, row, 5),
                                         .reconciling = ls_pg_get_bool(rows, row, 6),
                                         .claim = ls_pg_get_int8(rows, row, 7)};
  *count = found;
  ls_pg_result_destroy(rows);
  return true;
}

static const ls_pg_statement record_statement = {
    .name = "delivery_pending_record",
    .sql = "SELECT source_topic, source_partition, source_offset, record_key, record_value, "
           "record_headers FROM pending_orders WHERE order_id = $1",
    .columns = {LS_PG_TEXT, LS_PG_INT4, LS_PG_INT8, LS_PG_BYTEA, LS_PG_BYTEA, LS_PG_BYTEA}};

bool delivery_store_pending_record(delivery_store *store, int64_t order_id, ls_arena *arena,
                                   order_record *record, bool *found, ls_error *error) {
  if (!delivery_store_connect(store, error))
    return false;
  ls_pg_params *params = delivery_store_params(store, 0);
  ls_pg_params_int8(params, order_id);
  ls_pg_result *rows;
  if (!ls_pg_exec(store->connection, &record_statement, params, &rows, error))
    return false;
  *found = ls_pg_row_count(rows) > 0;
  bool done = !*found || delivery_store_record(rows, 0, 0, arena, record, error);
  ls_pg_result_destroy(rows);
  return done;
}

static const ls_pg_statement ask_statement = {
    .name = "delivery_resync_orders",
    .sql =
        "INSERT INTO pending_orders AS p (order_id, min_version, poked, next_attempt_time, reason, "
        "  create_time, source_topic, source_partition, source_offset, record_key, record_headers) "
        "SELECT n.order_id, 0, true, statement_timestamp(), 'asked for by ResyncOrders', "
        "  statement_timestamp(), $2, 0, -1, convert_to(n.order_id::text, 'UTF8'), '' "
        "FROM unnest($1::bigint[]) AS n(order_id) ORDER BY n.order_id "
        "ON CONFLICT (order_id) DO UPDATE SET poked = true, generation = p.generation + 1, "
        "  next_attempt_time = least(p.next_attempt_time, excluded.next_attempt_time)"};

bool delivery_store_ask_resync(delivery_store *store, const int64_t *order_ids, size_t count,
                               const char *topic, ls_error *error) {
  if (!delivery_store_connect(store, error))
    return false;
  ls_pg_params *params = delivery_store_params(store, 0);
  ls_pg_params_int8_array(params, order_ids, count);
  ls_pg_params_text(params, topic);
  return ls_pg_exec(store->connection, &ask_statement, params, NULL, error);
}

static const ls_pg_statement list_statement = {
    .name = "delivery_pending_list",
    .sql = "SELECT order_id, min_version, attempts, next_attempt_time, reason, create_time "
           "FROM pending_orders WHERE order_id > $1 ORDER BY order_id LIMIT $2",
    .columns = {LS_PG_INT8, LS_PG_INT8, LS_PG_INT4, LS_PG_TIMESTAMPTZ, LS_PG_TEXT,
                LS_PG_TIMESTAMPTZ}};

static Delivery__V1__PendingOrder *read_pending(const ls_pg_result *rows, size_t row,
                                                ls_arena *arena) {
  Delivery__V1__PendingOrder *one = ls_arena_alloc(arena, sizeof *one);
  if (one == NULL)
    return NULL;
  delivery__v1__pending_order__init(one);
  one->order_id = ls_pg_get_int8(rows, row, 0);
  one->min_version = ls_pg_get_int8(rows, row, 1);
  one->attempts = ls_pg_get_int4(rows, row, 2);
  one->next_attempt_time = delivery_store_timestamp(ls_pg_get_timestamptz(rows, row, 3), arena);
  one->reason = ls_arena_strdup(arena, ls_pg_get_text(rows, row, 4, NULL));
  one->create_time = delivery_store_timestamp(ls_pg_get_timestamptz(rows, row, 5), arena);
  return one->next_attempt_time != NULL && one->reason != NULL && one->create_time != NULL ? one
                                                                                           : NULL;
}

bool delivery_store_list_pending(delivery_store *store, int64_t after_order_id, int32_t limit,
                                 ls_arena *arena, Delivery__V1__PendingOrder ***pending,
                                 size_t *count, ls_error *error) {
  *count = 0;
  if (!delivery_store_connect(store, error))
    return false;
  ls_pg_params *params = delivery_store_params(store, 0);
  ls_pg_params_int8(params, after_order_id);
  ls_pg_params_int8(params, limit);
  ls_pg_result *rows;
  if (!ls_pg_exec(store->connection, &list_statement, params, &rows, error))
    return false;
  size_t found = ls_pg_row_count(rows);
  *pending = ls_arena_alloc(arena, (found > 0 ? found : 1) * sizeof **pending);
  bool done = *pending != NULL;
  for (size_t row = 0; done && row < found; row++) {
    (*pending)[row] = read_pending(rows, row, arena);
    done = (*pending)[row] != NULL;
  }
  ls_pg_result_destroy(rows);
  if (!done)
    return delivery_store_exhausted(error);
  *count = found;
  return true;
}

static const ls_pg_statement count_statement = {
    .name = "delivery_count_problems",
    .sql = "SELECT (SELECT count(*) FROM pending_orders), "
           "(SELECT count(*) FROM dead_letters WHERE replay_time IS NULL "
           "  AND discard_time IS NULL)",
    .columns = {LS_PG_INT8, LS_PG_INT8}};

bool delivery_store_count_problems(delivery_store *store, int64_t *pending, int64_t *dead_letters,
                                   ls_error *error) {
  ls_pg_result *rows;
  if (!delivery_store_connect(store, error) ||
      !ls_pg_exec(store->connection, &count_statement, NULL, &rows, error))
    return false;
  *pending = ls_pg_get_int8(rows, 0, 0);
  *dead_letters = ls_pg_get_int8(rows, 0, 1);
  ls_pg_result_destroy(rows);
  return true;
}

/* --- The walk over all orders --- */

bool delivery_store_ask_resync_all(delivery_store *store, ls_error *error) {
  return delivery_store_connect(store, error) &&
         ls_pg_exec_sql(store->connection,
                        "UPDATE resync SET request_time = statement_timestamp(), page_token = '', "
                        "lease_time = '-infinity', generation = generation + 1",
                        error);
}

static const ls_pg_statement claim_resync_statement = {
    .name = "delivery_resync_claim",
    .sql = "UPDATE resync SET lease_time = statement_timestamp() + $1 * interval '1 millisecond' "
           "WHERE request_time IS NOT NULL AND lease_time <= statement_timestamp() "
           "RETURNING page_token, generation",
    .columns = {LS_PG_TEXT, LS_PG_INT8}};

bool delivery_store_claim_resync(delivery_store *store, int64_t lease_ms, ls_arena *arena,
                                 delivery_resync *resync, ls_error *error) {
  *resync = (delivery_resync){0};
  if (!delivery_store_connect(store, error))
    return false;
  ls_pg_params *params = delivery_store_params(store, 0);
  ls_pg_params_int8(params, lease_ms);
  ls_pg_result *rows;
  if (!ls_pg_exec(store->connection, &claim_resync_statement, params, &rows, error))
    return false;
  bool done = true;
  if (ls_pg_row_count(rows) > 0) {
    resync->active = true;
    resync->page_token = ls_arena_strdup(arena, ls_pg_get_text(rows, 0, 0, NULL));
    resync->generation = ls_pg_get_int8(rows, 0, 1);
    done = resync->page_token != NULL || delivery_store_exhausted(error);
  }
  ls_pg_result_destroy(rows);
  return done;
}

static const ls_pg_statement advance_resync_statement = {
    .name = "delivery_resync_advance",
    .sql = "UPDATE resync SET page_token = $2, lease_time = '-infinity', "
           "  generation = generation + 1, "
           "  request_time = CASE WHEN $3 THEN NULL ELSE request_time END "
           "WHERE generation = $1"};

bool delivery_store_advance_resync(delivery_store *store, int64_t generation,
                                   const char *page_token, bool done, ls_error *error) {
  if (!delivery_store_connect(store, error))
    return false;
  ls_pg_params *params = delivery_store_params(store, 0);
  ls_pg_params_int8(params, generation);
  ls_pg_params_text(params, page_token);
  ls_pg_params_bool(params, done);
  return ls_pg_exec(store->connection, &advance_resync_statement, params, NULL, error);
}
