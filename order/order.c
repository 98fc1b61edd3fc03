/* The rules of an order. */
#include "order/order.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

#define MICROSECONDS INT64_C(1000000)

static char *empty_text(void) {
  return (char *)protobuf_c_empty_string;
}

Google__Protobuf__Timestamp *order_timestamp(int64_t unix_us, ls_arena *arena) {
  Google__Protobuf__Timestamp *timestamp = ls_arena_alloc(arena, sizeof *timestamp);
  if (timestamp == NULL)
    return NULL;
  google__protobuf__timestamp__init(timestamp);
  int64_t seconds = unix_us / MICROSECONDS;
  int64_t rest = unix_us % MICROSECONDS;
  if (rest < 0) {
    seconds--;
    rest += MICROSECONDS;
  }
  timestamp->seconds = seconds;
  timestamp->nanos = (int32_t)(rest * 1000);
  return timestamp;
}

int64_t order_timestamp_us(const Google__Protobuf__Timestamp *timestamp) {
  return timestamp == NULL ? 0 : timestamp->seconds * MICROSECONDS + timestamp->nanos / 1000;
}

bool order_total(Order__V1__OrderItem *const *items, size_t count, int64_t *total_minor_units) {
  int64_t total = 0;
  for (size_t i = 0; i < count; i++) {
    int64_t line;
    if (items[i]->quantity < 0 || items[i]->unit_minor_units < 0 ||
        __builtin_mul_overflow((int64_t)items[i]->quantity, items[i]->unit_minor_units, &line) ||
        __builtin_add_overflow(total, line, &total))
      return false;
  }
  if (total > ORDER_MAX_TOTAL_MINOR_UNITS)
    return false;
  *total_minor_units = total;
  return true;
}

/* The copies below leave out unknown fields of a request: what is stored, sent and read back later
 * has to be the same. */

static Order__V1__Address *copy_address(const Order__V1__Address *from, ls_arena *arena) {
  Order__V1__Address *to = ls_arena_alloc(arena, sizeof *to);
  char **lines = ls_arena_alloc(arena, from->n_lines * sizeof *lines);
  if (to == NULL || lines == NULL)
    return NULL;
  order__v1__address__init(to);
  to->recipient = from->recipient;
  memcpy(lines, from->lines, from->n_lines * sizeof *lines);
  to->lines = lines;
  to->n_lines = from->n_lines;
  to->postal_code = from->postal_code;
  to->city = from->city;
  to->country_code = from->country_code;
  return to;
}

static bool copy_items(Order__V1__Order *to, Order__V1__OrderItem *const *items, size_t count,
                       ls_arena *arena) {
  Order__V1__OrderItem *copies = ls_arena_alloc(arena, count * sizeof *copies);
  Order__V1__OrderItem **pointers = ls_arena_alloc(arena, count * sizeof *pointers);
  if (copies == NULL || pointers == NULL)
    return false;
  for (size_t i = 0; i < count; i++) {
    order__v1__order_item__init(&copies[i]);
    copies[i].sku = items[i]->sku;
    copies[i].quantity = items[i]->quantity;
    copies[i].unit_minor_units = items[i]->unit_minor_units;
    pointers[i] = &copies[i];
  }
  to->items = pointers;
  to->n_items = count;
  return order_total(items, count, &to->total_minor_units);
}

Order__V1__Order *order_create(const Order__V1__CreateOrderRequest *request, int64_t order_id,
                               int64_t now_us, ls_arena *arena) {
  const Order__V1__Order *wanted = request->order;
  Order__V1__Order *order = ls_arena_alloc(arena, sizeof *order);
  if (order == NULL)
    return NULL;
  order__v1__order__init(order);
  order->order_id = order_id;
  order->version = 1;
  order->status = ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED;
  order->customer_id = wanted->customer_id;
  order->currency_code = wanted->currency_code;
  order->note = wanted->note;
  order->delivery_address = copy_address(wanted->delivery_address, arena);
  order->create_time = order_timestamp(now_us, arena);
  order->update_time = order->create_time;
  if (order->delivery_address == NULL || order->create_time == NULL ||
      !copy_items(order, wanted->items, wanted->n_items, arena))
    return NULL;
  return order;
}

/* A copy one version up. A clock that was set back does not make a version older than the one
 * before. */
static Order__V1__Order *next_version(const Order__V1__Order *current, int64_t now_us,
                                      ls_arena *arena) {
  Order__V1__Order *next = ls_arena_memdup(arena, current, sizeof *current);
  if (next == NULL)
    return NULL;
  int64_t before_us = order_timestamp_us(current->update_time);
  next->version = current->version + 1;
  next->update_time = order_timestamp(now_us > before_us ? now_us : before_us, arena);
  return next->update_time == NULL ? NULL : next;
}

