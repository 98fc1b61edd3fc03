/* What the store's tests share: a schema of their own, and batches to apply. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_STORE_TEST_SUPPORT_H
#define LOCKSTEP_DELIVERY_DELIVERY_STORE_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "delivery/delivery_store.h"

#define PLACED ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED
#define CANCELLED ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED

/* Made by test_set_up. */
extern delivery_database test_database;
extern delivery_store *test_store;
extern ls_arena *test_arena;

/* The exit code for a test that cannot run: PGHOST is not set; 0 if it can. */
int test_skipped(void);

/* A group's set-up and tear-down: a schema of its own in the PG* environment's database. */
int test_set_up(void **state);
int test_tear_down(void **state);

/* Fails the test with the error unless done. */
void test_check(bool done, const ls_error *error);

/* The one number that a query gives; `sql` must live as long as the connection. */
int64_t test_number(const char *sql);

/* An id that no other order of the run has, and `count` of them from there on. */
int64_t test_order_ids(int64_t count);

/* The events of one order in a batch; zeros at first. */
typedef struct test_events {
  delivery_event events[4];
  delivery_snapshot snapshots[4];
  const delivery_snapshot *pointers[4];
  order_record records[4];
  const order_record *record_pointers[4];
  delivery_verdict verdicts[4];
  size_t count;
} test_events;

/* Adds an event that says the order is at `version`, with or without payload. Its record's offset
 * is the version. */
void test_add_event(test_events *events, int64_t order_id, int64_t version,
                    Order__V1__OrderStatus status, bool full);

/* The work that these events make. */
delivery_work test_work(test_events *events, int64_t order_id);

/* Applies; how many deliveries changed. */
size_t test_apply(delivery_store *store, delivery_work *works, size_t count);

#endif
