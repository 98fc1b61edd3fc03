/* All orders in which some events can come to delivery: see exhaustive.h.
 *
 * For one order of the events, all cuts into batches are walked as a tree, so that what they have
 * in common is done once. At every batch a crash before the lookup, after it, and after the offsets
 * are committed must leave the database as it was; after the crash between the two commits, and
 * after the loss of all offsets, the events come again in batches of 1, 2, 3 and all. */
#include <stdio.h>
#include <string.h>

#include "tests/simulation/checks.h"
#include "tests/simulation/consumers.h"
#include "tests/simulation/exhaustive.h"
#include "tests/simulation/retriers.h"

enum { MOST_A = 4, MOST_B = 3, MOST_EVENTS = MOST_A + MOST_B, ORDER_A = 1, ORDER_B = 2, LOG = 0 };

typedef enum payload_kind { FULL, ZERO, FULL_ODD, FULL_EVEN } payload_kind;

typedef struct pattern {
  payload_kind payload;
  answer answer; /* of lookups by the consumer; retriers' are current */
  int cancelled; /* the version of order A that is the first cancelled one; 0: its last */
  bool revived;  /* later ones are not, against order's rules: nothing may come of it */
} pattern;

/* The first ones are tried on the most events, too. */
static const pattern patterns[] = {
    {FULL, ANSWER_CURRENT, 0, false},       {FULL, ANSWER_CURRENT, 2, true},
    {ZERO, ANSWER_EXACT, 0, false},         {ZERO, ANSWER_PREVIOUS, 0, false},
    {FULL_ODD, ANSWER_FAILED, 0, false},    {FULL_EVEN, ANSWER_EXACT, 0, false},
    {ZERO, ANSWER_CURRENT, 0, false},       {ZERO, ANSWER_EXACT, 2, true},
    {ZERO, ANSWER_OLD, 0, false},           {ZERO, ANSWER_MISSING, 0, false},
    {ZERO, ANSWER_FAILED, 0, false},        {FULL_ODD, ANSWER_CURRENT, 0, false},
    {FULL_ODD, ANSWER_EXACT, 0, false},     {FULL_EVEN, ANSWER_EXACT, 2, true},
    {FULL_EVEN, ANSWER_PREVIOUS, 0, false}, {FULL_EVEN, ANSWER_FAILED, 0, false},
};

enum { PATTERNS = sizeof patterns / sizeof patterns[0], PATTERNS_OF_MOST = 6 };

static const uint64_t factorials[MOST_EVENTS + 1] = {1, 1, 2, 6, 24, 120, 720, 5040};

typedef struct delivery_case {
  int a, b; /* versions of the two orders */
  const pattern *pattern;
  uint64_t permutation;
} delivery_case;

/* What a crash takes back, and what a branch of the tree must find as the other one did. */
typedef struct saved {
  delivery_tables tables;
  record records[MOST_EVENTS];
  int committed, position, done;
  bool assigned;
} saved;

static world w;
static delivery_case now;
static int event_count;

/* Where it stands, for who reads of a failure. */
static int cuts[MOST_EVENTS], cut_count, again_from, again_by;

/* --- Numbers and cases --- */

static bool next_sizes(int events, int *a, int *b) {
  do {
    if (++*b > MOST_B) {
      *b = 0;
      ++*a;
    }
    if (*a > MOST_A)
      return false;
  } while (*a + *b > events);
  return true;
}

static uint64_t patterns_of(int events) {
  return events == MOST_EVENTS ? PATTERNS_OF_MOST : PATTERNS;
}

static uint64_t cases_of(int a, int b) {
  return factorials[a + b] * patterns_of(a + b);
}

uint64_t exhaustive_deliveries(int events) {
  uint64_t count = 0;
  for (int a = 1, b = -1; next_sizes(events, &a, &b);)
    count += cases_of(a, b);
  return count;
}

