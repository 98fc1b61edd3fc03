/* The store with several sessions at once, and with sessions that are lost, on a real server named
 * by the PG* environment; skipped without PGHOST. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "order/order_store.h"
#include "order/order_store_test_support.h"
#include "order/order_test_support.h"
#include "runtime/base/clock.h"
#include "runtime/base/thread.h"

#define PATIENCE_MS 20000

/* --- Several at once --- */

enum { RACERS = 8 };

typedef struct racer {
  pthread_t thread;
  pthread_barrier_t *barrier;
  test_session in;
  order_write write;
} racer;

static void *race(void *arg) {
  racer *self = arg;
  pthread_barrier_wait(self->barrier);
  order_write *writes[] = {&self->write};
  order_store_write(self->in.store, writes, 1, NULL);
  return NULL;
}

/* All writes at the same moment, each by a session of its own. */
static void race_all(racer *racers) {
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, RACERS);
  for (size_t i = 0; i < RACERS; i++) {
    racers[i].barrier = &barrier;
    assert_true(ls_thread_start(&racers[i].thread, "racer", race, &racers[i], NULL));
  }
  for (size_t i = 0; i < RACERS; i++)
    pthread_join(racers[i].thread, NULL);
  pthread_barrier_destroy(&barrier);
}

static void a_request_sent_many_times_at_once_is_done_once(void **state) {
  (void)state;
  test_session in = test_open_session();
  racer racers[RACERS] = {0};
  for (size_t i = 0; i < RACERS; i++) {
    racers[i].in = test_open_session();
    racers[i].write = test_create_write(test_create(racers[i].in.arena, "at-once", "at-once", 2));
  }
  race_all(racers);
  size_t changed = 0;
  int64_t id = racers[0].write.order->order_id;
  for (size_t i = 0; i < RACERS; i++) {
    assert_true(racers[i].write.outcome == ORDER_CHANGED ||
                racers[i].write.outcome == ORDER_REPEATED);
    changed += racers[i].write.outcome == ORDER_CHANGED;
    assert_int_equal(racers[i].write.order->order_id, id);
    test_close_session(&racers[i].in);
  }
  assert_int_equal(changed, 1);
  assert_int_equal(test_number(&in, "SELECT count(*) FROM orders WHERE customer_id = 'at-once'"),
                   1);
  test_close_session(&in);
}

static void of_racing_changes_one_wins(void **state) {
  (void)state;
  test_session in = test_open_session();
  int64_t id = test_create_one(&in);
  racer racers[RACERS] = {0};
  for (size_t i = 0; i < RACERS; i++) {
    racers[i].in = test_open_session();
    Order__V1__UpdateOrderRequest *request =
        test_update_note(racers[i].in.arena, "", id, test_text(in.arena, "racer %zu", i));
    request->expected_version = 1;
    racers[i].write = test_update_write(request);
  }
  race_all(racers);
  size_t changed = 0;
  for (size_t i = 0; i < RACERS; i++) {
    if (racers[i].write.outcome == ORDER_CHANGED)
      changed++;
    else
      assert_int_equal(racers[i].write.outcome, ORDER_VERSION_MISMATCH);
    assert_int_equal(racers[i].write.order->version, 2);
    test_close_session(&racers[i].in);
  }
  assert_int_equal(changed, 1);
  test_close_session(&in);
}

enum { HAMMERS = 4, HAMMERED_ORDERS = 12, HAMMER_BATCHES = 40, HAMMER_BATCH = 8 };

typedef struct hammer {
  pthread_t thread;
  unsigned seed;
  const int64_t *ids;
  int64_t changed;
  int64_t unexpected;
} hammer;

