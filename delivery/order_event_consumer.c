/* The consumer's thread. */
#include "delivery/order_event_consumer.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "delivery/dead_letter_producer.h"
#include "delivery/event_applier.h"
#include "runtime/base/clock.h"
#include "runtime/base/fault.h"
#include "runtime/base/log.h"
#include "runtime/base/retry.h"
#include "runtime/base/thread.h"

#define POLL_MS 100
#define COMMIT_INTERVAL_MS 200
#define COMMIT_RETRY_MS 2000
#define COMMIT_TIMEOUT_MS 5000
#define COMMITTED_TIMEOUT_MS 500 /* to ask the group for its offsets, for an operator */
#define LAG_INTERVAL_MS 2000
#define MAX_PARTITIONS 512
#define PROBLEM_LASTS_MS 10000
#define RETRY_INITIAL_MS 50
#define RETRY_MAX_MS 1000

struct order_event_consumer {
  order_event_consumer_options options;
  pthread_t thread;
  bool is_running;
  atomic_bool stop;

  pthread_mutex_t kafka_mutex; /* for the pointer: read_state uses it from another thread */
  ls_kafka_consumer *kafka;

  pthread_mutex_t mutex; /* for what else read_state reads */
  bool paused;
  char problem[480];

  /* The thread's own. */
  dead_letter_producer *dead_letters;
  event_applier *appliers[ORDER_EVENT_CONSUMER_THREADS_MAX];
  size_t capacity;             /* of what is handled at once: a batch for each applier */
  rd_kafka_message_t **fresh;  /* room for what one poll gives */
  rd_kafka_message_t **polled; /* polled and not yet done, the oldest first; room for twice that */
  rd_kafka_message_t **parts;  /* those that are taken, by applier: room for a batch for each */
  size_t polled_count;
  size_t taken_count; /* of these, how many are handled now */
  bool taken_changed; /* the appliers have not been given them, or some were revoked since */
  rd_kafka_topic_partition_list_t *offsets; /* done, of the partitions assigned */
  bool offsets_changed;                     /* since they were last committed */
  int64_t commit_ms;                        /* when they are committed next, at the earliest */
  int64_t lag_ms;
  int64_t problem_ms; /* when `problem` was set; 0: there is none */
  ls_backoff backoff;
  ls_log_limit failure_limit;
};

static bool make_appliers(order_event_consumer *consumer, ls_error *error) {
  const order_event_consumer_options *options = &consumer->options;
  event_applier_options applier = {.database = options->database,
                                   .dead_letters = consumer->dead_letters,
                                   .topics = options->topics,
                                   .batch_events = options->batch_events,
                                   .orders = options->orders,
                                   .lookup_batch = options->lookup_batch,
                                   .lookup_calls = options->lookup_calls,
                                   .lookup_timeout_ms = options->lookup_timeout_ms,
                                   .pending_delay_ms = options->pending_delay_ms,
                                   .counters = options->counters,
                                   .changed = options->changed,
                                   .arg = options->arg};
  for (unsigned i = 0; i < options->threads; i++)
    if ((consumer->appliers[i] = event_applier_new(&applier, error)) == NULL)
      return false;
  return true;
}

order_event_consumer *order_event_consumer_new(const order_event_consumer_options *options,
                                               ls_error *error) {
  order_event_consumer *consumer = calloc(1, sizeof *consumer);
  if (consumer == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for the consumer");
    return NULL;
  }
  consumer->options = *options;
  pthread_mutex_init(&consumer->kafka_mutex, NULL);
  pthread_mutex_init(&consumer->mutex, NULL);
  ls_backoff_init(&consumer->backoff, RETRY_INITIAL_MS, RETRY_MAX_MS);
  consumer->capacity = options->threads * options->batch_events;
  dead_letter_producer_options letters = {options->kafka, options->dead_letter_topic, 10000};
  consumer->dead_letters = dead_letter_producer_new(&letters, error);
  consumer->fresh = calloc(consumer->capacity, sizeof(rd_kafka_message_t *));
  consumer->polled = calloc(2 * consumer->capacity, sizeof(rd_kafka_message_t *));
  consumer->parts = calloc(consumer->capacity, sizeof(rd_kafka_message_t *));
  consumer->offsets = rd_kafka_topic_partition_list_new(16);
  bool complete = consumer->dead_letters != NULL;
  if (consumer->fresh == NULL || consumer->polled == NULL || consumer->parts == NULL)
    complete =
        ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for the consumer");
  if (!complete || !make_appliers(consumer, error)) {
    order_event_consumer_destroy(consumer);
    return NULL;
  }
  return consumer;
}

