/* Who waits for which key to get beyond which version.
 *
 * The truth is in a database that several processes write. A watch has one thread; when it is woken
 * (ls_watch_wake, after a commit or a notification), when somebody begins to wait, and at each poll
 * interval as a safety net, it asks the database once for all keys that are waited for and tells
 * those who wait for less than what it found. Who has just committed a version tells them without
 * that round, by ls_watch_publish. While nobody waits, the thread sleeps and nothing is fetched.
 *
 * A watcher is told each version at most once and in rising order, but not every version: only the
 * newest that was seen. */
#ifndef LOCKSTEP_RUNTIME_WATCH_WATCH_H
#define LOCKSTEP_RUNTIME_WATCH_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/error.h"

typedef struct ls_watch ls_watch;
typedef struct ls_watcher ls_watcher;

enum { LS_WATCH_KEYS_MAX = 1000 }; /* of one watcher */

typedef enum ls_watch_event {
  LS_WATCH_CHANGED, /* a key got beyond the version the watcher had */
  LS_WATCH_EXPIRED  /* the deadline has passed: the last call, key and version are 0 */
} ls_watch_event;

/* Tells a watcher. Must not block, nor call ls_watch_add or ls_watch_destroy; may call
 * ls_watcher_remove, for any watcher. `item` is what was emitted or published, during the call
 * only. Runs on the watch's thread, or on that of ls_watch_publish; calls for one watch never
 * overlap. */
typedef void (*ls_watch_callback)(ls_watcher *watcher, ls_watch_event event, int64_t key,
                                  int64_t version, const void *item, void *arg);

/* Reads these keys (each once, at most batch_size) and calls ls_watch_emit for each it finds. Runs
 * on the watch's thread and may block. False: it could not; it is called again after the poll
 * interval. It logs what went wrong. */
typedef bool (*ls_watch_fetch)(ls_watch *watch, const int64_t *keys, size_t count, void *arg);

typedef struct ls_watch_options {
  const char *name;         /* of the thread, at most 15 characters; NULL: "watch" */
  size_t max_watchers;      /* 0: 10,000 */
  size_t max_keys;          /* of all watchers together; 0: 100,000 */
  size_t batch_size;        /* keys in one fetch; 0: 256 */
  int64_t poll_interval_ms; /* 0: 1,000 */
  ls_watch_fetch fetch;
  void *arg;
} ls_watch_options;

/* Starts the thread. NULL with LS_RESOURCE_EXHAUSTED. */
ls_watch *ls_watch_new(const ls_watch_options *options, ls_error *error);

/* Waits for a fetch or callback under way, ends the thread, frees. Watchers still there are freed
 * without being told. No other call may be under way, nor come later. NULL is fine. */
void ls_watch_destroy(ls_watch *watch);

/* Something was committed: look. Cheap, never blocks on a fetch; many calls may end in one fetch.
 * Any thread. */
void ls_watch_wake(ls_watch *watch);

/* Within fetch only: this key is at this version. */
void ls_watch_emit(ls_watch *watch, int64_t key, int64_t version, const void *item);

/* Tells those who wait for the key, at once and on the calling thread, without a fetch. To be
 * called after the commit. May wait for callbacks that are running, not for a fetch. Any thread,
 * but not from a callback. */
void ls_watch_publish(ls_watch *watch, int64_t key, int64_t version, const void *item);

/* Begins to wait for each of `keys` (1 to LS_WATCH_KEYS_MAX, each once) to get beyond the version
 * at its place in `after_versions`; both are copied. What is already beyond is told soon: adding
 * makes the thread look. `deadline_us` (ls_clock_monotonic_us; negative: none): then it is told so
 * once and nothing afterwards, but still has to be removed. The callback may come, and may remove
 * it, before this returns. NULL with LS_RESOURCE_EXHAUSTED (max_watchers, max_keys, memory) or
 * LS_INVALID_ARGUMENT (count). Any thread, but not from a callback. */
ls_watcher *ls_watch_add(ls_watch *watch, const int64_t *keys, const int64_t *after_versions,
                         size_t count, ls_watch_callback callback, void *arg, int64_t deadline_us,
                         ls_error *error);

/* Ends and frees; exactly once for each watcher. Within a callback (of this or another watcher) it
 * takes effect at once: no further callback for the watcher begins, and the one that runs goes on.
 * From elsewhere it waits until a callback that is running has returned: afterwards none runs, nor
 * will. So the caller must not hold a lock that the callback takes. It never waits for a fetch.
 * NULL is fine. Any thread. */
void ls_watcher_remove(ls_watcher *watcher);

/* How many there are, those not yet removed after their deadline included. Any thread. */
size_t ls_watch_count(ls_watch *watch);

#endif
