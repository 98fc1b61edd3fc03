/* The store against a real PostgreSQL, in a schema of its own. The server is the PG* environment's;
 * without PGHOST the test is skipped. */
#include "delivery/delivery_store_test_support.h"

#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/thread.h"

#define PREPARING DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_PREPARING
#define DISPATCHED DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DISPATCHED
#define RETURNING DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_RETURNING

enum { RACE_ORDERS = 40, RACE_VERSIONS = 25, RACERS = 4 };

/* Applies a full event; whether it was applied. */
static bool apply_version(delivery_store *with, int64_t order_id, int64_t version,
                          Order__V1__OrderStatus status, delivery_verdict *verdict) {
  test_events one = {0};
  test_add_event(&one, order_id, version, status, true);
  delivery_work work = test_work(&one, order_id);
  size_t applied = test_apply(with, &work, 1);
  if (verdict != NULL)
    *verdict = one.verdicts[0];
  assert_int_equal(applied, one.verdicts[0].fate == DELIVERY_FATE_APPLIED);
  return applied == 1;
}

static Delivery__V1__Delivery *get(int64_t order_id) {
  Delivery__V1__Delivery **deliveries;
  size_t found;
  ls_error error = {0};
  test_check(delivery_store_get(test_store, &order_id, 1, &order_id, 1, test_arena, &deliveries,
                                &found, &error),
             &error);
  return found == 0 ? NULL : deliveries[0];
}

static delivery_move move(delivery_store *with, ls_arena *memory, int64_t order_id, bool complete,
                          const char *code, int64_t expected_revision) {
  delivery_move one = {.order_id = order_id,
                       .complete = complete,
                       .tracking_code = code,
                       .expected_revision = expected_revision};
  delivery_move *moves[] = {&one};
  ls_error error = {0};
  test_check(delivery_store_move(with, moves, 1, memory, &error), &error);
  return one;
}

/* --- Tests --- */

static void test_an_order_becomes_a_delivery(void **state) {
  (void)state;
  int64_t id = test_order_ids(1);
  assert_null(get(id));
  assert_true(apply_version(test_store, id, 1, PLACED, NULL));
  Delivery__V1__Delivery *delivery = get(id);
  assert_non_null(delivery);
  assert_int_equal(delivery->revision, 1);
  assert_int_equal(delivery->order_version, 1);
  assert_int_equal(delivery->state, PREPARING);
  assert_string_equal(delivery->address->recipient, "Ada Lovelace");
  assert_int_equal(delivery->address->n_lines, 2);
  assert_string_equal(delivery->address->lines[0], "12 St James's Square");
  assert_string_equal(delivery->address->lines[1], "Tür links");
  assert_string_equal(delivery->address->country_code, "GB");
  assert_int_equal(delivery->n_items, 1);
  assert_string_equal(delivery->items[0]->sku, "A");
  assert_int_equal(delivery->items[0]->quantity, 2);
  assert_true(delivery->create_time->seconds > 1700000000);
  assert_int_equal(delivery->n_history, 1);
  assert_int_equal(delivery->history[0]->cause, DELIVERY__V1__DELIVERY_CAUSE__DELIVERY_CAUSE_ORDER);
  assert_int_equal(delivery->history[0]->order_version, 1);
}

static void test_each_version_is_applied_once(void **state) {
  (void)state;
  int64_t id = test_order_ids(1);
  delivery_verdict verdict;
  assert_true(apply_version(test_store, id, 3, PLACED, NULL));
  assert_false(apply_version(test_store, id, 3, PLACED, &verdict));
  assert_true(verdict.duplicate);
  assert_false(apply_version(test_store, id, 1, PLACED, &verdict));
  assert_true(verdict.overtaken);
  assert_false(apply_version(test_store, id, 1, PLACED, &verdict));
  assert_true(verdict.duplicate);
  assert_true(apply_version(test_store, id, 4, PLACED, NULL));
  assert_false(apply_version(test_store, id, 2, PLACED, &verdict));
  assert_true(verdict.overtaken);
  Delivery__V1__Delivery *delivery = get(id);
  assert_int_equal(delivery->order_version, 4);
  assert_int_equal(delivery->revision, 2);
  assert_int_equal(delivery->n_history, 2);
}

