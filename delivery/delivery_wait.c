/* Calls that wait for a delivery. */
#include "delivery/delivery_wait.h"

#include <pthread.h>
#include <stdlib.h>

#include "delivery/delivery_status.h"
#include "delivery/v1/delivery_service.grpc-c.h"
#include "runtime/base/log.h"
#include "runtime/base/thread.h"
#include "runtime/watch/watch.h"

#define ARENA_BYTES ((size_t)64 << 20)

typedef enum phase {
  READING, /* a reader has it, and will end it or make it wait */
  WAITING, /* whoever makes it ENDED ends the call */
  ENDED
} phase;

typedef struct waiter {
  delivery_read read; /* first: the two have one address */
  delivery_wait *wait;
  const Delivery__V1__GetDeliveryRequest *request; /* until the call is ended */

  /* Under the mutex of `wait`. */
  phase phase;
  bool is_over;     /* cancelled or stopping while a reader had it */
  unsigned holders; /* the call until its done, a reader while it begins to wait */
  ls_watcher *watcher;
  struct waiter *previous, *next;
} waiter;

struct delivery_wait {
  delivery_wait_options options;
  ls_watch *watch;
  delivery_store *store; /* of the watch's thread, like the arena */
  ls_arena *arena;
  ls_log_limit failure_limit;
  pthread_mutex_t mutex; /* never held while the watch is called */
  waiter *first;
  bool is_stopping;
};

void delivery_reply(ls_rpc_call *call, const Delivery__V1__GetDeliveryRequest *request,
                    const Delivery__V1__Delivery *delivery) {
  Delivery__V1__Delivery shown = *delivery;
  if (!request->include_history)
    shown.n_history = 0;
  Delivery__V1__GetDeliveryResponse response = DELIVERY__V1__GET_DELIVERY_RESPONSE__INIT;
  response.delivery = &shown;
  delivery_v1_delivery_service_get_delivery_reply(call, &response);
}

/* --- Coming and going; with the mutex held --- */

static void put_in(waiter *one) {
  delivery_wait *wait = one->wait;
  one->next = wait->first;
  if (one->next != NULL)
    one->next->previous = one;
  wait->first = one;
}

/* The caller is the one who ends the call. */
static void take_out(waiter *one) {
  if (one->previous != NULL)
    one->previous->next = one->next;
  else
    one->wait->first = one->next;
  if (one->next != NULL)
    one->next->previous = one->previous;
  one->phase = ENDED;
}

/* --- Ends --- */

static void leave(waiter *one) {
  delivery_wait *wait = one->wait;
  pthread_mutex_lock(&wait->mutex);
  bool is_last = --one->holders == 0;
  pthread_mutex_unlock(&wait->mutex);
  if (is_last)
    free(one);
}

static void on_done(ls_rpc_call *call, void *arg) {
  (void)call;
  leave(arg);
}

/* Of a waiter that was taken out while it waited. */
static void end_over(waiter *one) {
  ls_watcher_remove(one->watcher);
  if (ls_rpc_call_is_cancelled(one->read.call))
    ls_rpc_call_fail(one->read.call, LS_CANCELLED, "the call is over");
  else
    delivery_fail_stopping(one->read.call);
}

static void on_cancel(ls_rpc_call *call, void *arg) {
  waiter *one = arg;
  (void)call;
  pthread_mutex_lock(&one->wait->mutex);
  bool taken = one->phase == WAITING;
  if (taken)
    take_out(one);
  else
    one->is_over = true;
  pthread_mutex_unlock(&one->wait->mutex);
  if (taken)
    end_over(one);
}

/* The delivery has been read with its history, after the wait. */
static void answer_history(delivery_read *read, const delivery_list *found, const ls_error *error) {
  const waiter *one = (const waiter *)read;
  const Delivery__V1__Delivery *delivery =
      found == NULL ? NULL : delivery_list_find(found, one->request->order_id);
  if (found == NULL)
    delivery_fail_store(read->call, error);
  else if (delivery == NULL)
    delivery_fail_missing(read->call, one->request->order_id);
  else
    delivery_reply(read->call, one->request, delivery);
}

/* On the watch's thread. */
static void on_watch(ls_watcher *watcher, ls_watch_event event, int64_t key, int64_t version,
                     const void *item, void *arg) {
  waiter *one = arg;
  (void)key;
  (void)version;
  pthread_mutex_lock(&one->wait->mutex);
  bool taken = one->phase != ENDED;
  if (taken)
    take_out(one);
  pthread_mutex_unlock(&one->wait->mutex);
  if (!taken)
    return;
  ls_watcher_remove(watcher);
  if (event == LS_WATCH_EXPIRED) {
    delivery_fail_not_reached(one->read.call, one->request->order_id,
                              one->request->min_order_version);
  } else if (!one->request->include_history) {
    delivery_reply(one->read.call, one->request, item);
  } else {
    one->read.answer = answer_history;
    if (!delivery_reader_push(one->wait->options.reader, &one->read))
      delivery_fail_overloaded(one->read.call);
  }
}

/* --- Beginning --- */

static int64_t deadline_us(const waiter *one) {
  int64_t wait_ms = ls_rpc_call_time_left_ms(one->read.call);
  if (wait_ms > one->wait->options.max_wait_ms)
    wait_ms = one->wait->options.max_wait_ms;
  return ls_deadline_us(wait_ms);
}

/* Of a waiter that a reader has: the caller ends the call. */
static void take_reading(waiter *one) {
  pthread_mutex_lock(&one->wait->mutex);
  take_out(one);
  pthread_mutex_unlock(&one->wait->mutex);
}

