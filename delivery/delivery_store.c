/* The store's connection, and reading deliveries. */
#include "delivery/delivery_store.h"

#include <stdlib.h>
#include <string.h>

#include "delivery/delivery_store_internal.h"
#include "runtime/base/shutdown.h"
#include "runtime/rpc/message.h"

/* --- Connection --- */

delivery_store *delivery_store_new(delivery_database *database, ls_error *error) {
  delivery_store *store = calloc(1, sizeof *store);
  if (store == NULL) {
    delivery_store_exhausted(error);
    return NULL;
  }
  store->database = database;
  for (size_t i = 0; i < DELIVERY_STORE_PARAMS; i++) {
    store->params[i] = ls_pg_params_new();
    if (store->params[i] == NULL) {
      delivery_store_exhausted(error);
      delivery_store_destroy(store);
      return NULL;
    }
  }
  return store;
}

void delivery_store_destroy(delivery_store *store) {
  if (store == NULL)
    return;
  ls_pg_connection_destroy(store->connection);
  for (size_t i = 0; i < DELIVERY_STORE_PARAMS; i++)
    ls_pg_params_destroy(store->params[i]);
  free(store);
}

bool delivery_store_connect(delivery_store *store, ls_error *error) {
  if (store->connection != NULL && ls_pg_is_alive(store->connection))
    return delivery_database_check(store->database, store->connection, error);
  if (ls_shutdown_requested()) /* a server that does not answer must not hold up the end */
    return ls_error_set(error, LS_UNAVAILABLE, true, "08001", "the service is stopping");
  if (store->connection == NULL)
    store->connection = ls_pg_connect(&store->database->options, error);
  else if (!ls_pg_reconnect(store->connection, error))
    return false;
  if (store->connection == NULL)
    return false;
  store->session++;
  return delivery_database_check(store->database, store->connection, error);
}

ls_pg_connection *delivery_store_connection(delivery_store *store) {
  return store->connection;
}

unsigned delivery_store_session(const delivery_store *store) {
  return store->session;
}

/* --- Shared with the other files of the store --- */

ls_pg_params *delivery_store_params(delivery_store *store, size_t index) {
  ls_pg_params_reset(store->params[index]);
  return store->params[index];
}

bool delivery_store_exhausted(ls_error *error) {
  return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "no memory for the store's work");
}

bool delivery_store_give_up(delivery_store *store) {
  ls_error ignored;
  if (store->connection != NULL && ls_pg_in_transaction(store->connection))
    ls_pg_rollback(store->connection, &ignored);
  return false;
}

Google__Protobuf__Timestamp *delivery_store_timestamp(int64_t wall_us, ls_arena *arena) {
  Google__Protobuf__Timestamp *timestamp = ls_arena_alloc(arena, sizeof *timestamp);
  if (timestamp == NULL)
    return NULL;
  google__protobuf__timestamp__init(timestamp);
  int64_t seconds = wall_us / 1000000;
  int64_t rest = wall_us % 1000000;
  if (rest < 0) {
    rest += 1000000;
    seconds--;
  }
  timestamp->seconds = seconds;
  timestamp->nanos = (int32_t)(rest * 1000);
  return timestamp;
}

bool delivery_store_time(const ls_pg_result *result, size_t row, size_t column, ls_arena *arena,
                         Google__Protobuf__Timestamp **time) {
  if (ls_pg_is_null(result, row, column))
    return true;
  *time = delivery_store_timestamp(ls_pg_get_timestamptz(result, row, column), arena);
  return *time != NULL;
}

static char *copy_text(const ls_pg_result *result, size_t row, size_t column, ls_arena *arena) {
  return ls_arena_strdup(arena, ls_pg_get_text(result, row, column, NULL));
}

