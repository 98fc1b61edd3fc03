/* The core of the event consumer: each rule, then every order of arrival in every cut into batches.
 */
#include "delivery/delivery_decide.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define FULL(v)                                                                                    \
  { (v), true }
#define ZERO(v)                                                                                    \
  { (v), false }
#define POKE                                                                                       \
  { 0, false }

static const delivery_lookup none = {DELIVERY_LOOKUP_NONE, 0};
static const delivery_lookup missing = {DELIVERY_LOOKUP_MISSING, 0};
static const delivery_lookup failed = {DELIVERY_LOOKUP_FAILED, 0};

static delivery_lookup found(int64_t version) {
  return (delivery_lookup){DELIVERY_LOOKUP_FOUND, version};
}

static delivery_known at(int64_t applied) {
  delivery_known known = {.applied_version = applied, .tracker.event_version = applied};
  return known;
}

/* "a" applied, "s" stale, "p" pending, "?" open, each with o(vertaken), d(uplicate), c(oalesced).
 */
static void describe(const delivery_verdict *verdicts, size_t count, char *text) {
  for (size_t i = 0; i < count; i++) {
    *text++ = "?asp"[verdicts[i].fate];
    if (verdicts[i].overtaken)
      *text++ = 'o';
    if (verdicts[i].duplicate)
      *text++ = 'd';
    if (verdicts[i].coalesced)
      *text++ = 'c';
    *text++ = i + 1 < count ? ' ' : '\0';
  }
}

static void expect(int64_t applied, const delivery_event *events, size_t count,
                   delivery_lookup lookup, const char *fates, delivery_source source,
                   int64_t version, bool look_up, int64_t min_version, bool pending) {
  delivery_known known = at(applied);
  delivery_decision decision;
  delivery_verdict verdicts[16];
  delivery_decide(&known, events, count, &lookup, &decision, verdicts);
  char text[128];
  describe(verdicts, count, text);
  assert_string_equal(text, fates);
  assert_int_equal(decision.source, source);
  assert_int_equal(decision.version, version);
  assert_int_equal(decision.look_up, look_up);
  assert_int_equal(decision.pending, pending);
  if (look_up || pending)
    assert_int_equal(decision.min_version, min_version);
}

#define EXPECT(applied, lookup, fates, source, version, look_up, min_version, pending, ...)        \
  do {                                                                                             \
    const delivery_event events[] = {__VA_ARGS__};                                                 \
    expect(applied, events, sizeof events / sizeof events[0], lookup, fates, source, version,      \
           look_up, min_version, pending);                                                         \
  } while (0)

static void test_full_payload_is_applied_without_a_lookup(void **state) {
  (void)state;
  EXPECT(0, none, "a", DELIVERY_FROM_SNAPSHOT, 1, false, 0, false, FULL(1));
  EXPECT(2, none, "a", DELIVERY_FROM_SNAPSHOT, 7, false, 0, false, FULL(7));
}

static void test_old_versions_are_stale_without_a_lookup(void **state) {
  (void)state;
  EXPECT(3, none, "sd", DELIVERY_FROM_NOWHERE, 0, false, 0, false, FULL(3));
  EXPECT(3, none, "sd", DELIVERY_FROM_NOWHERE, 0, false, 0, false, ZERO(3));
  EXPECT(3, none, "sd sd", DELIVERY_FROM_NOWHERE, 0, false, 0, false, FULL(1), ZERO(2));
}

static void test_zero_payload_is_looked_up(void **state) {
  (void)state;
  EXPECT(2, none, "?", DELIVERY_FROM_NOWHERE, 0, true, 3, false, ZERO(3));
  EXPECT(2, found(3), "a", DELIVERY_FROM_LOOKUP, 3, false, 3, false, ZERO(3));
  EXPECT(2, found(9), "a", DELIVERY_FROM_LOOKUP, 9, false, 3, false, ZERO(3));
}

