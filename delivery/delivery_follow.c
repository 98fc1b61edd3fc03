/* Streams that follow deliveries. */
#include "delivery/delivery_follow.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "delivery/delivery_status.h"
#include "delivery/v1/delivery_service.grpc-c.h"
#include "runtime/base/log.h"
#include "runtime/watch/watch.h"

#define ARENA_BYTES ((size_t)64 << 20)

typedef enum phase {
  ARMING,    /* the polling thread sets its watcher up, and will make it FOLLOWING or end it */
  FOLLOWING, /* whoever makes it ENDED ends the call */
  ENDED
} phase;

typedef struct follower {
  delivery_follow *follow;
  ls_rpc_call *call;

  /* Under the mutex of `follow`. */
  phase phase;
  bool is_over; /* stopping while it was arming */
  ls_watcher *watcher;
  struct follower *previous, *next;

  pthread_mutex_t mutex; /* for what follows */
  bool is_full;          /* until the call is writable again */
  bool is_owing;         /* something newer than what was sent was left out meanwhile */
  size_t count;
  int64_t *order_ids; /* ascending */
  int64_t *revisions; /* that were sent */
} follower;

struct delivery_follow {
  delivery_follow_options options;
  ls_watch *watch;
  delivery_store *store; /* of the watch's thread, like the arena */
  ls_arena *arena;
  ls_log_limit failure_limit;
  pthread_mutex_t mutex; /* never held while the watch is called */
  follower *first;
  bool is_stopping;
};

/* --- Sending --- */

static int compare_ids(const void *left, const void *right) {
  int64_t a = *(const int64_t *)left;
  int64_t b = *(const int64_t *)right;
  return (a > b) - (a < b);
}

/* With the stream's mutex held. */
static void send_or_owe(follower *stream, const Delivery__V1__Delivery *delivery) {
  const int64_t *found = bsearch(&delivery->order_id, stream->order_ids, stream->count,
                                 sizeof delivery->order_id, compare_ids);
  if (found == NULL)
    return;
  int64_t *revision = &stream->revisions[found - stream->order_ids];
  if (delivery->revision <= *revision)
    return;
  if (stream->is_full) {
    stream->is_owing = true;
    return;
  }
  Delivery__V1__WatchDeliveriesResponse response = DELIVERY__V1__WATCH_DELIVERIES_RESPONSE__INIT;
  response.delivery = (Delivery__V1__Delivery *)(uintptr_t)delivery; /* packed, never changed */
  switch (delivery_v1_delivery_service_watch_deliveries_send(stream->call, &response)) {
  case LS_RPC_SENT:
    *revision = delivery->revision;
    return;
  case LS_RPC_SENT_FULL:
    *revision = delivery->revision;
    stream->is_full = true;
    return;
  case LS_RPC_WOULD_BLOCK:
    stream->is_full = true;
    stream->is_owing = true;
    return;
  case LS_RPC_CLOSED: /* the cancel callback comes, or has come */
    return;
  }
}

static void on_watch(ls_watcher *watcher, ls_watch_event event, int64_t key, int64_t version,
                     const void *item, void *arg) {
  follower *stream = arg;
  (void)watcher;
  (void)key;
  (void)version;
  if (event != LS_WATCH_CHANGED)
    return;
  pthread_mutex_lock(&stream->mutex);
  send_or_owe(stream, item);
  pthread_mutex_unlock(&stream->mutex);
}

/* --- Coming and going; with the mutex of `follow` held --- */

static void put_in(follower *stream) {
  delivery_follow *follow = stream->follow;
  stream->next = follow->first;
  if (stream->next != NULL)
    stream->next->previous = stream;
  follow->first = stream;
}

/* The caller is the one who ends the call. */
static void take_out(follower *stream) {
  if (stream->previous != NULL)
    stream->previous->next = stream->next;
  else
    stream->follow->first = stream->next;
  if (stream->next != NULL)
    stream->next->previous = stream->previous;
  stream->phase = ENDED;
}

