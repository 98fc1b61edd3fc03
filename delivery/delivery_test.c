/* The rules of a delivery. */
#include "delivery/delivery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PREPARING DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_PREPARING
#define DISPATCHED DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DISPATCHED
#define DELIVERED DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DELIVERED
#define CANCELLED DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_CANCELLED
#define RETURNING DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_RETURNING
#define ORDER_PLACED ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED
#define ORDER_CANCELLED ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED

/* --- Life --- */

static void test_first_sight_of_an_order(void **state) {
  (void)state;
  delivery_standing placed = {0};
  assert_int_equal(delivery_apply_order(&placed, 3, ORDER_PLACED), DELIVERY_CHANGED);
  assert_int_equal(placed.state, PREPARING);
  assert_int_equal(placed.revision, 1);
  assert_int_equal(placed.order_version, 3);

  delivery_standing cancelled = {0};
  assert_int_equal(delivery_apply_order(&cancelled, 2, ORDER_CANCELLED), DELIVERY_CHANGED);
  assert_int_equal(cancelled.state, CANCELLED);
  assert_int_equal(cancelled.revision, 1);
}

static void test_what_a_newer_version_makes_of_each_state(void **state) {
  (void)state;
  static const struct {
    Delivery__V1__DeliveryState from, placed, cancelled;
  } rows[] = {{PREPARING, PREPARING, CANCELLED},
              {DISPATCHED, DISPATCHED, RETURNING},
              {DELIVERED, DELIVERED, RETURNING},
              {CANCELLED, CANCELLED, CANCELLED},
              {RETURNING, RETURNING, RETURNING}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    for (int cancel = 0; cancel < 2; cancel++) {
      delivery_standing standing = {.revision = 4, .state = rows[i].from, .order_version = 2};
      assert_int_equal(delivery_apply_order(&standing, 5, cancel ? ORDER_CANCELLED : ORDER_PLACED),
                       DELIVERY_CHANGED);
      assert_int_equal(standing.state, cancel ? rows[i].cancelled : rows[i].placed);
      assert_int_equal(standing.revision, 5);
      assert_int_equal(standing.order_version, 5);
    }
  }
}

static void test_an_old_version_changes_nothing(void **state) {
  (void)state;
  for (int64_t version = 1; version <= 3; version++) {
    delivery_standing standing = {.revision = 2, .state = PREPARING, .order_version = 3};
    assert_int_equal(delivery_apply_order(&standing, version, ORDER_CANCELLED), DELIVERY_UNCHANGED);
    assert_int_equal(standing.state, PREPARING);
    assert_int_equal(standing.revision, 2);
    assert_int_equal(standing.order_version, 3);
  }
}

static void test_dispatch(void **state) {
  (void)state;
  static const struct {
    const char *name;
    delivery_standing before;
    const char *code;
    int64_t expected_revision;
    delivery_outcome outcome;
    Delivery__V1__DeliveryState after;
    int64_t revision;
  } rows[] = {
      {"no delivery", {0}, "T", 0, DELIVERY_NOT_FOUND, 0, 0},
      {"prepared", {2, PREPARING, 1, ""}, "T", 0, DELIVERY_CHANGED, DISPATCHED, 3},
      {"no code", {2, PREPARING, 1, ""}, "", 0, DELIVERY_CHANGED, DISPATCHED, 3},
      {"revision right", {2, PREPARING, 1, ""}, "T", 2, DELIVERY_CHANGED, DISPATCHED, 3},
      {"revision old", {2, PREPARING, 1, ""}, "T", 1, DELIVERY_REVISION_DIFFERS, PREPARING, 2},
      {"again", {3, DISPATCHED, 1, "T"}, "T", 0, DELIVERY_UNCHANGED, DISPATCHED, 3},
      {"again, same request", {3, DISPATCHED, 1, "T"}, "T", 2, DELIVERY_UNCHANGED, DISPATCHED, 3},
      {"other code", {3, DISPATCHED, 1, "T"}, "U", 0, DELIVERY_STATE_FORBIDS, DISPATCHED, 3},
      {"delivered", {4, DELIVERED, 1, "T"}, "T", 0, DELIVERY_STATE_FORBIDS, DELIVERED, 4},
      {"cancelled", {4, CANCELLED, 1, ""}, "T", 0, DELIVERY_STATE_FORBIDS, CANCELLED, 4},
      {"returning", {4, RETURNING, 1, "T"}, "T", 0, DELIVERY_STATE_FORBIDS, RETURNING, 4}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    delivery_standing standing = rows[i].before;
    delivery_outcome outcome =
        delivery_dispatch(&standing, rows[i].code, rows[i].expected_revision);
    if (outcome != rows[i].outcome || standing.state != rows[i].after ||
        standing.revision != rows[i].revision)
      fail_msg("%s", rows[i].name);
    if (outcome == DELIVERY_CHANGED)
      assert_string_equal(standing.tracking_code, rows[i].code);
    else
      assert_string_equal(standing.tracking_code, rows[i].before.tracking_code);
  }
}

