/* The registry of those who wait, and the thread that looks for them.
 *
 * `lock` guards the registry and is held while callbacks run, which is what makes removal safe; a
 * fetch runs without it. `wake_lock` guards only what wakes the thread, so that waking never waits
 * for a callback. Taken in this order: lock, wake_lock. */
#include "runtime/watch/watch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/map.h"
#include "runtime/base/thread.h"

#define MAX_WATCHERS 10000
#define MAX_KEYS 100000
#define BATCH_SIZE 256
#define POLL_INTERVAL_MS 1000

#define NOT_IN_HEAP SIZE_MAX

/* One key of one watcher, in the list of those who wait for that key. */
typedef struct subscription {
  struct subscription *previous, *next;
  ls_watcher *watcher;
  int64_t key;
  int64_t version; /* the watcher has it already */
} subscription;

struct ls_watcher {
  ls_watch *watch;
  ls_watcher *previous, *next; /* of all watchers */
  ls_watcher *next_removed;
  ls_watch_callback callback;
  void *arg;
  int64_t deadline_us; /* negative: none */
  size_t heap_index;
  bool is_removed; /* by a callback; freed when the callbacks are through */
  size_t count;    /* 0 once expired */
  subscription subscriptions[];
};

struct ls_watch {
  ls_watch_options options;
  pthread_t thread;

  pthread_mutex_t lock;
  atomic_uintptr_t owner; /* the thread that runs callbacks, with `lock` held; 0: none does */
  ls_map *keys;           /* key → its first subscription */
  ls_watcher *watchers;
  ls_watcher **heap; /* those with a deadline, the earliest first */
  size_t heap_size, heap_capacity;
  ls_watcher *removed;
  size_t subscription_count;
  atomic_size_t watcher_count; /* written with `lock` held */

  pthread_mutex_t wake_lock;
  pthread_cond_t wake_condition;
  bool is_dirty; /* somebody asked to look */
  bool is_stopping;

  int64_t *fetch_keys; /* the thread's own */
  size_t fetch_capacity;
};

/* The heap of deadlines. */

static void heap_place(ls_watch *watch, size_t index, ls_watcher *watcher) {
  watch->heap[index] = watcher;
  watcher->heap_index = index;
}

static void heap_rise(ls_watch *watch, size_t index, ls_watcher *watcher) {
  while (index > 0) {
    size_t parent = (index - 1) / 2;
    if (watch->heap[parent]->deadline_us <= watcher->deadline_us)
      break;
    heap_place(watch, index, watch->heap[parent]);
    index = parent;
  }
  heap_place(watch, index, watcher);
}

static void heap_sink(ls_watch *watch, size_t index, ls_watcher *watcher) {
  for (;;) {
    size_t child = 2 * index + 1;
    if (child >= watch->heap_size)
      break;
    if (child + 1 < watch->heap_size &&
        watch->heap[child + 1]->deadline_us < watch->heap[child]->deadline_us)
      child++;
    if (watcher->deadline_us <= watch->heap[child]->deadline_us)
      break;
    heap_place(watch, index, watch->heap[child]);
    index = child;
  }
  heap_place(watch, index, watcher);
}

static bool heap_insert(ls_watch *watch, ls_watcher *watcher) {
  if (watch->heap_size == watch->heap_capacity) {
    size_t capacity = watch->heap_capacity ? watch->heap_capacity * 2 : 64;
    ls_watcher **heap = realloc(watch->heap, capacity * sizeof(void *));
    if (!heap)
      return false;
    watch->heap = heap;
    watch->heap_capacity = capacity;
  }
  heap_rise(watch, watch->heap_size++, watcher);
  return true;
}

static void heap_remove(ls_watch *watch, ls_watcher *watcher) {
  size_t index = watcher->heap_index;
  if (index == NOT_IN_HEAP)
    return;
  watcher->heap_index = NOT_IN_HEAP;
  ls_watcher *last = watch->heap[--watch->heap_size];
  if (last == watcher)
    return;
  if (index > 0 && last->deadline_us < watch->heap[(index - 1) / 2]->deadline_us)
    heap_rise(watch, index, last);
  else
    heap_sink(watch, index, last);
}

/* Subscriptions. */