typedef struct update_fields {
  bool address;
  bool items;
  bool note;
} update_fields;

/* Without a mask those that are set (https://google.aip.dev/134). */
static update_fields fields_to_update(const Order__V1__UpdateOrderRequest *request) {
  const Order__V1__Order *order = request->order;
  if (request->update_mask == NULL || request->update_mask->n_paths == 0)
    return (update_fields){.address = order->delivery_address != NULL,
                           .items = order->n_items > 0,
                           .note = order->note[0] != '\0'};
  update_fields fields = {false, false, false};
  for (size_t i = 0; i < request->update_mask->n_paths; i++) {
    const char *path = request->update_mask->paths[i];
    bool all = strcmp(path, "*") == 0;
    fields.address = fields.address || all || strcmp(path, "delivery_address") == 0;
    fields.items = fields.items || all || strcmp(path, "items") == 0;
    fields.note = fields.note || all || strcmp(path, "note") == 0;
  }
  return fields;
}

order_outcome order_update(const Order__V1__Order *current,
                           const Order__V1__UpdateOrderRequest *request, int64_t now_us,
                           ls_arena *arena, Order__V1__Order **next, bool *items_changed) {
  if (current == NULL)
    return ORDER_MISSING;
  if (current->status == ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED)
    return ORDER_ALREADY_CANCELLED;
  if (request->expected_version != 0 && request->expected_version != current->version)
    return ORDER_VERSION_MISMATCH;
  Order__V1__Order *order = next_version(current, now_us, arena);
  if (order == NULL)
    return ORDER_OUT_OF_MEMORY;
  update_fields fields = fields_to_update(request);
  if (fields.address) {
    order->delivery_address = copy_address(request->order->delivery_address, arena);
    if (order->delivery_address == NULL)
      return ORDER_OUT_OF_MEMORY;
  }
  if (fields.items && !copy_items(order, request->order->items, request->order->n_items, arena))
    return ORDER_OUT_OF_MEMORY;
  if (fields.note)
    order->note = request->order->note;
  if (items_changed != NULL)
    *items_changed = fields.items;
  *next = order;
  return ORDER_CHANGED;
}

order_outcome order_cancel(const Order__V1__Order *current,
                           const Order__V1__CancelOrderRequest *request, int64_t now_us,
                           ls_arena *arena, Order__V1__Order **next) {
  if (current == NULL)
    return ORDER_MISSING;
  if (current->status == ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED)
    return ORDER_UNCHANGED;
  if (request->expected_version != 0 && request->expected_version != current->version)
    return ORDER_VERSION_MISMATCH;
  Order__V1__Order *order = next_version(current, now_us, arena);
  if (order == NULL)
    return ORDER_OUT_OF_MEMORY;
  order->status = ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED;
  order->cancel_reason = request->reason;
  *next = order;
  return ORDER_CHANGED;
}

Order__V1__OrderEventType order_event_type(const Order__V1__Order *order) {
  if (order->status == ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED)
    return ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CANCELLED;
  return order->version == 1 ? ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CREATED
                             : ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CHANGED;
}

/* `method` keeps requests of different methods apart whose bytes happen to be equal. */
static bool fingerprint_message(uint8_t method, const ProtobufCMessage *message,
                                uint8_t fingerprint[ORDER_FINGERPRINT_BYTES]) {
  size_t bytes = protobuf_c_message_get_packed_size(message);
  uint8_t *packed = malloc(bytes + 1);
  if (packed == NULL)
    return false;
  packed[0] = method;
  protobuf_c_message_pack(message, packed + 1);
  bool done = SHA256(packed, bytes + 1, fingerprint) != NULL;
  free(packed);
  return done;
}

bool order_fingerprint_create(const Order__V1__CreateOrderRequest *request,
                              uint8_t fingerprint[ORDER_FINGERPRINT_BYTES]) {
  Order__V1__CreateOrderRequest body = *request;
  body.request_id = empty_text();
  return fingerprint_message('C', &body.base, fingerprint);
}

bool order_fingerprint_update(const Order__V1__UpdateOrderRequest *request,
                              uint8_t fingerprint[ORDER_FINGERPRINT_BYTES]) {
  Order__V1__UpdateOrderRequest body = *request;
  body.request_id = empty_text();
  return fingerprint_message('U', &body.base, fingerprint);
}

bool order_fingerprint_cancel(const Order__V1__CancelOrderRequest *request,
                              uint8_t fingerprint[ORDER_FINGERPRINT_BYTES]) {
  Order__V1__CancelOrderRequest body = *request;
  body.request_id = empty_text();
  return fingerprint_message('X', &body.base, fingerprint);
}
