/* Watching: what is told, what is missed by nobody, deadlines, bounds, and removal among threads.
 */
#include "runtime/watch/watch.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/clock.h"
#include "runtime/base/thread.h"

enum { KEYS = 2000, DEADLINE_MS = 20000 };

/* What stands for the database: the version of each key; 0: there is no such row. */
typedef struct table {
  atomic_int_fast64_t versions[KEYS];
  atomic_size_t fetches;
  atomic_size_t largest;  /* keys in one fetch */
  atomic_size_t to_fail;  /* so many of the next fetches */
  atomic_bool is_blocked; /* a fetch waits until this is taken back … */
  atomic_bool is_waiting; /* … and says so here */
} table;

static void nap(void) {
  struct timespec moment = {.tv_nsec = 1000000};
  nanosleep(&moment, NULL);
}

#define WAIT_FOR(condition)                                                                        \
  do {                                                                                             \
    int64_t wait_end_ms = ls_clock_monotonic_ms() + DEADLINE_MS;                                   \
    while (!(condition) && ls_clock_monotonic_ms() < wait_end_ms)                                  \
      nap();                                                                                       \
    assert_true(condition);                                                                        \
  } while (0)

static bool fetch(ls_watch *watch, const int64_t *keys, size_t count, void *arg) {
  table *rows = arg;
  atomic_fetch_add(&rows->fetches, 1);
  if (count > atomic_load(&rows->largest))
    atomic_store(&rows->largest, count);
  if (atomic_load(&rows->to_fail) > 0) {
    atomic_fetch_sub(&rows->to_fail, 1);
    return false;
  }
  while (atomic_load(&rows->is_blocked)) {
    atomic_store(&rows->is_waiting, true);
    nap();
  }
  for (size_t i = 0; i < count; i++) {
    int64_t version = atomic_load(&rows->versions[keys[i]]);
    if (version > 0)
      ls_watch_emit(watch, keys[i], version, &version);
  }
  return true;
}

/* What a watcher was told. */
typedef struct listener {
  atomic_size_t changes;
  atomic_size_t expirations;
  atomic_int_fast64_t key, version;
  atomic_bool is_wrong; /* versions fell, or the item was not the one */
  bool removes_itself;
} listener;

static void on_event(ls_watcher *watcher, ls_watch_event event, int64_t key, int64_t version,
                     const void *item, void *arg) {
  listener *self = arg;
  if (event == LS_WATCH_EXPIRED) {
    atomic_fetch_add(&self->expirations, 1);
  } else {
    if ((atomic_load(&self->key) == key && version <= atomic_load(&self->version)) ||
        *(const int64_t *)item != version)
      atomic_store(&self->is_wrong, true);
    atomic_store(&self->key, key);
    atomic_store(&self->version, version);
    atomic_fetch_add(&self->changes, 1);
  }
  if (self->removes_itself)
    ls_watcher_remove(watcher);
}

typedef struct fixture {
  table rows;
  ls_watch *watch;
} fixture;

static fixture *make(const ls_watch_options *options) {
  ls_error error = {0};
  fixture *self = calloc(1, sizeof *self);
  assert_non_null(self);
  ls_watch_options copy = *options;
  copy.fetch = fetch;
  copy.arg = &self->rows;
  self->watch = ls_watch_new(&copy, &error);
  if (!self->watch)
    fail_msg("%s", error.message);
  return self;
}

static void destroy(fixture *self) {
  ls_watch_destroy(self->watch);
  free(self);
}

/* Never polls within a test. */
static const ls_watch_options no_polling = {.poll_interval_ms = 3600000};

static ls_watcher *add_one(fixture *self, int64_t key, int64_t after, listener *to,
                           int64_t deadline_us) {
  ls_error error = {0};
  ls_watcher *watcher =
      ls_watch_add(self->watch, &key, &after, 1, on_event, to, deadline_us, &error);
  if (!watcher)
    fail_msg("%s", error.message);
  return watcher;
}

static void commit(fixture *self, int64_t key, int64_t version) {
  atomic_store(&self->rows.versions[key], version);
}

static void test_what_was_there_before(void **state) {
  (void)state;
  fixture *self = make(&no_polling);
  listener heard = {0};
  commit(self, 7, 5);
  ls_watcher *watcher = add_one(self, 7, 4, &heard, -1);
  WAIT_FOR(atomic_load(&heard.changes) == 1);
  assert_int_equal(heard.key, 7);
  assert_int_equal(heard.version, 5);
  ls_watcher_remove(watcher);
  destroy(self);
}