static bool subscribe(ls_watch *watch, subscription *self) {
  ls_map_value *first = ls_map_insert(watch->keys, self->key, NULL);
  if (!first)
    return false;
  self->previous = NULL;
  self->next = first->pointer;
  if (self->next)
    self->next->previous = self;
  first->pointer = self;
  watch->subscription_count++;
  return true;
}

static void unsubscribe(ls_watch *watch, subscription *self) {
  if (self->next)
    self->next->previous = self->previous;
  if (self->previous)
    self->previous->next = self->next;
  else if (self->next)
    ls_map_find(watch->keys, self->key)->pointer = self->next;
  else
    ls_map_remove(watch->keys, self->key, NULL);
  watch->subscription_count--;
}

static void unsubscribe_all(ls_watch *watch, ls_watcher *watcher) {
  for (size_t i = 0; i < watcher->count; i++)
    unsubscribe(watch, &watcher->subscriptions[i]);
  watcher->count = 0;
}

static void free_watcher(ls_watch *watch, ls_watcher *watcher) {
  unsubscribe_all(watch, watcher);
  heap_remove(watch, watcher);
  if (watcher->next)
    watcher->next->previous = watcher->previous;
  if (watcher->previous)
    watcher->previous->next = watcher->next;
  else
    watch->watchers = watcher->next;
  atomic_fetch_sub(&watch->watcher_count, 1);
  free(watcher);
}

/* Callbacks. */

static void begin_callbacks(ls_watch *watch) {
  pthread_mutex_lock(&watch->lock);
  atomic_store(&watch->owner, (uintptr_t)pthread_self());
}

/* The lists must not change under those who walk along them: what callbacks removed goes now. */
static void end_callbacks(ls_watch *watch) {
  while (watch->removed) {
    ls_watcher *watcher = watch->removed;
    watch->removed = watcher->next_removed;
    free_watcher(watch, watcher);
  }
  atomic_store(&watch->owner, 0);
  pthread_mutex_unlock(&watch->lock);
}

static bool is_in_callback(ls_watch *watch) {
  return atomic_load(&watch->owner) == (uintptr_t)pthread_self();
}

static void tell(ls_watch *watch, int64_t key, int64_t version, const void *item) {
  begin_callbacks(watch);
  ls_map_value *first = ls_map_find(watch->keys, key);
  for (subscription *s = first ? first->pointer : NULL; s; s = s->next) {
    ls_watcher *watcher = s->watcher;
    if (watcher->is_removed || s->version >= version)
      continue;
    s->version = version;
    watcher->callback(watcher, LS_WATCH_CHANGED, key, version, item, watcher->arg);
  }
  end_callbacks(watch);
}

void ls_watch_emit(ls_watch *watch, int64_t key, int64_t version, const void *item) {
  tell(watch, key, version, item);
}

void ls_watch_publish(ls_watch *watch, int64_t key, int64_t version, const void *item) {
  /* Who is added after this look fetches after it, and finds what was committed before. */
  if (atomic_load(&watch->watcher_count) > 0)
    tell(watch, key, version, item);
}

static void expire(ls_watch *watch) {
  begin_callbacks(watch);
  int64_t now_us = ls_clock_monotonic_us();
  while (watch->heap_size > 0 && watch->heap[0]->deadline_us <= now_us) {
    ls_watcher *watcher = watch->heap[0];
    heap_remove(watch, watcher);
    unsubscribe_all(watch, watcher);
    if (!watcher->is_removed)
      watcher->callback(watcher, LS_WATCH_EXPIRED, 0, 0, NULL, watcher->arg);
  }
  end_callbacks(watch);
}

/* The thread. */

static void wake(ls_watch *watch) {
  pthread_mutex_lock(&watch->wake_lock);
  if (!watch->is_dirty) {
    watch->is_dirty = true;
    pthread_cond_signal(&watch->wake_condition);
  }
  pthread_mutex_unlock(&watch->wake_lock);
}

void ls_watch_wake(ls_watch *watch) {
  if (atomic_load(&watch->watcher_count) > 0)
    wake(watch);
}

