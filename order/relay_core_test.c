/* The relay's decisions: gaps, fences, checkpoints. How they stand together is simulated in
 * tests/simulation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "order/relay_core.h"

static int dummy;

static relay_row row(int64_t sequence, int64_t order_id) {
  return (relay_row){.sequence = sequence, .order_id = order_id, .event = &dummy};
}

static void observe(relay_core *core, relay_row *filled, size_t filled_count, relay_row *fresh,
                    size_t fresh_count, uint64_t oldest, uint64_t next) {
  size_t taken_filled, taken_fresh;
  ls_error error;
  assert_true(relay_core_observe(core, filled, filled_count, fresh, fresh_count, oldest, next,
                                 &taken_filled, &taken_fresh, &error));
  assert_int_equal(taken_filled, filled_count);
  assert_int_equal(taken_fresh, fresh_count);
}

static void expect_next(relay_core *core, int64_t sequence, relay_entry **entry) {
  *entry = relay_core_next(core);
  assert_non_null(*entry);
  assert_int_equal(relay_entry_sequence(*entry), sequence);
}

static void expect_checkpoint(relay_core *core, int64_t highest, const relay_gap *gaps,
                              size_t count) {
  int64_t actual;
  const relay_gap *actual_gaps;
  size_t actual_count;
  ls_error error;
  assert_true(relay_core_checkpoint(core, &actual, &actual_gaps, &actual_count, &error));
  assert_int_equal(actual, highest);
  assert_int_equal(actual_count, count);
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(actual_gaps[i].first, gaps[i].first);
    assert_int_equal(actual_gaps[i].last, gaps[i].last);
    assert_int_equal(actual_gaps[i].limit, gaps[i].limit);
  }
}

static void rows_are_sent_in_order(void **state) {
  (void)state;
  relay_core *core = relay_core_new(8, 0, NULL, 0);
  relay_row rows[] = {row(1, 10), row(2, 20), row(3, 10)};
  observe(core, NULL, 0, rows, 3, 100, 100);
  relay_entry *first, *second, *third;
  expect_next(core, 1, &first);
  expect_next(core, 2, &second);
  assert_null(relay_core_next(core)); /* order 10's next waits for its first */
  expect_checkpoint(core, 0, NULL, 0);
  assert_ptr_equal(relay_core_acknowledged(core, second), &dummy);
  expect_checkpoint(core, 0, NULL, 0);
  relay_core_acknowledged(core, first);
  expect_next(core, 3, &third);
  expect_checkpoint(core, 2, NULL, 0);
  relay_core_acknowledged(core, third);
  expect_checkpoint(core, 3, NULL, 0);
  assert_int_equal(relay_core_size(core), 0);
  relay_core_destroy(core, NULL, NULL);
}

static void failed_event_holds_its_order_only(void **state) {
  (void)state;
  relay_core *core = relay_core_new(8, 0, NULL, 0);
  relay_row rows[] = {row(1, 10), row(2, 10), row(3, 30)};
  observe(core, NULL, 0, rows, 3, 100, 100);
  relay_entry *first, *third;
  expect_next(core, 1, &first);
  expect_next(core, 3, &third);
  relay_core_failed(core, first);
  relay_core_acknowledged(core, third);
  assert_null(relay_core_next(core));
  expect_checkpoint(core, 1, &(relay_gap){1, 1, 1}, 1); /* row 2 was never sent: not beyond it */
  assert_int_equal(relay_core_retry(core), 1);
  expect_next(core, 1, &first);
  relay_core_acknowledged(core, first);
  relay_entry *second;
  expect_next(core, 2, &second);
  relay_core_acknowledged(core, second);
  expect_checkpoint(core, 3, NULL, 0);
  relay_core_destroy(core, NULL, NULL);
}

static void late_commit_is_found_in_its_gap(void **state) {
  (void)state;
  relay_core *core = relay_core_new(8, 0, NULL, 0);
  relay_row rows[] = {row(1, 10), row(4, 40)};
  observe(core, NULL, 0, rows, 2, 90, 100);
  assert_int_equal(relay_core_missing(core), 2);
  for (relay_entry *entry; (entry = relay_core_next(core)) != NULL;)
    relay_core_acknowledged(core, entry);
  expect_checkpoint(core, 4, &(relay_gap){2, 3, 100}, 1);

  int64_t after;
  size_t limit, count;
  const relay_gap *gaps;
  relay_core_plan(core, &after, &limit, &gaps, &count);
  assert_int_equal(after, 4);
  assert_int_equal(count, 1);

  relay_row filled = row(3, 30);
  observe(core, &filled, 1, NULL, 0, 99, 120); /* somebody below 100 still runs */
  assert_int_equal(relay_core_missing(core), 1);
  relay_entry *entry;
  expect_next(core, 3, &entry);
  expect_checkpoint(core, 4, (relay_gap[]){{2, 2, 100}, {3, 3, 1}}, 2);
  relay_core_acknowledged(core, entry);
  observe(core, NULL, 0, NULL, 0, 100, 120); /* all below 100 have ended: row 2 was rolled back */
  assert_int_equal(relay_core_missing(core), 0);
  expect_checkpoint(core, 4, NULL, 0);
  relay_core_destroy(core, NULL, NULL);
}