static void test_a_lookup_that_does_not_reach_the_version_is_pending(void **state) {
  (void)state;
  EXPECT(1, found(2), "p", DELIVERY_FROM_NOWHERE, 0, false, 3, true, ZERO(3));
  EXPECT(1, missing, "p", DELIVERY_FROM_NOWHERE, 0, false, 3, true, ZERO(3));
  EXPECT(1, failed, "p", DELIVERY_FROM_NOWHERE, 0, false, 3, true, ZERO(3));
}

static void test_without_a_version_the_order_is_always_looked_up(void **state) {
  (void)state;
  EXPECT(5, none, "?", DELIVERY_FROM_NOWHERE, 0, true, 0, false, POKE);
  EXPECT(5, found(6), "a", DELIVERY_FROM_LOOKUP, 6, false, 0, false, POKE);
  EXPECT(5, found(5), "s", DELIVERY_FROM_NOWHERE, 0, false, 0, false, POKE);
  EXPECT(5, found(4), "s", DELIVERY_FROM_NOWHERE, 0, false, 0, false, POKE);
  EXPECT(0, missing, "p", DELIVERY_FROM_NOWHERE, 0, false, 0, true, POKE);
  EXPECT(0, failed, "p", DELIVERY_FROM_NOWHERE, 0, false, 0, true, POKE);
}

static void test_the_newest_of_a_batch_saves_the_others(void **state) {
  (void)state;
  EXPECT(0, none, "sc sc a", DELIVERY_FROM_SNAPSHOT, 3, false, 0, false, FULL(1), FULL(2), FULL(3));
  EXPECT(0, none, "a soc soc", DELIVERY_FROM_SNAPSHOT, 3, false, 0, false, FULL(3), FULL(1),
         FULL(2));
  EXPECT(0, none, "a sd", DELIVERY_FROM_SNAPSHOT, 1, false, 0, false, FULL(1), FULL(1));
  EXPECT(0, none, "sc sdc a", DELIVERY_FROM_SNAPSHOT, 2, false, 0, false, FULL(1), FULL(1),
         FULL(2));
}

static void test_a_newer_zero_payload_beside_a_full_one_is_looked_up(void **state) {
  (void)state;
  EXPECT(0, none, "? ?", DELIVERY_FROM_NOWHERE, 0, true, 2, false, FULL(1), ZERO(2));
  EXPECT(0, found(2), "sc a", DELIVERY_FROM_LOOKUP, 2, false, 2, false, FULL(1), ZERO(2));
  /* What is at hand is applied, what is not is tried again. */
  EXPECT(0, failed, "a p", DELIVERY_FROM_SNAPSHOT, 1, false, 2, true, FULL(1), ZERO(2));
  EXPECT(0, none, "sc a", DELIVERY_FROM_SNAPSHOT, 2, false, 0, false, ZERO(1), FULL(2));
}

static void test_the_same_version_with_and_without_payload(void **state) {
  (void)state;
  EXPECT(0, none, "sc a", DELIVERY_FROM_SNAPSHOT, 1, false, 0, false, ZERO(1), FULL(1));
  EXPECT(0, none, "a sd", DELIVERY_FROM_SNAPSHOT, 1, false, 0, false, FULL(1), ZERO(1));
}

static void test_a_poke_beside_other_events(void **state) {
  (void)state;
  EXPECT(0, found(2), "a sc", DELIVERY_FROM_LOOKUP, 2, false, 2, false, FULL(2), POKE);
  EXPECT(0, failed, "a p", DELIVERY_FROM_SNAPSHOT, 2, false, 0, true, FULL(2), POKE);
  EXPECT(0, found(3), "sc a", DELIVERY_FROM_LOOKUP, 3, false, 2, false, POKE, ZERO(2));
  EXPECT(0, failed, "sc p", DELIVERY_FROM_NOWHERE, 0, false, 2, true, POKE, ZERO(2));
  EXPECT(4, found(6), "sd a", DELIVERY_FROM_LOOKUP, 6, false, 0, false, FULL(3), POKE);
  EXPECT(4, found(6), "sc a", DELIVERY_FROM_LOOKUP, 6, false, 0, false, POKE, POKE);
}