/* Batches of changes to a few orders, in any order, with items and without. */
static void *hammer_orders(void *arg) {
  hammer *self = arg;
  test_session in = test_open_session();
  for (int batch = 0; batch < HAMMER_BATCHES; batch++) {
    order_write writes[HAMMER_BATCH];
    order_write *pointers[HAMMER_BATCH];
    for (size_t i = 0; i < HAMMER_BATCH; i++) {
      int64_t id = self->ids[(unsigned)rand_r(&self->seed) % HAMMERED_ORDERS];
      Order__V1__UpdateOrderRequest *request = test_update_note(
          in.arena, test_text(in.arena, "hammer-%u-%d-%zu", self->seed, batch, i), id, "hammered");
      if (rand_r(&self->seed) % 2 == 0) {
        request->order->n_items = 1 + (size_t)rand_r(&self->seed) % 5;
        request->order->items = test_items(in.arena, request->order->n_items);
      }
      writes[i] = test_update_write(request);
      pointers[i] = &writes[i];
    }
    order_store_write(in.store, pointers, HAMMER_BATCH, NULL);
    for (size_t i = 0; i < HAMMER_BATCH; i++) {
      self->changed += writes[i].outcome == ORDER_CHANGED;
      self->unexpected += writes[i].outcome != ORDER_CHANGED && writes[i].outcome != ORDER_DEFERRED;
    }
  }
  test_close_session(&in);
  return NULL;
}

static void the_outbox_tells_each_version_once_in_order(void **state) {
  (void)state;
  test_session in = test_open_session();
  int64_t ids[HAMMERED_ORDERS];
  for (size_t i = 0; i < HAMMERED_ORDERS; i++)
    ids[i] = test_create_one(&in);
  hammer hammers[HAMMERS] = {0};
  for (unsigned i = 0; i < HAMMERS; i++) {
    hammers[i].seed = i + 1;
    hammers[i].ids = ids;
    assert_true(ls_thread_start(&hammers[i].thread, "hammer", hammer_orders, &hammers[i], NULL));
  }
  int64_t changed = 0;
  for (size_t i = 0; i < HAMMERS; i++) {
    pthread_join(hammers[i].thread, NULL);
    assert_int_equal(hammers[i].unexpected, 0);
    changed += hammers[i].changed;
  }
  assert_true(changed > HAMMER_BATCHES * HAMMERS);
  assert_int_equal(test_number(&in,
                               "SELECT sum(version - 1)::bigint FROM orders WHERE order_id IN "
                               "(SELECT order_id FROM outbox GROUP BY order_id HAVING max(version) "
                               "> 1) AND note = 'hammered'"),
                   changed);
  /* Rows by sequence number carry the versions 1, 2, 3 …, up to that of the order. */
  assert_int_equal(
      test_number(&in, "SELECT count(*) FROM (SELECT version, row_number() OVER "
                       "(PARTITION BY order_id ORDER BY sequence) AS place FROM outbox) AS told "
                       "WHERE version <> place"),
      0);
  assert_int_equal(
      test_number(&in, "SELECT count(*) FROM orders LEFT JOIN (SELECT order_id, max(version) "
                       "AS told FROM outbox GROUP BY order_id) AS events USING (order_id) "
                       "WHERE told IS DISTINCT FROM orders.version"),
      0);
  assert_int_equal(
      test_number(&in,
                  "SELECT count(*) FROM orders WHERE total_minor_units <> (SELECT "
                  "sum(quantity * unit_minor_units) FROM order_items WHERE order_items.order_id = "
                  "orders.order_id)"),
      0);
  test_close_session(&in);
}

/* --- Lost connections --- */

static int64_t backend_of(test_session *in) {
  return test_number(in, "SELECT pg_backend_pid()::bigint");
}

static void terminate(test_session *by, int64_t backend) {
  char sql[80];
  snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%lld, 5000)", (long long)backend);
  test_run_sql(by, sql);
}

static bool is_waiting_for_lock(test_session *by, int64_t backend) {
  static const ls_pg_statement statement = {
      .name = "test_waiting",
      .sql = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = $1",
      .columns = {LS_PG_INT8}};
  ls_pg_params *params = ls_pg_params_new();
  ls_pg_params_int4(params, (int32_t)backend);
  ls_pg_result *result = NULL;
  assert_true(ls_pg_exec(order_store_connection(by->store), &statement, params, &result, NULL));
  bool waiting = ls_pg_get_int8(result, 0, 0) > 0;
  ls_pg_result_destroy(result);
  ls_pg_params_destroy(params);
  return waiting;
}