/* --- Ends --- */

static void free_stream(follower *stream) {
  if (stream == NULL)
    return;
  pthread_mutex_destroy(&stream->mutex);
  free(stream->order_ids);
  free(stream->revisions);
  free(stream);
}

static void on_done(ls_rpc_call *call, void *arg) {
  (void)call;
  free_stream(arg);
}

/* Of a stream that was taken out. */
static void end(follower *stream) {
  ls_watcher_remove(stream->watcher);
  if (ls_rpc_call_is_cancelled(stream->call))
    ls_rpc_call_fail(stream->call, LS_CANCELLED, "the call is over");
  else
    delivery_fail_stopping(stream->call);
}

/* On the polling thread, as arming is: the stream is not ARMING. */
static void on_cancel(ls_rpc_call *call, void *arg) {
  follower *stream = arg;
  (void)call;
  pthread_mutex_lock(&stream->follow->mutex);
  bool taken = stream->phase == FOLLOWING;
  if (taken)
    take_out(stream);
  pthread_mutex_unlock(&stream->follow->mutex);
  if (taken)
    end(stream);
}

/* --- Beginning, and beginning again --- */

/* Watches for what is newer than what was sent. Of a stream that is ARMING, on its polling thread.
 * False: the stream was ended. */
static bool arm(follower *stream) {
  delivery_follow *follow = stream->follow;
  ls_error error = {0};
  int64_t revisions[DELIVERY_MAX_IDS];
  pthread_mutex_lock(&stream->mutex);
  memcpy(revisions, stream->revisions, stream->count * sizeof revisions[0]);
  stream->is_owing = false;
  pthread_mutex_unlock(&stream->mutex);
  ls_watcher *watcher = ls_watch_add(follow->watch, stream->order_ids, revisions, stream->count,
                                     on_watch, stream, -1, &error);
  pthread_mutex_lock(&follow->mutex);
  stream->watcher = watcher;
  stream->phase = FOLLOWING;
  bool is_over = stream->is_over || watcher == NULL;
  if (is_over)
    take_out(stream);
  pthread_mutex_unlock(&follow->mutex);
  if (is_over && watcher == NULL)
    delivery_fail_overloaded(stream->call);
  else if (is_over)
    end(stream);
  return !is_over;
}

/* Has the watch look again for what was left out: it has moved on past it. */
static void on_writable(ls_rpc_call *call, void *arg) {
  follower *stream = arg;
  delivery_follow *follow = stream->follow;
  (void)call;
  pthread_mutex_lock(&stream->mutex);
  stream->is_full = false;
  bool is_owing = stream->is_owing;
  pthread_mutex_unlock(&stream->mutex);
  if (!is_owing)
    return;
  pthread_mutex_lock(&follow->mutex);
  bool is_following = stream->phase == FOLLOWING;
  ls_watcher *watcher = stream->watcher;
  if (is_following) {
    stream->phase = ARMING;
    stream->watcher = NULL;
  }
  pthread_mutex_unlock(&follow->mutex);
  if (!is_following)
    return;
  ls_watcher_remove(watcher);
  (void)arm(stream);
}

static follower *new_stream(delivery_follow *follow, ls_rpc_call *call, const int64_t *ids,
                            size_t count) {
  follower *stream = calloc(1, sizeof *stream);
  if (stream == NULL)
    return NULL;
  pthread_mutex_init(&stream->mutex, NULL);
  stream->follow = follow;
  stream->call = call;
  stream->order_ids = calloc(count, sizeof *stream->order_ids);
  stream->revisions = calloc(count, sizeof *stream->revisions);
  if (stream->order_ids == NULL || stream->revisions == NULL) {
    free_stream(stream);
    return NULL;
  }
  memcpy(stream->order_ids, ids, count * sizeof *ids);
  stream->count = delivery_sort_ids(stream->order_ids, count);
  return stream;
}