/* A copy of the keys, as the registry may change while they are fetched. False: out of memory. */
static bool collect_keys(ls_watch *watch, size_t *count) {
  bool done = true;
  pthread_mutex_lock(&watch->lock);
  size_t needed = ls_map_size(watch->keys);
  if (needed > watch->fetch_capacity) {
    int64_t *grown = realloc(watch->fetch_keys, needed * sizeof *grown);
    done = grown != NULL;
    if (grown) {
      watch->fetch_keys = grown;
      watch->fetch_capacity = needed;
    }
  }
  *count = 0;
  size_t cursor = 0;
  while (*count < watch->fetch_capacity &&
         ls_map_next(watch->keys, &cursor, &watch->fetch_keys[*count], NULL))
    (*count)++;
  pthread_mutex_unlock(&watch->lock);
  return done;
}

static void fetch_all(ls_watch *watch) {
  size_t count = 0;
  if (!collect_keys(watch, &count))
    LS_ERROR("out of memory to look for all keys that are watched", LS_UINT("keys", count));
  for (size_t done = 0; done < count;) {
    size_t size =
        count - done < watch->options.batch_size ? count - done : watch->options.batch_size;
    if (!watch->options.fetch(watch, watch->fetch_keys + done, size, watch->options.arg))
      return;
    done += size;
  }
}

/* When the thread has to do something unasked; negative: never. */
static int64_t next_time_us(ls_watch *watch, int64_t next_poll_us) {
  pthread_mutex_lock(&watch->lock);
  int64_t next_us = ls_map_size(watch->keys) > 0 ? next_poll_us : -1;
  if (watch->heap_size > 0 && (next_us < 0 || watch->heap[0]->deadline_us < next_us))
    next_us = watch->heap[0]->deadline_us;
  pthread_mutex_unlock(&watch->lock);
  return next_us;
}

/* Sleeps until `until_us` or somebody asks to look, which is then taken back. False: to end. */
static bool sleep_until(ls_watch *watch, int64_t until_us, bool *is_asked) {
  pthread_mutex_lock(&watch->wake_lock);
  while (!watch->is_dirty && !watch->is_stopping &&
         ls_condition_wait_until(&watch->wake_condition, &watch->wake_lock, until_us))
    ;
  *is_asked = watch->is_dirty;
  watch->is_dirty = false;
  bool goes_on = !watch->is_stopping;
  pthread_mutex_unlock(&watch->wake_lock);
  return goes_on;
}

static void *run(void *arg) {
  ls_watch *watch = arg;
  int64_t interval_us = watch->options.poll_interval_ms * 1000;
  int64_t next_poll_us = ls_clock_monotonic_us() + interval_us;
  bool is_asked = false;
  while (sleep_until(watch, next_time_us(watch, next_poll_us), &is_asked)) {
    expire(watch);
    if (!is_asked && ls_clock_monotonic_us() < next_poll_us)
      continue;
    fetch_all(watch);
    next_poll_us = ls_clock_monotonic_us() + interval_us;
  }
  return NULL;
}

/* The outside. */

static void fill_defaults(ls_watch_options *options) {
  if (!options->name)
    options->name = "watch";
  if (options->max_watchers == 0)
    options->max_watchers = MAX_WATCHERS;
  if (options->max_keys == 0)
    options->max_keys = MAX_KEYS;
  if (options->batch_size == 0)
    options->batch_size = BATCH_SIZE;
  if (options->poll_interval_ms <= 0)
    options->poll_interval_ms = POLL_INTERVAL_MS;
}

ls_watch *ls_watch_new(const ls_watch_options *options, ls_error *error) {
  ls_watch *watch = calloc(1, sizeof *watch);
  if (!watch)
    goto no_watch;
  watch->options = *options;
  fill_defaults(&watch->options);
  atomic_init(&watch->owner, 0);
  atomic_init(&watch->watcher_count, 0);
  watch->keys = ls_map_new();
  if (!watch->keys)
    goto no_map;
  if (pthread_mutex_init(&watch->lock, NULL) != 0)
    goto no_lock;
  if (pthread_mutex_init(&watch->wake_lock, NULL) != 0)
    goto no_wake_lock;
  if (!ls_condition_init(&watch->wake_condition))
    goto no_condition;
  if (!ls_thread_start(&watch->thread, watch->options.name, run, watch, error))
    goto no_thread;
  watch->options.name = NULL; /* the caller's, no longer needed */
  return watch;

no_thread:
  pthread_cond_destroy(&watch->wake_condition);
  pthread_mutex_destroy(&watch->wake_lock);
  pthread_mutex_destroy(&watch->lock);
  ls_map_destroy(watch->keys);
  free(watch);
  return NULL; /* with the thread's own error */

no_condition:
  pthread_mutex_destroy(&watch->wake_lock);
no_wake_lock:
  pthread_mutex_destroy(&watch->lock);
no_lock:
  ls_map_destroy(watch->keys);
no_map:
  free(watch);
no_watch:
  ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of resources for a watch");
  return NULL;
}

