/* The rules of a delivery. */
#include "delivery/delivery.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Snapshots --- */

static bool invalid(ls_error *error, const char *text) {
  return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "%s", text);
}

static bool exhausted(ls_error *error) {
  return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL,
                      "no memory for the order's snapshot");
}

static bool check_order(const Order__V1__Order *order, ls_error *error) {
  if (order->order_id < 1)
    return invalid(error, "the order has no order_id");
  if (order->version < 1)
    return invalid(error, "the order has no version");
  if (order->status != ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED &&
      order->status != ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED)
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "the order's status %d is unknown",
                        (int)order->status);
  if (order->delivery_address == NULL)
    return invalid(error, "the order has no delivery_address");
  if (order->n_items == 0)
    return invalid(error, "the order has no items");
  for (size_t i = 0; i < order->delivery_address->n_lines; i++)
    if (strchr(order->delivery_address->lines[i], '\n') != NULL)
      return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                          "the order's delivery_address.lines[%zu] holds a line break", i);
  return true;
}

static const char *join_lines(const Order__V1__Address *address, ls_arena *arena) {
  if (address->n_lines == 0)
    return "";
  if (address->n_lines == 1)
    return address->lines[0];
  size_t bytes = 0;
  for (size_t i = 0; i < address->n_lines; i++)
    bytes += strlen(address->lines[i]) + 1;
  char *joined = ls_arena_alloc(arena, bytes);
  if (joined == NULL)
    return NULL;
  char *end = joined;
  for (size_t i = 0; i < address->n_lines; i++) {
    size_t length = strlen(address->lines[i]);
    memcpy(end, address->lines[i], length);
    end += length;
    *end++ = '\n';
  }
  end[-1] = '\0';
  return joined;
}

static bool pack_items(const Order__V1__Order *order, ls_arena *arena,
                       delivery_snapshot *snapshot) {
  size_t count = order->n_items;
  Delivery__V1__DeliveryItem *items = ls_arena_alloc(arena, count * sizeof *items);
  Delivery__V1__DeliveryItem **pointers = ls_arena_alloc(arena, count * sizeof(void *));
  if (items == NULL || pointers == NULL)
    return false;
  for (size_t i = 0; i < count; i++) {
    delivery__v1__delivery_item__init(&items[i]);
    items[i].sku = order->items[i]->sku;
    items[i].quantity = order->items[i]->quantity;
    pointers[i] = &items[i];
  }
  Delivery__V1__Delivery holder = DELIVERY__V1__DELIVERY__INIT;
  holder.n_items = count;
  holder.items = pointers;
  size_t bytes = delivery__v1__delivery__get_packed_size(&holder);
  uint8_t *packed = ls_arena_alloc(arena, bytes > 0 ? bytes : 1);
  if (packed == NULL)
    return false;
  snapshot->items = packed;
  snapshot->items_bytes = delivery__v1__delivery__pack(&holder, packed);
  return true;
}

bool delivery_snapshot_from_order(const Order__V1__Order *order, ls_arena *arena,
                                  delivery_snapshot *snapshot, ls_error *error) {
  if (!check_order(order, error))
    return false;
  const Order__V1__Address *address = order->delivery_address;
  *snapshot = (delivery_snapshot){.order_id = order->order_id,
                                  .version = order->version,
                                  .status = order->status,
                                  .recipient = address->recipient,
                                  .address_lines = join_lines(address, arena),
                                  .postal_code = address->postal_code,
                                  .city = address->city,
                                  .country_code = address->country_code};
  if (snapshot->address_lines == NULL || !pack_items(order, arena, snapshot))
    return exhausted(error);
  return true;
}

bool delivery_snapshot_copy_order(const Order__V1__Order *order, ls_arena *arena,
                                  delivery_snapshot *snapshot, ls_error *error) {
  if (!delivery_snapshot_from_order(order, arena, snapshot, error))
    return false;
  const char **texts[] = {&snapshot->recipient, &snapshot->address_lines, &snapshot->postal_code,
                          &snapshot->city, &snapshot->country_code};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    *texts[i] = ls_arena_strdup(arena, *texts[i]);
    if (*texts[i] == NULL)
      return exhausted(error);
  }
  return true;
}

/* --- The life of a delivery --- */

static bool is_cancelled(Order__V1__OrderStatus status) {
  return status == ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED;
}

static Delivery__V1__DeliveryState state_after_cancel(Delivery__V1__DeliveryState state) {
  switch (state) {
  case DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DISPATCHED:
  case DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DELIVERED:
  case DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_RETURNING:
    return DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_RETURNING;
  default:
    return DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_CANCELLED;
  }
}

delivery_outcome delivery_apply_order(delivery_standing *standing, int64_t version,
                                      Order__V1__OrderStatus status) {
  if (version <= standing->order_version)
    return DELIVERY_UNCHANGED;
  if (is_cancelled(status))
    standing->state = state_after_cancel(standing->state);
  else if (standing->revision == 0)
    standing->state = DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_PREPARING;
  standing->order_version = version;
  standing->revision++;
  return DELIVERY_CHANGED;
}

