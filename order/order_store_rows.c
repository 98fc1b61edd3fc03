/* What a transaction of the store writes: one statement for each table, with an array for each
 * column. */
#include "order/order_store_rows.h"

#include <stdlib.h>
#include <string.h>

#include "order/order_store_internal.h"

static const ls_pg_statement claim_statement = {
    .name = "order_requests_claim",
    .sql = "INSERT INTO order_requests (request_id, order_id, fingerprint, response) "
           "SELECT * FROM unnest($1, $2, $3, $4)"};

static const ls_pg_statement insert_statement = {
    .name = "orders_insert",
    .sql =
        "INSERT INTO orders (order_id, version, status, total_minor_units, recipient, "
        "address_lines, postal_code, city, country_code, note, cancel_reason, update_time, "
        "customer_id, currency_code, create_time) "
        "SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"};

static const ls_pg_statement update_statement = {
    .name = "orders_update",
    .sql = "UPDATE orders SET version = changed.version, status = changed.status, "
           "total_minor_units = changed.total_minor_units, recipient = changed.recipient, "
           "address_lines = changed.address_lines, postal_code = changed.postal_code, "
           "city = changed.city, country_code = changed.country_code, note = changed.note, "
           "cancel_reason = changed.cancel_reason, update_time = changed.update_time "
           "FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) "
           "AS changed (order_id, version, status, total_minor_units, recipient, address_lines, "
           "postal_code, city, country_code, note, cancel_reason, update_time) "
           "WHERE orders.order_id = changed.order_id"};

static const ls_pg_statement delete_items_statement = {
    .name = "order_items_delete", .sql = "DELETE FROM order_items WHERE order_id = ANY($1)"};

static const ls_pg_statement insert_items_statement = {
    .name = "order_items_insert",
    .sql = "INSERT INTO order_items (order_id, line_number, sku, quantity, unit_minor_units) "
           "SELECT * FROM unnest($1, $2, $3, $4, $5)"};

/* transaction_id and sequence get their defaults, in this order, row by row in the order of the
 * arrays (sql/0001_orders.sql says why it matters). */
static const ls_pg_statement outbox_statement = {
    .name = "outbox_insert",
    .sql = "INSERT INTO outbox (order_id, version, type, occur_time, snapshot, trace_parent, "
           "republished) SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)"};

bool order_draft_pack(order_draft *draft, ls_arena *arena) {
  draft->packed_bytes = order__v1__order__get_packed_size(draft->answer);
  draft->packed = ls_arena_alloc(arena, draft->packed_bytes);
  if (draft->packed == NULL)
    return false;
  order__v1__order__pack(draft->answer, draft->packed);
  return true;
}

bool order_draft_is_kept(const order_draft *draft) {
  return draft->outcome == ORDER_CHANGED || draft->outcome == ORDER_REPUBLISHED ||
         draft->request_id != NULL;
}

/* The drafts that a statement takes a row of. */
typedef struct draft_rows {
  const order_draft **drafts;
  size_t count;
} draft_rows;

/* Adds an array parameter with one element, given by `add(params, element)`, for each draft. */
#define ADD_COLUMN(params, rows, element, type, add, expression)                                   \
  do {                                                                                             \
    ls_pg_params_array_begin(params, type);                                                        \
    for (size_t row_ = 0; row_ < (rows)->count; row_++) {                                          \
      const order_draft *draft = (rows)->drafts[row_];                                             \
      const Order__V1__Order *element = draft->answer;                                             \
      add(params, expression);                                                                     \
    }                                                                                              \
    ls_pg_params_array_end(params);                                                                \
  } while (0)

static void add_packed(ls_pg_params *params, const order_draft *draft) {
  ls_pg_params_bytea(params, draft->packed, draft->packed_bytes);
}

static void add_fingerprint(ls_pg_params *params, const order_draft *draft) {
  ls_pg_params_bytea(params, draft->write->fingerprint, ORDER_FINGERPRINT_BYTES);
}