static void test_a_cancel_that_comes_first_is_final(void **state) {
  (void)state;
  int64_t id = test_order_ids(1);
  assert_true(apply_version(test_store, id, 2, CANCELLED, NULL));
  assert_false(apply_version(test_store, id, 1, PLACED, NULL));
  Delivery__V1__Delivery *delivery = get(id);
  assert_int_equal(delivery->state, DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_CANCELLED);
  assert_int_equal(delivery->n_history, 1);
  delivery_move refused = move(test_store, test_arena, id, false, "T", 0);
  assert_int_equal(refused.outcome, DELIVERY_STATE_FORBIDS);
}

static void test_dispatch_complete_and_cancel(void **state) {
  (void)state;
  int64_t id = test_order_ids(1);
  assert_int_equal(move(test_store, test_arena, id, false, "T", 0).outcome, DELIVERY_NOT_FOUND);
  apply_version(test_store, id, 1, PLACED, NULL);
  assert_int_equal(move(test_store, test_arena, id, false, "T", 7).outcome,
                   DELIVERY_REVISION_DIFFERS);
  delivery_move moved = move(test_store, test_arena, id, false, "T-1", 1);
  assert_int_equal(moved.outcome, DELIVERY_CHANGED);
  assert_int_equal(moved.delivery->revision, 2);
  assert_int_equal(moved.delivery->state, DISPATCHED);
  assert_string_equal(moved.delivery->tracking_code, "T-1");
  moved = move(test_store, test_arena, id, false, "T-1", 1);
  assert_int_equal(moved.outcome, DELIVERY_UNCHANGED);
  assert_int_equal(moved.delivery->revision, 2);
  assert_int_equal(move(test_store, test_arena, id, true, NULL, 0).outcome, DELIVERY_CHANGED);
  assert_true(apply_version(test_store, id, 2, CANCELLED, NULL));
  Delivery__V1__Delivery *delivery = get(id);
  assert_int_equal(delivery->state, RETURNING);
  assert_int_equal(delivery->revision, 4);
  assert_string_equal(delivery->tracking_code, "T-1");
  static const int causes[] = {1, 2, 3, 1};
  static const int64_t versions[] = {1, 0, 0, 2};
  assert_int_equal(delivery->n_history, 4);
  for (size_t i = 0; i < 4; i++) {
    assert_int_equal(delivery->history[i]->revision, (int64_t)i + 1);
    assert_int_equal(delivery->history[i]->cause, causes[i]);
    assert_int_equal(delivery->history[i]->order_version, versions[i]);
  }
}

static void test_many_orders_in_one_batch(void **state) {
  (void)state;
  enum { COUNT = 300 };
  int64_t first = test_order_ids(COUNT);
  test_events *ones = calloc(COUNT, sizeof *ones);
  delivery_work *works = calloc(COUNT, sizeof *works);
  assert_non_null(ones);
  assert_non_null(works);
  for (int round = 1; round <= 3; round++) {
    memset(ones, 0, COUNT * sizeof *ones);
    for (int i = 0; i < COUNT; i++) {
      /* Some new in each round, some again, some overtaken within the batch. */
      test_add_event(&ones[i], first + i, i % round == 0 ? round + 1 : 1, PLACED, true);
      test_add_event(&ones[i], first + i, 1, PLACED, true);
      works[i] = test_work(&ones[i], first + i);
    }
    size_t applied = test_apply(test_store, works, COUNT);
    size_t expected = 0;
    for (int i = 0; i < COUNT; i++)
      expected += ones[i].verdicts[0].fate == DELIVERY_FATE_APPLIED;
    assert_int_equal(applied, expected);
    assert_int_equal(expected, round == 1 ? COUNT : round == 2 ? COUNT / 2 : COUNT / 3);
  }
  free(ones);
  free(works);
}

/* --- Races --- */