void delivery_follow_begin(delivery_follow *follow, ls_rpc_call *call,
                           const Delivery__V1__WatchDeliveriesRequest *request) {
  follower *stream = new_stream(follow, call, request->order_ids, request->n_order_ids);
  if (stream == NULL) {
    delivery_fail_overloaded(call);
    return;
  }
  ls_rpc_call_on_done(call, on_done, stream);
  ls_rpc_call_on_writable(call, on_writable, stream);
  pthread_mutex_lock(&follow->mutex);
  bool is_open = !follow->is_stopping;
  if (is_open)
    put_in(stream);
  pthread_mutex_unlock(&follow->mutex);
  if (!is_open) {
    delivery_fail_stopping(call);
    return;
  }
  if (!arm(stream))
    return;
  /* Last: it may call back at once. Callbacks of a call never overlap, so the stream is still
   * there, even if it was ended meanwhile. */
  ls_rpc_call_on_cancel(call, on_cancel, stream);
}

/* --- The watch --- */

static bool fetch(ls_watch *watch, const int64_t *keys, size_t count, void *arg) {
  delivery_follow *follow = arg;
  Delivery__V1__Delivery **deliveries;
  size_t found;
  ls_error error = {0};
  ls_arena_reset(follow->arena);
  if (!delivery_store_get(follow->store, keys, count, NULL, 0, follow->arena, &deliveries, &found,
                          &error)) {
    if (ls_log_every(&follow->failure_limit, 1000))
      LS_WARN("followed deliveries cannot be read", LS_ERR(&error),
              LS_UINT("not_logged", ls_log_suppressed(&follow->failure_limit)));
    return false;
  }
  for (size_t i = 0; i < found; i++)
    ls_watch_emit(watch, deliveries[i]->order_id, deliveries[i]->revision, deliveries[i]);
  return true;
}

static double count_streams(void *arg) {
  return (double)ls_watch_count(((delivery_follow *)arg)->watch);
}

delivery_follow *delivery_follow_new(const delivery_follow_options *options, ls_error *error) {
  delivery_follow *follow = calloc(1, sizeof *follow);
  if (follow == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for streams");
    return NULL;
  }
  follow->options = *options;
  pthread_mutex_init(&follow->mutex, NULL);
  follow->store = delivery_store_new(options->database, error);
  follow->arena = ls_arena_new(ARENA_BYTES);
  ls_watch_options watch_options = {.name = "follow-watch",
                                    .max_watchers = options->max_streams,
                                    .poll_interval_ms = options->poll_interval_ms,
                                    .fetch = fetch,
                                    .arg = follow};
  if (follow->arena == NULL)
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for streams");
  else if (follow->store != NULL)
    follow->watch = ls_watch_new(&watch_options, error);
  if (follow->watch == NULL) {
    delivery_follow_destroy(follow);
    return NULL;
  }
  (void)ls_metrics_gauge_callback(options->metrics, "lockstep_delivery_watch_streams",
                                  "Streams of WatchDeliveries", NULL, count_streams, follow);
  return follow;
}

void delivery_follow_wake(delivery_follow *follow) {
  ls_watch_wake(follow->watch);
}

void delivery_follow_stop(delivery_follow *follow) {
  for (;;) {
    pthread_mutex_lock(&follow->mutex);
    follow->is_stopping = true;
    follower *stream = follow->first;
    while (stream != NULL && stream->phase != FOLLOWING) {
      stream->is_over = true; /* the polling thread sees to it */
      stream = stream->next;
    }
    if (stream != NULL)
      take_out(stream);
    pthread_mutex_unlock(&follow->mutex);
    if (stream == NULL)
      return;
    end(stream);
  }
}

void delivery_follow_destroy(delivery_follow *follow) {
  if (follow == NULL)
    return;
  ls_metrics_remove_callbacks(follow->options.metrics, follow);
  ls_watch_destroy(follow->watch);
  delivery_store_destroy(follow->store);
  ls_arena_destroy(follow->arena);
  pthread_mutex_destroy(&follow->mutex);
  free(follow);
}