/* Large ones last, in the order that leaves numbers as they are when `events` is less. */
static delivery_case case_of(uint64_t number) {
  for (int events = 1; events <= MOST_EVENTS; events++)
    for (int a = 1, b = -1; next_sizes(events, &a, &b);) {
      if (a + b != events)
        continue;
      if (number < cases_of(a, b))
        return (delivery_case){a, b, &patterns[number % patterns_of(events)],
                               number / patterns_of(events)};
      number -= cases_of(a, b);
    }
  return (delivery_case){1, 0, &patterns[0], 0};
}

static bool has_payload(payload_kind payload, int64_t version) {
  return payload == FULL || (payload == FULL_ODD && version % 2 == 1) ||
         (payload == FULL_EVEN && version % 2 == 0);
}

static void put_event(int at, int number) {
  bool is_a = number < now.a;
  int64_t version = is_a ? number + 1 : number - now.a + 1;
  w.kafka.logs[LOG].records[at] = (record){.order = (int8_t)(is_a ? ORDER_A : ORDER_B),
                                           .version = (int16_t)version,
                                           .full = has_payload(now.pattern->payload, version)};
}

/* The n-th permutation, by its digits in factorials. */
static void put_events(void) {
  int left[MOST_EVENTS];
  uint64_t number = now.permutation;
  for (int i = 0; i < event_count; i++)
    left[i] = i;
  for (int at = 0; at < event_count; at++) {
    int rest = event_count - at;
    int index = (int)(number / factorials[rest - 1]);
    number %= factorials[rest - 1];
    put_event(at, left[index]);
    memmove(&left[index], &left[index + 1], (size_t)(rest - index - 1) * sizeof left[0]);
  }
  w.kafka.logs[LOG].length = event_count;
}

static void make_orders(void) {
  order_row *a = &w.order.orders[ORDER_A];
  a->version = now.a;
  w.order.orders[ORDER_B].version = now.b;
  int first = now.pattern->cancelled > 0 ? now.pattern->cancelled : now.a;
  for (int version = first; version <= now.a; version++)
    if (version == first || !now.pattern->revived)
      a->cancelled |= version_bit(version);
}

static void begin_case(uint64_t number, uint64_t *counts) {
  now = case_of(number);
  event_count = now.a + now.b;
  world_reset(&w, 0, counts, false);
  make_orders();
  put_events();
  cut_count = again_by = 0;
}

/* --- Branches --- */

static void save(saved *to) {
  to->tables = w.delivery;
  memcpy(to->records, w.kafka.logs[LOG].records, (size_t)event_count * sizeof(record));
  to->committed = w.kafka.logs[LOG].committed;
  to->position = w.consumers[0].positions[LOG];
  to->done = w.consumers[0].done[LOG];
  to->assigned = w.consumers[0].assigned[LOG];
}

static void restore(const saved *from) {
  w.delivery = from->tables;
  memcpy(w.kafka.logs[LOG].records, from->records, (size_t)event_count * sizeof(record));
  w.kafka.logs[LOG].committed = from->committed;
  w.consumers[0].positions[LOG] = from->position;
  w.consumers[0].done[LOG] = from->done;
  w.consumers[0].assigned[LOG] = from->assigned;
}

static void check_unchanged(const saved *before, const char *when) {
  /* Copies, so that what lies between members is the same, too. */
  // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison)
  if (memcmp(&before->tables, &w.delivery, sizeof w.delivery) != 0)
    world_fail(&w, P14, "a crash %s has left something behind", when);
}

/* --- Running --- */

static void take(int size) {
  consumers_poll(&w, 0, size, LOG, size);
  consumers_read_known(&w, 0);
  consumers_look_up_all(&w, 0, now.pattern->answer);
}

static void finish(void) {
  for (int i = 0; i < MAX_ATTEMPTS; i++) {
    retriers_claim(&w, 0);
    retriers_look_up_all(&w, 0, ANSWER_CURRENT);
    retriers_finish(&w, 0, APPLY_DONE);
  }
  check_step(&w);
  check_rest(&w, 0);
}