void order_event_consumer_destroy(order_event_consumer *consumer) {
  if (consumer == NULL)
    return;
  for (unsigned i = 0; i < consumer->options.threads; i++)
    event_applier_destroy(consumer->appliers[i]);
  dead_letter_producer_destroy(consumer->dead_letters);
  free(consumer->fresh);
  free(consumer->polled);
  free(consumer->parts);
  rd_kafka_topic_partition_list_destroy(consumer->offsets);
  pthread_mutex_destroy(&consumer->mutex);
  pthread_mutex_destroy(&consumer->kafka_mutex);
  free(consumer);
}

/* --- What others see --- */

static void set_problem(order_event_consumer *consumer, const ls_error *error) {
  pthread_mutex_lock(&consumer->mutex);
  snprintf(consumer->problem, sizeof consumer->problem, "%s", error == NULL ? "" : error->message);
  consumer->problem_ms = error == NULL ? 0 : ls_clock_monotonic_ms();
  pthread_mutex_unlock(&consumer->mutex);
}

static void report(order_event_consumer *consumer, const ls_error *error) {
  set_problem(consumer, error);
  if (ls_log_every(&consumer->failure_limit, 1000))
    LS_WARN("events wait", LS_ERR(error),
            LS_UINT("not_logged", ls_log_suppressed(&consumer->failure_limit)));
}

void order_event_consumer_read_state(order_event_consumer *consumer, ls_kafka_partition *partitions,
                                     size_t max, order_event_consumer_state *state) {
  *state = (order_event_consumer_state){0};
  ls_error ignored;
  pthread_mutex_lock(&consumer->kafka_mutex);
  if (consumer->kafka != NULL)
    ls_kafka_consumer_partitions(consumer->kafka, partitions, max, &state->partition_count,
                                 COMMITTED_TIMEOUT_MS, &ignored);
  pthread_mutex_unlock(&consumer->kafka_mutex);
  pthread_mutex_lock(&consumer->mutex);
  state->paused = consumer->paused;
  memcpy(state->problem, consumer->problem, sizeof state->problem);
  pthread_mutex_unlock(&consumer->mutex);
}

static ls_gauge *lag_gauge(order_event_consumer *consumer, const char *topic, int32_t partition) {
  char number[16];
  snprintf(number, sizeof number, "%d", partition);
  return ls_metrics_gauge(consumer->options.metrics, "lockstep_delivery_consumer_lag",
                          "Events in the partition that are not taken yet, where it is assigned "
                          "to this replica",
                          LS_LABELS("topic", topic, "partition", number));
}

static void update_lag(order_event_consumer *consumer) {
  static const ls_kafka_partition nothing;
  int64_t now_ms = ls_clock_monotonic_ms();
  if (now_ms < consumer->lag_ms + LAG_INTERVAL_MS)
    return;
  consumer->lag_ms = now_ms;
  ls_kafka_partition *partitions = calloc(MAX_PARTITIONS, sizeof nothing);
  size_t count = 0;
  ls_error ignored;
  if (partitions != NULL && ls_kafka_consumer_partitions(consumer->kafka, partitions,
                                                         MAX_PARTITIONS, &count, 0, &ignored))
    for (size_t i = 0; i < count; i++)
      if (partitions[i].end >= 0 && partitions[i].position >= 0)
        ls_gauge_set(lag_gauge(consumer, partitions[i].topic, partitions[i].partition),
                     (double)(partitions[i].end - partitions[i].position));
  free(partitions);
}

/* --- Offsets --- */

static void note_done(order_event_consumer *consumer, const rd_kafka_message_t *message) {
  const char *topic = rd_kafka_topic_name(message->rkt);
  rd_kafka_topic_partition_t *place =
      rd_kafka_topic_partition_list_find(consumer->offsets, topic, message->partition);
  if (place == NULL)
    place = rd_kafka_topic_partition_list_add(consumer->offsets, topic, message->partition);
  place->offset = message->offset + 1;
  consumer->offsets_changed = true;
}

