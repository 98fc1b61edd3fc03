/* Requests for the tests of the order service. Everything lives in the arena. */
#ifndef LOCKSTEP_ORDER_ORDER_TEST_SUPPORT_H
#define LOCKSTEP_ORDER_ORDER_TEST_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

#include "order/v1/order_service.pb-c.h"
#include "runtime/base/arena.h"

/* Text that a message may point to; the message never changes it. */
char *test_text(ls_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* `length` times the letter x. */
char *test_long_text(ls_arena *arena, size_t length);

/* A valid address with two lines. */
Order__V1__Address *test_address(ls_arena *arena);

/* `count` valid items: number i (from 1) is i times "sku-i" at 100 + i. */
Order__V1__OrderItem **test_items(ls_arena *arena, size_t count);

/* A valid request for an order with `item_count` items. `request_id` may be "". */
Order__V1__CreateOrderRequest *test_create(ls_arena *arena, const char *request_id,
                                           const char *customer_id, size_t item_count);

/* Valid requests: a new note, a cancellation because of "changed my mind". */
Order__V1__UpdateOrderRequest *test_update_note(ls_arena *arena, const char *request_id,
                                                int64_t order_id, const char *note);
Order__V1__CancelOrderRequest *test_cancel(ls_arena *arena, const char *request_id,
                                           int64_t order_id);

/* Gives `request` a mask of these paths, NULL at the end. */
void test_mask(ls_arena *arena, Order__V1__UpdateOrderRequest *request, ...);

#endif