static void test_complete(void **state) {
  (void)state;
  static const struct {
    const char *name;
    delivery_standing before;
    int64_t expected_revision;
    delivery_outcome outcome;
    Delivery__V1__DeliveryState after;
    int64_t revision;
  } rows[] = {
      {"no delivery", {0}, 0, DELIVERY_NOT_FOUND, 0, 0},
      {"prepared", {2, PREPARING, 1, ""}, 0, DELIVERY_STATE_FORBIDS, PREPARING, 2},
      {"dispatched", {3, DISPATCHED, 1, "T"}, 0, DELIVERY_CHANGED, DELIVERED, 4},
      {"revision right", {3, DISPATCHED, 1, "T"}, 3, DELIVERY_CHANGED, DELIVERED, 4},
      {"revision old", {3, DISPATCHED, 1, "T"}, 2, DELIVERY_REVISION_DIFFERS, DISPATCHED, 3},
      {"again", {4, DELIVERED, 1, "T"}, 0, DELIVERY_UNCHANGED, DELIVERED, 4},
      {"again, same request", {4, DELIVERED, 1, "T"}, 3, DELIVERY_UNCHANGED, DELIVERED, 4},
      {"cancelled", {4, CANCELLED, 1, ""}, 0, DELIVERY_STATE_FORBIDS, CANCELLED, 4},
      {"returning", {4, RETURNING, 1, "T"}, 0, DELIVERY_STATE_FORBIDS, RETURNING, 4}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    delivery_standing standing = rows[i].before;
    delivery_outcome outcome = delivery_complete(&standing, rows[i].expected_revision);
    if (outcome != rows[i].outcome || standing.state != rows[i].after ||
        standing.revision != rows[i].revision)
      fail_msg("%s", rows[i].name);
    assert_string_equal(standing.tracking_code, rows[i].before.tracking_code);
  }
}

/* --- Snapshots --- */

typedef struct sample {
  Order__V1__Order order;
  Order__V1__Address address;
  char *lines[3];
  Order__V1__OrderItem items[2];
  Order__V1__OrderItem *item_pointers[2];
} sample;

static void fill_sample(sample *s) {
  order__v1__order__init(&s->order);
  order__v1__address__init(&s->address);
  s->order.order_id = 7;
  s->order.version = 2;
  s->order.status = ORDER_PLACED;
  s->order.delivery_address = &s->address;
  s->address.recipient = (char *)"Ada";
  s->lines[0] = (char *)"Main Street 1";
  s->lines[1] = (char *)"Second floor";
  s->address.lines = s->lines;
  s->address.n_lines = 2;
  s->address.city = (char *)"Graz";
  s->address.country_code = (char *)"AT";
  for (int i = 0; i < 2; i++) {
    order__v1__order_item__init(&s->items[i]);
    s->items[i].sku = (char *)(i == 0 ? "A" : "B");
    s->items[i].quantity = i + 1;
    s->items[i].unit_minor_units = 100;
    s->item_pointers[i] = &s->items[i];
  }
  s->order.items = s->item_pointers;
  s->order.n_items = 2;
}