static void test_what_was_applied_meanwhile_is_stale(void **state) {
  (void)state;
  /* The lookup was made when version 2 was applied; another consumer has applied 5 since. */
  EXPECT(5, found(4), "sd", DELIVERY_FROM_NOWHERE, 0, false, 0, false, ZERO(3));
  EXPECT(5, failed, "sd", DELIVERY_FROM_NOWHERE, 0, false, 0, false, ZERO(3));
}

static void test_overtaken_and_repeated_across_batches(void **state) {
  (void)state;
  delivery_tracker tracker = {0};
  assert_int_equal(delivery_tracker_note(&tracker, 3), DELIVERY_ARRIVAL_NEWEST);
  assert_int_equal(tracker.missing_count, 2);
  assert_int_equal(delivery_tracker_note(&tracker, 3), DELIVERY_ARRIVAL_DUPLICATE);
  assert_int_equal(delivery_tracker_note(&tracker, 1), DELIVERY_ARRIVAL_OVERTAKEN);
  assert_int_equal(delivery_tracker_note(&tracker, 1), DELIVERY_ARRIVAL_DUPLICATE);
  assert_int_equal(delivery_tracker_note(&tracker, 4), DELIVERY_ARRIVAL_NEWEST);
  assert_int_equal(delivery_tracker_note(&tracker, 2), DELIVERY_ARRIVAL_OVERTAKEN);
  assert_int_equal(tracker.missing_count, 0);
}

static void test_events_behind_a_lookup_that_got_ahead_are_plainly_stale(void **state) {
  (void)state;
  delivery_known known = {.applied_version = 5, .tracker.event_version = 2};
  const delivery_event events[] = {ZERO(3), ZERO(4), ZERO(5)};
  delivery_decision decision;
  delivery_verdict verdicts[3];
  delivery_decide(&known, events, 3, &none, &decision, verdicts);
  char text[64];
  describe(verdicts, 3, text);
  assert_string_equal(text, "s s s");
  assert_true(decision.tracker_changed);
  assert_int_equal(decision.tracker.event_version, 5);
  assert_int_equal(decision.tracker.missing_count, 0);
}

static void test_the_missing_are_bounded(void **state) {
  (void)state;
  delivery_tracker tracker = {0};
  delivery_tracker_note(&tracker, INT64_MAX);
  assert_int_equal(tracker.missing_count, DELIVERY_MAX_MISSING);
  assert_true(tracker.missing[0] == INT64_MAX - DELIVERY_MAX_MISSING);
  assert_true(tracker.missing[DELIVERY_MAX_MISSING - 1] == INT64_MAX - 1);

  memset(&tracker, 0, sizeof tracker);
  for (int64_t version = 2; version <= 400; version += 2)
    assert_int_equal(delivery_tracker_note(&tracker, version), DELIVERY_ARRIVAL_NEWEST);
  assert_int_equal(tracker.missing_count, DELIVERY_MAX_MISSING);
  assert_int_equal(tracker.missing[DELIVERY_MAX_MISSING - 1], 399);
  assert_int_equal(delivery_tracker_note(&tracker, 1), DELIVERY_ARRIVAL_DUPLICATE);
  assert_int_equal(delivery_tracker_note(&tracker, 399), DELIVERY_ARRIVAL_OVERTAKEN);
}

/* --- Every order of arrival in every cut --- */

enum { EVENTS = 5, ORDERS = 2 };

typedef struct arrival {
  int order;
  delivery_event event;
} arrival;

/* Order 0 has versions 1 to 3, order 1 has 1 and 2. */
static const int64_t newest[ORDERS] = {3, 2};

