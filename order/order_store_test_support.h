/* For the tests of the store: a schema of its own for each run, on the server that the PG*
 * environment names. What fails fails the test. */
#ifndef LOCKSTEP_ORDER_ORDER_STORE_TEST_SUPPORT_H
#define LOCKSTEP_ORDER_ORDER_STORE_TEST_SUPPORT_H

#include <stdint.h>

#include "order/order_store.h"
#include "runtime/base/arena.h"

/* What a test works with; each thread has its own. */
typedef struct test_session {
  order_store *store;
  ls_arena *arena; /* for requests */
} test_session;

/* Set-up and tear-down of a group of tests. */
int test_make_schema(void **state);
int test_drop_schema(void **state);

test_session test_open_session(void);
void test_close_session(test_session *opened);

void test_run_sql(test_session *in, const char *sql);

/* The one number that a query gives; the main thread only. */
int64_t test_number(test_session *in, const char *sql);

order_write test_create_write(const Order__V1__CreateOrderRequest *request);
order_write test_update_write(const Order__V1__UpdateOrderRequest *request);
order_write test_cancel_write(const Order__V1__CancelOrderRequest *request);

order_outcome test_write_one(test_session *in, order_write *write);

/* The id of a new order. */
int64_t test_create_one(test_session *in);

void test_assert_same_order(const Order__V1__Order *left, const Order__V1__Order *right);

/* A copy that outlives the store's next use, until it is released. */
Order__V1__Order *test_keep(test_session *in, const Order__V1__Order *order);
void test_release(Order__V1__Order *order);

#endif
