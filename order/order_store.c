/* A store's session, and its reads. */
#include "order/order_store.h"

#include <stdlib.h>
#include <string.h>

#include "order/order_store_internal.h"
#include "runtime/base/clock.h"
#include "runtime/base/shutdown.h"

/* Statements are few and their parameters are arrays: one plan serves all lengths, and planning
 * anew for each would cost more than it saves. All go by key, so that a plan made while the tables
 * were empty must not be one that reads them whole when they are not. */
static const char session_settings[] =
    "SET default_transaction_isolation = 'read committed'; "
    "SET plan_cache_mode = force_generic_plan; SET jit = off; SET enable_seqscan = off; "
    "SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; "
    "SET max_parallel_workers_per_gather = 0";

enum { CONNECT_BACKOFF_MS = 100, CONNECT_BACKOFF_MAX_MS = 2000 };

static const ls_pg_statement snapshot_statement = {
    .name = "order_snapshot", .sql = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"};

static const ls_pg_statement read_statement = {
    .name = "orders_read",
    .sql = "SELECT " ORDER_COLUMNS " FROM orders WHERE order_id = ANY($1) ORDER BY order_id",
    .columns = {ORDER_COLUMN_TYPES}};

const ls_pg_statement order_items_statement = {
    .name = "order_items_read",
    .sql = "SELECT order_id, sku, quantity, unit_minor_units FROM order_items "
           "WHERE order_id = ANY($1) ORDER BY order_id, line_number",
    .columns = {LS_PG_INT8, LS_PG_TEXT, LS_PG_INT4, LS_PG_INT8}};

/* Each filter is a statement of its own, so that each has a plan that fits. */
#define LIST_STATEMENT(statement_name, filter)                                                     \
  {                                                                                                \
    .name = statement_name,                                                                        \
    .sql = "SELECT " ORDER_COLUMNS " FROM orders WHERE order_id > $1" filter                       \
           " ORDER BY order_id LIMIT $2",                                                          \
    .columns = {                                                                                   \
      ORDER_COLUMN_TYPES                                                                           \
    }                                                                                              \
  }

static const ls_pg_statement list_statements[2][3] = {
    {LIST_STATEMENT("orders_list", ""), LIST_STATEMENT("orders_list_placed", " AND status = 1"),
     LIST_STATEMENT("orders_list_cancelled", " AND status = 2")},
    {LIST_STATEMENT("orders_list_customer", " AND customer_id = $3"),
     LIST_STATEMENT("orders_list_customer_placed", " AND customer_id = $3 AND status = 1"),
     LIST_STATEMENT("orders_list_customer_cancelled", " AND customer_id = $3 AND status = 2")}};

bool order_store_out_of_memory(ls_error *error) {
  return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL,
                      "out of memory for the orders of a batch");
}

order_store *order_store_new(order_database *database, ls_error *error) {
  order_store *store = calloc(1, sizeof *store);
  bool complete = store != NULL;
  if (complete) {
    store->database = database;
    store->next_order_id = 1;
    ls_backoff_init(&store->backoff, CONNECT_BACKOFF_MS, CONNECT_BACKOFF_MAX_MS);
    store->arena = ls_arena_new(ORDER_STORE_MAX_BYTES);
    complete = store->arena != NULL;
    for (size_t i = 0; complete && i < ORDER_STORE_PARAMS; i++) {
      store->params[i] = ls_pg_params_new();
      complete = store->params[i] != NULL;
    }
  }
  if (complete)
    return store;
  order_store_destroy(store);
  ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for an order store");
  return NULL;
}

void order_store_destroy(order_store *store) {
  if (store == NULL)
    return;
  ls_pg_connection_destroy(store->connection);
  for (size_t i = 0; i < ORDER_STORE_PARAMS; i++)
    ls_pg_params_destroy(store->params[i]);
  ls_arena_destroy(store->arena);
  free(store);
}