static void commit(order_event_consumer *consumer, ls_kafka_consumer *kafka, int timeout_ms) {
  ls_error error = {0};
  consumer->commit_ms = ls_clock_monotonic_ms() + COMMIT_INTERVAL_MS;
  if (!consumer->offsets_changed)
    return;
  LS_FAULT_POINT("delivery.commits");
  consumer->offsets_changed = false;
  if (ls_kafka_consumer_commit(kafka, consumer->offsets, timeout_ms, &error))
    return;
  LS_WARN("offsets are not committed; their events will come again", LS_ERR(&error));
  consumer->offsets_changed = true;
  consumer->commit_ms += COMMIT_RETRY_MS;
}

/* One that failed is done again, or the group's lag would show what was done long ago. */
static void commit_now_and_then(order_event_consumer *consumer) {
  if (ls_kafka_consumer_commit_failed(consumer->kafka)) {
    consumer->offsets_changed = true;
    consumer->commit_ms = ls_clock_monotonic_ms() + COMMIT_RETRY_MS;
  }
  if (ls_clock_monotonic_ms() >= consumer->commit_ms)
    commit(consumer, consumer->kafka, 0);
}

static void drop_message(order_event_consumer *consumer, size_t index) {
  rd_kafka_message_destroy(consumer->polled[index]);
  consumer->polled_count--;
  memmove(&consumer->polled[index], &consumer->polled[index + 1],
          (consumer->polled_count - index) * sizeof consumer->polled[0]);
}

/* What is not done by now is somebody else's. */
static void on_rebalance(ls_kafka_consumer *kafka, ls_kafka_rebalance kind,
                         const rd_kafka_topic_partition_list_t *partitions, void *arg) {
  order_event_consumer *consumer = arg;
  if (kind == LS_KAFKA_ASSIGNED)
    return;
  LS_FAULT_POINT("delivery.revoked");
  if (kind == LS_KAFKA_REVOKED)
    commit(consumer, kafka, COMMIT_TIMEOUT_MS);
  for (int i = 0; i < partitions->cnt; i++) {
    const rd_kafka_topic_partition_t *gone = &partitions->elems[i];
    rd_kafka_topic_partition_list_del(consumer->offsets, gone->topic, gone->partition);
    ls_gauge_set(lag_gauge(consumer, gone->topic, gone->partition), 0);
  }
  for (size_t i = 0; i < consumer->polled_count;) {
    const rd_kafka_message_t *message = consumer->polled[i];
    if (rd_kafka_topic_partition_list_find((rd_kafka_topic_partition_list_t *)(uintptr_t)partitions,
                                           rd_kafka_topic_name(message->rkt),
                                           message->partition) == NULL) {
      i++;
      continue;
    }
    drop_message(consumer, i);
    if (i < consumer->taken_count) {
      consumer->taken_count--;
      consumer->taken_changed = true;
    }
  }
}

/* --- Kafka --- */

static void drop_kafka(order_event_consumer *consumer) {
  pthread_mutex_lock(&consumer->kafka_mutex);
  ls_kafka_consumer *kafka = consumer->kafka;
  consumer->kafka = NULL;
  pthread_mutex_unlock(&consumer->kafka_mutex);
  pthread_mutex_lock(&consumer->mutex);
  consumer->paused = false;
  pthread_mutex_unlock(&consumer->mutex);
  if (kafka == NULL)
    return;
  /* Even if nothing has changed: a commit that was not waited for may be on its way, and a group
   * that does not answer is not waited for again. */
  consumer->offsets_changed = consumer->offsets->cnt > 0;
  commit(consumer, kafka, COMMIT_TIMEOUT_MS);
  ls_kafka_messages_destroy(consumer->polled, consumer->polled_count);
  while (consumer->offsets->cnt > 0) /* a new consumer begins where the group is */
    rd_kafka_topic_partition_list_del_by_idx(consumer->offsets, 0);
  consumer->polled_count = 0;
  consumer->taken_count = 0;
  consumer->taken_changed = true;
  ls_kafka_consumer_destroy(kafka);
}

static bool make_kafka(order_event_consumer *consumer, ls_error *error) {
  const order_event_consumer_options *options = &consumer->options;
  const char *topics[] = {options->topics.domain, options->topics.create, options->topics.change,
                          options->topics.cancel};
  ls_kafka_consumer_options kafka_options = {.group_id = options->group_id,
                                             .group_instance_id = options->group_instance_id,
                                             .topics = topics,
                                             .topic_count = 4,
                                             .session_timeout_ms = options->session_timeout_ms,
                                             .queued_max_bytes = options->queued_max_bytes,
                                             .callback = on_rebalance,
                                             .arg = consumer};
  ls_kafka_consumer *kafka = ls_kafka_consumer_new(options->kafka, &kafka_options, error);
  pthread_mutex_lock(&consumer->kafka_mutex);
  consumer->kafka = kafka;
  pthread_mutex_unlock(&consumer->kafka_mutex);
  return kafka != NULL;
}