typedef struct racer {
  pthread_t thread;
  int64_t first;
  unsigned seed;
  bool moves;
  atomic_bool *go;
  int64_t applied;
  char problem[600];
} racer;

static unsigned draw(unsigned *seed, unsigned below) {
  *seed = *seed * 1103515245u + 12345u;
  return (*seed >> 16) % below;
}

static bool race_apply(racer *one, delivery_store *with, ls_error *error) {
  test_events ones[8] = {0};
  delivery_work works[8];
  size_t count = 0;
  int64_t id = one->first + draw(&one->seed, RACE_ORDERS / 8);
  for (; count < 8 && id < one->first + RACE_ORDERS; id += 1 + draw(&one->seed, RACE_ORDERS / 8)) {
    int64_t version = 1 + draw(&one->seed, RACE_VERSIONS);
    test_add_event(&ones[count], id, version, version == RACE_VERSIONS ? CANCELLED : PLACED, true);
    works[count] = test_work(&ones[count], id);
    count++;
  }
  delivery_batch batch = {.works = works, .work_count = count};
  size_t applied;
  if (!delivery_store_apply(with, &batch, &applied, error))
    return false;
  one->applied += (int64_t)applied;
  return true;
}

static bool race_move(racer *one, delivery_store *with, ls_arena *memory, ls_error *error) {
  delivery_move moves[2] = {
      {.order_id = one->first + draw(&one->seed, RACE_ORDERS / 2), .tracking_code = "T"},
      {.order_id = one->first + RACE_ORDERS / 2 + draw(&one->seed, RACE_ORDERS / 2),
       .complete = true}};
  delivery_move *pointers[] = {&moves[0], &moves[1]};
  ls_arena_reset(memory);
  if (!delivery_store_move(with, pointers, 2, memory, error))
    return false;
  one->applied += (moves[0].outcome == DELIVERY_CHANGED) + (moves[1].outcome == DELIVERY_CHANGED);
  return true;
}

static void *race(void *arg) {
  racer *one = arg;
  ls_error error = {0};
  delivery_store *with = delivery_store_new(&test_database, &error);
  ls_arena *memory = ls_arena_new(1 << 20);
  bool done = with != NULL && memory != NULL && delivery_store_connect(with, &error);
  while (done && !atomic_load(one->go))
    ;
  for (int i = 0; done && i < 150; i++)
    done = one->moves ? race_move(one, with, memory, &error) : race_apply(one, with, &error);
  /* In the end everybody brings the last version of all. */
  for (int64_t id = one->first; done && !one->moves && id < one->first + RACE_ORDERS; id++) {
    test_events last = {0};
    test_add_event(&last, id, RACE_VERSIONS, CANCELLED, true);
    delivery_work work = test_work(&last, id);
    delivery_batch batch = {.works = &work, .work_count = 1};
    size_t applied;
    done = delivery_store_apply(with, &batch, &applied, &error);
    one->applied += done ? (int64_t)applied : 0;
  }
  if (!done)
    snprintf(one->problem, sizeof one->problem, "%s: %s", error.source, error.message);
  ls_arena_destroy(memory);
  delivery_store_destroy(with);
  return NULL;
}

/* Zombies, rebalances and dispatches at the same time: what was done is in the history, each
 * version at most once, revisions without a gap, and the final state is what the history's last row
 * says. */
