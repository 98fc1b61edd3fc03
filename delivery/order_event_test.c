/* Records as they should be, and as they should not. */
#include "delivery/order_event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UNSPECIFIED ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_UNSPECIFIED
#define CREATED ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CREATED
#define CHANGED ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CHANGED

static Order__V1__OrderItem item = ORDER__V1__ORDER_ITEM__INIT;
static Order__V1__OrderItem *items[] = {&item};

static void fill(Order__V1__OrderEvent *event, Order__V1__Order *order,
                 Order__V1__Address *address) {
  order__v1__order_event__init(event);
  event->event_id = (char *)"42:7";
  event->type = CHANGED;
  event->order_id = 42;
  event->version = 7;
  event->order = order;
  order__v1__order__init(order);
  order->order_id = 42;
  order->version = 7;
  order->status = ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED;
  order->delivery_address = address;
  order__v1__address__init(address);
  address->recipient = (char *)"Ada";
  order__v1__order_item__init(&item);
  item.sku = (char *)"A";
  item.quantity = 1;
  order->n_items = 1;
  order->items = items;
}

/* Decodes a record with `key` (NULL: none) and the packed `message` (NULL: a null value). */
static bool decode(const char *key, const Order__V1__OrderEvent *message,
                   Order__V1__OrderEventType topic_type, ls_arena *arena, order_event *event,
                   ls_error *error) {
  order_record record = {
      .topic = "order-topic", .key = key, .key_bytes = key == NULL ? 0 : strlen(key)};
  uint8_t *packed = NULL;
  if (message != NULL) {
    record.value_bytes = order__v1__order_event__get_packed_size(message);
    packed = malloc(record.value_bytes + 1);
    assert_non_null(packed);
    order__v1__order_event__pack(message, packed);
    record.value = packed;
  }
  bool done = order_event_decode(&record, topic_type, arena, event, error);
  /* What was decoded must not point into the record. */
  if (packed != NULL)
    memset(packed, 0xFF, record.value_bytes);
  free(packed);
  return done;
}

static bool decode_bytes(const char *key, const void *value, size_t bytes, ls_arena *arena,
                         ls_error *error) {
  order_event event;
  order_record record = {.topic = "order-topic",
                         .key = key,
                         .key_bytes = key == NULL ? 0 : strlen(key),
                         .value = value,
                         .value_bytes = bytes};
  return order_event_decode(&record, UNSPECIFIED, arena, &event, error);
}

static int make_arena(void **state) {
  *state = ls_arena_new(1 << 20);
  return *state == NULL;
}

static int drop_arena(void **state) {
  ls_arena_destroy(*state);
  return 0;
}

static void test_full_payload(void **state) {
  Order__V1__OrderEvent message;
  Order__V1__Order order;
  Order__V1__Address address;
  fill(&message, &order, &address);
  order_event event;
  ls_error error;
  assert_true(decode("42", &message, UNSPECIFIED, *state, &event, &error));
  assert_int_equal(event.order_id, 42);
  assert_int_equal(event.version, 7);
  assert_int_equal(event.type, CHANGED);
  assert_true(event.has_snapshot);
  assert_int_equal(event.snapshot.version, 7);
  assert_string_equal(event.snapshot.recipient, "Ada");
}

static void test_zero_payload(void **state) {
  Order__V1__OrderEvent message;
  Order__V1__Order order;
  Order__V1__Address address;
  fill(&message, &order, &address);
  message.order = NULL;
  message.type = UNSPECIFIED;
  order_event event;
  ls_error error;
  assert_true(decode("42", &message, CREATED, *state, &event, &error));
  assert_int_equal(event.version, 7);
  assert_int_equal(event.type, CREATED);
  assert_false(event.has_snapshot);
}

static void test_minimal_events(void **state) {
  order_event event;
  ls_error error;
  assert_true(decode("42", NULL, UNSPECIFIED, *state, &event, &error));
  assert_int_equal(event.order_id, 42);
  assert_int_equal(event.version, 0);
  assert_false(event.has_snapshot);
  assert_true(decode_bytes("42", "", 0, *state, &error));

  Order__V1__OrderEvent message = ORDER__V1__ORDER_EVENT__INIT;
  message.type = CHANGED;
  assert_true(decode("42", &message, UNSPECIFIED, *state, &event, &error));
  assert_int_equal(event.order_id, 42);
  assert_int_equal(event.type, CHANGED);
  message.order_id = 9;
  assert_true(decode(NULL, &message, UNSPECIFIED, *state, &event, &error));
  assert_int_equal(event.order_id, 9);
}

static void test_types_of_later_services_are_taken(void **state) {
  Order__V1__OrderEvent message;
  Order__V1__Order order;
  Order__V1__Address address;
  fill(&message, &order, &address);
  message.type = (Order__V1__OrderEventType)77;
  order_event event;
  ls_error error;
  assert_true(decode("42", &message, UNSPECIFIED, *state, &event, &error));
  assert_int_equal(event.type, UNSPECIFIED);
  assert_int_equal(event.version, 7);
  assert_true(event.has_snapshot);
}