/* What there is is not enough. On a reader's thread. */
static void begin_waiting(waiter *one) {
  delivery_wait *wait = one->wait;
  ls_error error = {0};
  int64_t after_version = one->request->min_order_version - 1;
  pthread_mutex_lock(&wait->mutex);
  one->holders++;
  pthread_mutex_unlock(&wait->mutex);
  /* From here on the watch may end the call, and the waiter lives only because it is held. */
  ls_watcher *watcher = ls_watch_add(wait->watch, one->read.order_ids, &after_version, 1, on_watch,
                                     one, deadline_us(one), &error);
  if (watcher == NULL) {
    take_reading(one);
    delivery_fail_overloaded(one->read.call);
    leave(one);
    return;
  }
  pthread_mutex_lock(&wait->mutex);
  bool is_over = false;
  if (one->phase == READING) {
    one->watcher = watcher;
    one->phase = WAITING;
    is_over = one->is_over;
    if (is_over)
      take_out(one);
  }
  pthread_mutex_unlock(&wait->mutex);
  if (is_over)
    end_over(one);
  leave(one);
}

static void answer(delivery_read *read, const delivery_list *found, const ls_error *error) {
  waiter *one = (waiter *)read;
  const Delivery__V1__Delivery *delivery =
      found == NULL ? NULL : delivery_list_find(found, one->request->order_id);
  if (found == NULL) {
    take_reading(one);
    delivery_fail_store(read->call, error);
  } else if (delivery != NULL && delivery->order_version >= one->request->min_order_version) {
    take_reading(one);
    delivery_reply(read->call, one->request, delivery);
  } else {
    begin_waiting(one);
  }
}

void delivery_wait_begin(delivery_wait *wait, ls_rpc_call *call,
                         const Delivery__V1__GetDeliveryRequest *request) {
  waiter *one = calloc(1, sizeof *one);
  if (one == NULL) {
    delivery_fail_overloaded(call);
    return;
  }
  one->read = (delivery_read){.call = call,
                              .order_ids = &request->order_id,
                              .count = 1,
                              .with_history = request->include_history,
                              .answer = answer};
  one->wait = wait;
  one->request = request;
  one->holders = 1;
  ls_rpc_call_on_done(call, on_done, one);
  pthread_mutex_lock(&wait->mutex);
  bool is_open = !wait->is_stopping;
  if (is_open)
    put_in(one);
  pthread_mutex_unlock(&wait->mutex);
  if (!is_open) {
    delivery_fail_stopping(call);
    return;
  }
  ls_rpc_call_on_cancel(call, on_cancel, one);
  if (!delivery_reader_push(wait->options.reader, &one->read)) {
    take_reading(one);
    delivery_fail_overloaded(call);
  }
}

/* --- The watch --- */

static bool fetch(ls_watch *watch, const int64_t *keys, size_t count, void *arg) {
  delivery_wait *wait = arg;
  Delivery__V1__Delivery **deliveries;
  size_t found;
  ls_error error = {0};
  ls_arena_reset(wait->arena);
  if (!delivery_store_get(wait->store, keys, count, NULL, 0, wait->arena, &deliveries, &found,
                          &error)) {
    if (ls_log_every(&wait->failure_limit, 1000))
      LS_WARN("deliveries that are waited for cannot be read", LS_ERR(&error),
              LS_UINT("not_logged", ls_log_suppressed(&wait->failure_limit)));
    return false;
  }
  for (size_t i = 0; i < found; i++)
    ls_watch_emit(watch, deliveries[i]->order_id, deliveries[i]->order_version, deliveries[i]);
  return true;
}

static double count_waiters(void *arg) {
  return (double)ls_watch_count(((delivery_wait *)arg)->watch);
}

delivery_wait *delivery_wait_new(const delivery_wait_options *options, ls_error *error) {
  delivery_wait *wait = calloc(1, sizeof *wait);
  if (wait == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for waiting calls");
    return NULL;
  }
  wait->options = *options;
  pthread_mutex_init(&wait->mutex, NULL);
  wait->store = delivery_store_new(options->database, error);
  wait->arena = ls_arena_new(ARENA_BYTES);
  ls_watch_options watch_options = {.name = "wait-watch",
                                    .max_watchers = options->max_waiters,
                                    .poll_interval_ms = options->poll_interval_ms,
                                    .fetch = fetch,
                                    .arg = wait};
  if (wait->arena == NULL)
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for waiting calls");
  else if (wait->store != NULL)
    wait->watch = ls_watch_new(&watch_options, error);
  if (wait->watch == NULL) {
    delivery_wait_destroy(wait);
    return NULL;
  }
  (void)ls_metrics_gauge_callback(options->metrics, "lockstep_delivery_waiting_calls",
                                  "Calls of GetDelivery that wait for a version of the order", NULL,
                                  count_waiters, wait);
  return wait;
}

void delivery_wait_wake(delivery_wait *wait) {
  ls_watch_wake(wait->watch);
}

void delivery_wait_stop(delivery_wait *wait) {
  for (;;) {
    pthread_mutex_lock(&wait->mutex);
    wait->is_stopping = true;
    waiter *one = wait->first;
    while (one != NULL && one->phase != WAITING) {
      one->is_over = true; /* the reader that has it sees to it */
      one = one->next;
    }
    if (one != NULL)
      take_out(one);
    pthread_mutex_unlock(&wait->mutex);
    if (one == NULL)
      return;
    end_over(one);
  }
}

void delivery_wait_destroy(delivery_wait *wait) {
  if (wait == NULL)
    return;
  ls_metrics_remove_callbacks(wait->options.metrics, wait);
  ls_watch_destroy(wait->watch);
  delivery_store_destroy(wait->store);
  ls_arena_destroy(wait->arena);
  pthread_mutex_destroy(&wait->mutex);
  free(wait);
}
