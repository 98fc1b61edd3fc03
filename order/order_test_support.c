/* Requests for the tests. */
#include "order/order_test_support.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *memory) {
  if (memory == NULL) {
    fputs("out of memory\n", stderr);
    exit(1);
  }
  return memory;
}

char *test_text(ls_arena *arena, const char *format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return need(ls_arena_strdup(arena, text));
}

char *test_long_text(ls_arena *arena, size_t length) {
  char *text = need(ls_arena_alloc(arena, length + 1));
  memset(text, 'x', length);
  text[length] = '\0';
  return text;
}

Order__V1__Address *test_address(ls_arena *arena) {
  Order__V1__Address *address = need(ls_arena_alloc(arena, sizeof *address));
  order__v1__address__init(address);
  address->recipient = test_text(arena, "Ada Lovelace");
  address->n_lines = 2;
  address->lines = need(ls_arena_alloc(arena, 2 * sizeof *address->lines));
  address->lines[0] = test_text(arena, "12 St James's Square");
  address->lines[1] = test_text(arena, "Second floor, Tür links");
  address->postal_code = test_text(arena, "SW1Y 4JH");
  address->city = test_text(arena, "London");
  address->country_code = test_text(arena, "GB");
  return address;
}

Order__V1__OrderItem **test_items(ls_arena *arena, size_t count) {
  Order__V1__OrderItem **items =
      need(ls_arena_alloc(arena, (count + 1) * sizeof(Order__V1__OrderItem *)));
  for (size_t i = 0; i < count; i++) {
    items[i] = need(ls_arena_alloc(arena, sizeof *items[i]));
    order__v1__order_item__init(items[i]);
    items[i]->sku = test_text(arena, "sku-%zu", i + 1);
    items[i]->quantity = (int32_t)i + 1;
    items[i]->unit_minor_units = 101 + (int64_t)i;
  }
  return items;
}

Order__V1__CreateOrderRequest *test_create(ls_arena *arena, const char *request_id,
                                           const char *customer_id, size_t item_count) {
  Order__V1__CreateOrderRequest *request = need(ls_arena_alloc(arena, sizeof *request));
  Order__V1__Order *order = need(ls_arena_alloc(arena, sizeof *order));
  order__v1__create_order_request__init(request);
  order__v1__order__init(order);
  request->request_id = test_text(arena, "%s", request_id);
  request->order = order;
  order->customer_id = test_text(arena, "%s", customer_id);
  order->delivery_address = test_address(arena);
  order->items = test_items(arena, item_count);
  order->n_items = item_count;
  order->currency_code = test_text(arena, "EUR");
  order->note = test_text(arena, "ring twice");
  return request;
}

Order__V1__UpdateOrderRequest *test_update_note(ls_arena *arena, const char *request_id,
                                                int64_t order_id, const char *note) {
  Order__V1__UpdateOrderRequest *request = need(ls_arena_alloc(arena, sizeof *request));
  Order__V1__Order *order = need(ls_arena_alloc(arena, sizeof *order));
  order__v1__update_order_request__init(request);
  order__v1__order__init(order);
  request->request_id = test_text(arena, "%s", request_id);
  request->order = order;
  order->order_id = order_id;
  order->note = test_text(arena, "%s", note);
  return request;
}

Order__V1__CancelOrderRequest *test_cancel(ls_arena *arena, const char *request_id,
                                           int64_t order_id) {
  Order__V1__CancelOrderRequest *request = need(ls_arena_alloc(arena, sizeof *request));
  order__v1__cancel_order_request__init(request);
  request->request_id = test_text(arena, "%s", request_id);
  request->order_id = order_id;
  request->reason = test_text(arena, "changed my mind");
  return request;
}

void test_mask(ls_arena *arena, Order__V1__UpdateOrderRequest *request, ...) {
  Google__Protobuf__FieldMask *mask = need(ls_arena_alloc(arena, sizeof *mask));
  google__protobuf__field_mask__init(mask);
  mask->paths = need(ls_arena_alloc(arena, 8 * sizeof *mask->paths));
  va_list paths;
  va_start(paths, request);
  for (const char *path; mask->n_paths < 8 && (path = va_arg(paths, const char *)) != NULL;)
    mask->paths[mask->n_paths++] = test_text(arena, "%s", path);
  va_end(paths);
  request->update_mask = mask;
}