static void test_snapshot_holds_what_delivery_needs(void **state) {
  (void)state;
  ls_arena *arena = ls_arena_new(65536);
  sample s;
  fill_sample(&s);
  delivery_snapshot snapshot;
  ls_error error;
  assert_true(delivery_snapshot_copy_order(&s.order, arena, &snapshot, &error));
  assert_int_equal(snapshot.order_id, 7);
  assert_int_equal(snapshot.version, 2);
  assert_int_equal(snapshot.status, ORDER_PLACED);
  assert_string_equal(snapshot.recipient, "Ada");
  assert_string_equal(snapshot.address_lines, "Main Street 1\nSecond floor");
  assert_string_equal(snapshot.postal_code, "");
  assert_string_equal(snapshot.city, "Graz");
  assert_string_equal(snapshot.country_code, "AT");
  Delivery__V1__Delivery *items =
      delivery__v1__delivery__unpack(NULL, snapshot.items_bytes, snapshot.items);
  assert_non_null(items);
  assert_int_equal(items->n_items, 2);
  assert_string_equal(items->items[1]->sku, "B");
  assert_int_equal(items->items[1]->quantity, 2);
  delivery__v1__delivery__free_unpacked(items, NULL);
  ls_arena_destroy(arena);
}

static void break_id(sample *s) {
  s->order.order_id = 0;
}
static void break_version(sample *s) {
  s->order.version = 0;
}
static void break_status(sample *s) {
  s->order.status = (Order__V1__OrderStatus)9;
}
static void break_unspecified(sample *s) {
  s->order.status = ORDER__V1__ORDER_STATUS__ORDER_STATUS_UNSPECIFIED;
}
static void break_address(sample *s) {
  s->order.delivery_address = NULL;
}
static void break_items(sample *s) {
  s->order.n_items = 0;
}
static void break_line(sample *s) {
  s->lines[1] = (char *)"two\nlines";
}

static void test_snapshot_refuses_a_broken_order(void **state) {
  (void)state;
  static void (*const breaks[])(sample *) = {break_id,          break_version, break_status,
                                             break_unspecified, break_address, break_items,
                                             break_line};
  ls_arena *arena = ls_arena_new(65536);
  for (size_t i = 0; i < sizeof breaks / sizeof breaks[0]; i++) {
    sample s;
    fill_sample(&s);
    breaks[i](&s);
    delivery_snapshot snapshot;
    ls_error error;
    assert_false(delivery_snapshot_from_order(&s.order, arena, &snapshot, &error));
    assert_int_equal(error.code, LS_INVALID_ARGUMENT);
  }
  ls_arena_destroy(arena);
}

static void test_snapshot_says_when_memory_is_out(void **state) {
  (void)state;
  ls_arena *arena = ls_arena_new(16);
  sample s;
  fill_sample(&s);
  delivery_snapshot snapshot;
  ls_error error;
  assert_false(delivery_snapshot_from_order(&s.order, arena, &snapshot, &error));
  assert_int_equal(error.code, LS_RESOURCE_EXHAUSTED);
  ls_arena_destroy(arena);
}

/* --- Requests --- */