static void test_racing_appliers_and_movers(void **state) {
  (void)state;
  racer racers[RACERS + 1] = {0};
  atomic_bool go = false;
  int64_t first = test_order_ids(RACE_ORDERS);
  ls_error error = {0};
  for (unsigned i = 0; i <= RACERS; i++) {
    racers[i].first = first;
    racers[i].seed = 77 * i + 1;
    racers[i].moves = i == RACERS;
    racers[i].go = &go;
    test_check(ls_thread_start(&racers[i].thread, "racer", race, &racers[i], &error), &error);
  }
  atomic_store(&go, true);
  int64_t applied = 0;
  for (unsigned i = 0; i <= RACERS; i++) {
    pthread_join(racers[i].thread, NULL);
    assert_string_equal(racers[i].problem, "");
    applied += racers[i].applied;
  }
  static char sql[5][400]; /* statements are known by their address for good */
  snprintf(sql[0], sizeof sql[0],
           "SELECT count(*) FROM delivery_history WHERE order_id >= %" PRId64, first);
  snprintf(sql[1], sizeof sql[1],
           "SELECT count(*) FROM deliveries WHERE order_id >= %" PRId64
           " AND order_version = %d AND state IN (4, 5)",
           first, RACE_VERSIONS);
  snprintf(sql[2], sizeof sql[2],
           "SELECT sum(revision)::bigint FROM deliveries WHERE order_id >= %" PRId64, first);
  snprintf(sql[3], sizeof sql[3],
           "SELECT count(*) FROM deliveries d JOIN delivery_history h USING (order_id, revision) "
           "WHERE d.order_id >= %" PRId64 " AND d.state = h.state",
           first);
  /* Versions only rise with revisions. */
  snprintf(sql[4], sizeof sql[4],
           "SELECT count(*) FROM delivery_history a JOIN delivery_history b USING (order_id) "
           "WHERE a.revision < b.revision AND a.order_version >= b.order_version "
           "AND order_id >= %" PRId64,
           first);
  assert_int_equal(test_number(sql[0]), applied);
  assert_int_equal(test_number(sql[1]), RACE_ORDERS);
  assert_int_equal(test_number(sql[2]), applied);
  assert_int_equal(test_number(sql[3]), RACE_ORDERS);
  assert_int_equal(test_number(sql[4]), 0);
}

static void test_what_cannot_be_written_leaves_nothing(void **state) {
  (void)state;
  int64_t good = test_order_ids(1);
  int64_t bad = test_order_ids(1);
  test_events ones[2] = {0};
  test_add_event(&ones[0], good, 1, PLACED, true);
  test_add_event(&ones[1], bad, 1, PLACED, true);
  ones[1].snapshots[0].city = "\xFF";
  delivery_work works[] = {test_work(&ones[0], good), test_work(&ones[1], bad)};
  delivery_batch batch = {.works = works, .work_count = 2};
  size_t applied;
  ls_error error = {0};
  assert_false(delivery_store_apply(test_store, &batch, &applied, &error));
  assert_true(delivery_store_is_about_data(&error));
  assert_null(get(good));
  assert_true(apply_version(test_store, good, 1, PLACED, NULL));
}

static void test_a_lost_connection_is_made_again(void **state) {
  (void)state;
  int64_t id = test_order_ids(1);
  ls_error error = {0};
  char sql[96];
  snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%" PRId64 "::int)",
           test_number("SELECT pg_backend_pid()::bigint"));
  delivery_store *other = delivery_store_new(&test_database, &error);
  test_check(delivery_store_connect(other, &error), &error);
  test_check(ls_pg_exec_sql(delivery_store_connection(other), sql, &error), &error);
  delivery_store_destroy(other);
  test_events one = {0};
  test_add_event(&one, id, 1, PLACED, true);
  delivery_work work = test_work(&one, id);
  delivery_batch batch = {.works = &work, .work_count = 1};
  size_t applied;
  bool done = false;
  for (int i = 0; i < 3 && !done; i++) {
    done = delivery_store_apply(test_store, &batch, &applied, &error);
    assert_true(done || error.code == LS_UNAVAILABLE);
  }
  assert_true(done);
  assert_non_null(get(id));
}

int main(void) {
  if (test_skipped() != 0)
    return test_skipped();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_an_order_becomes_a_delivery),
      cmocka_unit_test(test_each_version_is_applied_once),
      cmocka_unit_test(test_a_cancel_that_comes_first_is_final),
      cmocka_unit_test(test_dispatch_complete_and_cancel),
      cmocka_unit_test(test_many_orders_in_one_batch),
      cmocka_unit_test(test_racing_appliers_and_movers),
      cmocka_unit_test(test_what_cannot_be_written_leaves_nothing),
      cmocka_unit_test(test_a_lost_connection_is_made_again),
  };
  return cmocka_run_group_tests(tests, test_set_up, test_tear_down);
}