static void run_batch(delivery_known *orders, const arrival *arrivals, size_t count,
                      const int64_t *truth, int counts[2]) {
  for (int order = 0; order < ORDERS; order++) {
    delivery_event events[EVENTS];
    size_t events_of_order = 0;
    for (size_t i = 0; i < count; i++)
      if (arrivals[i].order == order)
        events[events_of_order++] = arrivals[i].event;
    if (events_of_order == 0)
      continue;
    delivery_decision decision;
    delivery_verdict verdicts[EVENTS];
    delivery_known *known = &orders[order];
    delivery_decide(known, events, events_of_order, &none, &decision, verdicts);
    if (decision.look_up) {
      delivery_lookup lookup = found(truth[order]);
      delivery_decide(known, events, events_of_order, &lookup, &decision, verdicts);
      assert_false(decision.look_up);
    }
    assert_false(decision.pending);
    if (decision.source != DELIVERY_FROM_NOWHERE) {
      assert_true(decision.version > known->applied_version);
      known->applied_version = decision.version;
    }
    known->tracker = decision.tracker;
    for (size_t i = 0; i < events_of_order; i++)
      counts[verdicts[i].fate == DELIVERY_FATE_APPLIED]++;
  }
}

/* `payloads`: bit i set: event i is full. `cuts`: bit i set: a batch ends after event i. */
static void run_permutation(const int *permutation, unsigned payloads, unsigned cuts) {
  static const int orders_of[EVENTS] = {0, 0, 0, 1, 1};
  static const int64_t versions_of[EVENTS] = {1, 2, 3, 1, 2};
  arrival arrivals[EVENTS];
  for (int i = 0; i < EVENTS; i++) {
    int event = permutation[i];
    arrivals[i] = (arrival){orders_of[event], {versions_of[event], (payloads >> event & 1) != 0}};
  }
  delivery_known known[ORDERS];
  memset(known, 0, sizeof known);
  int counts[2] = {0, 0};
  size_t first = 0;
  for (size_t i = 0; i < EVENTS; i++) {
    if (i + 1 < EVENTS && (cuts >> i & 1) == 0)
      continue;
    run_batch(known, arrivals + first, i + 1 - first, newest, counts);
    first = i + 1;
  }
  assert_int_equal(counts[0] + counts[1], EVENTS);
  for (int order = 0; order < ORDERS; order++) {
    assert_int_equal(known[order].applied_version, newest[order]);
    assert_int_equal(known[order].tracker.event_version, newest[order]);
    assert_int_equal(known[order].tracker.missing_count, 0);
  }
}

static void permute(int *permutation, int fixed, int *tried) {
  if (fixed == EVENTS) {
    for (unsigned payloads = 0; payloads < 1U << EVENTS; payloads++)
      for (unsigned cuts = 0; cuts < 1U << (EVENTS - 1); cuts++)
        run_permutation(permutation, payloads, cuts);
    (*tried)++;
    return;
  }
  for (int i = fixed; i < EVENTS; i++) {
    int kept = permutation[fixed];
    permutation[fixed] = permutation[i];
    permutation[i] = kept;
    permute(permutation, fixed + 1, tried);
    permutation[i] = permutation[fixed];
    permutation[fixed] = kept;
  }
}

static void test_any_arrival_in_any_batches_ends_the_same(void **state) {
  (void)state;
  int permutation[EVENTS] = {0, 1, 2, 3, 4};
  int tried = 0;
  permute(permutation, 0, &tried);
  assert_int_equal(tried, 120);
}

static void test_in_order_one_by_one_nothing_is_stale(void **state) {
  (void)state;
  delivery_known known = {0};
  for (int64_t version = 1; version <= 20; version++) {
    const delivery_event event = {version, version % 2 == 0};
    delivery_lookup lookup = found(version);
    delivery_decision decision;
    delivery_verdict verdict;
    delivery_decide(&known, &event, 1, &lookup, &decision, &verdict);
    assert_int_equal(verdict.fate, DELIVERY_FATE_APPLIED);
    known.applied_version = decision.version;
    known.tracker = decision.tracker;
  }
  assert_int_equal(known.tracker.missing_count, 0);
}

