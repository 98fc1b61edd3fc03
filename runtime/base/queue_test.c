/* Tests of the queue, with several threads on both ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdatomic.h>

#include "runtime/base/clock.h"
#include "runtime/base/queue.h"
#include "runtime/base/thread.h"

static void order_bound_and_batches(void **state) {
  (void)state;
  int values[4];
  void *items[4];
  ls_queue *queue = ls_queue_new(3);
  for (int round = 0; round < 5; round++) { /* the ring turns */
    assert_true(ls_queue_push(queue, &values[0]));
    assert_true(ls_queue_push(queue, &values[1]));
    assert_true(ls_queue_push(queue, &values[2]));
    assert_false(ls_queue_push(queue, &values[3]));
    assert_int_equal(ls_queue_size(queue), 3);
    assert_int_equal(ls_queue_pop_batch(queue, items, 2, -1), 2);
    assert_ptr_equal(items[0], &values[0]);
    assert_ptr_equal(items[1], &values[1]);
    assert_true(ls_queue_push(queue, &values[3]));
    assert_int_equal(ls_queue_pop_batch(queue, items, 4, 0), 2);
    assert_ptr_equal(items[0], &values[2]);
    assert_ptr_equal(items[1], &values[3]);
    assert_int_equal(ls_queue_size(queue), 0);
  }
  ls_queue_destroy(queue);
  ls_queue_destroy(NULL);
}

static void impossible_capacities(void **state) {
  (void)state;
  assert_null(ls_queue_new(0));
  assert_null(ls_queue_new(SIZE_MAX));
}

static void empty_times_out(void **state) {
  (void)state;
  void *item;
  ls_queue *queue = ls_queue_new(1);
  assert_int_equal(ls_queue_pop_batch(queue, &item, 1, 0), 0);
  int64_t before = ls_clock_monotonic_ms();
  assert_int_equal(ls_queue_pop_batch(queue, &item, 1, 20), 0);
  assert_true(ls_clock_monotonic_ms() - before >= 19);
  ls_queue_destroy(queue);
}

static void closed_is_emptied_first(void **state) {
  (void)state;
  int value;
  void *item;
  ls_queue *queue = ls_queue_new(2);
  assert_true(ls_queue_push(queue, &value));
  ls_queue_close(queue);
  ls_queue_close(queue);
  assert_false(ls_queue_push(queue, &value));
  assert_int_equal(ls_queue_pop_batch(queue, &item, 1, -1), 1);
  assert_int_equal(ls_queue_pop_batch(queue, &item, 1, -1), -1);
  assert_int_equal(ls_queue_pop_batch(queue, &item, 1, 0), -1);
  ls_queue_destroy(queue);
}

enum { PUSHERS = 3, POPPERS = 3, PER_PUSHER = 20000 };

typedef struct traffic_state {
  ls_queue *queue;
  _Atomic unsigned char seen[PUSHERS * PER_PUSHER];
  int values[PUSHERS * PER_PUSHER];
  atomic_int next_pusher;
  atomic_bool out_of_order;
} traffic_state;

static void *push_all(void *arg) {
  traffic_state *traffic = arg;
  int first = atomic_fetch_add(&traffic->next_pusher, 1) * PER_PUSHER;
  for (int i = first; i < first + PER_PUSHER; i++) {
    traffic->values[i] = i;
    while (!ls_queue_push(traffic->queue, &traffic->values[i]))
      sched_yield(); /* full: the poppers are behind */
  }
  return NULL;
}

static void *pop_all(void *arg) {
  traffic_state *traffic = arg;
  int last[PUSHERS];
  for (int i = 0; i < PUSHERS; i++)
    last[i] = -1;
  for (;;) {
    void *items[17];
    ptrdiff_t count = ls_queue_pop_batch(traffic->queue, items, 17, 5000);
    if (count <= 0)
      return NULL;
    for (ptrdiff_t i = 0; i < count; i++) {
      int value = *(int *)items[i];
      if (value <= last[value / PER_PUSHER])
        traffic->out_of_order = true;
      last[value / PER_PUSHER] = value;
      atomic_fetch_add(&traffic->seen[value], 1);
    }
  }
}

static void each_item_arrives_once_and_in_order(void **state) {
  (void)state;
  static traffic_state traffic;
  traffic.queue = ls_queue_new(64);
  pthread_t pushers[PUSHERS];
  pthread_t poppers[POPPERS];
  for (int i = 0; i < POPPERS; i++)
    assert_true(ls_thread_start(&poppers[i], "pop", pop_all, &traffic, NULL));
  for (int i = 0; i < PUSHERS; i++)
    assert_true(ls_thread_start(&pushers[i], "push", push_all, &traffic, NULL));
  for (int i = 0; i < PUSHERS; i++)
    pthread_join(pushers[i], NULL);
  ls_queue_close(traffic.queue);
  for (int i = 0; i < POPPERS; i++)
    pthread_join(poppers[i], NULL);
  assert_false(traffic.out_of_order);
  for (int i = 0; i < PUSHERS * PER_PUSHER; i++)
    assert_int_equal(traffic.seen[i], 1);
  ls_queue_destroy(traffic.queue);
}

static void *pop_until_closed(void *arg) {
  void *item;
  return ls_queue_pop_batch(arg, &item, 1, -1) == -1 ? arg : NULL;
}

static void close_wakes_all(void **state) {
  (void)state;
  ls_queue *queue = ls_queue_new(1);
  pthread_t threads[3];
  for (int i = 0; i < 3; i++)
    assert_true(ls_thread_start(&threads[i], "wait", pop_until_closed, queue, NULL));
  ls_queue_close(queue);
  for (int i = 0; i < 3; i++) {
    void *result = NULL;
    pthread_join(threads[i], &result);
    assert_ptr_equal(result, queue);
  }
  ls_queue_destroy(queue);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(order_bound_and_batches),
      cmocka_unit_test(impossible_capacities),
      cmocka_unit_test(empty_times_out),
      cmocka_unit_test(closed_is_emptied_first),
      cmocka_unit_test(close_wakes_all),
      cmocka_unit_test(each_item_arrives_once_and_in_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
