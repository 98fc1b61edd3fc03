/* DispatchDelivery and CompleteDelivery in the store: many at once, in one transaction. */
#include <stdlib.h>

#include "delivery/delivery_store.h"
#include "delivery/delivery_store_internal.h"

static const ls_pg_statement lock_statement = {
    .name = "delivery_move_lock",
    .sql = "SELECT " DELIVERY_COLUMNS
           " FROM deliveries WHERE order_id = ANY($1) ORDER BY order_id FOR UPDATE",
    .columns = {DELIVERY_COLUMN_TYPES}};

static const ls_pg_statement move_statement = {
    .name = "delivery_move",
    .sql = "WITH moved AS ("
           "  UPDATE deliveries d SET revision = n.revision, state = n.state, "
           "    tracking_code = n.tracking_code, update_time = statement_timestamp() "
           "  FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::text[], $5::smallint[]) "
           "    AS n(order_id, revision, state, tracking_code, cause) "
           "  WHERE d.order_id = n.order_id AND d.revision = n.revision - 1 "
           "  RETURNING d.order_id, d.revision, d.state, d.update_time, n.cause), "
           "logged AS ("
           "  INSERT INTO delivery_history (order_id, revision, cause, state, change_time) "
           "  SELECT order_id, revision, cause, state, update_time FROM moved) "
           "SELECT order_id, update_time FROM moved ORDER BY order_id",
    .columns = {LS_PG_INT8, LS_PG_TIMESTAMPTZ}};

delivery_standing delivery_store_standing(const ls_pg_result *result, size_t row) {
  delivery_standing standing = {.revision = ls_pg_get_int8(result, row, 1),
                                .state =
                                    (Delivery__V1__DeliveryState)ls_pg_get_int2(result, row, 2),
                                .order_version = ls_pg_get_int8(result, row, 3)};
  size_t bytes;
  const char *code = ls_pg_get_text(result, row, 10, &bytes);
  if (bytes > DELIVERY_TRACKING_CODE_BYTES)
    bytes = DELIVERY_TRACKING_CODE_BYTES;
  for (size_t i = 0; i < bytes; i++)
    standing.tracking_code[i] = code[i];
  return standing;
}

static bool decide(delivery_move *move, const ls_pg_result *rows, size_t row, ls_arena *arena,
                   ls_error *error) {
  move->standing = delivery_store_standing(rows, row);
  move->outcome = move->complete ? delivery_complete(&move->standing, move->expected_revision)
                                 : delivery_dispatch(&move->standing, move->tracking_code,
                                                     move->expected_revision);
  move->delivery = delivery_store_row(rows, row, arena, error);
  if (move->delivery == NULL)
    return false;
  if (move->outcome != DELIVERY_CHANGED)
    return true;
  move->delivery->revision = move->standing.revision;
  move->delivery->state = move->standing.state;
  move->delivery->tracking_code = ls_arena_strdup(arena, move->standing.tracking_code);
  return move->delivery->tracking_code != NULL || delivery_store_exhausted(error);
}

/* Rows and moves are both by ascending order id. */
static bool decide_all(delivery_move *const *moves, size_t count, const ls_pg_result *rows,
                       ls_arena *arena, ls_error *error) {
  size_t row = 0;
  for (size_t i = 0; i < count; i++) {
    delivery_move *move = moves[i];
    move->delivery = NULL;
    move->standing = (delivery_standing){0};
    move->outcome = DELIVERY_NOT_FOUND;
    if (row == ls_pg_row_count(rows) || ls_pg_get_int8(rows, row, 0) != move->order_id)
      continue;
    if (!decide(move, rows, row, arena, error))
      return false;
    row++;
  }
  return true;
}

static size_t add_changes(ls_pg_params *params, delivery_move *const *moves, size_t count) {
  size_t changed = 0;
  for (size_t i = 0; i < count; i++)
    changed += moves[i]->outcome == DELIVERY_CHANGED;
  if (changed == 0)
    return 0;
#define EACH(type, append)                                                                         \
  ls_pg_params_array_begin(params, type);                                                          \
  for (size_t i = 0; i < count; i++) {                                                             \
    const delivery_move *move = moves[i];                                                          \
    if (move->outcome == DELIVERY_CHANGED)                                                         \
      append;                                                                                      \
  }                                                                                                \
  ls_pg_params_array_end(params)

  EACH(LS_PG_INT8, ls_pg_params_int8(params, move->order_id));
  EACH(LS_PG_INT8, ls_pg_params_int8(params, move->standing.revision));
  EACH(LS_PG_INT2, ls_pg_params_int2(params, (int16_t)move->standing.state));
  EACH(LS_PG_TEXT, ls_pg_params_text(params, move->standing.tracking_code));
  EACH(LS_PG_INT2,
       ls_pg_params_int2(params, move->complete
                                     ? DELIVERY__V1__DELIVERY_CAUSE__DELIVERY_CAUSE_COMPLETE
                                     : DELIVERY__V1__DELIVERY_CAUSE__DELIVERY_CAUSE_DISPATCH));
#undef EACH
  return changed;
}

static bool take_times(const ls_pg_result *rows, delivery_move *const *moves, size_t count,
                       ls_arena *arena, ls_error *error) {
  size_t row = 0;
  for (size_t i = 0; i < count; i++) {
    if (moves[i]->outcome != DELIVERY_CHANGED)
      continue;
    if (row == ls_pg_row_count(rows) || ls_pg_get_int8(rows, row, 0) != moves[i]->order_id)
      return ls_error_set(error, LS_INTERNAL, false, NULL, "a locked delivery was not changed");
    moves[i]->delivery->update_time =
        delivery_store_timestamp(ls_pg_get_timestamptz(rows, row, 1), arena);
    if (moves[i]->delivery->update_time == NULL)
      return delivery_store_exhausted(error);
    row++;
  }
  return true;
}

bool delivery_store_move(delivery_store *store, delivery_move *const *moves, size_t count,
                         ls_arena *arena, ls_error *error) {
  if (!delivery_store_connect(store, error))
    return false;
  ls_pg_params *ids = delivery_store_params(store, 0);
  ls_pg_params_array_begin(ids, LS_PG_INT8);
  for (size_t i = 0; i < count; i++)
    ls_pg_params_int8(ids, moves[i]->order_id);
  ls_pg_params_array_end(ids);
  ls_pg_batch_item lock = {&lock_statement, ids, NULL};
  if (!ls_pg_exec_batch(store->connection, LS_PG_BEGIN, &lock, 1, error))
    return false;
  bool decided = decide_all(moves, count, lock.result, arena, error);
  ls_pg_batch_clear(&lock, 1);
  if (!decided)
    return delivery_store_give_up(store);

  ls_pg_params *changes = delivery_store_params(store, 1);
  if (add_changes(changes, moves, count) == 0) {
    delivery_store_give_up(store); /* nothing to write; the locks go */
    return true;
  }
  ls_pg_batch_item write = {&move_statement, changes, NULL};
  if (!ls_pg_exec_batch(store->connection, LS_PG_COMMIT, &write, 1, error))
    return false;
  bool done = take_times(write.result, moves, count, arena, error);
  ls_pg_batch_clear(&write, 1);
  return done;
}