/* From the committed offset to the end, in batches of one size. */
static void run_again(int size) {
  again_from = w.kafka.logs[LOG].committed;
  again_by = size;
  bool any = true;
  while (w.broken == KEPT && any) {
    take(size);
    any = consumers_apply(&w, 0, APPLY_DONE);
    check_step(&w);
    consumers_commit(&w, 0, true);
  }
  finish();
}

static void run_all_again(const saved *from, bool lose_offsets) {
  static const int sizes[] = {1, 2, 3, MOST_EVENTS};
  for (int i = 0; i < 4 && w.broken == KEPT; i++) {
    restore(from);
    if (lose_offsets)
      consumers_delete_group(&w);
    else
      consumers_crash(&w, 0);
    int left = event_count - w.kafka.logs[LOG].committed;
    if (i > 0 && sizes[i - 1] >= left) /* that was all at once */
      break;
    run_again(sizes[i]);
  }
  if (w.broken == KEPT)
    again_by = 0;
}

/* A batch, but for its offsets; with the crashes before that. */
static void run_batch(int size, const saved *before) {
  consumers_poll(&w, 0, size, LOG, size);
  consumers_crash(&w, 0);
  check_unchanged(before, "before the lookup");
  take(size);
  consumers_crash(&w, 0);
  check_unchanged(before, "after the lookup");
  take(size);
  consumers_apply(&w, 0, APPLY_DONE);
  check_step(&w);
}

static void walk(int from) {
  if (from == event_count)
    finish();
  for (int size = 1; size <= event_count - from && w.broken == KEPT; size++) {
    saved before, after;
    save(&before);
    cuts[cut_count++] = size;
    run_batch(size, &before);
    save(&after);
    run_all_again(&after, false);
    if (from > 0)
      run_all_again(&after, true);
    if (w.broken != KEPT)
      return;
    restore(&after);
    w.consumers[0].assigned[LOG] = true;
    w.consumers[0].epochs[LOG] = w.kafka.logs[LOG].epoch;
    consumers_commit(&w, 0, true);
    after.tables = w.delivery; /* what is owed is more by now */
    consumers_crash(&w, 0);
    check_unchanged(&after, "after the offsets were committed");
    walk(from + size);
    if (w.broken != KEPT)
      return;
    restore(&before);
    cut_count--;
  }
}

/* --- Cases --- */

static void describe_failure(char *problem) {
  size_t room = sizeof w.problem;
  size_t length = (size_t)snprintf(problem, room, "%s; in batches of", w.problem);
  for (int i = 0; i < cut_count && length < room; i++)
    length += (size_t)snprintf(problem + length, room - length, " %d", cuts[i]);
  if (again_by > 0 && length < room)
    snprintf(problem + length, room - length, ", then again from %d in batches of %d", again_from,
             again_by);
}

promise exhaustive_delivery(uint64_t number, uint64_t *counts, char *problem) {
  begin_case(number, counts);
  walk(0);
  if (w.broken != KEPT)
    describe_failure(problem);
  return w.broken;
}

void exhaustive_describe_delivery(uint64_t number) {
  static const char *const answers[] = {"the current version", "the version before", "an old one",
                                        "what is asked for",   "that it is missing", "an error"};
  uint64_t counts[COVERAGE_COUNT] = {0};
  begin_case(number, counts);
  printf("order A has versions 1 to %d, order B 1 to %d; lookups answer %s; the events come as",
         now.a, now.b, answers[now.pattern->answer]);
  for (int i = 0; i < event_count; i++) {
    const record *one = &w.kafka.logs[LOG].records[i];
    printf(" %c%d%s%s", order_name(one->order), one->version, one->full ? "+" : "",
           order_is_cancelled(&w, one->order, one->version) ? "x" : "");
  }
  printf(" (+: with payload, x: cancelled)\n");
}