static void sleep_ms(int64_t wait_ms) {
  struct timespec wait = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000};
  nanosleep(&wait, NULL);
}

/* A failure that is not followed by another one is taken for mended. */
static void forget_problem(order_event_consumer *consumer) {
  if (consumer->problem_ms == 0 ||
      ls_clock_monotonic_ms() < consumer->problem_ms + PROBLEM_LASTS_MS)
    return;
  set_problem(consumer, NULL);
}

/* Takes what has come, behind what is there already. */
static void poll_kafka(order_event_consumer *consumer, size_t max, int timeout_ms) {
  size_t room = 2 * consumer->capacity - consumer->polled_count;
  size_t count = 0;
  ls_error error = {0};
  if (room < max) { /* while a batch waits, only paused partitions are polled: hardly ever */
    sleep_ms(timeout_ms);
    return;
  }
  bool polled =
      ls_kafka_consumer_poll(consumer->kafka, consumer->fresh, max, timeout_ms, &count, &error);
  memcpy(consumer->polled + consumer->polled_count, consumer->fresh,
         count * sizeof consumer->fresh[0]);
  consumer->polled_count += count;
  if (polled)
    return;
  report(consumer, &error);
  if (!error.retriable)
    drop_kafka(consumer);
}

static void set_paused(order_event_consumer *consumer, bool paused) {
  ls_error error = {0};
  if (consumer->paused == paused || consumer->kafka == NULL)
    return;
  bool done = paused ? ls_kafka_consumer_pause(consumer->kafka, &error)
                     : ls_kafka_consumer_resume(consumer->kafka, &error);
  if (!done) {
    LS_WARN("kafka partitions could not be paused or resumed", LS_ERR(&error));
    drop_kafka(consumer);
    return;
  }
  pthread_mutex_lock(&consumer->mutex);
  consumer->paused = paused;
  pthread_mutex_unlock(&consumer->mutex);
}

/* --- A batch --- */

/* Where the events of an order go, whatever topics and partitions they come from: by the key's hash
 * (FNV-1a). */
static size_t applier_of(const order_event_consumer *consumer, const rd_kafka_message_t *message) {
  const unsigned char *key = message->key;
  uint32_t hash = 2166136261U;
  for (size_t i = 0; i < message->key_len; i++)
    hash = (hash ^ key[i]) * 16777619U;
  return (hash >> 8) % consumer->options.threads;
}

/* As many as the appliers' bounds allow. */
static size_t choose_batch(const order_event_consumer *consumer) {
  size_t counts[ORDER_EVENT_CONSUMER_THREADS_MAX] = {0};
  int64_t bytes[ORDER_EVENT_CONSUMER_THREADS_MAX] = {0};
  size_t count = 0;
  for (; count < consumer->polled_count; count++) {
    const rd_kafka_message_t *message = consumer->polled[count];
    size_t applier = applier_of(consumer, message);
    bytes[applier] += (int64_t)(message->len + message->key_len);
    if (counts[applier] == consumer->options.batch_events ||
        (counts[applier] > 0 && bytes[applier] > consumer->options.batch_bytes))
      break;
    counts[applier]++;
  }
  return count;
}

/* Splits what is taken among the appliers, each of which has its part of the room. */
static void split_batch(order_event_consumer *consumer) {
  unsigned threads = consumer->options.threads;
  size_t counts[ORDER_EVENT_CONSUMER_THREADS_MAX] = {0};
  for (size_t i = 0; i < consumer->taken_count; i++) {
    size_t applier = applier_of(consumer, consumer->polled[i]);
    consumer->parts[applier * consumer->options.batch_events + counts[applier]++] =
        consumer->polled[i];
  }
  for (unsigned i = 0; i < threads; i++)
    event_applier_take(consumer->appliers[i], consumer->parts + i * consumer->options.batch_events,
                       counts[i]);
  consumer->taken_changed = false;
}

/* One try of all that is not done, at the same time; the last of them on this thread. False: a
 * service that is needed is down. */
