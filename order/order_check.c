/* The rules for requests. */
#include "order/order_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "order/order.h"

#define MAX_REQUEST_ID_BYTES 64
#define MAX_CUSTOMER_ID_BYTES 64
#define MAX_RECIPIENT_BYTES 200
#define MAX_ADDRESS_LINES 4
#define MAX_ADDRESS_LINE_BYTES 200
#define MAX_POSTAL_CODE_BYTES 32
#define MAX_CITY_BYTES 100
#define MAX_SKU_BYTES 64
#define MAX_QUANTITY 1000000
#define MAX_UNIT_MINOR_UNITS INT64_C(1000000000000)
#define MAX_NOTE_BYTES 4096
#define MAX_CANCEL_REASON_BYTES 256

static void __attribute__((format(printf, 3, 4)))
violate(order_violations *violations, const char *rule, const char *field, ...) {
  if (violations->count == ORDER_MAX_VIOLATIONS)
    return;
  order_violation *violation = &violations->list[violations->count++];
  va_list arguments;
  va_start(arguments, field);
  vsnprintf(violation->field, sizeof violation->field, field, arguments);
  va_end(arguments);
  violation->rule = rule;
}

void order_violations_add(order_violations *violations, const char *field, const char *rule) {
  violate(violations, rule, "%s", field);
}

static bool bytes_within(const char *text, size_t minimum, size_t maximum) {
  size_t bytes = strnlen(text, maximum + 1);
  return bytes >= minimum && bytes <= maximum;
}

static bool is_upper_case(const char *text, size_t letters) {
  for (size_t i = 0; i < letters; i++)
    if (text[i] < 'A' || text[i] > 'Z')
      return false;
  return text[letters] == '\0';
}

static void check_request_id(const char *request_id, order_violations *violations) {
  bool valid = bytes_within(request_id, 0, MAX_REQUEST_ID_BYTES);
  for (size_t i = 0; valid && request_id[i] != '\0'; i++)
    valid = request_id[i] >= ' ' && request_id[i] <= '~';
  if (!valid)
    violate(violations, "must be at most 64 bytes of printable ASCII", "request_id");
}

static void check_id(int64_t id, const char *field, order_violations *violations) {
  if (id < 1)
    violate(violations, "must be 1 or more", "%s", field);
}

static void check_version(int64_t version, const char *field, order_violations *violations) {
  if (version < 0)
    violate(violations, "must not be negative", "%s", field);
}

static void check_ids(const int64_t *ids, size_t count, size_t maximum, const char *rule,
                      order_violations *violations) {
  if (count < 1 || count > maximum) {
    violate(violations, rule, "order_ids");
    return;
  }
  for (size_t i = 0; i < count; i++)
    if (ids[i] < 1)
      violate(violations, "must be 1 or more", "order_ids[%zu]", i);
}

static void check_address(const Order__V1__Address *address, order_violations *violations) {
  if (address == NULL) {
    violate(violations, "is required", "order.delivery_address");
    return;
  }
  if (!bytes_within(address->recipient, 1, MAX_RECIPIENT_BYTES))
    violate(violations, "must be 1 to 200 bytes", "order.delivery_address.recipient");
  if (address->n_lines < 1 || address->n_lines > MAX_ADDRESS_LINES)
    violate(violations, "must be 1 to 4 lines", "order.delivery_address.lines");
  for (size_t i = 0; i < address->n_lines && i < MAX_ADDRESS_LINES; i++)
    if (!bytes_within(address->lines[i], 1, MAX_ADDRESS_LINE_BYTES) ||
        strpbrk(address->lines[i], "\n\r") != NULL)
      violate(violations, "must be 1 to 200 bytes without a line break",
              "order.delivery_address.lines[%zu]", i);
  if (!bytes_within(address->postal_code, 0, MAX_POSTAL_CODE_BYTES))
    violate(violations, "must be at most 32 bytes", "order.delivery_address.postal_code");
  if (!bytes_within(address->city, 1, MAX_CITY_BYTES))
    violate(violations, "must be 1 to 100 bytes", "order.delivery_address.city");
  if (!is_upper_case(address->country_code, 2))
    violate(violations, "must be two upper-case letters (ISO 3166-1 alpha-2)",
            "order.delivery_address.country_code");
}