bool order_store_connect(order_store *store, ls_error *error) {
  if (order_store_is_connected(store))
    return true;
  if (store->connection == NULL) {
    store->connection = ls_pg_connect(&store->database->options, error);
    if (store->connection == NULL)
      return false;
  } else if (!ls_pg_reconnect(store->connection, error)) {
    return false;
  }
  if (order_database_check(store->database, store->connection, error) &&
      ls_pg_exec_sql(store->connection, session_settings, error)) {
    store->session++;
    return true;
  }
  ls_pg_connection_destroy(store->connection);
  store->connection = NULL;
  return false;
}

bool order_store_ready(order_store *store, ls_error *error) {
  if (order_store_is_connected(store))
    return true;
  if (ls_shutdown_requested()) /* a server that does not answer must not hold up the end */
    return ls_error_set(error, LS_UNAVAILABLE, true, "08001", "the service is stopping");
  if (ls_clock_monotonic_ms() < store->next_attempt_ms)
    return ls_error_set(error, LS_UNAVAILABLE, true, "08001", "the database does not answer");
  if (order_store_connect(store, error)) {
    ls_backoff_reset(&store->backoff);
    return true;
  }
  store->next_attempt_ms = ls_clock_monotonic_ms() + ls_backoff_next(&store->backoff);
  return false;
}

bool order_store_is_connected(order_store *store) {
  return store->connection != NULL && ls_pg_is_alive(store->connection);
}

unsigned order_store_session(const order_store *store) {
  return store->session;
}

ls_pg_connection *order_store_connection(order_store *store) {
  return store->connection;
}

/* --- Rows to orders --- */

char *order_join_lines(const Order__V1__Address *address, ls_arena *arena) {
  size_t bytes = 1;
  for (size_t i = 0; i < address->n_lines; i++)
    bytes += strlen(address->lines[i]) + 1;
  char *joined = ls_arena_alloc(arena, bytes);
  if (joined == NULL)
    return NULL;
  char *end = joined;
  for (size_t i = 0; i < address->n_lines; i++) {
    if (i > 0)
      *end++ = '\n';
    end = stpcpy(end, address->lines[i]);
  }
  *end = '\0';
  return joined;
}

static bool split_lines(char *joined, Order__V1__Address *address, ls_arena *arena) {
  size_t count = 1;
  for (const char *c = joined; *c != '\0'; c++)
    count += *c == '\n';
  char **lines = ls_arena_alloc(arena, count * sizeof *lines);
  if (lines == NULL)
    return false;
  address->lines = lines;
  address->n_lines = count;
  for (size_t i = 0; i < count; i++)
    lines[i] = strsep(&joined, "\n");
  return true;
}

static char *copy_text(const ls_pg_result *result, size_t row, size_t column, ls_arena *arena) {
  size_t bytes;
  const char *text = ls_pg_get_text(result, row, column, &bytes);
  return ls_arena_memdup(arena, text, bytes + 1);
}

static Order__V1__Order *order_from_row(const ls_pg_result *result, size_t row, ls_arena *arena) {
  Order__V1__Order *order = ls_arena_alloc(arena, sizeof *order);
  Order__V1__Address *address = ls_arena_alloc(arena, sizeof *address);
  if (order == NULL || address == NULL)
    return NULL;
  order__v1__order__init(order);
  order__v1__address__init(address);
  order->order_id = ls_pg_get_int8(result, row, 0);
  order->version = ls_pg_get_int8(result, row, 1);
  order->status = (Order__V1__OrderStatus)ls_pg_get_int2(result, row, 2);
  order->customer_id = copy_text(result, row, 3, arena);
  order->currency_code = copy_text(result, row, 4, arena);
  order->total_minor_units = ls_pg_get_int8(result, row, 5);
  address->recipient = copy_text(result, row, 6, arena);
  char *lines = copy_text(result, row, 7, arena);
  address->postal_code = copy_text(result, row, 8, arena);
  address->city = copy_text(result, row, 9, arena);
  address->country_code = copy_text(result, row, 10, arena);
  order->note = copy_text(result, row, 11, arena);
  order->cancel_reason = copy_text(result, row, 12, arena);
  order->create_time = order_timestamp(ls_pg_get_timestamptz(result, row, 13), arena);
  order->update_time = order_timestamp(ls_pg_get_timestamptz(result, row, 14), arena);
  order->delivery_address = address;
  bool complete = order->customer_id != NULL && order->currency_code != NULL &&
                  address->recipient != NULL && lines != NULL && address->postal_code != NULL &&
                  address->city != NULL && address->country_code != NULL && order->note != NULL &&
                  order->cancel_reason != NULL && order->create_time != NULL &&
                  order->update_time != NULL;
  return complete && split_lines(lines, address, arena) ? order : NULL;
}

