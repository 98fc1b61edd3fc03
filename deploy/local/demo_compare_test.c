/* Tests of the comparison of an order with its delivery, and of the orders that the demo makes up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "deploy/local/demo_compare.h"
#include "deploy/local/demo_orders.h"
#include "runtime/base/text.h"

/* An order of the demo's own, and a delivery that is what it should be. */
typedef struct pair {
  demo_draft draft;
  Order__V1__Order *order;
  Delivery__V1__Delivery delivery;
  Delivery__V1__DeliveryAddress address;
  Delivery__V1__DeliveryItem items[DEMO_MOST_ITEMS];
  Delivery__V1__DeliveryItem *item_pointers[DEMO_MOST_ITEMS];
} pair;

static void fill_pair(pair *p) {
  demo_draft_create(7, 3, &p->draft);
  p->order = &p->draft.order;
  p->order->order_id = 5;
  p->order->version = 2;
  p->order->status = ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED;

  delivery__v1__delivery__init(&p->delivery);
  p->delivery.order_id = 5;
  p->delivery.order_version = 2;
  p->delivery.state = DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_PREPARING;
  delivery__v1__delivery_address__init(&p->address);
  const Order__V1__Address *from = p->order->delivery_address;
  p->address.recipient = from->recipient;
  p->address.lines = from->lines;
  p->address.n_lines = from->n_lines;
  p->address.postal_code = from->postal_code;
  p->address.city = from->city;
  p->address.country_code = from->country_code;
  p->delivery.address = &p->address;
  for (size_t i = 0; i < p->order->n_items; i++) {
    delivery__v1__delivery_item__init(&p->items[i]);
    p->items[i].sku = p->order->items[i]->sku;
    p->items[i].quantity = p->order->items[i]->quantity;
    p->item_pointers[i] = &p->items[i];
  }
  p->delivery.items = p->item_pointers;
  p->delivery.n_items = p->order->n_items;
}

static void assert_differs(const pair *p, const char *expected) {
  char why[160] = "";
  assert_false(demo_delivery_matches(p->order, &p->delivery, why, sizeof why));
  if (strstr(why, expected) == NULL)
    fail_msg("\"%s\" is not in \"%s\"", expected, why);
}

static void a_delivery_that_is_right_matches(void **state) {
  (void)state;
  pair p;
  char why[160];
  fill_pair(&p);
  assert_true(demo_delivery_matches(p.order, &p.delivery, why, sizeof why));
  p.delivery.state = DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DELIVERED;
  assert_true(demo_delivery_matches(p.order, &p.delivery, why, sizeof why));
  p.order->status = ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED;
  p.delivery.state = DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_RETURNING;
  assert_true(demo_delivery_matches(p.order, &p.delivery, why, sizeof why));
}

static void each_difference_is_found(void **state) {
  (void)state;
  pair p;
  char why[160];
  fill_pair(&p);
  assert_false(demo_delivery_matches(NULL, &p.delivery, why, sizeof why));
  assert_string_equal(why, "there is no order");
  assert_false(demo_delivery_matches(p.order, NULL, why, sizeof why));
  assert_string_equal(why, "there is no delivery");

  p.delivery.order_id = 6;
  assert_differs(&p, "of order 6");
  fill_pair(&p);
  p.delivery.order_version = 1;
  assert_differs(&p, "at version 2, the delivery at 1");
  fill_pair(&p);
  p.delivery.state = DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_CANCELLED;
  assert_differs(&p, "status is 1, the delivery's state is 4");
  fill_pair(&p);
  p.order->status = ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED;
  assert_differs(&p, "status is 2, the delivery's state is 1");

  char other[] = "other";
  char **fields[] = {&p.address.recipient, &p.address.postal_code, &p.address.city,
                     &p.address.country_code};
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
    fill_pair(&p);
    *fields[i] = other;
    assert_differs(&p, "addresses");
  }
  fill_pair(&p);
  char *lines[] = {other, other};
  p.address.lines = lines;
  assert_differs(&p, "addresses");
  fill_pair(&p);
  p.address.n_lines = 0;
  assert_differs(&p, "addresses");
  fill_pair(&p);
  p.delivery.address = NULL;
  assert_differs(&p, "addresses");

  fill_pair(&p);
  p.items[0].quantity++;
  assert_differs(&p, "item 1");
  fill_pair(&p);
  p.items[p.delivery.n_items - 1].sku = other;
  assert_differs(&p, "item ");
  fill_pair(&p);
  p.delivery.n_items--;
  assert_differs(&p, "items, the delivery");
}