static void check_items(Order__V1__OrderItem *const *items, size_t count,
                        order_violations *violations) {
  if (count < 1 || count > ORDER_MAX_ITEMS) {
    violate(violations, "must be 1 to 200 lines", "order.items");
    return;
  }
  size_t before = violations->count;
  for (size_t i = 0; i < count; i++) {
    if (!bytes_within(items[i]->sku, 1, MAX_SKU_BYTES))
      violate(violations, "must be 1 to 64 bytes", "order.items[%zu].sku", i);
    if (items[i]->quantity < 1 || items[i]->quantity > MAX_QUANTITY)
      violate(violations, "must be 1 to 1,000,000", "order.items[%zu].quantity", i);
    if (items[i]->unit_minor_units < 0 || items[i]->unit_minor_units > MAX_UNIT_MINOR_UNITS)
      violate(violations, "must be 0 to 1,000,000,000,000", "order.items[%zu].unit_minor_units", i);
  }
  int64_t total;
  if (violations->count == before && !order_total(items, count, &total))
    violate(violations, "must not come to more than 9,000,000,000,000,000 minor units",
            "order.items");
}

static void check_note(const char *note, order_violations *violations) {
  if (!bytes_within(note, 0, MAX_NOTE_BYTES))
    violate(violations, "must be at most 4,096 bytes", "order.note");
}

static void check_absent(bool present, const char *field, order_violations *violations) {
  if (present)
    violate(violations, "is set by the service and must be absent", "%s", field);
}

bool order_check_create(const Order__V1__CreateOrderRequest *request,
                        order_violations *violations) {
  check_request_id(request->request_id, violations);
  const Order__V1__Order *order = request->order;
  if (order == NULL) {
    violate(violations, "is required", "order");
    return false;
  }
  check_absent(order->order_id != 0, "order.order_id", violations);
  check_absent(order->version != 0, "order.version", violations);
  check_absent(order->status != ORDER__V1__ORDER_STATUS__ORDER_STATUS_UNSPECIFIED, "order.status",
               violations);
  if (!bytes_within(order->customer_id, 1, MAX_CUSTOMER_ID_BYTES))
    violate(violations, "must be 1 to 64 bytes", "order.customer_id");
  check_address(order->delivery_address, violations);
  check_items(order->items, order->n_items, violations);
  if (!is_upper_case(order->currency_code, 3))
    violate(violations, "must be three upper-case letters (ISO 4217)", "order.currency_code");
  check_absent(order->total_minor_units != 0, "order.total_minor_units", violations);
  check_note(order->note, violations);
  check_absent(order->cancel_reason[0] != '\0', "order.cancel_reason", violations);
  check_absent(order->create_time != NULL, "order.create_time", violations);
  check_absent(order->update_time != NULL, "order.update_time", violations);
  return violations->count == 0;
}

static void check_update_with_mask(const Order__V1__UpdateOrderRequest *request,
                                   order_violations *violations) {
  const Order__V1__Order *order = request->order;
  bool address = false;
  bool items = false;
  bool note = false;
  for (size_t i = 0; i < request->update_mask->n_paths; i++) {
    const char *path = request->update_mask->paths[i];
    if (strcmp(path, "delivery_address") == 0)
      address = true;
    else if (strcmp(path, "items") == 0)
      items = true;
    else if (strcmp(path, "note") == 0)
      note = true;
    else if (strcmp(path, "*") != 0)
      violate(violations, "must be delivery_address, items, note or *", "update_mask.paths[%zu]",
              i);
    else if (request->update_mask->n_paths > 1)
      violate(violations, "* must stand alone", "update_mask.paths[%zu]", i);
    else
      address = items = note = true;
  }
  if (address)
    check_address(order->delivery_address, violations);
  if (items)
    check_items(order->items, order->n_items, violations);
  if (note)
    check_note(order->note, violations);
}

bool order_check_update(const Order__V1__UpdateOrderRequest *request,
                        order_violations *violations) {
  check_request_id(request->request_id, violations);
  check_version(request->expected_version, "expected_version", violations);
  const Order__V1__Order *order = request->order;
  if (order == NULL) {
    violate(violations, "is required", "order");
    return false;
  }
  check_id(order->order_id, "order.order_id", violations);
  if (request->update_mask != NULL && request->update_mask->n_paths > 0) {
    check_update_with_mask(request, violations);
    return violations->count == 0;
  }
  if (order->delivery_address != NULL)
    check_address(order->delivery_address, violations);
  if (order->n_items > 0)
    check_items(order->items, order->n_items, violations);
  check_note(order->note, violations);
  if (order->delivery_address == NULL && order->n_items == 0 && order->note[0] == '\0')
    violate(violations, "must name a field when none of delivery_address, items and note is set",
            "update_mask");
  return violations->count == 0;
}

