/* Streams that follow orders. */
#include "order/order_follow.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "order/order_check.h"
#include "order/order_status.h"
#include "order/v1/order_service.grpc-c.h"
#include "runtime/base/log.h"
#include "runtime/watch/watch.h"

typedef struct followed_order {
  int64_t order_id;
  int64_t sent_version;
  bool is_owed; /* a newer version was not sent, for want of room */
} followed_order;

/* A stream. Whoever takes it out of the list ends it; its call's done callback frees it. */
typedef struct follower {
  order_read read; /* first: the two have one address */
  order_follow *follow;
  ls_rpc_call *call;
  ls_watcher *watcher;
  struct follower *previous, *next; /* under the mutex of `follow`, like is_listed */
  bool is_listed;

  pthread_mutex_t mutex; /* for what follows */
  bool is_full;          /* until the call is writable again */
  bool is_reading;       /* owed orders are being read */
  bool is_ending;
  unsigned ending_parts; /* of ending: who still uses the stream */
  ls_error end;          /* why it ends */
  int64_t *read_ids;     /* of the read, room for all */
  size_t count;
  followed_order orders[]; /* by ascending id */
} follower;

struct order_follow {
  order_follow_options options;
  ls_watch *watch;
  order_store *store; /* of the watch's thread */
  ls_log_limit failure_limit;
  pthread_mutex_t mutex; /* for the list */
  follower *first;
  bool is_stopping;
};

/* --- Sending --- */

static followed_order *find(follower *stream, int64_t order_id) {
  size_t low = 0;
  size_t high = stream->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (stream->orders[middle].order_id < order_id)
      low = middle + 1;
    else
      high = middle;
  }
  return low < stream->count && stream->orders[low].order_id == order_id ? &stream->orders[low]
                                                                         : NULL;
}

/* Sends an order that is newer than what was sent, or remembers that it is owed. With the mutex
 * held. */