static void gap_that_nobody_can_fill_is_none(void **state) {
  (void)state;
  relay_core *core = relay_core_new(8, 0, NULL, 0);
  relay_row rows[] = {row(5, 10), row(9, 20)};
  observe(core, NULL, 0, rows, 2, 100, 100);
  assert_int_equal(relay_core_missing(core), 0);
  relay_core_destroy(core, NULL, NULL);
}

static void room_bounds_what_is_taken_and_old_rows_come_first(void **state) {
  (void)state;
  relay_core *core = relay_core_new(2, 10, &(relay_gap){3, 5, 50}, 1);
  relay_row filled[] = {row(3, 1), row(4, 2), row(5, 3)};
  relay_row fresh = row(11, 3);
  size_t taken_filled, taken_fresh;
  ls_error error;
  assert_true(
      relay_core_observe(core, filled, 3, &fresh, 1, 60, 60, &taken_filled, &taken_fresh, &error));
  assert_int_equal(taken_filled, 2);
  assert_int_equal(taken_fresh, 0); /* its order's row 5 is still to be read */
  assert_int_equal(relay_core_missing(core), 1);
  relay_core_destroy(core, NULL, NULL);
}

static void rows_out_of_place_are_refused(void **state) {
  (void)state;
  relay_core *core = relay_core_new(4, 10, NULL, 0);
  relay_row stray = row(7, 1);
  size_t taken_filled, taken_fresh;
  ls_error error;
  assert_false(
      relay_core_observe(core, &stray, 1, NULL, 0, 60, 60, &taken_filled, &taken_fresh, &error));
  assert_false(
      relay_core_observe(core, NULL, 0, &stray, 1, 60, 60, &taken_filled, &taken_fresh, &error));
  assert_int_equal(relay_core_size(core), 0);
  relay_core_destroy(core, NULL, NULL);
}

static void an_order_has_no_more_than_its_share(void **state) {
  (void)state;
  relay_core *core = relay_core_new(8, 0, NULL, 0); /* a share of two */
  relay_row rows[] = {row(1, 10), row(2, 10), row(3, 10), row(4, 40), row(5, 10), row(6, 10)};
  observe(core, NULL, 0, rows, 6, 100, 100);
  const bool left_out[] = {false, false, true, false, true, true};
  for (size_t i = 0; i < 6; i++)
    assert_int_equal(rows[i].left_out, left_out[i]);
  assert_int_equal(relay_core_size(core), 3);
  relay_entry *first, *other, *second;
  expect_next(core, 1, &first);
  expect_next(core, 4, &other);
  relay_core_acknowledged(core, other);
  int64_t order_id, from, to;
  size_t limit;
  assert_false(relay_core_plan_deferred(core, &order_id, &from, &to, &limit));
  relay_core_acknowledged(core, first);
  expect_checkpoint(core, 1, NULL, 0);
  expect_next(core, 2, &second);
  relay_row late = row(7, 10);
  observe(core, NULL, 0, &late, 1, 100, 100);
  assert_true(late.left_out); /* those before it come first */

  assert_true(relay_core_plan_deferred(core, &order_id, &from, &to, &limit));
  assert_int_equal(order_id, 10);
  assert_int_equal(from, 3);
  assert_int_equal(to, 7);
  assert_int_equal(limit, 1);
  ls_error error;
  assert_true(relay_core_observe_deferred(core, 10, &rows[2], 1, &error));
  relay_core_acknowledged(core, second);
  expect_checkpoint(core, 2, NULL, 0); /* row 3 is in care, the others are not even that */
  relay_entry *third;
  expect_next(core, 3, &third);
  assert_true(relay_core_plan_deferred(core, &order_id, &from, &to, &limit));
  assert_int_equal(from, 4);
  relay_core_acknowledged(core, third);
  assert_true(relay_core_plan_deferred(core, &order_id, &from, &to, &limit));
  assert_int_equal(limit, 2);
  relay_row stray = row(6, 40);
  assert_false(relay_core_observe_deferred(core, 10, &stray, 1, &error));
  assert_true(relay_core_observe_deferred(core, 10, &rows[4], 2, &error));
  expect_checkpoint(core, 4, NULL, 0);
  assert_int_equal(relay_core_deferred_count(core), 1);
  for (relay_entry *entry; (entry = relay_core_next(core)) != NULL;)
    relay_core_acknowledged(core, entry);
  assert_true(relay_core_observe_deferred(core, 10, &late, 1, &error));
  assert_int_equal(relay_core_deferred_count(core), 0);
  relay_entry *last;
  expect_next(core, 7, &last);
  relay_core_acknowledged(core, last);
  expect_checkpoint(core, 7, NULL, 0);
  relay_core_destroy(core, NULL, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_are_sent_in_order),
      cmocka_unit_test(failed_event_holds_its_order_only),
      cmocka_unit_test(late_commit_is_found_in_its_gap),
      cmocka_unit_test(gap_that_nobody_can_fill_is_none),
      cmocka_unit_test(room_bounds_what_is_taken_and_old_rows_come_first),
      cmocka_unit_test(rows_out_of_place_are_refused),
      cmocka_unit_test(an_order_has_no_more_than_its_share),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