static void test_requests_are_checked(void **state) {
  (void)state;
  Delivery__V1__GetDeliveryRequest get = DELIVERY__V1__GET_DELIVERY_REQUEST__INIT;
  get.min_order_version = -1;
  delivery_violations violations = {0};
  assert_false(delivery_check_get(&get, &violations));
  assert_int_equal(violations.count, 2);
  assert_string_equal(violations.list[0].field, "order_id");
  assert_string_equal(violations.list[0].description, "must be 1 or more");
  assert_string_equal(violations.list[1].field, "min_order_version");

  Delivery__V1__DispatchDeliveryRequest dispatch = DELIVERY__V1__DISPATCH_DELIVERY_REQUEST__INIT;
  char code[DELIVERY_TRACKING_CODE_BYTES + 2];
  memset(code, 'x', sizeof code);
  code[DELIVERY_TRACKING_CODE_BYTES] = '\0';
  dispatch.order_id = 1;
  dispatch.tracking_code = code;
  violations.count = 0;
  assert_true(delivery_check_dispatch(&dispatch, &violations));
  code[DELIVERY_TRACKING_CODE_BYTES] = 'x';
  code[DELIVERY_TRACKING_CODE_BYTES + 1] = '\0';
  assert_false(delivery_check_dispatch(&dispatch, &violations));
  assert_string_equal(violations.list[0].field, "tracking_code");

  Delivery__V1__ListDeliveriesRequest list = DELIVERY__V1__LIST_DELIVERIES_REQUEST__INIT;
  violations.count = 0;
  assert_true(delivery_check_list(&list, &violations));
  list.state = (Delivery__V1__DeliveryState)6;
  list.page_size = -1;
  assert_false(delivery_check_list(&list, &violations));
  assert_int_equal(violations.count, 2);

  Delivery__V1__CompleteDeliveryRequest complete = DELIVERY__V1__COMPLETE_DELIVERY_REQUEST__INIT;
  complete.order_id = 1;
  complete.expected_revision = -1;
  violations.count = 0;
  assert_false(delivery_check_complete(&complete, &violations));
  assert_string_equal(violations.list[0].field, "expected_revision");
}

static void test_ids_are_checked(void **state) {
  (void)state;
  static int64_t ids[DELIVERY_MAX_IDS + 1];
  delivery_violations violations = {0};
  assert_false(delivery_check_ids(ids, 0, &violations));
  violations.count = 0;
  assert_false(delivery_check_ids(ids, DELIVERY_MAX_IDS + 1, &violations));
  assert_int_equal(violations.count, 1);
  violations.count = 0;
  assert_false(delivery_check_ids(ids, DELIVERY_MAX_IDS, &violations));
  assert_int_equal(violations.count, DELIVERY_MAX_VIOLATIONS);
  for (int i = 0; i < DELIVERY_MAX_IDS; i++)
    ids[i] = i + 1;
  ids[3] = 0;
  violations.count = 0;
  assert_false(delivery_check_ids(ids, DELIVERY_MAX_IDS, &violations));
  assert_string_equal(violations.list[0].field, "order_ids[3]");
  ids[3] = 4;
  violations.count = 0;
  assert_true(delivery_check_ids(ids, DELIVERY_MAX_IDS, &violations));
}

static void test_page_size_and_sorting(void **state) {
  (void)state;
  assert_int_equal(delivery_page_size(0), 50);
  assert_int_equal(delivery_page_size(7), 7);
  assert_int_equal(delivery_page_size(100000), 1000);
  int64_t ids[] = {5, 1, 5, 3, 1};
  assert_int_equal(delivery_sort_ids(ids, 5), 3);
  assert_int_equal(ids[0], 1);
  assert_int_equal(ids[1], 3);
  assert_int_equal(ids[2], 5);
  assert_int_equal(delivery_sort_ids(ids, 0), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_first_sight_of_an_order),
      cmocka_unit_test(test_what_a_newer_version_makes_of_each_state),
      cmocka_unit_test(test_an_old_version_changes_nothing),
      cmocka_unit_test(test_dispatch),
      cmocka_unit_test(test_complete),
      cmocka_unit_test(test_snapshot_holds_what_delivery_needs),
      cmocka_unit_test(test_snapshot_refuses_a_broken_order),
      cmocka_unit_test(test_snapshot_says_when_memory_is_out),
      cmocka_unit_test(test_requests_are_checked),
      cmocka_unit_test(test_ids_are_checked),
      cmocka_unit_test(test_page_size_and_sorting),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