/* The items from `*row` on that are this order's; moves `*row` behind them. */
static bool take_items(Order__V1__Order *order, const ls_pg_result *result, size_t *row,
                       ls_arena *arena) {
  size_t rows = ls_pg_row_count(result);
  while (*row < rows && ls_pg_get_int8(result, *row, 0) < order->order_id)
    ++*row;
  size_t first = *row;
  while (*row < rows && ls_pg_get_int8(result, *row, 0) == order->order_id)
    ++*row;
  size_t count = *row - first;
  Order__V1__OrderItem *items = ls_arena_alloc(arena, count * sizeof *items);
  Order__V1__OrderItem **pointers = ls_arena_alloc(arena, count * sizeof(Order__V1__OrderItem *));
  if (items == NULL || pointers == NULL)
    return false;
  for (size_t i = 0; i < count; i++) {
    order__v1__order_item__init(&items[i]);
    items[i].sku = copy_text(result, first + i, 1, arena);
    items[i].quantity = ls_pg_get_int4(result, first + i, 2);
    items[i].unit_minor_units = ls_pg_get_int8(result, first + i, 3);
    if (items[i].sku == NULL)
      return false;
    pointers[i] = &items[i];
  }
  order->items = pointers;
  order->n_items = count;
  return true;
}

bool orders_from_results(order_store *store, const ls_pg_result *orders, const ls_pg_result *items,
                         order_list *list, ls_error *error) {
  size_t count = ls_pg_row_count(orders);
  list->orders = ls_arena_alloc(store->arena, (count + 1) * sizeof *list->orders);
  list->count = 0;
  if (list->orders == NULL)
    return order_store_out_of_memory(error);
  size_t item_row = 0;
  for (size_t row = 0; row < count; row++) {
    Order__V1__Order *order = order_from_row(orders, row, store->arena);
    if (order == NULL || !take_items(order, items, &item_row, store->arena))
      return order_store_out_of_memory(error);
    list->orders[list->count++] = order;
  }
  return true;
}

static int compare_id_with_order(const void *id, const void *order) {
  int64_t wanted = *(const int64_t *)id;
  int64_t found = (*(Order__V1__Order *const *)order)->order_id;
  return (wanted > found) - (wanted < found);
}

Order__V1__Order *order_list_find(const order_list *list, int64_t order_id) {
  if (list->count == 0)
    return NULL;
  Order__V1__Order **found =
      bsearch(&order_id, list->orders, list->count, sizeof *list->orders, compare_id_with_order);
  return found == NULL ? NULL : *found;
}

/* --- Reads --- */

