/* The reader's threads. */
#include "order/order_reader.h"

#include <stdlib.h>
#include <string.h>

#include "order/order_check.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/queue.h"
#include "runtime/base/thread.h"
#include "runtime/rpc/held_writes.h"

/* Ids in one query; one read is always taken whole. */
#define MAX_QUERY_IDS (2 * ORDER_MAX_BATCH_IDS)

typedef struct reader_thread {
  order_reader *reader;
  pthread_t thread;
  bool is_running;
  order_store *store;
  void **taken; /* from the queue */
  order_read **reads;
  int64_t *ids; /* MAX_QUERY_IDS */
} reader_thread;

struct order_reader {
  order_reader_options options;
  ls_queue *queue;
  reader_thread *threads;
  ls_histogram *batch_reads;
  ls_histogram *query_seconds;
  ls_log_limit failure_limit;
};

static const double batch_bounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};

static double queue_depth(void *arg) {
  return (double)ls_queue_size(((order_reader *)arg)->queue);
}

static bool add_metrics(order_reader *reader) {
  ls_metrics *metrics = reader->options.metrics;
  reader->batch_reads = ls_metrics_histogram(metrics, "lockstep_order_read_batch_size",
                                             "Reads answered from one query", batch_bounds,
                                             sizeof batch_bounds / sizeof batch_bounds[0], NULL);
  reader->query_seconds =
      ls_metrics_histogram(metrics, "lockstep_order_read_batch_seconds", "Time a query took",
                           ls_metric_seconds, ls_metric_seconds_count, NULL);
  return ls_metrics_gauge_callback(metrics, "lockstep_order_read_queue_depth",
                                   "Reads that wait to be taken into a query", NULL, queue_depth,
                                   reader);
}

order_reader *order_reader_new(const order_reader_options *options, ls_error *error) {
  order_reader *reader = calloc(1, sizeof *reader);
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
    thread->store = order_store_new(options->database, NULL);
    thread->taken = calloc(options->batch, sizeof *thread->taken);
    thread->reads = calloc(options->batch, sizeof *thread->reads);
    thread->ids = calloc(MAX_QUERY_IDS, sizeof *thread->ids);
    if (thread->store == NULL || thread->taken == NULL || thread->reads == NULL ||
        thread->ids == NULL)
      goto failed;
  }
  if (!add_metrics(reader))
    goto failed;
  return reader;

failed:
  order_reader_destroy(reader);
  ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for the order reader");
  return NULL;
}

void order_reader_destroy(order_reader *reader) {
  if (reader == NULL)
    return;
  ls_metrics_remove_callbacks(reader->options.metrics, reader);
  for (unsigned i = 0; reader->threads != NULL && i < reader->options.threads; i++) {
    order_store_destroy(reader->threads[i].store);
    free(reader->threads[i].taken);
    free(reader->threads[i].reads);
    free(reader->threads[i].ids);
  }
  free(reader->threads);
  ls_queue_destroy(reader->queue);
  free(reader);
}

bool order_reader_push(order_reader *reader, order_read *read) {
  return ls_queue_push(reader->queue, read);
}

static void report_failure(order_reader *reader, const ls_error *error) {
  if (ls_log_every(&reader->failure_limit, 1000))
    LS_WARN("orders cannot be read", LS_ERR(error),
            LS_UINT("not_logged", ls_log_suppressed(&reader->failure_limit)));
}

/* Reads again, once, if it was only the connection that was lost. */
static bool query(reader_thread *thread, size_t id_count, order_list *found, ls_error *error) {
  if (order_store_read(thread->store, thread->ids, id_count, found, error))
    return true;
  return !order_store_is_connected(thread->store) && order_store_ready(thread->store, error) &&
         order_store_read(thread->store, thread->ids, id_count, found, error);
}

/* Answers `count` reads of orders from one query. */
static void answer_together(reader_thread *thread, order_read **reads, size_t count) {
  order_reader *reader = thread->reader;
  order_list found = {NULL, 0};
  ls_error error = {0};
  size_t id_count = 0;
  for (size_t i = 0; i < count; i++) {
    memcpy(thread->ids + id_count, reads[i]->order_ids, reads[i]->count * sizeof *thread->ids);
    id_count += reads[i]->count;
  }
  int64_t begin_us = ls_clock_monotonic_us();
  bool done = query(thread, id_count, &found, &error);
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

/* Takes as many reads of orders from the front as go into one query. */
static size_t count_together(order_read *const *reads, size_t count) {
  size_t ids = 0;
  size_t together = 0;
  while (together < count && reads[together]->task == NULL &&
         ids + reads[together]->count <= MAX_QUERY_IDS)
    ids += reads[together++]->count;
  return together;
}

static size_t drop_finished_calls(order_read **reads, size_t count) {
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

static void answer_batch(reader_thread *thread, order_read **reads, size_t count) {
  while (count > 0) {
    ls_error error = {0};
    size_t done = 1;
    if (!order_store_ready(thread->store, &error)) {
      report_failure(thread->reader, &error);
      reads[0]->answer(reads[0], NULL, &error);
    } else if (reads[0]->task != NULL) {
      reads[0]->task(reads[0], thread->store);
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

bool order_reader_start(order_reader *reader, ls_error *error) {
  for (unsigned i = 0; i < reader->options.threads; i++) {
    reader_thread *thread = &reader->threads[i];
    if (!ls_thread_start(&thread->thread, "order-reader", run, thread, error)) {
      order_reader_stop(reader);
      return false;
    }
    thread->is_running = true;
  }
  return true;
}

void order_reader_stop(order_reader *reader) {
  ls_queue_close(reader->queue);
  for (unsigned i = 0; i < reader->options.threads; i++) {
    if (reader->threads[i].is_running)
      pthread_join(reader->threads[i].thread, NULL);
    reader->threads[i].is_running = false;
  }
}
