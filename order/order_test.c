/* The rules of orders and requests, each on both sides of its border. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "order/order.h"
#include "order/order_check.h"
#include "order/order_test_support.h"

static ls_arena *arena;

static int make_arena(void **state) {
  (void)state;
  arena = ls_arena_new(16 << 20);
  return arena == NULL ? -1 : 0;
}

static int destroy_arena(void **state) {
  (void)state;
  ls_arena_destroy(arena);
  return 0;
}

/* --- Requests at the door --- */

typedef void (*break_create)(Order__V1__CreateOrderRequest *request);

/* Each changes one thing in a valid request. */
static void nothing(Order__V1__CreateOrderRequest *r) {
  (void)r;
}
static void long_request_id(Order__V1__CreateOrderRequest *r) {
  r->request_id = test_long_text(arena, 65);
}
static void longest_request_id(Order__V1__CreateOrderRequest *r) {
  r->request_id = test_long_text(arena, 64);
}
static void control_in_request_id(Order__V1__CreateOrderRequest *r) {
  r->request_id = test_text(arena, "a\tb");
}
static void umlaut_in_request_id(Order__V1__CreateOrderRequest *r) {
  r->request_id = test_text(arena, "\xc3\xbc");
}
static void no_order(Order__V1__CreateOrderRequest *r) {
  r->order = NULL;
}
static void with_order_id(Order__V1__CreateOrderRequest *r) {
  r->order->order_id = 1;
}
static void with_version(Order__V1__CreateOrderRequest *r) {
  r->order->version = 1;
}
static void with_status(Order__V1__CreateOrderRequest *r) {
  r->order->status = ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED;
}
static void with_total(Order__V1__CreateOrderRequest *r) {
  r->order->total_minor_units = 1;
}
static void with_cancel_reason(Order__V1__CreateOrderRequest *r) {
  r->order->cancel_reason = test_text(arena, "because");
}
static void with_create_time(Order__V1__CreateOrderRequest *r) {
  r->order->create_time = order_timestamp(1, arena);
}
static void with_update_time(Order__V1__CreateOrderRequest *r) {
  r->order->update_time = order_timestamp(1, arena);
}
static void no_customer(Order__V1__CreateOrderRequest *r) {
  r->order->customer_id = test_text(arena, "%s", "");
}
static void long_customer(Order__V1__CreateOrderRequest *r) {
  r->order->customer_id = test_long_text(arena, 65);
}
static void longest_customer(Order__V1__CreateOrderRequest *r) {
  r->order->customer_id = test_long_text(arena, 64);
}
static void no_address(Order__V1__CreateOrderRequest *r) {
  r->order->delivery_address = NULL;
}
static void no_recipient(Order__V1__CreateOrderRequest *r) {
  r->order->delivery_address->recipient = test_text(arena, "%s", "");
}
static void long_recipient(Order__V1__CreateOrderRequest *r) {
  r->order->delivery_address->recipient = test_long_text(arena, 201);
}
static void longest_recipient(Order__V1__CreateOrderRequest *r) {
  r->order->delivery_address->recipient = test_long_text(arena, 200);
}
static void no_lines(Order__V1__CreateOrderRequest *r) {
  r->order->delivery_address->n_lines = 0;
}
static void five_lines(Order__V1__CreateOrderRequest *r) {
  static char *lines[] = {"1", "2", "3", "4", "5"};
  r->order->delivery_address->lines = lines;
  r->order->delivery_address->n_lines = 5;
}
static void four_lines(Order__V1__CreateOrderRequest *r) {
  five_lines(r);
  r->order->delivery_address->n_lines = 4;
}
static void empty_line(Order__V1__CreateOrderRequest *r) {
  r->order->delivery_address->lines[1] = test_text(arena, "%s", "");
}
static void long_line(Order__V1__CreateOrderRequest *r) {
  r->order->delivery_address->lines[1] = test_long_text(arena, 201);
}
static void broken_line(Order__V1__CreateOrderRequest *r) {
  r->order->delivery_address->lines[0] = test_text(arena, "12\nMain Street");
}
static void long_postal_code(Order__V1__CreateOrderRequest *r) {
  r->order->delivery_address->postal_code = test_long_text(arena, 33);
}
static void no_postal_code(Order__V1__CreateOrderRequest *r) {
  r->order->delivery_address->postal_code = test_text(arena, "%s", "");
}
static void no_city(Order__V1__CreateOrderRequest *r) {
  r->order->delivery_address->city = test_text(arena, "%s", "");
}
static void long_city(Order__V1__CreateOrderRequest *r) {
  r->order->delivery_address->city = test_long_text(arena, 101);
}
static void small_country(Order__V1__CreateOrderRequest *r) {
  r->order->delivery_address->country_code = test_text(arena, "gb");
}
static void long_country(Order__V1__CreateOrderRequest *r) {
  r->order->delivery_address->country_code = test_text(arena, "GBR");
}
static void short_country(Order__V1__CreateOrderRequest *r) {
  r->order->delivery_address->country_code = test_text(arena, "G");
}
static void no_items(Order__V1__CreateOrderRequest *r) {
  r->order->n_items = 0;
}
static void most_items(Order__V1__CreateOrderRequest *r) {
  r->order->items = test_items(arena, 200);
  r->order->n_items = 200;
}
static void many_items(Order__V1__CreateOrderRequest *r) {
  r->order->items = test_items(arena, 201);
  r->order->n_items = 201;
}
static void no_sku(Order__V1__CreateOrderRequest *r) {
  r->order->items[1]->sku = test_text(arena, "%s", "");
}
static void long_sku(Order__V1__CreateOrderRequest *r) {
  r->order->items[1]->sku = test_long_text(arena, 65);
}
static void no_quantity(Order__V1__CreateOrderRequest *r) {
  r->order->items[1]->quantity = 0;
}
static void negative_quantity(Order__V1__CreateOrderRequest *r) {
  r->order->items[1]->quantity = -1;
}
static void large_quantity(Order__V1__CreateOrderRequest *r) {
  r->order->items[1]->quantity = 1000001;
}
static void largest_quantity(Order__V1__CreateOrderRequest *r) {
  r->order->items[1]->quantity = 1000000;
}
static void negative_price(Order__V1__CreateOrderRequest *r) {
  r->order->items[0]->unit_minor_units = -1;
}
static void no_price(Order__V1__CreateOrderRequest *r) {
  r->order->items[0]->unit_minor_units = 0;
}
static void large_price(Order__V1__CreateOrderRequest *r) {
  r->order->items[0]->unit_minor_units = INT64_C(1000000000001);
}
static void largest_total(Order__V1__CreateOrderRequest *r) {
  r->order->n_items = 1;
  r->order->items[0]->unit_minor_units = INT64_C(1000000000000);
  r->order->items[0]->quantity = 9000;
}
static void large_total(Order__V1__CreateOrderRequest *r) {
  r->order->items[0]->unit_minor_units = INT64_C(1000000000000);
  r->order->items[0]->quantity = 9000;
}
static void overflowing_total(Order__V1__CreateOrderRequest *r) {
  most_items(r);
  for (size_t i = 0; i < 200; i++) {
    r->order->items[i]->unit_minor_units = INT64_C(1000000000000);
    r->order->items[i]->quantity = 1000000;
  }
}
static void small_currency(Order__V1__CreateOrderRequest *r) {
  r->order->currency_code = test_text(arena, "EUr");
}
static void long_currency(Order__V1__CreateOrderRequest *r) {
  r->order->currency_code = test_text(arena, "EURO");
}
static void no_currency(Order__V1__CreateOrderRequest *r) {
  r->order->currency_code = test_text(arena, "%s", "");
}
static void long_note(Order__V1__CreateOrderRequest *r) {
  r->order->note = test_long_text(arena, 4097);
}
static void longest_note(Order__V1__CreateOrderRequest *r) {
  r->order->note = test_long_text(arena, 4096);
}