/* Cuts the joined lines in place. */
static bool split_lines(char *joined, Delivery__V1__DeliveryAddress *address, ls_arena *arena) {
  if (joined[0] == '\0')
    return true;
  size_t count = 1;
  for (const char *c = joined; *c != '\0'; c++)
    count += *c == '\n';
  address->lines = ls_arena_alloc(arena, count * sizeof *address->lines);
  if (address->lines == NULL)
    return false;
  for (char *line = joined; line != NULL;) {
    address->lines[address->n_lines++] = line;
    line = strchr(line, '\n');
    if (line != NULL)
      *line++ = '\0';
  }
  return true;
}

static Delivery__V1__DeliveryAddress *read_address(const ls_pg_result *result, size_t row,
                                                   ls_arena *arena) {
  Delivery__V1__DeliveryAddress *address = ls_arena_alloc(arena, sizeof *address);
  if (address == NULL)
    return NULL;
  delivery__v1__delivery_address__init(address);
  address->recipient = copy_text(result, row, 4, arena);
  char *joined = copy_text(result, row, 5, arena);
  address->postal_code = copy_text(result, row, 6, arena);
  address->city = copy_text(result, row, 7, arena);
  address->country_code = copy_text(result, row, 8, arena);
  if (address->recipient == NULL || joined == NULL || address->postal_code == NULL ||
      address->city == NULL || address->country_code == NULL ||
      !split_lines(joined, address, arena))
    return NULL;
  return address;
}

Delivery__V1__Delivery *delivery_store_row(const ls_pg_result *result, size_t row, ls_arena *arena,
                                           ls_error *error) {
  size_t bytes;
  const void *packed = ls_pg_get_bytea(result, row, 9, &bytes);
  /* The message that holds the items becomes the delivery. */
  Delivery__V1__Delivery *delivery = (Delivery__V1__Delivery *)ls_rpc_message_unpack(
      &delivery__v1__delivery__descriptor, packed, bytes, 8, arena, error);
  if (delivery == NULL) {
    ls_error_prefix(error, "a delivery's items");
    return NULL;
  }
  delivery->order_id = ls_pg_get_int8(result, row, 0);
  delivery->revision = ls_pg_get_int8(result, row, 1);
  delivery->state = (Delivery__V1__DeliveryState)ls_pg_get_int2(result, row, 2);
  delivery->order_version = ls_pg_get_int8(result, row, 3);
  delivery->address = read_address(result, row, arena);
  delivery->tracking_code = copy_text(result, row, 10, arena);
  delivery->create_time = delivery_store_timestamp(ls_pg_get_timestamptz(result, row, 11), arena);
  delivery->update_time = delivery_store_timestamp(ls_pg_get_timestamptz(result, row, 12), arena);
  if (delivery->address == NULL || delivery->tracking_code == NULL ||
      delivery->create_time == NULL || delivery->update_time == NULL) {
    delivery_store_exhausted(error);
    return NULL;
  }
  return delivery;
}

static const void *copy_bytes(const ls_pg_result *result, size_t row, size_t column,
                              ls_arena *arena, size_t *bytes, bool *failed) {
  *bytes = 0;
  if (ls_pg_is_null(result, row, column))
    return NULL;
  const void *data = ls_pg_get_bytea(result, row, column, bytes);
  /* At least one byte: empty is not NULL. */
  void *copy = ls_arena_alloc(arena, *bytes > 0 ? *bytes : 1);
  if (copy == NULL)
    *failed = true;
  else if (*bytes > 0)
    memcpy(copy, data, *bytes);
  return copy;
}

bool delivery_store_record(const ls_pg_result *result, size_t row, size_t column, ls_arena *arena,
                           order_record *record, ls_error *error) {
  bool failed = false;
  record->topic = copy_text(result, row, column, arena);
  record->partition = ls_pg_get_int4(result, row, column + 1);
  record->offset = ls_pg_get_int8(result, row, column + 2);
  record->key = copy_bytes(result, row, column + 3, arena, &record->key_bytes, &failed);
  record->value = copy_bytes(result, row, column + 4, arena, &record->value_bytes, &failed);
  record->headers = copy_bytes(result, row, column + 5, arena, &record->headers_bytes, &failed);
  return (record->topic != NULL && !failed) || delivery_store_exhausted(error);
}