static void test_wake_and_publish(void **state) {
  (void)state;
  fixture *self = make(&no_polling);
  listener heard = {0}, other = {0};
  commit(self, 1, 3);
  ls_watcher *watcher = add_one(self, 1, 3, &heard, -1);
  ls_watcher *on_other = add_one(self, 2, 0, &other, -1);
  commit(self, 1, 4);
  ls_watch_wake(self->watch);
  WAIT_FOR(atomic_load(&heard.version) == 4);

  int64_t item = 6;
  commit(self, 1, 6);
  ls_watch_publish(self->watch, 1, 6, &item);
  assert_int_equal(heard.version, 6); /* at once */
  size_t changes = heard.changes;
  ls_watch_publish(self->watch, 1, 6, &item);
  item = 5;
  ls_watch_publish(self->watch, 1, 5, &item);
  ls_watch_publish(self->watch, 99, 5, &item);
  assert_int_equal(heard.changes, changes);
  assert_int_equal(other.changes, 0);
  assert_false(heard.is_wrong);
  ls_watcher_remove(watcher);
  ls_watcher_remove(on_other);
  destroy(self);
}

static void test_polling_is_the_safety_net(void **state) {
  (void)state;
  fixture *self = make(&(ls_watch_options){.poll_interval_ms = 5});
  listener heard = {0};
  ls_watcher *watcher = add_one(self, 1, 0, &heard, -1);
  commit(self, 1, 1); /* nobody says so */
  WAIT_FOR(atomic_load(&heard.version) == 1);
  atomic_store(&self->rows.to_fail, 3);
  commit(self, 1, 2);
  WAIT_FOR(atomic_load(&heard.version) == 2);
  ls_watcher_remove(watcher);

  /* Without watchers nothing is fetched: a fetch under way aside, the count stands still. */
  ls_watch_wake(self->watch);
  nap();
  size_t fetches = atomic_load(&self->rows.fetches);
  for (int i = 0; i < 50; i++)
    nap();
  assert_true(atomic_load(&self->rows.fetches) <= fetches + 1);
  destroy(self);
}

/* Woken while a fetch is under way: what it read may be old already. */
static void test_wake_during_a_fetch(void **state) {
  (void)state;
  fixture *self = make(&no_polling);
  listener heard = {0}, late = {0};
  atomic_store(&self->rows.is_blocked, true);
  ls_watcher *watcher = add_one(self, 1, 0, &heard, -1);
  WAIT_FOR(atomic_load(&self->rows.is_waiting));
  commit(self, 2, 9);
  ls_watcher *late_watcher = add_one(self, 2, 0, &late, -1); /* its key is not in that fetch */
  for (int i = 0; i < 100; i++)
    ls_watch_wake(self->watch);
  size_t fetches = atomic_load(&self->rows.fetches);
  atomic_store(&self->rows.is_blocked, false);
  WAIT_FOR(atomic_load(&late.version) == 9);
  assert_true(atomic_load(&self->rows.fetches) <= fetches + 2); /* a hundred wakes, one fetch */
  ls_watcher_remove(watcher);
  ls_watcher_remove(late_watcher);
  destroy(self);
}

static void test_batches(void **state) {
  (void)state;
  fixture *self = make(&(ls_watch_options){.batch_size = 100, .poll_interval_ms = 3600000});
  int64_t keys[LS_WATCH_KEYS_MAX], after[LS_WATCH_KEYS_MAX];
  listener heard = {0}, same = {0};
  for (int64_t i = 0; i < LS_WATCH_KEYS_MAX; i++) {
    keys[i] = i;
    after[i] = 1;
    commit(self, i, 1 + i % 2); /* every second one is news */
  }
  ls_error error = {0};
  ls_watcher *watcher =
      ls_watch_add(self->watch, keys, after, LS_WATCH_KEYS_MAX, on_event, &heard, -1, &error);
  assert_non_null(watcher);
  WAIT_FOR(atomic_load(&heard.changes) == LS_WATCH_KEYS_MAX / 2);
  assert_int_equal(self->rows.largest, 100);
  assert_int_equal(self->rows.fetches, LS_WATCH_KEYS_MAX / 100);
  ls_watcher *second = add_one(self, 1, 1, &same, -1); /* a key is fetched once for all */
  WAIT_FOR(atomic_load(&same.changes) == 1);
  WAIT_FOR(atomic_load(&self->rows.fetches) == 2 * LS_WATCH_KEYS_MAX / 100);
  assert_int_equal(heard.changes, LS_WATCH_KEYS_MAX / 2);
  ls_watcher_remove(watcher);
  ls_watcher_remove(second);
  destroy(self);
}

