/* The reader's threads. */
#include "delivery/delivery_reader.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/queue.h"
#include "runtime/base/thread.h"
#include "runtime/rpc/held_writes.h"

/* Ids in one query; one read is always taken whole. */
#define MAX_QUERY_IDS (2 * DELIVERY_MAX_IDS)
#define ARENA_BYTES ((size_t)256 << 20)

typedef struct reader_thread {
  delivery_reader *reader;
  pthread_t thread;
  bool is_running;
  delivery_store *store;
  ls_arena *arena;
  void **taken; /* from the queue */
  delivery_read **reads;
  int64_t *ids;         /* MAX_QUERY_IDS */
  int64_t *history_ids; /* MAX_QUERY_IDS */
} reader_thread;

struct delivery_reader {
  delivery_reader_options options;
  ls_queue *queue;
  reader_thread *threads;
  ls_histogram *batch_reads;
  ls_histogram *query_seconds;
  ls_log_limit failure_limit;
};

static const double batch_bounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};

static double queue_depth(void *arg) {
  return (double)ls_queue_size(((delivery_reader *)arg)->queue);
}

static bool add_metrics(delivery_reader *reader) {
  ls_metrics *metrics = reader->options.metrics;
  const char *const *labels = LS_LABELS("queue", reader->options.name);
  reader->batch_reads = ls_metrics_histogram(metrics, "lockstep_delivery_read_batch_size",
                                             "Reads answered from one query", batch_bounds,
                                             sizeof batch_bounds / sizeof batch_bounds[0], labels);
  reader->query_seconds =
      ls_metrics_histogram(metrics, "lockstep_delivery_read_batch_seconds", "Time a query took",
                           ls_metric_seconds, ls_metric_seconds_count, labels);
  return ls_metrics_gauge_callback(metrics, "lockstep_delivery_read_queue_depth",
                                   "Reads that wait to be taken into a query", labels, queue_depth,
                                   reader);
}

delivery_reader *delivery_reader_new(const delivery_reader_options *options, ls_error *error) {
  delivery_reader *reader = calloc(1, sizeof *reader);
  if (reader == NULL)
    goto failed;
  reader->options = *options;
  reader->queue = ls_queue_new(options->queue_capacity);
  reader->threads = calloc(options->threads, sizeof *reader->threads);
  if (reader->queue == NULL || reader->threads == NULL)
    goto failed;
  for (unsigned i = 0; i < options->threads; i++) {
    reader_thread *thread = &reader->threads[i];
    thread->reader = reader;
    thread->store = delivery_store_new(options->database, NULL);
    thread->arena = ls_arena_new(ARENA_BYTES);
    thread->taken = calloc(options->batch, sizeof *thread->taken);
    thread->reads = calloc(options->batch, sizeof *thread->reads);
    thread->ids = calloc(MAX_QUERY_IDS, sizeof *thread->ids);
    thread->history_ids = calloc(MAX_QUERY_IDS, sizeof *thread->history_ids);
    if (thread->store == NULL || thread->arena == NULL || thread->taken == NULL ||
        thread->reads == NULL || thread->ids == NULL || thread->history_ids == NULL)
      goto failed;
  }
  if (!add_metrics(reader))
    goto failed;
  return reader;

failed:
  delivery_reader_destroy(reader);
  ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for the delivery reader");
  return NULL;
}

void delivery_reader_destroy(delivery_reader *reader) {
  if (reader == NULL)
    return;
  ls_metrics_remove_callbacks(reader->options.metrics, reader);
  for (unsigned i = 0; reader->threads != NULL && i < reader->options.threads; i++) {
    delivery_store_destroy(reader->threads[i].store);
    ls_arena_destroy(reader->threads[i].arena);
    free(reader->threads[i].taken);
    free(reader->threads[i].reads);
    free(reader->threads[i].ids);
    free(reader->threads[i].history_ids);
  }
  free(reader->threads);
  ls_queue_destroy(reader->queue);
  free(reader);
}

Delivery__V1__Delivery *delivery_list_find(const delivery_list *list, int64_t order_id) {
  size_t low = 0;
  size_t high = list->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (list->deliveries[middle]->order_id < order_id)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == list->count || list->deliveries[low]->order_id != order_id)
    return NULL;
  return list->deliveries[low];
}

bool delivery_reader_push(delivery_reader *reader, delivery_read *read) {
  return ls_queue_push(reader->queue, read);
}

static void report_failure(delivery_reader *reader, const ls_error *error) {
  if (ls_log_every(&reader->failure_limit, 1000))
    LS_WARN("deliveries cannot be read", LS_ERR(error),
            LS_UINT("not_logged", ls_log_suppressed(&reader->failure_limit)));
}