static void a_creation_is_checked(void **state) {
  (void)state;
  static const struct {
    break_create change;
    const char *field; /* NULL: valid all the same */
  } cases[] = {
      {nothing, NULL},
      {longest_request_id, NULL},
      {long_request_id, "request_id"},
      {control_in_request_id, "request_id"},
      {umlaut_in_request_id, "request_id"},
      {no_order, "order"},
      {with_order_id, "order.order_id"},
      {with_version, "order.version"},
      {with_status, "order.status"},
      {with_total, "order.total_minor_units"},
      {with_cancel_reason, "order.cancel_reason"},
      {with_create_time, "order.create_time"},
      {with_update_time, "order.update_time"},
      {no_customer, "order.customer_id"},
      {long_customer, "order.customer_id"},
      {longest_customer, NULL},
      {no_address, "order.delivery_address"},
      {no_recipient, "order.delivery_address.recipient"},
      {long_recipient, "order.delivery_address.recipient"},
      {longest_recipient, NULL},
      {no_lines, "order.delivery_address.lines"},
      {four_lines, NULL},
      {five_lines, "order.delivery_address.lines"},
      {empty_line, "order.delivery_address.lines[1]"},
      {long_line, "order.delivery_address.lines[1]"},
      {broken_line, "order.delivery_address.lines[0]"},
      {long_postal_code, "order.delivery_address.postal_code"},
      {no_postal_code, NULL},
      {no_city, "order.delivery_address.city"},
      {long_city, "order.delivery_address.city"},
      {small_country, "order.delivery_address.country_code"},
      {long_country, "order.delivery_address.country_code"},
      {short_country, "order.delivery_address.country_code"},
      {no_items, "order.items"},
      {most_items, NULL},
      {many_items, "order.items"},
      {no_sku, "order.items[1].sku"},
      {long_sku, "order.items[1].sku"},
      {no_quantity, "order.items[1].quantity"},
      {negative_quantity, "order.items[1].quantity"},
      {large_quantity, "order.items[1].quantity"},
      {largest_quantity, NULL},
      {negative_price, "order.items[0].unit_minor_units"},
      {no_price, NULL},
      {large_price, "order.items[0].unit_minor_units"},
      {largest_total, NULL},
      {large_total, "order.items"},
      {overflowing_total, "order.items"},
      {small_currency, "order.currency_code"},
      {long_currency, "order.currency_code"},
      {no_currency, "order.currency_code"},
      {longest_note, NULL},
      {long_note, "order.note"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    Order__V1__CreateOrderRequest *request = test_create(arena, "request", "customer", 2);
    cases[i].change(request);
    order_violations violations = {.count = 0};
    bool valid = order_check_create(request, &violations);
    assert_int_equal(valid, cases[i].field == NULL);
    assert_int_equal(violations.count, cases[i].field == NULL ? 0 : 1);
    if (cases[i].field != NULL)
      assert_string_equal(violations.list[0].field, cases[i].field);
  }
}

static void all_broken_rules_are_named_up_to_a_bound(void **state) {
  (void)state;
  Order__V1__CreateOrderRequest *request = test_create(arena, "", "", 30);
  request->order->currency_code = test_text(arena, "euro");
  for (size_t i = 0; i < 30; i++)
    request->order->items[i]->quantity = 0;
  order_violations violations = {.count = 0};
  assert_false(order_check_create(request, &violations));
  assert_int_equal(violations.count, ORDER_MAX_VIOLATIONS);
  assert_string_equal(violations.list[0].field, "order.customer_id");
  assert_string_equal(violations.list[1].field, "order.items[0].quantity");
}

static void assert_update(const Order__V1__UpdateOrderRequest *request, const char *field) {
  order_violations violations = {.count = 0};
  assert_int_equal(order_check_update(request, &violations), field == NULL);
  assert_int_equal(violations.count, field == NULL ? 0 : 1);
  if (field != NULL)
    assert_string_equal(violations.list[0].field, field);
}

static void an_update_is_checked(void **state) {
  (void)state;
  Order__V1__UpdateOrderRequest *request = test_update_note(arena, "", 1, "note");
  assert_update(request, NULL);
  request->expected_version = -1;
  assert_update(request, "expected_version");
  request->expected_version = 0;
  request->order->order_id = 0;
  assert_update(request, "order.order_id");
  request->order->order_id = 1;
  request->order->note = test_text(arena, "%s", "");
  assert_update(request, "update_mask"); /* nothing is to change */
  test_mask(arena, request, "note", NULL);
  assert_update(request, NULL); /* the note is to go */
  test_mask(arena, request, "note", "items", NULL);
  assert_update(request, "order.items");
  test_mask(arena, request, "delivery_address", NULL);
  assert_update(request, "order.delivery_address");
  test_mask(arena, request, "note", "status", NULL);
  assert_update(request, "update_mask.paths[1]");
  test_mask(arena, request, "note", "*", NULL);
  assert_update(request, "update_mask.paths[1]");
  request->order->items = test_items(arena, 1);
  request->order->n_items = 1;
  request->order->delivery_address = test_address(arena);
  test_mask(arena, request, "*", NULL);
  assert_update(request, NULL);
  /* What the mask leaves out is not looked at. */
  request->order->note = test_long_text(arena, 4097);
  test_mask(arena, request, "items", NULL);
  assert_update(request, NULL);
  request->order = NULL;
  assert_update(request, "order");
}

static void other_requests_are_checked(void **state) {
  (void)state;
  order_violations violations = {.count = 0};
  Order__V1__CancelOrderRequest *cancel = test_cancel(arena, "", 1);
  assert_true(order_check_cancel(cancel, &violations));
  cancel->order_id = 0;
  cancel->expected_version = -1;
  cancel->reason = test_long_text(arena, 257);
  assert_false(order_check_cancel(cancel, &violations));
  assert_int_equal(violations.count, 3);

  Order__V1__GetOrderRequest get = ORDER__V1__GET_ORDER_REQUEST__INIT;
  violations.count = 0;
  get.min_version = -1;
  assert_false(order_check_get(&get, &violations));
  assert_int_equal(violations.count, 2);

  int64_t ids[1001];
  for (size_t i = 0; i < 1001; i++)
    ids[i] = (int64_t)i + 1;
  Order__V1__BatchGetOrdersRequest batch = ORDER__V1__BATCH_GET_ORDERS_REQUEST__INIT;
  violations.count = 0;
  batch.order_ids = ids;
  batch.n_order_ids = 1000;
  assert_true(order_check_batch_get(&batch, &violations));
  batch.n_order_ids = 1001;
  assert_false(order_check_batch_get(&batch, &violations));
  batch.n_order_ids = 0;
  assert_false(order_check_batch_get(&batch, &violations));
  violations.count = 0;
  batch.n_order_ids = 3;
  ids[2] = 0;
  assert_false(order_check_batch_get(&batch, &violations));
  assert_string_equal(violations.list[0].field, "order_ids[2]");

  Order__V1__ListOrdersRequest list = ORDER__V1__LIST_ORDERS_REQUEST__INIT;
  violations.count = 0;
  assert_true(order_check_list(&list, &violations));
  list.page_size = -1;
  list.customer_id = test_long_text(arena, 65);
  list.status = (Order__V1__OrderStatus)3;
  assert_false(order_check_list(&list, &violations));
  assert_int_equal(violations.count, 3);

  Order__V1__SetEventModeRequest mode = ORDER__V1__SET_EVENT_MODE_REQUEST__INIT;
  Order__V1__EventMode wanted = ORDER__V1__EVENT_MODE__INIT;
  violations.count = 0;
  assert_false(order_check_set_event_mode(&mode, &violations));
  mode.mode = &wanted;
  violations.count = 0;
  assert_false(order_check_set_event_mode(&mode, &violations));
  assert_int_equal(violations.count, 2);
  violations.count = 0;
  wanted.payload = ORDER__V1__EVENT_PAYLOAD__EVENT_PAYLOAD_ZERO;
  wanted.topics = ORDER__V1__EVENT_TOPICS__EVENT_TOPICS_PER_EVENT;
  assert_true(order_check_set_event_mode(&mode, &violations));
}

/* --- Versions --- */

static Order__V1__Order *new_order(void) {
  Order__V1__Order *order = order_create(test_create(arena, "", "customer", 3), 7, 1000000, arena);
  assert_non_null(order);
  return order;
}

static void a_new_order_is_at_version_1(void **state) {
  (void)state;
  Order__V1__Order *order = new_order();
  assert_int_equal(order->order_id, 7);
  assert_int_equal(order->version, 1);
  assert_int_equal(order->status, ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED);
  assert_int_equal(order->total_minor_units, 1 * 101 + 2 * 102 + 3 * 103);
  assert_string_equal(order->customer_id, "customer");
  assert_string_equal(order->note, "ring twice");
  assert_int_equal(order->create_time->seconds, 1);
  assert_int_equal(order->update_time->seconds, 1);
  assert_int_equal(order_event_type(order), ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CREATED);
}

static void an_update_changes_what_the_mask_names(void **state) {
  (void)state;
  Order__V1__Order *order = new_order();
  Order__V1__UpdateOrderRequest *request = test_update_note(arena, "", 7, "new note");
  request->order->items = test_items(arena, 1);
  request->order->n_items = 1;
  request->order->customer_id = test_text(arena, "somebody else");
  Order__V1__Order *next = NULL;
  bool items_changed = true;
  test_mask(arena, request, "note", NULL);
  assert_int_equal(order_update(order, request, 2000000, arena, &next, &items_changed),
                   ORDER_CHANGED);
  assert_int_equal(next->version, 2);
  assert_string_equal(next->note, "new note");
  assert_int_equal(next->n_items, 3);
  assert_false(items_changed);
  assert_string_equal(next->customer_id, "customer");
  assert_int_equal(next->create_time->seconds, 1);
  assert_int_equal(next->update_time->seconds, 2);
  assert_int_equal(order_event_type(next), ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CHANGED);
  assert_int_equal(order->version, 1);
  assert_string_equal(order->note, "ring twice");

  request->update_mask = NULL; /* what is set: note and items */
  assert_int_equal(order_update(next, request, 3000000, arena, &next, &items_changed),
                   ORDER_CHANGED);
  assert_int_equal(next->version, 3);
  assert_int_equal(next->n_items, 1);
  assert_int_equal(next->total_minor_units, 101);
  assert_true(items_changed);
  assert_string_equal(next->delivery_address->city, "London");

  request->order->note = test_text(arena, "%s", "");
  request->order->delivery_address = test_address(arena);
  request->order->delivery_address->city = test_text(arena, "Paris");
  test_mask(arena, request, "*", NULL);
  assert_int_equal(order_update(next, request, 4000000, arena, &next, NULL), ORDER_CHANGED);
  assert_string_equal(next->note, "");
  assert_string_equal(next->delivery_address->city, "Paris");
}

static void a_version_is_not_older_than_the_one_before(void **state) {
  (void)state;
  Order__V1__Order *next = NULL;
  assert_int_equal(
      order_update(new_order(), test_update_note(arena, "", 7, "x"), 1, arena, &next, NULL),
      ORDER_CHANGED);
  assert_int_equal(order_timestamp_us(next->update_time), 1000000);
}

static void changes_that_cannot_be_are_refused(void **state) {
  (void)state;
  Order__V1__Order *order = new_order();
  Order__V1__Order *next = NULL;
  Order__V1__UpdateOrderRequest *update = test_update_note(arena, "", 7, "x");
  Order__V1__CancelOrderRequest *cancel = test_cancel(arena, "", 7);
  assert_int_equal(order_update(NULL, update, 0, arena, &next, NULL), ORDER_MISSING);
  assert_int_equal(order_cancel(NULL, cancel, 0, arena, &next), ORDER_MISSING);
  update->expected_version = cancel->expected_version = 2;
  assert_int_equal(order_update(order, update, 0, arena, &next, NULL), ORDER_VERSION_MISMATCH);
  assert_int_equal(order_cancel(order, cancel, 0, arena, &next), ORDER_VERSION_MISMATCH);
  assert_null(next);
  update->expected_version = cancel->expected_version = 1;
  assert_int_equal(order_cancel(order, cancel, 2000000, arena, &next), ORDER_CHANGED);
  assert_int_equal(next->version, 2);
  assert_int_equal(next->status, ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED);
  assert_string_equal(next->cancel_reason, "changed my mind");
  assert_int_equal(order_event_type(next), ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CANCELLED);
  Order__V1__Order *after = NULL;
  /* The client that lost the first answer expects the version before it. */
  assert_int_equal(order_cancel(next, cancel, 3000000, arena, &after), ORDER_UNCHANGED);
  assert_int_equal(order_update(next, update, 3000000, arena, &after, NULL),
                   ORDER_ALREADY_CANCELLED);
  assert_null(after);
}

static void what_a_client_adds_is_not_kept(void **state) {
  (void)state;
  Order__V1__CreateOrderRequest *request = test_create(arena, "", "customer", 1);
  uint8_t data[] = "unknown";
  ProtobufCMessageUnknownField field = {
      .tag = 1000, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .len = 8, .data = data};
  ProtobufCMessage *parts[] = {&request->order->base, &request->order->delivery_address->base,
                               &request->order->items[0]->base};
  for (size_t i = 0; i < 3; i++) {
    parts[i]->n_unknown_fields = 1;
    parts[i]->unknown_fields = &field;
  }
  Order__V1__Order *order = order_create(request, 1, 1, arena);
  assert_int_equal(order->base.n_unknown_fields, 0);
  assert_int_equal(order->delivery_address->base.n_unknown_fields, 0);
  assert_int_equal(order->items[0]->base.n_unknown_fields, 0);
}

static void running_out_of_memory_is_told(void **state) {
  (void)state;
  Order__V1__Order *order = new_order();
  Order__V1__CreateOrderRequest *create = test_create(arena, "", "customer", 200);
  Order__V1__UpdateOrderRequest *update = test_update_note(arena, "", 7, "x");
  update->order->items = create->order->items;
  update->order->n_items = 200;
  for (size_t bytes = 0; bytes < 8192; bytes += 512) {
    Order__V1__Order *next = NULL;
    ls_arena *small = ls_arena_new(bytes);
    assert_non_null(small);
    assert_null(order_create(create, 1, 1, small));
    ls_arena_reset(small);
    assert_int_equal(order_update(order, update, 1, small, &next, NULL), ORDER_OUT_OF_MEMORY);
    ls_arena_destroy(small);
  }
}

static void fingerprints_differ_when_requests_do(void **state) {
  (void)state;
  uint8_t first[ORDER_FINGERPRINT_BYTES], second[ORDER_FINGERPRINT_BYTES];
  assert_true(order_fingerprint_create(test_create(arena, "one", "customer", 2), first));
  assert_true(order_fingerprint_create(test_create(arena, "two", "customer", 2), second));
  assert_memory_equal(first, second, sizeof first);
  assert_true(order_fingerprint_create(test_create(arena, "one", "customer", 3), second));
  assert_memory_not_equal(first, second, sizeof first);

  /* Requests of two methods with the same bytes. */
  Order__V1__UpdateOrderRequest update = ORDER__V1__UPDATE_ORDER_REQUEST__INIT;
  Order__V1__CancelOrderRequest cancel = ORDER__V1__CANCEL_ORDER_REQUEST__INIT;
  assert_true(order_fingerprint_update(&update, first));
  assert_true(order_fingerprint_cancel(&cancel, second));
  assert_memory_not_equal(first, second, sizeof first);
}

static void times_go_both_ways(void **state) {
  (void)state;
  static const int64_t times[] = {0, 1, -1, 1700000000123456, -1700000000123456};
  for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
    Google__Protobuf__Timestamp *timestamp = order_timestamp(times[i], arena);
    assert_in_range(timestamp->nanos, 0, 999999999);
    assert_int_equal(order_timestamp_us(timestamp), times[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_creation_is_checked),
      cmocka_unit_test(all_broken_rules_are_named_up_to_a_bound),
      cmocka_unit_test(an_update_is_checked),
      cmocka_unit_test(other_requests_are_checked),
      cmocka_unit_test(a_new_order_is_at_version_1),
      cmocka_unit_test(an_update_changes_what_the_mask_names),
      cmocka_unit_test(a_version_is_not_older_than_the_one_before),
      cmocka_unit_test(changes_that_cannot_be_are_refused),
      cmocka_unit_test(what_a_client_adds_is_not_kept),
      cmocka_unit_test(running_out_of_memory_is_told),
      cmocka_unit_test(fingerprints_differ_when_requests_do),
      cmocka_unit_test(times_go_both_ways),
  };
  return cmocka_run_group_tests_name("order", tests, make_arena, destroy_arena);
}