static void test_deadlines(void **state) {
  (void)state;
  enum { COUNT = 50 };
  fixture *self = make(&no_polling);
  listener heard[COUNT] = {0};
  listener patient = {0};
  ls_watcher *watchers[COUNT];
  int64_t start_us = ls_clock_monotonic_us();
  for (int i = 0; i < COUNT; i++) /* in no order */
    watchers[i] = add_one(self, i, 0, &heard[i], start_us + INT64_C(1000) * ((i * 37) % COUNT + 1));
  ls_watcher *stays = add_one(self, 3, 0, &patient, start_us + INT64_C(3600000000));
  for (int i = 0; i < COUNT; i += 5) { /* some are gone before, from the middle of the heap */
    ls_watcher_remove(watchers[i]);
    watchers[i] = NULL;
  }
  for (int i = 0; i < COUNT; i++) {
    if (watchers[i])
      WAIT_FOR(atomic_load(&heard[i].expirations) == 1);
  }
  int64_t item = 1;
  for (int i = 0; i < COUNT; i++)
    ls_watch_publish(self->watch, i, 1, &item);
  for (int i = 0; i < COUNT; i++) {
    assert_int_equal(heard[i].changes, 0); /* expired: told nothing more */
    assert_true(heard[i].expirations <= 1);
    ls_watcher_remove(watchers[i]);
  }
  assert_int_equal(patient.changes, 1);
  assert_int_equal(patient.expirations, 0);
  assert_int_equal(ls_watch_count(self->watch), 1);
  ls_watcher_remove(stays);

  listener at_once = {0};
  ls_watcher *past = add_one(self, 1, 0, &at_once, 0);
  WAIT_FOR(atomic_load(&at_once.expirations) == 1);
  ls_watcher_remove(past);
  destroy(self);
}

static void test_bounds(void **state) {
  (void)state;
  fixture *self = make(&(ls_watch_options){.max_watchers = 2, .max_keys = 3});
  listener heard = {0};
  ls_error error = {0};
  const int64_t keys[] = {1, 2, 3}, after[] = {0, 0, 0};
  assert_null(ls_watch_add(self->watch, keys, after, 0, on_event, &heard, -1, &error));
  assert_int_equal(error.code, LS_INVALID_ARGUMENT);
  assert_null(
      ls_watch_add(self->watch, keys, after, LS_WATCH_KEYS_MAX + 1, on_event, &heard, -1, &error));
  assert_int_equal(error.code, LS_INVALID_ARGUMENT);
  ls_watcher *first = add_one(self, 1, 0, &heard, -1);
  assert_null(ls_watch_add(self->watch, keys, after, 3, on_event, &heard, -1, &error));
  assert_int_equal(error.code, LS_RESOURCE_EXHAUSTED);
  assert_true(error.retriable);
  ls_watcher *second = add_one(self, 2, 0, &heard, -1);
  assert_null(ls_watch_add(self->watch, keys, after, 1, on_event, &heard, -1, &error));
  assert_int_equal(error.code, LS_RESOURCE_EXHAUSTED);
  assert_int_equal(ls_watch_count(self->watch), 2);
  ls_watcher_remove(second);
  (void)add_one(self, 3, 0, &heard, -1);
  ls_watcher_remove(first);
  destroy(self); /* with one still there */
}

static void test_removal_in_callbacks(void **state) {
  (void)state;
  fixture *self = make(&no_polling);
  listener once[10] = {0};
  listener stays = {0};
  for (int i = 0; i < 10; i++) {
    once[i].removes_itself = true;
    (void)add_one(self, 1, 0, &once[i], -1);
  }
  ls_watcher *last = add_one(self, 1, 0, &stays, -1);
  for (int64_t version = 1; version <= 2; version++)
    ls_watch_publish(self->watch, 1, version, &version);
  for (int i = 0; i < 10; i++)
    assert_int_equal(once[i].changes, 1);
  assert_int_equal(stays.changes, 2);
  assert_int_equal(ls_watch_count(self->watch), 1);
  listener expiring = {.removes_itself = true};
  (void)add_one(self, 1, 5, &expiring, 0);
  WAIT_FOR(ls_watch_count(self->watch) == 1);
  assert_int_equal(expiring.expirations, 1);
  ls_watcher_remove(last);
  destroy(self);
}