static void wait_until_locked(test_session *by, int64_t backend) {
  int64_t deadline_ms = ls_clock_monotonic_ms() + PATIENCE_MS;
  while (!is_waiting_for_lock(by, backend)) {
    assert_true(ls_clock_monotonic_ms() < deadline_ms);
    usleep(1000);
  }
}

static void *write_in_thread(void *arg) {
  racer *self = arg;
  test_write_one(&self->in, &self->write);
  return NULL;
}

static void a_connection_lost_between_batches_is_not_noticed(void **state) {
  (void)state;
  test_session in = test_open_session();
  test_session other = test_open_session();
  int64_t id = test_create_one(&in);
  terminate(&other, backend_of(&in));
  order_write update = test_update_write(test_update_note(in.arena, "", id, "after"));
  assert_int_equal(test_write_one(&in, &update), ORDER_CHANGED);
  test_close_session(&other);
  test_close_session(&in);
}

static void a_connection_lost_before_commit_is_made_again(void **state) {
  (void)state;
  test_session other = test_open_session();
  int64_t id = test_create_one(&other);
  racer writer = {.in = test_open_session()};
  int64_t backend = backend_of(&writer.in);
  writer.write = test_update_write(test_update_note(writer.in.arena, "", id, "after"));
  test_run_sql(&other, "BEGIN; SELECT * FROM orders FOR UPDATE");
  assert_true(ls_thread_start(&writer.thread, "writer", write_in_thread, &writer, NULL));
  wait_until_locked(&other, backend);
  terminate(&other, backend);
  test_run_sql(&other, "ROLLBACK");
  pthread_join(writer.thread, NULL);
  assert_int_equal(writer.write.outcome, ORDER_CHANGED);
  assert_int_equal(writer.write.order->version, 2);
  test_close_session(&writer.in);
  test_close_session(&other);
}

/* Lost when COMMIT was on its way already: only what names its request can be done again. */
static void a_connection_lost_at_commit_leaves_no_doubt_to_named_requests(void **state) {
  (void)state;
  test_session other = test_open_session();
  racer named = {.in = test_open_session()};
  racer nameless = {.in = test_open_session()};
  int64_t backends[] = {backend_of(&named.in), backend_of(&nameless.in)};
  named.write = test_create_write(test_create(named.in.arena, "at-commit", "at-commit", 1));
  nameless.write = test_create_write(test_create(nameless.in.arena, "", "nameless", 1));
  test_run_sql(&other, "BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE");
  assert_true(ls_thread_start(&named.thread, "named", write_in_thread, &named, NULL));
  assert_true(ls_thread_start(&nameless.thread, "nameless", write_in_thread, &nameless, NULL));
  for (size_t i = 0; i < 2; i++) {
    wait_until_locked(&other, backends[i]);
    terminate(&other, backends[i]);
  }
  test_run_sql(&other, "ROLLBACK");
  pthread_join(named.thread, NULL);
  pthread_join(nameless.thread, NULL);
  assert_int_equal(named.write.outcome, ORDER_CHANGED);
  assert_int_equal(nameless.write.outcome, ORDER_UNAVAILABLE);
  assert_int_equal(
      test_number(&other, "SELECT count(*) FROM orders WHERE customer_id = 'at-commit'"), 1);
  assert_int_equal(
      test_number(&other, "SELECT count(*) FROM orders WHERE customer_id = 'nameless'"), 0);
  test_close_session(&named.in);
  test_close_session(&nameless.in);
  test_close_session(&other);
}

int main(void) {
  if (getenv("PGHOST") == NULL) {
    puts("skipped: PGHOST names no server");
    return 77;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_request_sent_many_times_at_once_is_done_once),
      cmocka_unit_test(of_racing_changes_one_wins),
      cmocka_unit_test(the_outbox_tells_each_version_once_in_order),
      cmocka_unit_test(a_connection_lost_between_batches_is_not_noticed),
      cmocka_unit_test(a_connection_lost_before_commit_is_made_again),
      cmocka_unit_test(a_connection_lost_at_commit_leaves_no_doubt_to_named_requests),
  };
  return cmocka_run_group_tests_name("order_store_race", tests, test_make_schema, test_drop_schema);
}