bool order_check_cancel(const Order__V1__CancelOrderRequest *request,
                        order_violations *violations) {
  check_request_id(request->request_id, violations);
  check_id(request->order_id, "order_id", violations);
  check_version(request->expected_version, "expected_version", violations);
  if (!bytes_within(request->reason, 0, MAX_CANCEL_REASON_BYTES))
    violate(violations, "must be at most 256 bytes", "reason");
  return violations->count == 0;
}

bool order_check_get(const Order__V1__GetOrderRequest *request, order_violations *violations) {
  check_id(request->order_id, "order_id", violations);
  check_version(request->min_version, "min_version", violations);
  return violations->count == 0;
}

bool order_check_batch_get(const Order__V1__BatchGetOrdersRequest *request,
                           order_violations *violations) {
  check_ids(request->order_ids, request->n_order_ids, ORDER_MAX_BATCH_IDS, "must be 1 to 1,000 ids",
            violations);
  return violations->count == 0;
}

bool order_check_list(const Order__V1__ListOrdersRequest *request, order_violations *violations) {
  if (request->page_size < 0)
    violate(violations, "must not be negative", "page_size");
  if (!bytes_within(request->customer_id, 0, MAX_CUSTOMER_ID_BYTES))
    violate(violations, "must be at most 64 bytes", "customer_id");
  if (protobuf_c_enum_descriptor_get_value(&order__v1__order_status__descriptor,
                                           (int)request->status) == NULL)
    violate(violations, "must be a known status", "status");
  return violations->count == 0;
}

bool order_check_watch(const Order__V1__WatchOrdersRequest *request, order_violations *violations) {
  check_ids(request->order_ids, request->n_order_ids, ORDER_MAX_WATCH_IDS, "must be 1 to 1,000 ids",
            violations);
  return violations->count == 0;
}

bool order_check_list_versions(const Order__V1__ListOrderVersionsRequest *request,
                               order_violations *violations) {
  check_version(request->after_order_id, "after_order_id", violations);
  if (request->page_size < 0)
    violate(violations, "must not be negative", "page_size");
  return violations->count == 0;
}

bool order_check_republish(const Order__V1__RepublishOrdersRequest *request,
                           order_violations *violations) {
  if (request->first_order_id == 0 && request->last_order_id == 0) {
    check_ids(request->order_ids, request->n_order_ids, ORDER_MAX_BATCH_IDS,
              "must be 1 to 1,000 ids, or there must be a range", violations);
    return violations->count == 0;
  }
  if (request->n_order_ids > 0)
    violate(violations, "must be empty with a range", "order_ids");
  check_id(request->first_order_id, "first_order_id", violations);
  if (request->last_order_id < request->first_order_id)
    violate(violations, "must not be below first_order_id", "last_order_id");
  return violations->count == 0;
}

bool order_check_set_event_mode(const Order__V1__SetEventModeRequest *request,
                                order_violations *violations) {
  const Order__V1__EventMode *mode = request->mode;
  if (mode == NULL) {
    violate(violations, "is required", "mode");
    return false;
  }
  if (mode->payload != ORDER__V1__EVENT_PAYLOAD__EVENT_PAYLOAD_FULL &&
      mode->payload != ORDER__V1__EVENT_PAYLOAD__EVENT_PAYLOAD_ZERO)
    violate(violations, "must be EVENT_PAYLOAD_FULL or EVENT_PAYLOAD_ZERO", "mode.payload");
  if (mode->topics != ORDER__V1__EVENT_TOPICS__EVENT_TOPICS_DOMAIN &&
      mode->topics != ORDER__V1__EVENT_TOPICS__EVENT_TOPICS_PER_EVENT)
    violate(violations, "must be EVENT_TOPICS_DOMAIN or EVENT_TOPICS_PER_EVENT", "mode.topics");
  return violations->count == 0;
}

static int compare_ids(const void *left, const void *right) {
  int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
  return (a > b) - (a < b);
}

size_t order_sort_ids(const int64_t *ids, size_t count, int64_t *sorted) {
  if (count == 0)
    return 0;
  memcpy(sorted, ids, count * sizeof *sorted);
  qsort(sorted, count, sizeof *sorted, compare_ids);
  size_t kept = 1;
  for (size_t i = 1; i < count; i++)
    if (sorted[i] != sorted[kept - 1])
      sorted[kept++] = sorted[i];
  return kept;
}