static void test_keys(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t id; /* 0: none */
  } rows[] = {{"1", 1},
              {"9223372036854775807", INT64_MAX},
              {"9223372036854775808", 0},
              {"99999999999999999999", 0},
              {"0", 0},
              {"007", 0},
              {"-1", 0},
              {"+1", 0},
              {" 1", 0},
              {"1 ", 0},
              {"1a", 0},
              {"", 0},
              {"\xEF\xBC\x91", 0}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    int64_t id = 0;
    bool valid = order_event_read_key(rows[i].text, strlen(rows[i].text), &id);
    assert_int_equal(valid, rows[i].id != 0);
    assert_true(id == rows[i].id);
  }
  int64_t id;
  assert_false(order_event_read_key("1\0", 2, &id));
}

static void expect_invalid(void **state, const char *key, const Order__V1__OrderEvent *message,
                           Order__V1__OrderEventType topic_type, const char *reason) {
  order_event event;
  ls_error error;
  assert_false(decode(key, message, topic_type, *state, &event, &error));
  assert_int_equal(error.code, LS_INVALID_ARGUMENT);
  if (strstr(error.message, reason) == NULL)
    fail_msg("\"%s\" does not say \"%s\"", error.message, reason);
}

static void test_contradictions_are_invalid(void **state) {
  Order__V1__OrderEvent message;
  Order__V1__Order order;
  Order__V1__Address address;
  fill(&message, &order, &address);
  expect_invalid(state, "43", &message, UNSPECIFIED, "the key says order 43");
  expect_invalid(state, "x", &message, UNSPECIFIED, "the key is no order id");
  expect_invalid(state, "42", &message, CREATED, "not the topic's");
  order.order_id = 41;
  expect_invalid(state, "42", &message, UNSPECIFIED, "the order in it is 41");
  order.order_id = 42;
  order.version = 8;
  expect_invalid(state, "42", &message, UNSPECIFIED, "the order in it is at 8");
  order.version = 7;
  order.status = (Order__V1__OrderStatus)77;
  expect_invalid(state, "42", &message, UNSPECIFIED, "status 77");
  order.status = ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED;
  message.type = CHANGED;
  message.version = -1;
  expect_invalid(state, "42", &message, UNSPECIFIED, "version is negative");
  message.version = 7;
  message.order_id = -42;
  expect_invalid(state, "42", &message, UNSPECIFIED, "order_id is negative");
  expect_invalid(state, NULL, NULL, UNSPECIFIED, "names an order");
  Order__V1__OrderEvent empty = ORDER__V1__ORDER_EVENT__INIT;
  expect_invalid(state, "", &empty, UNSPECIFIED, "names an order");
}

static void test_what_is_no_message_is_invalid(void **state) {
  static const struct {
    const void *bytes;
    size_t count;
  } rows[] = {{"\xFF\xFF\xFF", 3},       /* no tag */
              {"{\"order_id\":42}", 15}, /* JSON */
              {"\x0A\x05"
               "ab",
               4},                     /* a string cut short */
              {"\x0A\x02\xC3\x28", 4}, /* not UTF-8 */
              {"\x0A\x02"
               "a\0",
               4},                  /* a NUL in a string */
              {"\x18", 1},          /* a number cut short */
              {"\x1A\x01\x01", 3},  /* order_id as a string */
              {"\x32\x02\x08", 3}}; /* an order cut short */
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    ls_error error;
    if (decode_bytes("42", rows[i].bytes, rows[i].count, *state, &error))
      fail_msg("row %zu was taken", i);
    assert_int_equal(error.code, LS_INVALID_ARGUMENT);
  }
}

static void test_no_memory_is_not_invalid(void **state) {
  (void)state;
  ls_arena *small = ls_arena_new(64);
  Order__V1__OrderEvent message;
  Order__V1__Order order;
  Order__V1__Address address;
  fill(&message, &order, &address);
  order_event event;
  ls_error error;
  assert_false(decode("42", &message, UNSPECIFIED, small, &event, &error));
  assert_int_equal(error.code, LS_RESOURCE_EXHAUSTED);
  ls_arena_destroy(small);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_full_payload, make_arena, drop_arena),
      cmocka_unit_test_setup_teardown(test_zero_payload, make_arena, drop_arena),
      cmocka_unit_test_setup_teardown(test_minimal_events, make_arena, drop_arena),
      cmocka_unit_test_setup_teardown(test_types_of_later_services_are_taken, make_arena,
                                      drop_arena),
      cmocka_unit_test(test_keys),
      cmocka_unit_test_setup_teardown(test_contradictions_are_invalid, make_arena, drop_arena),
      cmocka_unit_test_setup_teardown(test_what_is_no_message_is_invalid, make_arena, drop_arena),
      cmocka_unit_test(test_no_memory_is_not_invalid),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
