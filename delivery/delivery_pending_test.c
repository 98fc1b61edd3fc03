/* Pending orders, the walk over all orders and dead letters in the store, against a real
 * PostgreSQL. */
#include "delivery/delivery_store_test_support.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- Pending orders --- */

static void pend(int64_t order_id, int64_t version) {
  test_events one = {0};
  test_add_event(&one, order_id, version, PLACED, false);
  delivery_work work = test_work(&one, order_id);
  work.lookup.kind = DELIVERY_LOOKUP_MISSING;
  assert_int_equal(test_apply(test_store, &work, 1), 0);
  assert_int_equal(one.verdicts[0].fate, DELIVERY_FATE_PENDING);
}

static delivery_pending claim_one(void) {
  delivery_pending *pending;
  size_t count;
  ls_error error = {0};
  test_check(
      delivery_store_claim_pending(test_store, 10, 60000, test_arena, &pending, &count, &error),
      &error);
  assert_int_equal(count, 1);
  return pending[0];
}

static void end_pending(const delivery_pending_end *end) {
  delivery_batch batch = {.ends = end, .end_count = 1};
  size_t applied;
  ls_error error = {0};
  test_check(delivery_store_apply(test_store, &batch, &applied, &error), &error);
}

static size_t count_claimable(void) {
  delivery_pending *pending;
  size_t count;
  ls_error error = {0};
  test_check(
      delivery_store_claim_pending(test_store, 10, 60000, test_arena, &pending, &count, &error),
      &error);
  return count;
}

static void test_pending_keeps_the_larger_version(void **state) {
  (void)state;
  int64_t id = test_order_ids(1);
  pend(id, 4);
  pend(id, 9);
  pend(id, 6);
  order_record record;
  bool found;
  ls_error error = {0};
  test_check(delivery_store_pending_record(test_store, id, test_arena, &record, &found, &error),
             &error);
  assert_true(found);
  assert_int_equal(record.offset, 9);
  assert_null(record.value);
  assert_memory_equal(record.key, "7", 1);
  delivery_pending pending = claim_one();
  assert_int_equal(pending.order_id, id);
  assert_int_equal(pending.min_version, 9);
  assert_false(pending.poked);
  assert_int_equal(count_claimable(), 0); /* it is claimed */

  end_pending(&(delivery_pending_end){.order_id = id,
                                      .generation = pending.generation,
                                      .claim = pending.claim,
                                      .attempts = 1,
                                      .delay_ms = 0,
                                      .reason = "again"});
  pending = claim_one();
  assert_int_equal(pending.attempts, 1);
  /* A success that an event has outrun meanwhile leaves it pending, and due. */
  pend(id, 12);
  end_pending(&(delivery_pending_end){
      .order_id = id, .generation = pending.generation, .claim = pending.claim, .done = true});
  pending = claim_one();
  assert_int_equal(pending.min_version, 12);
  assert_int_equal(pending.attempts, 0);
  end_pending(&(delivery_pending_end){
      .order_id = id, .generation = pending.generation, .claim = pending.claim, .done = true});
  assert_int_equal(count_claimable(), 0);
  test_check(delivery_store_pending_record(test_store, id, test_arena, &record, &found, &error),
             &error);
  assert_false(found);
}

static void test_an_attempt_that_took_too_long_ends_nothing(void **state) {
  (void)state;
  int64_t id = test_order_ids(1);
  pend(id, 3);
  delivery_pending *late;
  size_t count;
  ls_error error = {0};
  test_check(delivery_store_claim_pending(test_store, 10, 0, test_arena, &late, &count, &error),
             &error);
  assert_int_equal(count, 1);
  delivery_pending other = claim_one(); /* the first claim has run out */
  delivery_pending_end end = {.order_id = id,
                              .generation = late->generation,
                              .claim = late->claim,
                              .attempts = 7,
                              .delay_ms = 0};
  end_pending(&end);
  assert_int_equal(count_claimable(), 0);
  end.done = true;
  end_pending(&end);
  order_record record;
  bool found;
  test_check(delivery_store_pending_record(test_store, id, test_arena, &record, &found, &error),
             &error);
  assert_true(found);
  end_pending(&(delivery_pending_end){
      .order_id = id, .generation = other.generation, .claim = other.claim, .done = true});
}

static void test_resync_asks_for_a_lookup(void **state) {
  (void)state;
  int64_t id = test_order_ids(1);
  ls_error error = {0};
  test_check(delivery_store_ask_resync(test_store, &id, 1, "order-topic", &error), &error);
  test_check(delivery_store_ask_resync(test_store, &id, 1, "order-topic", &error), &error);
  delivery_pending pending = claim_one();
  assert_true(pending.poked);
  assert_int_equal(pending.min_version, 0);
  order_record record;
  bool found;
  test_check(delivery_store_pending_record(test_store, id, test_arena, &record, &found, &error),
             &error);
  char key[24];
  snprintf(key, sizeof key, "%" PRId64, id);
  assert_int_equal(record.key_bytes, strlen(key));
  assert_memory_equal(record.key, key, strlen(key));
  assert_null(record.value);
  end_pending(&(delivery_pending_end){
      .order_id = id, .generation = pending.generation, .claim = pending.claim, .done = true});
}

