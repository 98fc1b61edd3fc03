/* The relay's decisions: gaps, fences, checkpoints; and a simulation in which commits, reads,
 * sends, failures and crashes interleave at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* --- Simulation --- */

enum { ORDERS = 4, MOST_ROWS = 64, MOST_TRANSACTIONS = 6, MOST_FLIGHTS = 16 };

typedef struct sim_row {
  int64_t order_id, version;
  int state; /* 0: its transaction runs, 1: committed, 2: rolled back */
  bool in_kafka;
} sim_row;

typedef struct sim_transaction {
  uint64_t id;      /* 0: free */
  int64_t order_id; /* 0: none yet */
  int64_t sequences[4];
  int count;
} sim_transaction;

typedef struct sim {
  uint64_t seed;
  sim_row rows[MOST_ROWS + 1];
  int64_t last_sequence;
  uint64_t next_id;
  sim_transaction transactions[MOST_TRANSACTIONS];
  int64_t versions[ORDERS + 1];   /* committed */
  int64_t first_seen[ORDERS + 1]; /* highest version whose first copy is in Kafka */
  int64_t checkpoint;
  relay_gap gaps[MOST_ROWS];
  size_t gap_count;
  relay_core *core;
  relay_entry *flights[MOST_FLIGHTS];
  int64_t flight_sequences[MOST_FLIGHTS];
  int flight_count;
} sim;

static unsigned pick(sim *s, unsigned bound) {
  s->seed ^= s->seed << 13;
  s->seed ^= s->seed >> 7;
  s->seed ^= s->seed << 17;
  return (unsigned)((s->seed >> 11) % bound);
}

/* Takes an id, then locks an order, then takes a number: the order the outbox guarantees. */
static void write_row(sim *s) {
  sim_transaction *t = &s->transactions[pick(s, MOST_TRANSACTIONS)];
  if (s->last_sequence >= MOST_ROWS || t->count > 0)
    return;
  int64_t order_id = 1 + pick(s, ORDERS);
  for (int i = 0; i < MOST_TRANSACTIONS; i++)
    if (s->transactions[i].id != 0 && s->transactions[i].order_id == order_id)
      return; /* somebody holds its row */
  if (t->id == 0)
    t->id = s->next_id++;
  t->order_id = order_id;
  int64_t sequence = ++s->last_sequence;
  s->rows[sequence] = (sim_row){order_id, s->versions[order_id] + 1, 0, false};
  t->sequences[t->count++] = sequence;
}

static void begin_transaction(sim *s) {
  sim_transaction *t = &s->transactions[pick(s, MOST_TRANSACTIONS)];
  if (t->id == 0)
    *t = (sim_transaction){.id = s->next_id++};
}

static void end_transaction(sim *s, sim_transaction *t, bool commit) {
  if (t->id == 0)
    return;
  for (int i = 0; i < t->count; i++) {
    s->rows[t->sequences[i]].state = commit ? 1 : 2;
    if (commit)
      s->versions[t->order_id]++;
  }
  *t = (sim_transaction){0};
}

static uint64_t oldest_running(const sim *s) {
  uint64_t oldest = s->next_id;
  for (int i = 0; i < MOST_TRANSACTIONS; i++)
    if (s->transactions[i].id != 0 && s->transactions[i].id < oldest)
      oldest = s->transactions[i].id;
  return oldest;
}

static bool read_deferred(sim *s) {
  int64_t order_id, first, last;
  size_t limit, count = 0;
  relay_row rows[MOST_ROWS];
  ls_error error;
  if (!relay_core_plan_deferred(s->core, &order_id, &first, &last, &limit))
    return true;
  for (int64_t i = first; i <= last && count < limit; i++)
    if (s->rows[i].state == 1 && s->rows[i].order_id == order_id)
      rows[count++] = (relay_row){i, order_id, &s->rows[i], false};
  return relay_core_observe_deferred(s->core, order_id, rows, count, &error);
}

static bool read_outbox(sim *s) {
  int64_t after;
  size_t limit, gap_count, filled_count = 0, fresh_count = 0;
  const relay_gap *gaps;
  relay_core_plan(s->core, &after, &limit, &gaps, &gap_count);
  relay_row filled[MOST_ROWS], fresh[MOST_ROWS];
  for (size_t g = 0; g < gap_count; g++)
    for (int64_t i = gaps[g].first; i <= gaps[g].last; i++)
      if (s->rows[i].state == 1)
        filled[filled_count++] = (relay_row){i, s->rows[i].order_id, &s->rows[i], false};
  for (int64_t i = after + 1; i <= s->last_sequence && fresh_count < limit; i++)
    if (s->rows[i].state == 1)
      fresh[fresh_count++] = (relay_row){i, s->rows[i].order_id, &s->rows[i], false};
  size_t taken_filled, taken_fresh;
  ls_error error;
  return relay_core_observe(s->core, filled, filled_count, fresh, fresh_count, oldest_running(s),
                            s->next_id, &taken_filled, &taken_fresh, &error) &&
         read_deferred(s);
}