bool order_store_read(order_store *store, const int64_t *ids, size_t count, order_list *found,
                      ls_error *error) {
  ls_arena_reset(store->arena);
  *found = (order_list){NULL, 0};
  if (!order_store_connect(store, error))
    return false;
  ls_pg_params *params = store->params[0];
  ls_pg_params_reset(params);
  ls_pg_params_int8_array(params, ids, count);
  ls_pg_batch_item items[] = {{.statement = &snapshot_statement},
                              {.statement = &read_statement, .params = params},
                              {.statement = &order_items_statement, .params = params}};
  if (!ls_pg_exec_batch(store->connection, LS_PG_BEGIN_COMMIT, items, 3, error))
    return false;
  bool done = orders_from_results(store, items[1].result, items[2].result, found, error);
  ls_pg_batch_clear(items, 3);
  return done;
}

static const ls_pg_statement versions_statement = {
    .name = "order_versions",
    .sql = "SELECT order_id, version FROM orders WHERE order_id > $1 AND order_id <= $2 "
           "ORDER BY order_id LIMIT $3",
    .columns = {LS_PG_INT8, LS_PG_INT8}};

bool order_store_versions(order_store *store, int64_t after_order_id, int64_t last_order_id,
                          int32_t limit, order_versions *found, ls_error *error) {
  ls_arena_reset(store->arena);
  *found = (order_versions){NULL, NULL, 0};
  if (!order_store_connect(store, error))
    return false;
  ls_pg_params *range = store->params[0];
  ls_pg_params_reset(range);
  ls_pg_params_int8(range, after_order_id);
  ls_pg_params_int8(range, last_order_id);
  ls_pg_params_int8(range, limit);
  ls_pg_result *rows;
  if (!ls_pg_exec(store->connection, &versions_statement, range, &rows, error))
    return false;
  size_t count = ls_pg_row_count(rows);
  found->order_ids = ls_arena_alloc(store->arena, (count + 1) * sizeof *found->order_ids);
  found->versions = ls_arena_alloc(store->arena, (count + 1) * sizeof *found->versions);
  bool fits = found->order_ids != NULL && found->versions != NULL;
  for (size_t row = 0; fits && row < count; row++) {
    found->order_ids[row] = ls_pg_get_int8(rows, row, 0);
    found->versions[row] = ls_pg_get_int8(rows, row, 1);
    found->count++;
  }
  ls_pg_result_destroy(rows);
  return fits || order_store_out_of_memory(error);
}

static const ls_pg_statement *list_statement(const order_query *query) {
  size_t status = query->status == ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED      ? 1
                  : query->status == ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED ? 2
                                                                                     : 0;
  return &list_statements[query->customer_id[0] != '\0'][status];
}

bool order_store_list(order_store *store, const order_query *query, order_list *page,
                      ls_error *error) {
  ls_arena_reset(store->arena);
  *page = (order_list){NULL, 0};
  if (!order_store_connect(store, error))
    return false;
  ls_pg_params *filter = store->params[0];
  ls_pg_params_reset(filter);
  ls_pg_params_int8(filter, query->after_order_id);
  ls_pg_params_int8(filter, query->limit);
  if (query->customer_id[0] != '\0')
    ls_pg_params_text(filter, query->customer_id);
  ls_pg_batch_item orders[] = {{.statement = &snapshot_statement},
                               {.statement = list_statement(query), .params = filter}};
  if (!ls_pg_exec_batch(store->connection, LS_PG_BEGIN, orders, 2, error))
    return false;
  ls_pg_params *ids = store->params[1];
  ls_pg_params_reset(ids);
  ls_pg_params_array_begin(ids, LS_PG_INT8);
  for (size_t row = 0; row < ls_pg_row_count(orders[1].result); row++)
    ls_pg_params_int8(ids, ls_pg_get_int8(orders[1].result, row, 0));
  ls_pg_params_array_end(ids);
  ls_pg_batch_item items = {.statement = &order_items_statement, .params = ids};
  bool done = ls_pg_exec_batch(store->connection, LS_PG_COMMIT, &items, 1, error) &&
              orders_from_results(store, orders[1].result, items.result, page, error);
  ls_pg_batch_clear(&items, 1);
  ls_pg_batch_clear(orders, 2);
  return done;
}
