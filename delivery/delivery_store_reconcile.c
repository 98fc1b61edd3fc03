/* Reconciliation in the store. */
#include "delivery/delivery_store_reconcile.h"

#include "delivery/delivery_store_internal.h"

static const ls_pg_statement claim_statement = {
    .name = "delivery_reconcile_claim",
    .sql = "UPDATE reconciliation "
           "SET lease_time = statement_timestamp() + $1 * interval '1 millisecond', "
           "  begin_time = coalesce(begin_time, statement_timestamp()) "
           "WHERE next_time <= statement_timestamp() AND lease_time <= statement_timestamp() "
           "  AND (SELECT count(*) FROM (SELECT FROM pending_orders LIMIT $2) AS waiting) < $2 "
           "RETURNING after_order_id, generation",
    .columns = {LS_PG_INT8, LS_PG_INT8}};

bool delivery_store_claim_reconciliation(delivery_store *store, int64_t lease_ms,
                                         int64_t max_pending,
                                         delivery_reconciliation *reconciliation, ls_error *error) {
  *reconciliation = (delivery_reconciliation){0};
  if (!delivery_store_connect(store, error))
    return false;
  ls_pg_params *params = delivery_store_params(store, 0);
  ls_pg_params_int8(params, lease_ms);
  ls_pg_params_int8(params, max_pending);
  ls_pg_result *rows;
  if (!ls_pg_exec(store->connection, &claim_statement, params, &rows, error))
    return false;
  if (ls_pg_row_count(rows) > 0)
    *reconciliation =
        (delivery_reconciliation){true, ls_pg_get_int8(rows, 0, 0), ls_pg_get_int8(rows, 0, 1)};
  ls_pg_result_destroy(rows);
  return true;
}

static const ls_pg_statement versions_statement = {
    .name = "delivery_versions",
    .sql = "SELECT order_id, order_version FROM deliveries WHERE order_id > $1 AND order_id <= $2 "
           "ORDER BY order_id LIMIT $3",
    .columns = {LS_PG_INT8, LS_PG_INT8}};

bool delivery_store_versions(delivery_store *store, int64_t after_order_id, int64_t last_order_id,
                             int32_t limit, ls_arena *arena, reconcile_versions *found,
                             ls_error *error) {
  *found = (reconcile_versions){0};
  if (!delivery_store_connect(store, error))
    return false;
  ls_pg_params *params = delivery_store_params(store, 0);
  ls_pg_params_int8(params, after_order_id);
  ls_pg_params_int8(params, last_order_id);
  ls_pg_params_int8(params, limit);
  ls_pg_result *rows;
  if (!ls_pg_exec(store->connection, &versions_statement, params, &rows, error))
    return false;
  size_t count = ls_pg_row_count(rows);
  found->order_ids = ls_arena_alloc(arena, (count + 1) * sizeof *found->order_ids);
  found->versions = ls_arena_alloc(arena, (count + 1) * sizeof *found->versions);
  bool fits = found->order_ids != NULL && found->versions != NULL;
  for (size_t row = 0; fits && row < count; row++) {
    found->order_ids[row] = ls_pg_get_int8(rows, row, 0);
    found->versions[row] = ls_pg_get_int8(rows, row, 1);
    found->count++;
  }
  ls_pg_result_destroy(rows);
  return fits || delivery_store_exhausted(error);
}

/* The cursor's row comes first: without it nothing is put in line. */
static const ls_pg_statement advance_statement = {
    .name = "delivery_reconcile_advance",
    .sql =
        "WITH moved AS ("
        "  UPDATE reconciliation r SET generation = generation + 1, lease_time = '-infinity', "
        "    next_time = statement_timestamp() + $3 * interval '1 millisecond', "
        "    after_order_id = $2, "
        "    compared = CASE WHEN $4 THEN 0 ELSE compared + $5 END, "
        "    behind = CASE WHEN $4 THEN 0 ELSE behind + $6 END, "
        "    ahead = CASE WHEN $4 THEN 0 ELSE ahead + $7 END, "
        "    begin_time = CASE WHEN $4 THEN NULL ELSE begin_time END, "
        "    last_begin_time = CASE WHEN $4 THEN begin_time ELSE last_begin_time END, "
        "    last_end_time = CASE WHEN $4 THEN statement_timestamp() ELSE last_end_time END, "
        "    last_compared = CASE WHEN $4 THEN compared + $5 ELSE last_compared END, "
        "    last_behind = CASE WHEN $4 THEN behind + $6 ELSE last_behind END, "
        "    last_ahead = CASE WHEN $4 THEN ahead + $7 ELSE last_ahead END "
        "  WHERE generation = $1 RETURNING id) "
        "INSERT INTO pending_orders (order_id, min_version, poked, reconciling, "
        "  next_attempt_time, reason, create_time, source_topic, source_partition, source_offset, "
        "  record_key, record_headers) "
        "SELECT n.order_id, n.version, false, true, "
        "  statement_timestamp() + $10 * interval '1 millisecond', 'found behind its order', "
        "  statement_timestamp(), $11, 0, -1, convert_to(n.order_id::text, 'UTF8'), '' "
        "FROM moved, unnest($8::bigint[], $9::bigint[]) AS n(order_id, version) "
        "ORDER BY n.order_id "
        "ON CONFLICT (order_id) DO NOTHING"};