/* Reads again, once, if it was only the connection that was lost. */
static bool query(reader_thread *thread, size_t count, size_t history_count, delivery_list *found,
                  ls_error *error) {
  for (int tries = 0;; tries++) {
    if (delivery_store_get(thread->store, thread->ids, count, thread->history_ids, history_count,
                           thread->arena, &found->deliveries, &found->count, error))
      return true;
    if (tries > 0 || ls_pg_is_alive(delivery_store_connection(thread->store)))
      return false;
  }
}

/* Answers `count` reads of deliveries from one query. */
static void answer_together(reader_thread *thread, delivery_read **reads, size_t count) {
  delivery_reader *reader = thread->reader;
  delivery_list found = {NULL, 0};
  ls_error error = {0};
  size_t ids = 0;
  size_t history_ids = 0;
  for (size_t i = 0; i < count; i++) {
    memcpy(thread->ids + ids, reads[i]->order_ids, reads[i]->count * sizeof *thread->ids);
    ids += reads[i]->count;
    if (!reads[i]->with_history)
      continue;
    memcpy(thread->history_ids + history_ids, reads[i]->order_ids,
           reads[i]->count * sizeof *thread->ids);
    history_ids += reads[i]->count;
  }
  ids = delivery_sort_ids(thread->ids, ids);
  history_ids = delivery_sort_ids(thread->history_ids, history_ids);
  int64_t begin_us = ls_clock_monotonic_us();
  bool done = query(thread, ids, history_ids, &found, &error);
  if (done) {
    ls_histogram_observe(reader->query_seconds, (double)(ls_clock_monotonic_us() - begin_us) / 1e6);
    ls_histogram_observe(reader->batch_reads, (double)count);
  } else {
    report_failure(reader, &error);
  }
  if (count > 1)
    ls_rpc_hold_writes();
  for (size_t i = 0; i < count; i++)
    reads[i]->answer(reads[i], done ? &found : NULL, &error);
  ls_rpc_release_writes();
}

/* Takes as many reads of deliveries from the front as go into one query. */
static size_t count_together(delivery_read *const *reads, size_t count) {
  size_t ids = 0;
  size_t together = 0;
  while (together < count && reads[together]->task == NULL &&
         ids + reads[together]->count <= MAX_QUERY_IDS)
    ids += reads[together++]->count;
  return together;
}

static size_t drop_finished_calls(delivery_read **reads, size_t count) {
  ls_error error = {.code = LS_CANCELLED, .message = "the call is over"};
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    if (reads[i]->call != NULL && ls_rpc_call_is_cancelled(reads[i]->call))
      reads[i]->answer(reads[i], NULL, &error);
    else
      reads[kept++] = reads[i];
  }
  return kept;
}

static void answer_batch(reader_thread *thread, delivery_read **reads, size_t count) {
  while (count > 0) {
    ls_error error = {0};
    size_t done = 1;
    ls_arena_reset(thread->arena);
    if (!delivery_store_connect(thread->store, &error)) {
      report_failure(thread->reader, &error);
      reads[0]->answer(reads[0], NULL, &error);
    } else if (reads[0]->task != NULL) {
      reads[0]->task(reads[0], thread->store, thread->arena);
    } else {
      done = count_together(reads, count);
      answer_together(thread, reads, done);
    }
    reads += done;
    count -= done;
  }
}

static void *run(void *arg) {
  reader_thread *thread = arg;
  for (;;) {
    ptrdiff_t taken =
        ls_queue_pop_batch(thread->reader->queue, thread->taken, thread->reader->options.batch, -1);
    if (taken < 0)
      return NULL;
    for (ptrdiff_t i = 0; i < taken; i++)
      thread->reads[i] = thread->taken[i];
    answer_batch(thread, thread->reads, drop_finished_calls(thread->reads, (size_t)taken));
  }
}

bool delivery_reader_start(delivery_reader *reader, ls_error *error) {
  for (unsigned i = 0; i < reader->options.threads; i++) {
    reader_thread *thread = &reader->threads[i];
    if (!ls_thread_start(&thread->thread, reader->options.name, run, thread, error)) {
      delivery_reader_stop(reader);
      return false;
    }
    thread->is_running = true;
  }
  return true;
}

void delivery_reader_stop(delivery_reader *reader) {
  ls_queue_close(reader->queue);
  for (unsigned i = 0; i < reader->options.threads; i++) {
    if (reader->threads[i].is_running)
      pthread_join(reader->threads[i].thread, NULL);
    reader->threads[i].is_running = false;
  }
}