static void test_a_poke_whose_lookup_failed_is_still_owed_one(void **state) {
  (void)state;
  const delivery_event with_poke[] = {POKE, ZERO(2)}, without[] = {ZERO(2)};
  delivery_known known = at(0);
  delivery_decision decision;
  delivery_verdict verdicts[2];
  delivery_decide(&known, with_poke, 2, &failed, &decision, verdicts);
  assert_true(decision.pending && decision.poked);
  delivery_decide(&known, without, 1, &failed, &decision, verdicts);
  assert_true(decision.pending && !decision.poked);
}

static delivery_attempt attempt_at(int64_t min_version, bool poked, int64_t applied,
                                   int32_t attempts, delivery_lookup lookup) {
  delivery_waiting waiting = {min_version, poked, applied, attempts};
  return delivery_decide_attempt(&waiting, &lookup, 3);
}

static void test_what_becomes_of_an_attempt(void **state) {
  (void)state;
  assert_int_equal(attempt_at(4, false, 2, 0, found(4)), DELIVERY_ATTEMPT_FOUND);
  assert_int_equal(attempt_at(4, false, 2, 9, found(5)), DELIVERY_ATTEMPT_FOUND);
  assert_int_equal(attempt_at(0, true, 2, 0, found(1)), DELIVERY_ATTEMPT_FOUND);
  /* An answer older than the event is not used. */
  assert_int_equal(attempt_at(4, false, 2, 0, found(3)), DELIVERY_ATTEMPT_AGAIN);
  assert_int_equal(attempt_at(4, false, 2, 1, missing), DELIVERY_ATTEMPT_AGAIN);
  assert_int_equal(attempt_at(4, false, 2, 2, missing), DELIVERY_ATTEMPT_GIVEN_UP);
  assert_int_equal(attempt_at(4, false, 2, 2, failed), DELIVERY_ATTEMPT_GIVEN_UP);
  /* The stream got there by itself; one that was asked for is looked up all the same. */
  assert_int_equal(attempt_at(4, false, 4, 2, failed), DELIVERY_ATTEMPT_REACHED);
  assert_int_equal(attempt_at(4, true, 4, 0, failed), DELIVERY_ATTEMPT_AGAIN);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_full_payload_is_applied_without_a_lookup),
      cmocka_unit_test(test_old_versions_are_stale_without_a_lookup),
      cmocka_unit_test(test_zero_payload_is_looked_up),
      cmocka_unit_test(test_a_lookup_that_does_not_reach_the_version_is_pending),
      cmocka_unit_test(test_without_a_version_the_order_is_always_looked_up),
      cmocka_unit_test(test_the_newest_of_a_batch_saves_the_others),
      cmocka_unit_test(test_a_newer_zero_payload_beside_a_full_one_is_looked_up),
      cmocka_unit_test(test_the_same_version_with_and_without_payload),
      cmocka_unit_test(test_a_poke_beside_other_events),
      cmocka_unit_test(test_what_was_applied_meanwhile_is_stale),
      cmocka_unit_test(test_overtaken_and_repeated_across_batches),
      cmocka_unit_test(test_events_behind_a_lookup_that_got_ahead_are_plainly_stale),
      cmocka_unit_test(test_the_missing_are_bounded),
      cmocka_unit_test(test_any_arrival_in_any_batches_ends_the_same),
      cmocka_unit_test(test_in_order_one_by_one_nothing_is_stale),
      cmocka_unit_test(test_a_poke_whose_lookup_failed_is_still_owed_one),
      cmocka_unit_test(test_what_becomes_of_an_attempt),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
