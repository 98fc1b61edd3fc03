/* All orders in which the rows of two orders can be acknowledged: see exhaustive.h. */
#include <stdio.h>
#include <string.h>

#include "tests/simulation/checks.h"
#include "tests/simulation/exhaustive.h"
#include "tests/simulation/orders.h"
#include "tests/simulation/relays.h"
#include "tests/simulation/settle.h"

enum {
  ROWS = 7,
  ROWS_OF_B = 3,
  ORDER_A = 1,
  ORDER_B = 2,
  ORDER_LATE = 3,
  WRITINGS = 35, /* ways to write 4 rows of one order and 3 of another */
  NEVER = ROWS + 1,
  MOST_FLIGHTS_OF_TWO = 2
};

/* What becomes of a send that is in flight when the relay crashes. */
typedef enum last_fate { LAST_VANISHES, LAST_LANDS, LAST_LANDS_LATE, LAST_FATES } last_fate;

/* One path. Times are numbers of acknowledgements. */
typedef struct relay_path {
  unsigned writing; /* bit i: row i is order B's */
  int late;         /* the late row of a third order comes before this one; ROWS: there is none */
  int late_ends;    /* when its transaction ends; NEVER: after the successor's first turn */
  bool late_commits;
  unsigned shape;
  unsigned choices; /* bit i: the i-th acknowledgement is of the later send */
  int crash;
  int checkpoint; /* of each so far, the last before the crash */
  int failure;    /* when a send fails and is made again; NEVER: none does */
  bool failure_written;
  last_fate fates[MOST_FLIGHTS_OF_TWO];
} relay_path;

static world w;

/* Shapes of the world that differ in what a relay takes at a time. */
enum { TAKES_ALL = 7, TAKES_THREE = 3 };

uint64_t exhaustive_relays(void) {
  return (uint64_t)WRITINGS * (ROWS + 1 + 1);
}

/* The n-th number below 2^ROWS with as many bits as order B has rows. */
static unsigned writing_of(uint64_t number) {
  for (unsigned bits = 0;; bits++)
    if (__builtin_popcount(bits) == ROWS_OF_B && number-- == 0)
      return bits;
}

static relay_path path_of(uint64_t number) {
  int late = (int)(number / WRITINGS);
  return (relay_path){.writing = writing_of(number % WRITINGS),
                      .late = late < ROWS ? late : ROWS,
                      .shape = late <= ROWS ? TAKES_ALL : TAKES_THREE,
                      .late_ends = NEVER,
                      .failure = NEVER};
}

/* --- One path --- */

static void write_rows(const relay_path *path) {
  int late = 0;
  for (int i = 0; i < ROWS; i++) {
    if (i == path->late) {
      orders_begin(&w, late);
      orders_lock(&w, late, ORDER_LATE, CHANGE_CREATE, false);
      orders_insert(&w, late);
    }
    int order = (path->writing >> i & 1) != 0 ? ORDER_B : ORDER_A;
    orders_write(&w, order, orders_choose_change(&w, order, 0), false);
  }
}

static void take_turn(int relay) {
  relays_retry(&w, relay);
  relays_read(&w, relay, MAX_ROWS);
  relays_end_reading(&w, relay);
  relays_read_deferred(&w, relay);
  relays_send(&w, relay, MAX_FLIGHTS);
}

static void fail_one(const relay_path *path) {
  if (w.flight_count == 0)
    return;
  if (path->failure_written)
    relays_land(&w, 0);
  relays_report(&w, 0, false);
  take_turn(0);
}

/* The n-th send that is its relay's, by their numbers. */
static int flight_of(int index) {
  for (int i = 0; i < w.flight_count; i++)
    if (w.flights[i].relay != NOBODY && index-- == 0)
      return i;
  return NOBODY;
}

/* False: there is nothing to choose, so that this path is another one's twin. */
static bool acknowledge(const relay_path *path, int time) {
  int flight = flight_of((int)(path->choices >> time & 1));
  if (flight == NOBODY)
    return false;
  relays_land(&w, flight);
  return relays_report(&w, flight, true);
}

static bool run_until_crash(const relay_path *path) {
  relays_lead(&w, 0);
  for (int time = 0;; time++) {
    if (time == path->late_ends)
      orders_end(&w, 0, path->late_commits);
    take_turn(0);
    if (time == path->failure)
      fail_one(path);
    if (time <= path->checkpoint)
      relays_checkpoint(&w, 0);
    if (time == path->crash)
      return true;
    if (!acknowledge(path, time))
      return false;
  }
}