/* A callback that takes its time, and what it must not be caught at after its watcher is gone. */
typedef struct slow_listener {
  atomic_bool is_running;
  atomic_bool is_gone;
  atomic_bool is_wrong;
} slow_listener;

static void on_slow_event(ls_watcher *watcher, ls_watch_event event, int64_t key, int64_t version,
                          const void *item, void *arg) {
  (void)watcher, (void)event, (void)key, (void)version, (void)item;
  slow_listener *self = arg;
  atomic_store(&self->is_running, true);
  for (int i = 0; i < 20; i++)
    nap();
  if (atomic_load(&self->is_gone))
    atomic_store(&self->is_wrong, true);
  atomic_store(&self->is_running, false);
}

static void test_removal_waits_for_the_callback(void **state) {
  (void)state;
  fixture *self = make(&no_polling);
  slow_listener slow = {0};
  const int64_t key = 1, after = 0;
  commit(self, 1, 1);
  ls_watcher *watcher = ls_watch_add(self->watch, &key, &after, 1, on_slow_event, &slow, -1, NULL);
  assert_non_null(watcher);
  WAIT_FOR(atomic_load(&slow.is_running));
  ls_watcher_remove(watcher);
  atomic_store(&slow.is_gone, true);
  assert_false(atomic_load(&slow.is_running));
  assert_false(atomic_load(&slow.is_wrong));
  destroy(self);
}

/* Removal does not wait for a fetch. */
static void test_removal_during_a_fetch(void **state) {
  (void)state;
  fixture *self = make(&no_polling);
  listener heard = {0};
  commit(self, 1, 1);
  atomic_store(&self->rows.is_blocked, true);
  ls_watcher *watcher = add_one(self, 1, 0, &heard, -1);
  WAIT_FOR(atomic_load(&self->rows.is_waiting));
  ls_watcher_remove(watcher);
  atomic_store(&self->rows.is_blocked, false);
  destroy(self);
  assert_int_equal(heard.changes, 0);
}

/* Many threads commit, publish or wake, wait for what others commit, and leave. */
enum { THREADS = 4, ROUNDS = 300, HOT_KEYS = 8 };

typedef struct crowd {
  fixture *fixture;
  pthread_mutex_t commit_lock; /* a row's lock */
  atomic_size_t missed;
} crowd;

static void *take_part(void *arg) {
  crowd *all = arg;
  for (int round = 0; round < ROUNDS; round++) {
    int64_t key = round % HOT_KEYS;
    listener heard = {.removes_itself = false};
    int64_t before = atomic_load(&all->fixture->rows.versions[key]);
    ls_watcher *watcher =
        ls_watch_add(all->fixture->watch, &key, &before, 1, on_event, &heard, -1, NULL);
    pthread_mutex_lock(&all->commit_lock);
    int64_t version = atomic_load(&all->fixture->rows.versions[key]) + 1;
    atomic_store(&all->fixture->rows.versions[key], version);
    pthread_mutex_unlock(&all->commit_lock);
    if (round % 2)
      ls_watch_publish(all->fixture->watch, key, version, &version);
    else
      ls_watch_wake(all->fixture->watch);
    int64_t end_ms = ls_clock_monotonic_ms() + DEADLINE_MS;
    while (atomic_load(&heard.version) < version && ls_clock_monotonic_ms() < end_ms)
      nap();
    if (atomic_load(&heard.version) < version || atomic_load(&heard.is_wrong))
      atomic_fetch_add(&all->missed, 1);
    ls_watcher_remove(watcher);
  }
  return NULL;
}

static void test_crowd(void **state) {
  (void)state;
  fixture *self = make(&no_polling);
  crowd all = {.fixture = self, .commit_lock = PTHREAD_MUTEX_INITIALIZER};
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    assert_true(ls_thread_start(&threads[i], "crowd", take_part, &all, NULL));
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(all.missed, 0);
  assert_int_equal(ls_watch_count(self->watch), 0);
  destroy(self);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_was_there_before),
      cmocka_unit_test(test_wake_and_publish),
      cmocka_unit_test(test_polling_is_the_safety_net),
      cmocka_unit_test(test_wake_during_a_fetch),
      cmocka_unit_test(test_batches),
      cmocka_unit_test(test_deadlines),
      cmocka_unit_test(test_bounds),
      cmocka_unit_test(test_removal_in_callbacks),
      cmocka_unit_test(test_removal_waits_for_the_callback),
      cmocka_unit_test(test_removal_during_a_fetch),
      cmocka_unit_test(test_crowd),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