static bool try_batch(order_event_consumer *consumer, ls_error *error) {
  event_applier *begun[ORDER_EVENT_CONSUMER_THREADS_MAX];
  size_t count = 0;
  if (consumer->taken_changed)
    split_batch(consumer);
  for (unsigned i = 0; i < consumer->options.threads; i++)
    if (!event_applier_is_done(consumer->appliers[i]))
      begun[count++] = consumer->appliers[i];
  for (size_t i = 0; i + 1 < count; i++)
    event_applier_begin(begun[i]);
  bool done = count == 0 || event_applier_try(begun[count - 1], error);
  for (size_t i = 0; i + 1 < count; i++)
    done = event_applier_end(begun[i], error) && done;
  return done;
}

/* Stays in the group while it waits. */
static void wait_paused(order_event_consumer *consumer, const ls_error *error) {
  report(consumer, error);
  set_paused(consumer, true);
  int64_t wait_ms = ls_backoff_next(&consumer->backoff);
  int64_t deadline_ms = ls_clock_monotonic_ms() + wait_ms;
  for (int64_t left = wait_ms; left > 0 && consumer->kafka != NULL && !atomic_load(&consumer->stop);
       left = deadline_ms - ls_clock_monotonic_ms())
    poll_kafka(consumer, 1, left < POLL_MS ? (int)left : POLL_MS);
}

static void finish_batch(order_event_consumer *consumer, int64_t begin_us) {
  const delivery_counters *counters = consumer->options.counters;
  bool pending = false;
  for (unsigned i = 0; i < consumer->options.threads; i++)
    pending = event_applier_count(consumer->appliers[i]) || pending;
  if (pending)
    consumer->options.pending(consumer->options.arg);
  ls_histogram_observe(counters->batch_seconds, (double)(ls_clock_monotonic_us() - begin_us) / 1e6);
  for (size_t i = 0; i < consumer->taken_count; i++)
    note_done(consumer, consumer->polled[i]);
  ls_kafka_messages_destroy(consumer->polled, consumer->taken_count);
  consumer->polled_count -= consumer->taken_count;
  memmove(consumer->polled, consumer->polled + consumer->taken_count,
          consumer->polled_count * sizeof consumer->polled[0]);
  consumer->taken_count = 0;
  ls_backoff_reset(&consumer->backoff);
}

/* Until the batch is done, was taken away, or there is no time left to wait for a service. */
static void handle_batch(order_event_consumer *consumer) {
  int64_t begin_us = ls_clock_monotonic_us();
  ls_error error = {0};
  consumer->taken_count = choose_batch(consumer);
  consumer->taken_changed = true;
  while (consumer->taken_count > 0) {
    if (try_batch(consumer, &error)) {
      LS_FAULT_POINT("delivery.applied");
      finish_batch(consumer, begin_us);
      set_problem(consumer, NULL);
      break;
    }
    if (atomic_load(&consumer->stop))
      return;
    wait_paused(consumer, &error);
  }
  set_paused(consumer, false);
}

/* --- The thread --- */

static void step(order_event_consumer *consumer) {
  ls_error error = {0};
  if (consumer->kafka == NULL && !make_kafka(consumer, &error)) {
    report(consumer, &error);
    sleep_ms(ls_backoff_next(&consumer->backoff));
    return;
  }
  if (consumer->polled_count == 0)
    poll_kafka(consumer, consumer->capacity, POLL_MS);
  else if (consumer->polled_count < consumer->capacity) /* what the last batch had no room for */
    poll_kafka(consumer, consumer->capacity - consumer->polled_count, 0);
  if (consumer->kafka == NULL)
    return;
  if (consumer->polled_count > 0)
    handle_batch(consumer);
  if (consumer->kafka == NULL)
    return;
  commit_now_and_then(consumer);
  forget_problem(consumer);
  update_lag(consumer);
}

static void *run(void *arg) {
  order_event_consumer *consumer = arg;
  while (!atomic_load(&consumer->stop))
    step(consumer);
  LS_FAULT_POINT("delivery.drains");
  drop_kafka(consumer);
  return NULL;
}

bool order_event_consumer_start(order_event_consumer *consumer, ls_error *error) {
  for (unsigned i = 0; i < consumer->options.threads; i++)
    if (!event_applier_start(consumer->appliers[i], error))
      return false;
  consumer->is_running = ls_thread_start(&consumer->thread, "consumer", run, consumer, error);
  return consumer->is_running;
}

void order_event_consumer_stop(order_event_consumer *consumer) {
  atomic_store(&consumer->stop, true);
  if (consumer->is_running)
    pthread_join(consumer->thread, NULL);
  consumer->is_running = false;
}