/* Columns that both a new and a changed row have. */
static bool add_order_columns(ls_pg_params *params, const draft_rows *rows, ls_arena *arena) {
  ls_pg_params_reset(params);
  ADD_COLUMN(params, rows, order, LS_PG_INT8, ls_pg_params_int8, order->order_id);
  ADD_COLUMN(params, rows, order, LS_PG_INT8, ls_pg_params_int8, order->version);
  ADD_COLUMN(params, rows, order, LS_PG_INT2, ls_pg_params_int2, (int16_t)order->status);
  ADD_COLUMN(params, rows, order, LS_PG_INT8, ls_pg_params_int8, order->total_minor_units);
  ADD_COLUMN(params, rows, order, LS_PG_TEXT, ls_pg_params_text,
             order->delivery_address->recipient);
  ls_pg_params_array_begin(params, LS_PG_TEXT);
  for (size_t i = 0; i < rows->count; i++) {
    char *lines = order_join_lines(rows->drafts[i]->answer->delivery_address, arena);
    if (lines == NULL)
      return false;
    ls_pg_params_text(params, lines);
  }
  ls_pg_params_array_end(params);
  ADD_COLUMN(params, rows, order, LS_PG_TEXT, ls_pg_params_text,
             order->delivery_address->postal_code);
  ADD_COLUMN(params, rows, order, LS_PG_TEXT, ls_pg_params_text, order->delivery_address->city);
  ADD_COLUMN(params, rows, order, LS_PG_TEXT, ls_pg_params_text,
             order->delivery_address->country_code);
  ADD_COLUMN(params, rows, order, LS_PG_TEXT, ls_pg_params_text, order->note);
  ADD_COLUMN(params, rows, order, LS_PG_TEXT, ls_pg_params_text, order->cancel_reason);
  ADD_COLUMN(params, rows, order, LS_PG_TIMESTAMPTZ, ls_pg_params_timestamptz,
             order_timestamp_us(order->update_time));
  return true;
}

static void add_created_columns(ls_pg_params *params, const draft_rows *rows) {
  ADD_COLUMN(params, rows, order, LS_PG_TEXT, ls_pg_params_text, order->customer_id);
  ADD_COLUMN(params, rows, order, LS_PG_TEXT, ls_pg_params_text, order->currency_code);
  ADD_COLUMN(params, rows, order, LS_PG_TIMESTAMPTZ, ls_pg_params_timestamptz,
             order_timestamp_us(order->create_time));
}

/* Adds an array parameter with one element for each item of each draft. */
#define ADD_ITEM_COLUMN(params, rows, type, add, expression)                                       \
  do {                                                                                             \
    ls_pg_params_array_begin(params, type);                                                        \
    for (size_t row_ = 0; row_ < (rows)->count; row_++) {                                          \
      const Order__V1__Order *order = (rows)->drafts[row_]->answer;                                \
      for (size_t line = 0; line < order->n_items; line++)                                         \
        add(params, expression);                                                                   \
    }                                                                                              \
    ls_pg_params_array_end(params);                                                                \
  } while (0)

static void add_item_columns(ls_pg_params *params, const draft_rows *rows) {
  ls_pg_params_reset(params);
  ADD_ITEM_COLUMN(params, rows, LS_PG_INT8, ls_pg_params_int8, order->order_id);
  ADD_ITEM_COLUMN(params, rows, LS_PG_INT4, ls_pg_params_int4, (int32_t)line + 1);
  ADD_ITEM_COLUMN(params, rows, LS_PG_TEXT, ls_pg_params_text, order->items[line]->sku);
  ADD_ITEM_COLUMN(params, rows, LS_PG_INT4, ls_pg_params_int4, order->items[line]->quantity);
  ADD_ITEM_COLUMN(params, rows, LS_PG_INT8, ls_pg_params_int8,
                  order->items[line]->unit_minor_units);
}

static void add_outbox_columns(ls_pg_params *params, const draft_rows *rows) {
  ls_pg_params_reset(params);
  ADD_COLUMN(params, rows, order, LS_PG_INT8, ls_pg_params_int8, order->order_id);
  ADD_COLUMN(params, rows, order, LS_PG_INT8, ls_pg_params_int8, order->version);
  ADD_COLUMN(params, rows, order, LS_PG_INT2, ls_pg_params_int2, (int16_t)order_event_type(order));
  ADD_COLUMN(params, rows, order, LS_PG_TIMESTAMPTZ, ls_pg_params_timestamptz,
             order_timestamp_us(order->update_time));
  ls_pg_params_array_begin(params, LS_PG_BYTEA);
  for (size_t i = 0; i < rows->count; i++)
    add_packed(params, rows->drafts[i]);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_TEXT);
  for (size_t i = 0; i < rows->count; i++)
    ls_pg_params_text(params, rows->drafts[i]->write->trace_parent);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_BOOL);
  for (size_t i = 0; i < rows->count; i++)
    ls_pg_params_bool(params, rows->drafts[i]->outcome == ORDER_REPUBLISHED);
  ls_pg_params_array_end(params);
}

static int compare_request_ids(const void *left, const void *right) {
  const order_draft *a = *(const order_draft *const *)left;
  const order_draft *b = *(const order_draft *const *)right;
  return strcmp(a->request_id, b->request_id);
}