static void crash(const relay_path *path) {
  int index = 0;
  for (int i = 0; i < w.flight_count && index < MOST_FLIGHTS_OF_TWO; i++)
    if (w.flights[i].relay != NOBODY && path->fates[index++] == LAST_LANDS)
      relays_land(&w, i);
  relays_crash(&w, 0);
}

static void end_strays(const relay_path *path, bool land) {
  (void)path;
  while (w.flight_count > 0 && w.flights[0].relay == NOBODY)
    if (!land || !relays_land(&w, 0))
      relays_vanish(&w, 0);
}

static void run_successor(const relay_path *path) {
  bool lands_late = path->fates[0] == LAST_LANDS_LATE || path->fates[1] == LAST_LANDS_LATE;
  if (!lands_late)
    end_strays(path, false);
  relays_lead(&w, 1);
  take_turn(1);
  orders_end(&w, 0, path->late_commits);
  settle_relay(&w, 0);
  end_strays(path, true);
  check_relay_end(&w);
}

static promise run_path(const relay_path *path, uint64_t *counts) {
  world_reset(&w, path->shape, counts, false);
  write_rows(path);
  if (run_until_crash(path)) {
    crash(path);
    run_successor(path);
  }
  world_clear(&w);
  return w.broken;
}

/* --- All paths of a case --- */

/* With a late row there are so many ways that sends never land late, and none fails before. */
static promise run_fates(relay_path *path, uint64_t *counts) {
  int fates = path->late < ROWS ? LAST_LANDS_LATE : LAST_FATES;
  for (int first = 0; first < fates; first++)
    for (int second = 0; second < fates; second++) {
      path->fates[0] = (last_fate)first;
      path->fates[1] = (last_fate)second;
      promise broken = run_path(path, counts);
      if (broken != KEPT)
        return broken;
    }
  return KEPT;
}

static promise run_checkpoints(relay_path *path, uint64_t *counts) {
  int step = path->late < ROWS && path->crash > 0 ? path->crash : 1;
  for (path->checkpoint = -1; path->checkpoint <= path->crash; path->checkpoint += step) {
    promise broken = run_fates(path, counts);
    if (broken != KEPT)
      return broken;
  }
  return KEPT;
}

static promise run_failures(relay_path *path, uint64_t *counts) {
  int last = path->late < ROWS ? -1 : path->crash;
  path->failure = NEVER;
  promise broken = run_checkpoints(path, counts);
  for (int i = 0; i <= 2 * last + 1 && broken == KEPT; i++) {
    path->failure = i / 2;
    path->failure_written = i % 2 == 1;
    broken = run_checkpoints(path, counts);
  }
  return broken;
}

static promise run_late_ends(relay_path *path, uint64_t *counts) {
  if (path->late == ROWS)
    return run_failures(path, counts);
  for (int i = 0; i < 2 * (path->crash + 2); i++) {
    path->late_ends = i / 2 > path->crash ? NEVER : i / 2;
    path->late_commits = i % 2 == 1;
    promise broken = run_failures(path, counts);
    if (broken != KEPT)
      return broken;
  }
  return KEPT;
}

static void describe_path(const relay_path *path, char *problem) {
  size_t length = strlen(strcpy(problem, w.problem));
  snprintf(problem + length, sizeof w.problem - length,
           "; acknowledged in the order %#x, crash after %d, checkpoints up to %d, sends then %d "
           "and %d, failure at %d, late row ends at %d",
           path->choices, path->crash, path->checkpoint, (int)path->fates[0], (int)path->fates[1],
           path->failure, path->late_ends);
}

promise exhaustive_relay(uint64_t number, uint64_t *counts, char *problem) {
  relay_path path = path_of(number);
  for (path.crash = 0; path.crash <= ROWS; path.crash++)
    for (path.choices = 0; path.choices < 1U << path.crash; path.choices++)
      if (run_late_ends(&path, counts) != KEPT) {
        describe_path(&path, problem);
        return w.broken;
      }
  return KEPT;
}

void exhaustive_describe_relay(uint64_t number) {
  relay_path path = path_of(number);
  printf("rows are of the orders");
  for (int i = 0; i < ROWS; i++)
    printf("%s %c", i == path.late ? " C (late)" : "", (path.writing >> i & 1) != 0 ? 'B' : 'A');
  printf("; the relay takes %s\n", path.shape == TAKES_ALL ? "all at once" : "three at a time");
}