bool delivery_store_advance_reconciliation(delivery_store *store,
                                           const delivery_reconciled *reconciled, ls_error *error) {
  if (!delivery_store_connect(store, error))
    return false;
  const reconcile_versions *behind = &reconciled->behind;
  ls_pg_params *params = delivery_store_params(store, 0);
  ls_pg_params_int8(params, reconciled->generation);
  ls_pg_params_int8(params, reconciled->after_order_id);
  ls_pg_params_int8(params, reconciled->next_ms);
  ls_pg_params_bool(params, reconciled->done);
  ls_pg_params_int8(params, reconciled->compared);
  ls_pg_params_int8(params, (int64_t)behind->count);
  ls_pg_params_int8(params, reconciled->ahead);
  ls_pg_params_int8_array(params, behind->order_ids, behind->count);
  ls_pg_params_int8_array(params, behind->versions, behind->count);
  ls_pg_params_int8(params, reconciled->grace_ms);
  ls_pg_params_text(params, reconciled->topic);
  return ls_pg_exec(store->connection, &advance_statement, params, NULL, error);
}

bool delivery_store_start_reconciliation(delivery_store *store, ls_error *error) {
  return delivery_store_connect(store, error) &&
         ls_pg_exec_sql(
             store->connection,
             "UPDATE reconciliation SET generation = generation + 1, after_order_id = 0, "
             "lease_time = '-infinity', next_time = statement_timestamp(), "
             "begin_time = NULL, compared = 0, behind = 0, ahead = 0",
             error);
}

/* --- For operators --- */

static const ls_pg_statement state_statement = {
    .name = "delivery_reconcile_state",
    .sql = "SELECT after_order_id, next_time, begin_time, compared, behind, ahead, "
           "last_begin_time, last_end_time, last_compared, last_behind, last_ahead "
           "FROM reconciliation",
    .columns = {LS_PG_INT8, LS_PG_TIMESTAMPTZ, LS_PG_TIMESTAMPTZ, LS_PG_INT8, LS_PG_INT8,
                LS_PG_INT8, LS_PG_TIMESTAMPTZ, LS_PG_TIMESTAMPTZ, LS_PG_INT8, LS_PG_INT8,
                LS_PG_INT8}};

static Delivery__V1__ReconciliationPass *read_pass(const ls_pg_result *rows, size_t begin_column,
                                                   size_t counts_column, ls_arena *arena) {
  Delivery__V1__ReconciliationPass *pass = ls_arena_alloc(arena, sizeof *pass);
  if (pass == NULL)
    return NULL;
  delivery__v1__reconciliation_pass__init(pass);
  pass->compared = ls_pg_get_int8(rows, 0, counts_column);
  pass->behind = ls_pg_get_int8(rows, 0, counts_column + 1);
  pass->ahead = ls_pg_get_int8(rows, 0, counts_column + 2);
  return delivery_store_time(rows, 0, begin_column, arena, &pass->begin_time) ? pass : NULL;
}

bool delivery_store_read_reconciliation(delivery_store *store, ls_arena *arena,
                                        Delivery__V1__GetReconciliationStateResponse *state,
                                        ls_error *error) {
  ls_pg_result *rows;
  if (!delivery_store_connect(store, error) ||
      !ls_pg_exec(store->connection, &state_statement, NULL, &rows, error))
    return false;
  bool done = ls_pg_row_count(rows) == 1;
  if (!done) {
    ls_error_set(error, LS_FAILED_PRECONDITION, false, NULL,
                 "the table reconciliation must have exactly one row");
  } else {
    state->position_order_id = ls_pg_get_int8(rows, 0, 0);
    state->current = read_pass(rows, 2, 3, arena);
    state->last = read_pass(rows, 6, 8, arena);
    done = (state->current != NULL && state->last != NULL &&
            delivery_store_time(rows, 0, 1, arena, &state->next_time) &&
            delivery_store_time(rows, 0, 7, arena, &state->last->end_time)) ||
           delivery_store_exhausted(error);
  }
  ls_pg_result_destroy(rows);
  return done;
}