static void add_claim_columns(ls_pg_params *params, const draft_rows *rows) {
  ls_pg_params_reset(params);
  qsort(rows->drafts, rows->count, sizeof(const order_draft *), compare_request_ids);
  ls_pg_params_array_begin(params, LS_PG_TEXT);
  for (size_t i = 0; i < rows->count; i++)
    ls_pg_params_text(params, rows->drafts[i]->request_id);
  ls_pg_params_array_end(params);
  ADD_COLUMN(params, rows, order, LS_PG_INT8, ls_pg_params_int8, order->order_id);
  ls_pg_params_array_begin(params, LS_PG_BYTEA);
  for (size_t i = 0; i < rows->count; i++)
    add_fingerprint(params, rows->drafts[i]);
  ls_pg_params_array_end(params);
  ls_pg_params_array_begin(params, LS_PG_BYTEA);
  for (size_t i = 0; i < rows->count; i++)
    add_packed(params, rows->drafts[i]);
  ls_pg_params_array_end(params);
}

static bool is_claimed(const order_draft *draft) {
  return draft->request_id != NULL;
}

static bool is_changed(const order_draft *draft) {
  return draft->outcome == ORDER_CHANGED;
}

static bool is_told(const order_draft *draft) {
  return is_changed(draft) || draft->outcome == ORDER_REPUBLISHED;
}

static bool is_created(const order_draft *draft) {
  return is_changed(draft) && draft->write->kind == ORDER_WRITE_CREATE;
}

static bool is_updated(const order_draft *draft) {
  return is_changed(draft) && draft->write->kind != ORDER_WRITE_CREATE;
}

static bool has_new_items(const order_draft *draft) {
  return is_changed(draft) && draft->items_changed;
}

static bool has_replaced_items(const order_draft *draft) {
  return is_updated(draft) && draft->items_changed;
}

static void select_rows(draft_rows *rows, const order_draft *drafts, size_t count,
                        bool (*is_selected)(const order_draft *draft)) {
  rows->count = 0;
  for (size_t i = 0; i < count; i++)
    if (is_selected(&drafts[i]))
      rows->drafts[rows->count++] = &drafts[i];
}

bool order_rows_write(order_store *store, ls_pg_transaction transaction, const order_draft *drafts,
                      size_t count, ls_error *error) {
  ls_pg_batch_item items[6] = {{0}};
  size_t item_count = 0;
  draft_rows rows = {.drafts = ls_arena_alloc(store->arena, count * sizeof(const order_draft *))};
  ls_pg_params *const *params = store->params;
  if (rows.drafts == NULL)
    return order_store_out_of_memory(error);

  select_rows(&rows, drafts, count, is_claimed);
  if (rows.count > 0) {
    add_claim_columns(params[1], &rows);
    items[item_count++] = (ls_pg_batch_item){.statement = &claim_statement, .params = params[1]};
  }
  select_rows(&rows, drafts, count, is_created);
  if (rows.count > 0) {
    if (!add_order_columns(params[2], &rows, store->arena))
      return order_store_out_of_memory(error);
    add_created_columns(params[2], &rows);
    items[item_count++] = (ls_pg_batch_item){.statement = &insert_statement, .params = params[2]};
  }
  select_rows(&rows, drafts, count, is_updated);
  if (rows.count > 0) {
    if (!add_order_columns(params[3], &rows, store->arena))
      return order_store_out_of_memory(error);
    items[item_count++] = (ls_pg_batch_item){.statement = &update_statement, .params = params[3]};
  }
  select_rows(&rows, drafts, count, has_replaced_items);
  if (rows.count > 0) {
    ls_pg_params_reset(params[4]);
    ADD_COLUMN(params[4], &rows, order, LS_PG_INT8, ls_pg_params_int8, order->order_id);
    items[item_count++] =
        (ls_pg_batch_item){.statement = &delete_items_statement, .params = params[4]};
  }
  select_rows(&rows, drafts, count, has_new_items);
  if (rows.count > 0) {
    add_item_columns(params[5], &rows);
    items[item_count++] =
        (ls_pg_batch_item){.statement = &insert_items_statement, .params = params[5]};
  }
  select_rows(&rows, drafts, count, is_told);
  if (rows.count > 0) {
    add_outbox_columns(params[6], &rows);
    items[item_count++] = (ls_pg_batch_item){.statement = &outbox_statement, .params = params[6]};
  }
  bool done = ls_pg_exec_batch(store->connection, transaction, items, item_count, error);
  ls_pg_batch_clear(items, item_count);
  return done;
}