static void add_bytes(ls_pg_params *params, const void *data, size_t bytes) {
  if (data == NULL)
    ls_pg_params_null(params, LS_PG_BYTEA);
  else
    ls_pg_params_bytea(params, data, bytes);
}

#define EACH_RECORD(type, append)                                                                  \
  ls_pg_params_array_begin(params, type);                                                          \
  for (size_t i = 0; i < count; i++) {                                                             \
    const order_record *record = record_of(items, i);                                              \
    if (record != NULL)                                                                            \
      append;                                                                                      \
  }                                                                                                \
  ls_pg_params_array_end(params)

void delivery_store_add_records(ls_pg_params *params, delivery_store_record_of record_of,
                                const void *items, size_t count) {
  EACH_RECORD(LS_PG_TEXT, ls_pg_params_text(params, record->topic));
  EACH_RECORD(LS_PG_INT4, ls_pg_params_int4(params, record->partition));
  EACH_RECORD(LS_PG_INT8, ls_pg_params_int8(params, record->offset));
  EACH_RECORD(LS_PG_BYTEA, add_bytes(params, record->key, record->key_bytes));
  EACH_RECORD(LS_PG_BYTEA, add_bytes(params, record->value, record->value_bytes));
  EACH_RECORD(LS_PG_BYTEA, ls_pg_params_bytea(params, record->headers, record->headers_bytes));
}

void delivery_store_add_reason(ls_pg_params *params, const char *reason) {
  size_t bytes = strlen(reason);
  if (bytes > 480) {
    bytes = 480;
    while (bytes > 0 && ((unsigned char)reason[bytes] & 0xC0) == 0x80)
      bytes--;
  }
  ls_pg_params_text_bytes(params, reason, bytes);
}

/* --- Reading --- */

static const ls_pg_statement get_statement = {
    .name = "delivery_get",
    .sql = "SELECT " DELIVERY_COLUMNS " FROM deliveries WHERE order_id = ANY($1) ORDER BY order_id",
    .columns = {DELIVERY_COLUMN_TYPES}};

static const ls_pg_statement history_statement = {
    .name = "delivery_get_history",
    .sql = "SELECT h.order_id, h.revision, h.cause, h.order_version, h.state, h.change_time "
           "FROM unnest($1::bigint[]) AS wanted(order_id) CROSS JOIN LATERAL ("
           "  SELECT * FROM delivery_history one WHERE one.order_id = wanted.order_id "
           "  ORDER BY one.revision DESC LIMIT 1000) h "
           "ORDER BY h.order_id, h.revision",
    .columns = {LS_PG_INT8, LS_PG_INT8, LS_PG_INT2, LS_PG_INT8, LS_PG_INT2, LS_PG_TIMESTAMPTZ}};

static const ls_pg_statement list_statement = {
    .name = "delivery_list",
    .sql = "SELECT " DELIVERY_COLUMNS
           " FROM deliveries WHERE order_id > $1 ORDER BY order_id LIMIT $2",
    .columns = {DELIVERY_COLUMN_TYPES}};

static const ls_pg_statement list_state_statement = {
    .name = "delivery_list_state",
    .sql = "SELECT " DELIVERY_COLUMNS
           " FROM deliveries WHERE order_id > $1 AND state = $3 ORDER BY order_id LIMIT $2",
    .columns = {DELIVERY_COLUMN_TYPES}};

static bool read_rows(const ls_pg_result *result, ls_arena *arena,
                      Delivery__V1__Delivery ***deliveries, size_t *found, ls_error *error) {
  size_t rows = ls_pg_row_count(result);
  *found = 0;
  *deliveries = ls_arena_alloc(arena, (rows > 0 ? rows : 1) * sizeof **deliveries);
  if (*deliveries == NULL)
    return delivery_store_exhausted(error);
  for (size_t row = 0; row < rows; row++) {
    (*deliveries)[row] = delivery_store_row(result, row, arena, error);
    if ((*deliveries)[row] == NULL)
      return false;
    (*found)++;
  }
  return true;
}

