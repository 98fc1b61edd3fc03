/* See event_applier.h. */
#include "delivery/event_applier.h"

#include <pthread.h>
#include <stdlib.h>

#include "delivery/delivery_store.h"
#include "delivery/order_lookup.h"
#include "runtime/base/fault.h"
#include "runtime/base/log.h"
#include "runtime/base/thread.h"

typedef enum attempt_state { ATTEMPT_NONE, ATTEMPT_BEGUN, ATTEMPT_ENDED } attempt_state;

struct event_applier {
  event_applier_options options;
  delivery_store *store;
  order_lookup *lookup;
  event_batch *batch;
  rd_kafka_message_t *const *messages;
  size_t count;
  bool is_taken; /* the batch holds the messages */
  bool is_done;
  bool letters_sent;
  bool one_by_one; /* something in the batch cannot be written: each order by itself */

  pthread_t thread;
  bool is_running;
  pthread_mutex_t mutex;
  pthread_cond_t changed; /* state, or is_stopping */
  attempt_state state;
  bool is_stopping;
  bool succeeded; /* the attempt that has ended */
  ls_error error;
};

event_applier *event_applier_new(const event_applier_options *options, ls_error *error) {
  event_applier *applier = calloc(1, sizeof *applier);
  if (applier == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for an applier");
    return NULL;
  }
  applier->options = *options;
  applier->is_done = true;
  pthread_mutex_init(&applier->mutex, NULL);
  pthread_cond_init(&applier->changed, NULL);
  order_lookup_options lookup = {options->orders, options->lookup_batch, options->lookup_calls,
                                 options->lookup_timeout_ms, options->counters};
  applier->store = delivery_store_new(options->database, error);
  applier->lookup = order_lookup_new(&lookup, error);
  applier->batch = event_batch_new(options->batch_events, &applier->options.topics, error);
  if (applier->store != NULL && applier->lookup != NULL && applier->batch != NULL)
    return applier;
  event_applier_destroy(applier);
  return NULL;
}

void event_applier_destroy(event_applier *applier) {
  if (applier == NULL)
    return;
  pthread_mutex_lock(&applier->mutex);
  applier->is_stopping = true;
  pthread_cond_broadcast(&applier->changed);
  pthread_mutex_unlock(&applier->mutex);
  if (applier->is_running)
    pthread_join(applier->thread, NULL);
  delivery_store_destroy(applier->store);
  order_lookup_destroy(applier->lookup);
  event_batch_destroy(applier->batch);
  pthread_cond_destroy(&applier->changed);
  pthread_mutex_destroy(&applier->mutex);
  free(applier);
}

void event_applier_take(event_applier *applier, rd_kafka_message_t *const *messages, size_t count) {
  applier->messages = messages;
  applier->count = count;
  applier->is_taken = false;
  applier->is_done = count == 0;
}

bool event_applier_is_done(const event_applier *applier) {
  return applier->is_done;
}

/* --- A try --- */

static bool look_up(event_applier *applier, ls_error *error) {
  event_batch *batch = applier->batch;
  size_t count;
  if (!event_batch_may_look_up(batch))
    return true;
  if (!delivery_store_known(applier->store, event_batch_order_ids(batch),
                            event_batch_order_count(batch), event_batch_known(batch), error))
    return false;
  const int64_t *order_ids = event_batch_to_look_up(batch, &count);
  if (count == 0)
    return true;
  bool answered = order_lookup_run(applier->lookup, order_ids, count, event_batch_arena(batch),
                                   event_batch_results(batch), error);
  if (answered)
    LS_FAULT_POINT("delivery.looked_up");
  return answered && event_batch_take_results(batch, error);
}

static bool send_letters(event_applier *applier, ls_error *error) {
  size_t count;
  const delivery_letter *letters = event_batch_letters(applier->batch, &count);
  if (!applier->letters_sent &&
      !dead_letter_producer_send(applier->options.dead_letters, letters, count, error))
    return false;
  if (count > 0)
    LS_FAULT_POINT("delivery.letters_sent");
  applier->letters_sent = true;
  return true;
}

static void tell(const event_applier *applier, size_t applied) {
  if (applied > 0)
    applier->options.changed(applier->options.arg);
}