static void send_or_owe(follower *stream, const Order__V1__Order *order) {
  followed_order *followed = find(stream, order->order_id);
  if (followed == NULL || order->version <= followed->sent_version || stream->is_ending)
    return;
  if (stream->is_full) {
    followed->is_owed = true;
    return;
  }
  Order__V1__WatchOrdersResponse response = ORDER__V1__WATCH_ORDERS_RESPONSE__INIT;
  response.order = (Order__V1__Order *)order; /* packed, never changed */
  switch (order_v1_order_service_watch_orders_send(stream->call, &response)) {
  case LS_RPC_SENT:
    followed->sent_version = order->version;
    return;
  case LS_RPC_SENT_FULL:
    followed->sent_version = order->version;
    stream->is_full = true;
    return;
  case LS_RPC_WOULD_BLOCK:
    followed->is_owed = true;
    stream->is_full = true;
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

/* --- Ending --- */

/* True for the one who is to end the stream. */
static bool take_out(follower *stream) {
  order_follow *follow = stream->follow;
  pthread_mutex_lock(&follow->mutex);
  bool taken = stream->is_listed;
  if (taken) {
    if (stream->previous != NULL)
      stream->previous->next = stream->next;
    else
      follow->first = stream->next;
    if (stream->next != NULL)
      stream->next->previous = stream->previous;
    stream->is_listed = false;
  }
  pthread_mutex_unlock(&follow->mutex);
  return taken;
}

static void finish(follower *stream) {
  ls_error reason = stream->end;
  order_fail_store(stream->call, &reason); /* the stream may be gone by the time this returns */
}

/* One of those who use an ending stream is done with it; the last ends the call. */
static void leave_ending(follower *stream) {
  pthread_mutex_lock(&stream->mutex);
  bool is_last = --stream->ending_parts == 0;
  pthread_mutex_unlock(&stream->mutex);
  if (is_last)
    finish(stream);
}

/* The read is over. If the stream does not end yet, whoever ends it need not wait. */
static void leave_reading(follower *stream) {
  pthread_mutex_lock(&stream->mutex);
  bool is_last = stream->is_ending && --stream->ending_parts == 0;
  stream->is_reading = false;
  pthread_mutex_unlock(&stream->mutex);
  if (is_last)
    finish(stream);
}

/* Of a stream that was taken out. Without its mutex: the watch's callback takes it. */
static void end(follower *stream, const ls_error *reason) {
  pthread_mutex_lock(&stream->mutex);
  stream->is_ending = true;
  stream->end = *reason;
  stream->ending_parts = stream->is_reading ? 2 : 1;
  pthread_mutex_unlock(&stream->mutex);
  ls_watcher_remove(stream->watcher);
  leave_ending(stream);
}

static void on_cancel(ls_rpc_call *call, void *arg) {
  follower *stream = arg;
  (void)call;
  static const ls_error over = {.code = LS_CANCELLED};
  if (take_out(stream))
    end(stream, &over);
}

static void on_done(ls_rpc_call *call, void *arg) {
  follower *stream = arg;
  (void)call;
  pthread_mutex_destroy(&stream->mutex);
  free(stream->read_ids);
  free(stream);
}

/* --- Catching up --- */

typedef enum catching_up { NOTHING_OWED, READING, READER_FULL } catching_up;

/* Has what is owed read. With the mutex held, and without a read under way. After READING and
 * READER_FULL the stream counts as being read, and is not freed meanwhile. */
static catching_up catch_up(follower *stream) {
  size_t owed = 0;
  for (size_t i = 0; i < stream->count; i++) {
    if (stream->orders[i].is_owed)
      stream->read_ids[owed++] = stream->orders[i].order_id;
    stream->orders[i].is_owed = false;
  }
  if (owed == 0)
    return NOTHING_OWED;
  stream->read.count = owed;
  stream->is_reading = true;
  return order_reader_push(stream->follow->options.reader, &stream->read) ? READING : READER_FULL;
}

/* Ends a stream that counts as being read, and leaves it. */
static void end_reading(follower *stream, const ls_error *reason) {
  if (take_out(stream))
    end(stream, reason);
  leave_reading(stream);
}

static const ls_error overloaded = {.code = LS_RESOURCE_EXHAUSTED};

static void on_writable(ls_rpc_call *call, void *arg) {
  follower *stream = arg;
  (void)call;
  catching_up state = NOTHING_OWED;
  pthread_mutex_lock(&stream->mutex);
  stream->is_full = false;
  if (!stream->is_reading && !stream->is_ending)
    state = catch_up(stream);
  pthread_mutex_unlock(&stream->mutex);
  if (state == READER_FULL)
    end_reading(stream, &overloaded);
}

/* What was owed has been read, on a reader's thread. Once the mutex is free and no read is under
 * way, the stream may go. */
static void answer(order_read *read, const order_list *orders, const ls_error *error) {
  follower *stream = (follower *)read;
  catching_up state = NOTHING_OWED;
  pthread_mutex_lock(&stream->mutex);
  bool is_over = stream->is_ending;
  if (!is_over && orders != NULL) {
    for (size_t i = 0; i < read->count; i++) {
      const Order__V1__Order *order = order_list_find(orders, read->order_ids[i]);
      if (order != NULL)
        send_or_owe(stream, order);
    }
    stream->is_reading = false;
    if (!stream->is_full)
      state = catch_up(stream);
  }
  pthread_mutex_unlock(&stream->mutex);
  if (is_over)
    leave_reading(stream);
  else if (orders == NULL)
    end_reading(stream, error);
  else if (state == READER_FULL)
    end_reading(stream, &overloaded);
}

/* --- The watch --- */

static bool fetch(ls_watch *watch, const int64_t *keys, size_t count, void *arg) {
  order_follow *follow = arg;
  order_list found;
  ls_error error = {0};
  if (!order_store_ready(follow->store, &error) ||
      !order_store_read(follow->store, keys, count, &found, &error)) {
    if (ls_log_every(&follow->failure_limit, 1000))
      LS_WARN("followed orders cannot be read", LS_ERR(&error),
              LS_UINT("not_logged", ls_log_suppressed(&follow->failure_limit)));
    return false;
  }
  for (size_t i = 0; i < found.count; i++)
    ls_watch_emit(watch, found.orders[i]->order_id, found.orders[i]->version, found.orders[i]);
  return true;
}

static double count_streams(void *arg) {
  return (double)ls_watch_count(((order_follow *)arg)->watch);
}

order_follow *order_follow_new(const order_follow_options *options, ls_error *error) {
  order_follow *follow = calloc(1, sizeof *follow);
  if (follow == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for following orders");
    return NULL;
  }
  follow->options = *options;
  pthread_mutex_init(&follow->mutex, NULL);
  follow->store = order_store_new(options->database, error);
  ls_watch_options watch_options = {.name = "order-watch",
                                    .max_watchers = options->max_streams,
                                    .poll_interval_ms = options->poll_interval_ms,
                                    .fetch = fetch,
                                    .arg = follow};
  if (follow->store != NULL)
    follow->watch = ls_watch_new(&watch_options, error);
  if (follow->watch == NULL) {
    order_follow_destroy(follow);
    return NULL;
  }
  (void)ls_metrics_gauge_callback(options->metrics, "lockstep_order_watch_streams",
                                  "Streams of WatchOrders", NULL, count_streams, follow);
  return follow;
}

void order_follow_destroy(order_follow *follow) {
  if (follow == NULL)
    return;
  ls_metrics_remove_callbacks(follow->options.metrics, follow);
  ls_watch_destroy(follow->watch);
  order_store_destroy(follow->store);
  pthread_mutex_destroy(&follow->mutex);
  free(follow);
}

void order_follow_committed(order_follow *follow, order_write *const *writes, size_t count) {
  if (ls_watch_count(follow->watch) == 0)
    return;
  for (size_t i = 0; i < count; i++)
    if (writes[i]->outcome == ORDER_CHANGED)
      ls_watch_publish(follow->watch, writes[i]->order->order_id, writes[i]->order->version,
                       writes[i]->order);
}

void order_follow_wake(order_follow *follow) {
  ls_watch_wake(follow->watch);
}

/* --- Beginning --- */

static int compare_orders(const void *left, const void *right) {
  int64_t a = ((const followed_order *)left)->order_id;
  int64_t b = ((const followed_order *)right)->order_id;
  return (a > b) - (a < b);
}

static follower *new_stream(order_follow *follow, ls_rpc_call *call, const int64_t *ids,
                            size_t count) {
  follower *stream = calloc(1, sizeof *stream + count * sizeof stream->orders[0]);
  int64_t *read_ids = calloc(count, sizeof *read_ids);
  if (stream == NULL || read_ids == NULL) {
    free(stream);
    free(read_ids);
    return NULL;
  }
  for (size_t i = 0; i < count; i++)
    stream->orders[i].order_id = ids[i];
  qsort(stream->orders, count, sizeof stream->orders[0], compare_orders);
  stream->count = 1;
  for (size_t i = 1; i < count; i++)
    if (stream->orders[i].order_id != stream->orders[stream->count - 1].order_id)
      stream->orders[stream->count++] = stream->orders[i];
  stream->follow = follow;
  stream->call = call;
  stream->read_ids = read_ids;
  stream->read = (order_read){.call = call, .order_ids = read_ids, .answer = answer};
  pthread_mutex_init(&stream->mutex, NULL);
  return stream;
}

static bool add_watcher(follower *stream) {
  int64_t keys[ORDER_MAX_WATCH_IDS];
  int64_t versions[ORDER_MAX_WATCH_IDS] = {0};
  for (size_t i = 0; i < stream->count; i++)
    keys[i] = stream->orders[i].order_id;
  ls_error error = {0};
  stream->watcher = ls_watch_add(stream->follow->watch, keys, versions, stream->count, on_watch,
                                 stream, -1, &error);
  return stream->watcher != NULL;
}

/* Puts the stream where order_follow_stop finds it. False: that has run. */
static bool put_in(follower *stream) {
  order_follow *follow = stream->follow;
  pthread_mutex_lock(&follow->mutex);
  bool is_open = !follow->is_stopping;
  stream->is_listed = is_open;
  if (is_open) {
    stream->next = follow->first;
    if (stream->next != NULL)
      stream->next->previous = stream;
    follow->first = stream;
  }
  pthread_mutex_unlock(&follow->mutex);
  return is_open;
}

void order_follow_begin(order_follow *follow, ls_rpc_call *call,
                        const Order__V1__WatchOrdersRequest *request) {
  static const ls_error stopping = {.code = LS_UNAVAILABLE};
  follower *stream = new_stream(follow, call, request->order_ids, request->n_order_ids);
  if (stream == NULL) {
    order_fail_overloaded(call);
    return;
  }
  ls_rpc_call_on_done(call, on_done, stream);
  ls_rpc_call_on_writable(call, on_writable, stream);
  if (!add_watcher(stream)) {
    order_fail_overloaded(call);
    return;
  }
  if (!put_in(stream)) {
    end(stream, &stopping);
    return;
  }
  /* Last: it may call back at once. Callbacks of a call never overlap, so the stream is still
   * there, even if it was ended meanwhile. */
  ls_rpc_call_on_cancel(call, on_cancel, stream);
}

void order_follow_stop(order_follow *follow) {
  static const ls_error stopping = {.code = LS_UNAVAILABLE};
  for (;;) {
    pthread_mutex_lock(&follow->mutex);
    follow->is_stopping = true;
    follower *stream = follow->first;
    if (stream != NULL) {
      follow->first = stream->next;
      if (stream->next != NULL)
        stream->next->previous = NULL;
      stream->is_listed = false;
    }
    pthread_mutex_unlock(&follow->mutex);
    if (stream == NULL)
      return;
    end(stream, &stopping);
  }
}