static bool read_entry(const ls_pg_result *result, size_t row, ls_arena *arena,
                       Delivery__V1__DeliveryHistoryEntry **out) {
  Delivery__V1__DeliveryHistoryEntry *entry = ls_arena_alloc(arena, sizeof *entry);
  if (entry == NULL)
    return false;
  delivery__v1__delivery_history_entry__init(entry);
  entry->revision = ls_pg_get_int8(result, row, 1);
  entry->cause = (Delivery__V1__DeliveryCause)ls_pg_get_int2(result, row, 2);
  entry->order_version = ls_pg_get_int8(result, row, 3);
  entry->state = (Delivery__V1__DeliveryState)ls_pg_get_int2(result, row, 4);
  entry->change_time = delivery_store_timestamp(ls_pg_get_timestamptz(result, row, 5), arena);
  *out = entry;
  return entry->change_time != NULL;
}

/* Both the rows and the deliveries are by ascending order id. */
static bool read_history(const ls_pg_result *result, ls_arena *arena,
                         Delivery__V1__Delivery **deliveries, size_t count, ls_error *error) {
  size_t rows = ls_pg_row_count(result);
  size_t row = 0;
  for (size_t i = 0; i < count && row < rows; i++) {
    Delivery__V1__Delivery *delivery = deliveries[i];
    while (row < rows && ls_pg_get_int8(result, row, 0) < delivery->order_id)
      row++;
    size_t first = row;
    while (row < rows && ls_pg_get_int8(result, row, 0) == delivery->order_id)
      row++;
    if (row == first)
      continue;
    delivery->history = ls_arena_alloc(arena, (row - first) * sizeof *delivery->history);
    if (delivery->history == NULL)
      return delivery_store_exhausted(error);
    for (size_t entry = first; entry < row; entry++)
      if (!read_entry(result, entry, arena, &delivery->history[delivery->n_history++]))
        return delivery_store_exhausted(error);
  }
  return true;
}

bool delivery_store_get(delivery_store *store, const int64_t *order_ids, size_t count,
                        const int64_t *history_ids, size_t history_count, ls_arena *arena,
                        Delivery__V1__Delivery ***deliveries, size_t *found, ls_error *error) {
  if (!delivery_store_connect(store, error))
    return false;
  ls_pg_params *ids = delivery_store_params(store, 0);
  ls_pg_params_int8_array(ids, order_ids, count);
  ls_pg_params *with_history = delivery_store_params(store, 1);
  ls_pg_params_int8_array(with_history, history_ids, history_count);
  ls_pg_batch_item items[] = {{&get_statement, ids, NULL},
                              {&history_statement, with_history, NULL}};
  size_t item_count = history_count > 0 ? 2 : 1;
  if (!ls_pg_exec_batch(store->connection, LS_PG_CONTINUE, items, item_count, error))
    return false;
  bool done =
      read_rows(items[0].result, arena, deliveries, found, error) &&
      (history_count == 0 || read_history(items[1].result, arena, *deliveries, *found, error));
  ls_pg_batch_clear(items, item_count);
  return done;
}

bool delivery_store_list(delivery_store *store, int64_t after_order_id,
                         Delivery__V1__DeliveryState state, int32_t limit, ls_arena *arena,
                         Delivery__V1__Delivery ***deliveries, size_t *found, ls_error *error) {
  if (!delivery_store_connect(store, error))
    return false;
  bool any_state = state == DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_UNSPECIFIED;
  ls_pg_params *params = delivery_store_params(store, 0);
  ls_pg_params_int8(params, after_order_id);
  ls_pg_params_int8(params, limit);
  if (!any_state)
    ls_pg_params_int2(params, (int16_t)state);
  ls_pg_result *result;
  if (!ls_pg_exec(store->connection, any_state ? &list_statement : &list_state_statement, params,
                  &result, error))
    return false;
  bool done = read_rows(result, arena, deliveries, found, error);
  ls_pg_result_destroy(result);
  return done;
}