static bool apply_together(event_applier *applier, ls_error *error) {
  event_batch *batch = applier->batch;
  delivery_batch all = {.works = event_batch_works(batch),
                        .work_count = event_batch_order_count(batch),
                        .pending_delay_ms = applier->options.pending_delay_ms};
  all.letters = event_batch_letters(batch, &all.letter_count);
  size_t applied;
  if (!delivery_store_apply(applier->store, &all, &applied, error))
    return false;
  tell(applier, applied);
  return true;
}

static bool apply_order(event_applier *applier, size_t index, ls_error *error) {
  event_batch *batch = applier->batch;
  delivery_batch one = {.works = event_batch_works(batch) + index,
                        .work_count = 1,
                        .pending_delay_ms = applier->options.pending_delay_ms};
  size_t applied;
  ls_error problem = {0};
  if (delivery_store_apply(applier->store, &one, &applied, &problem)) {
    tell(applier, applied);
    event_batch_settle(batch, index);
    return true;
  }
  if (!delivery_store_is_about_data(&problem)) {
    *error = problem;
    return false;
  }
  applier->letters_sent = false;
  return event_batch_refuse(batch, index, problem.message, error);
}

static bool apply_one_by_one(event_applier *applier, ls_error *error) {
  event_batch *batch = applier->batch;
  for (size_t i = 0; i < event_batch_order_count(batch); i++)
    if (!event_batch_is_settled(batch, i) && !apply_order(applier, i, error))
      return false;
  if (!send_letters(applier, error))
    return false;
  delivery_batch rest = {0};
  size_t applied;
  rest.letters = event_batch_letters(batch, &rest.letter_count);
  return delivery_store_apply(applier->store, &rest, &applied, error);
}

static bool apply(event_applier *applier, ls_error *error) {
  if (!applier->is_taken) {
    applier->letters_sent = false;
    applier->one_by_one = false;
    if (!event_batch_take(applier->batch, applier->messages, applier->count, error))
      return false;
    applier->is_taken = true;
  }
  if (!look_up(applier, error) || !send_letters(applier, error))
    return false;
  if (!applier->one_by_one) {
    if (apply_together(applier, error))
      return true;
    if (!delivery_store_is_about_data(error))
      return false;
    LS_WARN("a batch cannot be written; its orders are tried one by one", LS_ERR(error));
    applier->one_by_one = true;
  }
  return apply_one_by_one(applier, error);
}

bool event_applier_try(event_applier *applier, ls_error *error) {
  applier->is_done = applier->is_done || apply(applier, error);
  return applier->is_done;
}

bool event_applier_count(const event_applier *applier) {
  return applier->count > 0 && event_batch_count(applier->batch, applier->options.counters);
}

/* --- The thread --- */

static void *run(void *arg) {
  event_applier *applier = arg;
  pthread_mutex_lock(&applier->mutex);
  while (!applier->is_stopping) {
    if (applier->state != ATTEMPT_BEGUN) {
      pthread_cond_wait(&applier->changed, &applier->mutex);
      continue;
    }
    pthread_mutex_unlock(&applier->mutex);
    ls_error error = {0};
    bool succeeded = event_applier_try(applier, &error);
    pthread_mutex_lock(&applier->mutex);
    applier->succeeded = succeeded;
    applier->error = error;
    applier->state = ATTEMPT_ENDED;
    pthread_cond_broadcast(&applier->changed);
  }
  pthread_mutex_unlock(&applier->mutex);
  return NULL;
}

bool event_applier_start(event_applier *applier, ls_error *error) {
  applier->is_running = ls_thread_start(&applier->thread, "applier", run, applier, error);
  return applier->is_running;
}

void event_applier_begin(event_applier *applier) {
  pthread_mutex_lock(&applier->mutex);
  applier->state = ATTEMPT_BEGUN;
  pthread_cond_broadcast(&applier->changed);
  pthread_mutex_unlock(&applier->mutex);
}

bool event_applier_end(event_applier *applier, ls_error *error) {
  pthread_mutex_lock(&applier->mutex);
  while (applier->state != ATTEMPT_ENDED)
    pthread_cond_wait(&applier->changed, &applier->mutex);
  applier->state = ATTEMPT_NONE;
  bool succeeded = applier->succeeded;
  if (!succeeded)
    *error = applier->error;
  pthread_mutex_unlock(&applier->mutex);
  return succeeded;
}