void ls_watch_destroy(ls_watch *watch) {
  if (!watch)
    return;
  pthread_mutex_lock(&watch->wake_lock);
  watch->is_stopping = true;
  pthread_cond_signal(&watch->wake_condition);
  pthread_mutex_unlock(&watch->wake_lock);
  pthread_join(watch->thread, NULL);
  while (watch->watchers)
    free_watcher(watch, watch->watchers);
  pthread_cond_destroy(&watch->wake_condition);
  pthread_mutex_destroy(&watch->wake_lock);
  pthread_mutex_destroy(&watch->lock);
  ls_map_destroy(watch->keys);
  free(watch->heap);
  free(watch->fetch_keys);
  free(watch);
}

/* With `lock` held. False, with nothing changed: over a bound or out of memory. */
static bool enter(ls_watch *watch, ls_watcher *watcher, size_t count) {
  if (atomic_load(&watch->watcher_count) >= watch->options.max_watchers ||
      count > watch->options.max_keys - watch->subscription_count)
    return false;
  if (watcher->deadline_us >= 0 && !heap_insert(watch, watcher))
    return false;
  for (; watcher->count < count; watcher->count++) {
    if (!subscribe(watch, &watcher->subscriptions[watcher->count])) {
      unsubscribe_all(watch, watcher);
      heap_remove(watch, watcher);
      return false;
    }
  }
  watcher->next = watch->watchers;
  if (watcher->next)
    watcher->next->previous = watcher;
  watch->watchers = watcher;
  atomic_fetch_add(&watch->watcher_count, 1);
  return true;
}

ls_watcher *ls_watch_add(ls_watch *watch, const int64_t *keys, const int64_t *after_versions,
                         size_t count, ls_watch_callback callback, void *arg, int64_t deadline_us,
                         ls_error *error) {
  if (count == 0 || count > LS_WATCH_KEYS_MAX) {
    ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "1 to %d keys can be watched, not %zu",
                 LS_WATCH_KEYS_MAX, count);
    return NULL;
  }
  ls_watcher *watcher = calloc(1, sizeof *watcher + count * sizeof(subscription));
  if (!watcher) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of memory to watch");
    return NULL;
  }
  watcher->watch = watch;
  watcher->callback = callback;
  watcher->arg = arg;
  watcher->deadline_us = deadline_us;
  watcher->heap_index = NOT_IN_HEAP;
  for (size_t i = 0; i < count; i++)
    watcher->subscriptions[i] =
        (subscription){.watcher = watcher, .key = keys[i], .version = after_versions[i]};
  pthread_mutex_lock(&watch->lock);
  bool is_entered = enter(watch, watcher, count);
  pthread_mutex_unlock(&watch->lock);
  if (!is_entered) {
    free(watcher);
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL,
                 "too many are watching already (%zu, at most %zu, with at most %zu keys)",
                 ls_watch_count(watch), watch->options.max_watchers, watch->options.max_keys);
    return NULL;
  }
  wake(watch);
  return watcher;
}

void ls_watcher_remove(ls_watcher *watcher) {
  if (!watcher)
    return;
  ls_watch *watch = watcher->watch;
  if (is_in_callback(watch)) {
    watcher->is_removed = true;
    watcher->next_removed = watch->removed;
    watch->removed = watcher;
    return;
  }
  pthread_mutex_lock(&watch->lock);
  free_watcher(watch, watcher);
  pthread_mutex_unlock(&watch->lock);
}

size_t ls_watch_count(ls_watch *watch) {
  return atomic_load(&watch->watcher_count);
}