/* Kafka has it. False: a version came before its predecessor. */
static bool arrive(sim *s, int64_t sequence) {
  sim_row *r = &s->rows[sequence];
  r->in_kafka = true;
  if (r->version > s->first_seen[r->order_id] + 1)
    return false;
  if (r->version > s->first_seen[r->order_id])
    s->first_seen[r->order_id] = r->version;
  return true;
}

static void send_one(sim *s) {
  if (s->flight_count == MOST_FLIGHTS)
    return;
  relay_entry *entry = relay_core_next(s->core);
  if (entry == NULL)
    return;
  s->flight_sequences[s->flight_count] = relay_entry_sequence(entry);
  s->flights[s->flight_count++] = entry;
}

static bool land_one(sim *s, bool acknowledge) {
  if (s->flight_count == 0)
    return true;
  int i = (int)pick(s, (unsigned)s->flight_count);
  relay_entry *entry = s->flights[i];
  int64_t sequence = s->flight_sequences[i];
  s->flights[i] = s->flights[--s->flight_count];
  s->flight_sequences[i] = s->flight_sequences[s->flight_count];
  bool in_order = true;
  /* A send that failed may have been written all the same. */
  if (acknowledge || pick(s, 2) == 0)
    in_order = arrive(s, sequence);
  if (acknowledge)
    relay_core_acknowledged(s->core, entry);
  else
    relay_core_failed(s->core, entry);
  return in_order;
}

static bool write_checkpoint(sim *s) {
  const relay_gap *gaps;
  int64_t highest;
  ls_error error;
  if (!relay_core_checkpoint(s->core, &highest, &gaps, &s->gap_count, &error) ||
      highest < s->checkpoint || s->gap_count > MOST_ROWS)
    return false;
  s->checkpoint = highest;
  if (s->gap_count > 0)
    memcpy(s->gaps, gaps, s->gap_count * sizeof *gaps);
  return true;
}

/* A successor begins at the last checkpoint; what was in flight may or may not have been written.
 */
static bool crash(sim *s) {
  bool in_order = true;
  while (s->flight_count > 0) {
    s->flight_count--;
    if (pick(s, 2) == 0)
      in_order = arrive(s, s->flight_sequences[s->flight_count]) && in_order;
  }
  relay_core_destroy(s->core, NULL, NULL);
  s->core = relay_core_new(1 + pick(s, 12), s->checkpoint, s->gaps, s->gap_count);
  return in_order && s->core != NULL;
}

static bool step(sim *s) {
  switch (pick(s, 16)) {
  case 0:
    begin_transaction(s);
    return true;
  case 1:
  case 2:
  case 3:
    write_row(s);
    return true;
  case 4:
  case 5:
    end_transaction(s, &s->transactions[pick(s, MOST_TRANSACTIONS)], true);
    return true;
  case 6:
    end_transaction(s, &s->transactions[pick(s, MOST_TRANSACTIONS)], false);
    return true;
  case 7:
  case 8:
    return read_outbox(s);
  case 9:
  case 10:
    send_one(s);
    return true;
  case 11:
  case 12:
    return land_one(s, true);
  case 13:
    return land_one(s, false);
  case 14:
    relay_core_retry(s->core);
    return write_checkpoint(s);
  default:
    return pick(s, 4) != 0 || crash(s);
  }
}

/* Lets everything come to rest: all that was committed must be in Kafka, nothing missing for ever.
 */
static bool settle(sim *s) {
  for (int i = 0; i < MOST_TRANSACTIONS; i++)
    end_transaction(s, &s->transactions[i], pick(s, 2) == 0);
  for (int round = 0; round < 4 * MOST_ROWS; round++) {
    relay_core_retry(s->core);
    if (!read_outbox(s))
      return false;
    send_one(s);
    while (s->flight_count > 0)
      if (!land_one(s, true))
        return false;
  }
  if (!write_checkpoint(s) || s->gap_count != 0 || relay_core_size(s->core) != 0)
    return false;
  for (int64_t i = 1; i <= s->last_sequence; i++)
    if (s->rows[i].state == 1 && !s->rows[i].in_kafka)
      return false;
  return true;
}

static bool run_schedule(uint64_t seed) {
  sim s = {.seed = seed * 0x9e3779b97f4a7c15u + 1, .next_id = 3};
  s.core = relay_core_new(1 + pick(&s, 12), 0, NULL, 0);
  bool well = s.core != NULL;
  for (int i = 0; well && i < 300; i++)
    well = step(&s);
  well = well && settle(&s);
  relay_core_destroy(s.core, NULL, NULL);
  return well;
}

static void random_schedules_lose_and_reorder_nothing(void **state) {
  (void)state;
  const char *only = getenv("LOCKSTEP_SEED");
  if (only != NULL) {
    assert_true(run_schedule(strtoull(only, NULL, 10)));
    return;
  }
  for (uint64_t seed = 1; seed <= 20000; seed++)
    if (!run_schedule(seed))
      fail_msg("schedule with LOCKSTEP_SEED=%llu", (unsigned long long)seed);
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
      cmocka_unit_test(random_schedules_lose_and_reorder_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