static delivery_outcome move_on(delivery_standing *standing, int64_t expected_revision,
                                Delivery__V1__DeliveryState from, Delivery__V1__DeliveryState to) {
  if (standing->state != from)
    return DELIVERY_STATE_FORBIDS;
  if (expected_revision != 0 && expected_revision != standing->revision)
    return DELIVERY_REVISION_DIFFERS;
  standing->state = to;
  standing->revision++;
  return DELIVERY_CHANGED;
}

delivery_outcome delivery_dispatch(delivery_standing *standing, const char *tracking_code,
                                   int64_t expected_revision) {
  if (standing->revision == 0)
    return DELIVERY_NOT_FOUND;
  if (standing->state == DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DISPATCHED &&
      strcmp(standing->tracking_code, tracking_code) == 0)
    return DELIVERY_UNCHANGED;
  delivery_outcome outcome =
      move_on(standing, expected_revision, DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_PREPARING,
              DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DISPATCHED);
  if (outcome == DELIVERY_CHANGED)
    snprintf(standing->tracking_code, sizeof standing->tracking_code, "%s", tracking_code);
  return outcome;
}

delivery_outcome delivery_complete(delivery_standing *standing, int64_t expected_revision) {
  if (standing->revision == 0)
    return DELIVERY_NOT_FOUND;
  if (standing->state == DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DELIVERED)
    return DELIVERY_UNCHANGED;
  return move_on(standing, expected_revision,
                 DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DISPATCHED,
                 DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DELIVERED);
}

const char *delivery_state_name(Delivery__V1__DeliveryState state) {
  switch (state) {
  case DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_PREPARING:
    return "PREPARING";
  case DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DISPATCHED:
    return "DISPATCHED";
  case DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DELIVERED:
    return "DELIVERED";
  case DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_CANCELLED:
    return "CANCELLED";
  case DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_RETURNING:
    return "RETURNING";
  default:
    return "UNSPECIFIED";
  }
}

/* --- Requests --- */

void delivery_violate(delivery_violations *violations, const char *field, const char *format, ...) {
  if (violations->count == DELIVERY_MAX_VIOLATIONS)
    return;
  delivery_violation *violation = &violations->list[violations->count++];
  snprintf(violation->field, sizeof violation->field, "%s", field);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(violation->description, sizeof violation->description, format, arguments);
  va_end(arguments);
}

static void check_at_least(int64_t value, int64_t minimum, const char *field,
                           delivery_violations *violations) {
  if (value < minimum)
    delivery_violate(violations, field, "must be %" PRId64 " or more", minimum);
}

bool delivery_check_get(const Delivery__V1__GetDeliveryRequest *request,
                        delivery_violations *violations) {
  check_at_least(request->order_id, 1, "order_id", violations);
  check_at_least(request->min_order_version, 0, "min_order_version", violations);
  return violations->count == 0;
}

bool delivery_check_page_size(int32_t page_size, delivery_violations *violations) {
  check_at_least(page_size, 0, "page_size", violations);
  return violations->count == 0;
}

bool delivery_check_list(const Delivery__V1__ListDeliveriesRequest *request,
                         delivery_violations *violations) {
  delivery_check_page_size(request->page_size, violations);
  if (request->state < DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_UNSPECIFIED ||
      request->state > DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_RETURNING)
    delivery_violate(violations, "state", "%d is no state", (int)request->state);
  return violations->count == 0;
}

bool delivery_check_dispatch(const Delivery__V1__DispatchDeliveryRequest *request,
                             delivery_violations *violations) {
  check_at_least(request->order_id, 1, "order_id", violations);
  if (strlen(request->tracking_code) > DELIVERY_TRACKING_CODE_BYTES)
    delivery_violate(violations, "tracking_code", "must be at most %d bytes",
                     DELIVERY_TRACKING_CODE_BYTES);
  check_at_least(request->expected_revision, 0, "expected_revision", violations);
  return violations->count == 0;
}

bool delivery_check_complete(const Delivery__V1__CompleteDeliveryRequest *request,
                             delivery_violations *violations) {
  check_at_least(request->order_id, 1, "order_id", violations);
  check_at_least(request->expected_revision, 0, "expected_revision", violations);
  return violations->count == 0;
}

bool delivery_check_ids(const int64_t *ids, size_t count, delivery_violations *violations) {
  if (count == 0 || count > DELIVERY_MAX_IDS) {
    delivery_violate(violations, "order_ids", "must hold 1 to %d ids", DELIVERY_MAX_IDS);
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    if (ids[i] >= 1)
      continue;
    char field[48];
    snprintf(field, sizeof field, "order_ids[%zu]", i);
    delivery_violate(violations, field, "must be 1 or more");
  }
  return violations->count == 0;
}

int32_t delivery_page_size(int32_t page_size) {
  if (page_size == 0)
    return DELIVERY_DEFAULT_PAGE;
  return page_size < DELIVERY_MAX_PAGE ? page_size : DELIVERY_MAX_PAGE;
}

static int compare_ids(const void *left, const void *right) {
  int64_t a = *(const int64_t *)left;
  int64_t b = *(const int64_t *)right;
  return (a > b) - (a < b);
}

size_t delivery_sort_ids(int64_t *ids, size_t count) {
  if (count == 0)
    return 0;
  qsort(ids, count, sizeof *ids, compare_ids);
  size_t kept = 1;
  for (size_t i = 1; i < count; i++)
    if (ids[i] != ids[kept - 1])
      ids[kept++] = ids[i];
  return kept;
}