static size_t packed(const ProtobufCMessage *message, uint8_t *out, size_t room) {
  size_t bytes = protobuf_c_message_get_packed_size(message);
  assert_true(bytes <= room);
  return protobuf_c_message_pack(message, out);
}

/* A request that is repeated must be the same to the byte. */
static void orders_are_the_same_for_the_same_seed(void **state) {
  (void)state;
  uint8_t first[4096], second[4096];
  demo_draft *draft = malloc(sizeof *draft), *again = malloc(sizeof *again);
  assert_non_null(draft);
  assert_non_null(again);
  memset(draft, 1, sizeof *draft);
  memset(again, 2, sizeof *again);
  for (uint64_t index = 0; index < 50; index++) {
    demo_draft_create(9, index, draft);
    demo_draft_create(9, index, again);
    size_t bytes = packed(&draft->order.base, first, sizeof first);
    assert_int_equal(packed(&again->order.base, second, sizeof second), bytes);
    assert_memory_equal(first, second, bytes);

    demo_draft_change(9, index, 1, draft);
    demo_draft_change(9, index, 1, again);
    bytes = packed(&draft->order.base, first, sizeof first);
    assert_int_equal(packed(&again->order.base, second, sizeof second), bytes);
    assert_memory_equal(first, second, bytes);
    assert_string_equal(draft->mask.paths[0], again->mask.paths[0]);

    demo_draft_create(10, index, again);
    size_t other = packed(&again->order.base, second, sizeof second);
    demo_draft_create(9, index, draft);
    bytes = packed(&draft->order.base, first, sizeof first);
    assert_true(other != bytes || memcmp(first, second, bytes) != 0);
  }
  free(draft);
  free(again);
}

static void orders_keep_to_the_rules_and_vary(void **state) {
  (void)state;
  enum { ORDERS = 3000 };
  size_t changed = 0, cancelled = 0, longest_note = 0, items[DEMO_MOST_ITEMS + 1] = {0};
  demo_draft draft;
  for (uint64_t index = 0; index < ORDERS; index++) {
    demo_draft_create(1, index, &draft);
    assert_in_range(draft.order.n_items, 1, DEMO_MOST_ITEMS);
    items[draft.order.n_items]++;
    for (size_t i = 0; i < draft.order.n_items; i++) {
      assert_in_range(strlen(draft.order.items[i]->sku), 1, 64);
      assert_in_range(draft.order.items[i]->quantity, 1, 1000000);
    }
    const Order__V1__Address *address = draft.order.delivery_address;
    assert_in_range(strlen(address->recipient), 1, 200);
    assert_in_range(address->n_lines, 1, 4);
    assert_in_range(strlen(address->city), 1, 100);
    assert_int_equal(strlen(address->country_code), 2);
    assert_true(ls_text_is_currency(draft.order.currency_code));
    size_t note = strlen(draft.order.note);
    assert_true(note < DEMO_NOTE_BYTES);
    assert_true(ls_text_is_utf8(draft.order.note, note)); /* not cut anywhere */
    assert_true(ls_text_is_utf8(address->recipient, strlen(address->recipient)));
    if (note > longest_note)
      longest_note = note;
    demo_plan plan = demo_plan_of(1, index);
    changed += plan.changes > 0;
    cancelled += plan.cancelled;
  }
  for (size_t i = 1; i <= DEMO_MOST_ITEMS; i++)
    assert_true(items[i] > 0);
  assert_true(longest_note > 200);
  assert_in_range(changed, ORDERS * 28 / 100, ORDERS * 38 / 100); /* about a third */
  assert_in_range(cancelled, ORDERS * 8 / 100, ORDERS * 12 / 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_delivery_that_is_right_matches),
      cmocka_unit_test(each_difference_is_found),
      cmocka_unit_test(orders_are_the_same_for_the_same_seed),
      cmocka_unit_test(orders_keep_to_the_rules_and_vary),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