static void test_the_walk_over_all_orders(void **state) {
  (void)state;
  delivery_resync walk;
  ls_error error = {0};
  test_check(delivery_store_claim_resync(test_store, 60000, test_arena, &walk, &error), &error);
  assert_false(walk.active);
  test_check(delivery_store_ask_resync_all(test_store, &error), &error);
  test_check(delivery_store_claim_resync(test_store, 60000, test_arena, &walk, &error), &error);
  assert_true(walk.active);
  assert_string_equal(walk.page_token, "");
  delivery_resync second;
  test_check(delivery_store_claim_resync(test_store, 60000, test_arena, &second, &error), &error);
  assert_false(second.active); /* somebody is at it */
  test_check(delivery_store_advance_resync(test_store, walk.generation, "page 2", false, &error),
             &error);
  test_check(delivery_store_claim_resync(test_store, 60000, test_arena, &second, &error), &error);
  assert_true(second.active);
  assert_string_equal(second.page_token, "page 2");
  /* Whose claim was overtaken moves nothing. */
  test_check(delivery_store_advance_resync(test_store, walk.generation, "page 9", true, &error),
             &error);
  test_check(delivery_store_advance_resync(test_store, second.generation, "", true, &error),
             &error);
  test_check(delivery_store_claim_resync(test_store, 60000, test_arena, &walk, &error), &error);
  assert_false(walk.active);
}

/* --- Dead letters --- */

static void add_letters(const delivery_letter *letters, size_t count) {
  delivery_batch batch = {.letters = letters, .letter_count = count};
  size_t applied;
  ls_error error = {0};
  test_check(delivery_store_apply(test_store, &batch, &applied, &error), &error);
}

static void test_dead_letters(void **state) {
  (void)state;
  const delivery_letter_filter waiting = {false, false}, replayed_too = {true, false};
  const delivery_letter_filter all = {true, true};
  const delivery_letter letters[] = {
      {{"order-topic", 1, 10, "a", 1, NULL, 0, "", 0}, "no order id"},
      {{"order-topic", 1, 11, NULL, 0, "", 0, "", 0}, "names no order"},
      {{"order-topic", 1, 11, NULL, 0, "", 0, "", 0}, "names no order"},
      {{"order-topic", 1, 10, "b", 1, NULL, 0, "", 0}, "another topic of this name"}};
  add_letters(letters, 4);
  add_letters(letters, 1); /* it came again */
  Delivery__V1__DeadLetter **list;
  size_t count;
  bool more;
  ls_error error = {0};
  test_check(delivery_store_list_letters(test_store, waiting, 0, 2, 1000, test_arena, &list, &count,
                                         &more, &error),
             &error);
  assert_int_equal(count, 2);
  assert_true(more);
  test_check(delivery_store_list_letters(test_store, waiting, 0, 3, 1000, test_arena, &list, &count,
                                         &more, &error),
             &error);
  assert_int_equal(count, 3);
  assert_false(more);
  /* A bound of bytes leaves at least one. */
  test_check(delivery_store_list_letters(test_store, waiting, 0, 3, 0, test_arena, &list, &count,
                                         &more, &error),
             &error);
  assert_int_equal(count, 1);
  assert_true(more);

  delivery_stored_letter *stored;
  int64_t last;
  test_check(delivery_store_last_letter(test_store, &last, &error), &error);
  test_check(delivery_store_letters_to_replay(test_store, 0, last, 10, 1000, test_arena, &stored,
                                              &count, &error),
             &error);
  assert_int_equal(count, 3);
  for (size_t i = 0; i < count; i++) {
    /* A null value is told from an empty one. */
    assert_int_equal(stored[i].record.value == NULL, stored[i].record.offset == 10);
    assert_int_equal(stored[i].record.key == NULL, stored[i].record.offset == 11);
  }
  test_check(delivery_store_mark_replayed(test_store, &stored[0].dead_letter_id, 1, &error),
             &error);
  int64_t pending, dead;
  test_check(delivery_store_count_problems(test_store, &pending, &dead, &error), &error);
  assert_int_equal(dead, 2);
  test_check(delivery_store_list_letters(test_store, replayed_too, 0, 10, 1000, test_arena, &list,
                                         &count, &more, &error),
             &error);
  assert_int_equal(count, 3);
  assert_non_null(list[0]->replay_time);
  int64_t discarded = list[1]->dead_letter_id;
  test_check(delivery_store_discard_letter(test_store, discarded, "known", &error), &error);
  test_check(delivery_store_discard_letter(test_store, discarded, "known better", &error), &error);
  test_check(delivery_store_count_problems(test_store, &pending, &dead, &error), &error);
  assert_int_equal(dead, 1);
  test_check(delivery_store_list_letters(test_store, replayed_too, 0, 10, 1000, test_arena, &list,
                                         &count, &more, &error),
             &error);
  assert_int_equal(count, 2);
  test_check(delivery_store_list_letters(test_store, all, 0, 10, 1000, test_arena, &list, &count,
                                         &more, &error),
             &error);
  assert_int_equal(count, 3);
  assert_non_null(list[1]->discard_time);
  assert_string_equal(list[1]->discard_reason, "known");
  test_check(delivery_store_letters_to_replay(test_store, 0, last, 10, 1000, test_arena, &stored,
                                              &count, &error),
             &error);
  assert_int_equal(count, 1);
  assert_null(list[1]->replay_time);
}

int main(void) {
  if (test_skipped() != 0)
    return test_skipped();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pending_keeps_the_larger_version),
      cmocka_unit_test(test_an_attempt_that_took_too_long_ends_nothing),
      cmocka_unit_test(test_resync_asks_for_a_lookup),
      cmocka_unit_test(test_the_walk_over_all_orders),
      cmocka_unit_test(test_dead_letters),
  };
  return cmocka_run_group_tests(tests, test_set_up, test_tear_down);
}
