/* The writer's threads. */
#include "delivery/delivery_writer.h"

#include <pthread.h>
#include <stdlib.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/queue.h"
#include "runtime/base/thread.h"

#define ARENA_BYTES ((size_t)256 << 20)

typedef struct writer_thread {
  delivery_writer *writer;
  pthread_t thread;
  bool is_running;
  delivery_store *store;
  ls_arena *arena;
  void **taken;            /* from the queue */
  delivery_write **writes; /* those deferred to this batch first */
  delivery_move **moves;
} writer_thread;

struct delivery_writer {
  delivery_writer_options options;
  ls_queue *queue;
  writer_thread *threads;
  ls_histogram *batch_writes;
  ls_histogram *commit_seconds;
  ls_log_limit failure_limit;
};

static const double batch_bounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};

static double queue_depth(void *arg) {
  return (double)ls_queue_size(((delivery_writer *)arg)->queue);
}

static bool add_metrics(delivery_writer *writer) {
  ls_metrics *metrics = writer->options.metrics;
  writer->batch_writes = ls_metrics_histogram(metrics, "lockstep_delivery_write_batch_size",
                                              "Writes tried in one transaction", batch_bounds,
                                              sizeof batch_bounds / sizeof batch_bounds[0], NULL);
  writer->commit_seconds = ls_metrics_histogram(metrics, "lockstep_delivery_write_batch_seconds",
                                                "Time a batch of writes took, commit included",
                                                ls_metric_seconds, ls_metric_seconds_count, NULL);
  return ls_metrics_gauge_callback(metrics, "lockstep_delivery_write_queue_depth",
                                   "Writes that wait to be taken into a batch", NULL, queue_depth,
                                   writer);
}

delivery_writer *delivery_writer_new(const delivery_writer_options *options, ls_error *error) {
  delivery_writer *writer = calloc(1, sizeof *writer);
  if (writer == NULL)
    goto failed;
  writer->options = *options;
  writer->queue = ls_queue_new(options->queue_capacity);
  writer->threads = calloc(options->threads, sizeof *writer->threads);
  if (writer->queue == NULL || writer->threads == NULL)
    goto failed;
  for (unsigned i = 0; i < options->threads; i++) {
    writer_thread *thread = &writer->threads[i];
    thread->writer = writer;
    thread->store = delivery_store_new(options->database, NULL);
    thread->arena = ls_arena_new(ARENA_BYTES);
    thread->taken = calloc(options->batch, sizeof *thread->taken);
    thread->writes = calloc(options->batch, sizeof *thread->writes);
    thread->moves = calloc(options->batch, sizeof *thread->moves);
    if (thread->store == NULL || thread->arena == NULL || thread->taken == NULL ||
        thread->writes == NULL || thread->moves == NULL)
      goto failed;
  }
  if (!add_metrics(writer))
    goto failed;
  return writer;

failed:
  delivery_writer_destroy(writer);
  ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for the delivery writer");
  return NULL;
}

void delivery_writer_destroy(delivery_writer *writer) {
  if (writer == NULL)
    return;
  ls_metrics_remove_callbacks(writer->options.metrics, writer);
  for (unsigned i = 0; writer->threads != NULL && i < writer->options.threads; i++) {
    delivery_store_destroy(writer->threads[i].store);
    ls_arena_destroy(writer->threads[i].arena);
    free(writer->threads[i].taken);
    free(writer->threads[i].writes);
    free(writer->threads[i].moves);
  }
  free(writer->threads);
  ls_queue_destroy(writer->queue);
  free(writer);
}

bool delivery_writer_push(delivery_writer *writer, delivery_write *write) {
  return ls_queue_push(writer->queue, write);
}

/* Answers those whose calls are over, gives how many are left. */
static size_t drop_finished_calls(delivery_write **writes, size_t count) {
  ls_error error = {.code = LS_CANCELLED, .message = "the call is over"};
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    if (writes[i]->call != NULL && ls_rpc_call_is_cancelled(writes[i]->call))
      writes[i]->answer(writes[i], &error);
    else
      writes[kept++] = writes[i];
  }
  return kept;
}

/* By order, and by arrival within an order, which sorting by insertion keeps. */
static void sort_writes(delivery_write **writes, size_t count) {
  for (size_t i = 1; i < count; i++) {
    delivery_write *one = writes[i];
    size_t place = i;
    for (; place > 0 && writes[place - 1]->move.order_id > one->move.order_id; place--)
      writes[place] = writes[place - 1];
    writes[place] = one;
  }
}

/* Puts the first write of each order in front, still sorted; gives how many. */
static size_t put_first_ones_in_front(writer_thread *thread, size_t count) {
  delivery_write **writes = thread->writes;
  size_t first = 0;
  size_t deferred = 0;
  sort_writes(writes, count);
  for (size_t i = 0; i < count; i++) {
    if (first == 0 || writes[first - 1]->move.order_id != writes[i]->move.order_id)
      writes[first++] = writes[i];
    else
      thread->taken[deferred++] = writes[i];
  }
  for (size_t i = 0; i < deferred; i++)
    writes[first + i] = thread->taken[i];
  return first;
}

static bool move(writer_thread *thread, delivery_write **writes, size_t count, ls_error *error) {
  bool changed = false;
  ls_arena_reset(thread->arena);
  for (size_t i = 0; i < count; i++)
    thread->moves[i] = &writes[i]->move;
  if (!delivery_store_move(thread->store, thread->moves, count, thread->arena, error))
    return false;
  for (size_t i = 0; i < count; i++)
    changed = changed || writes[i]->move.outcome == DELIVERY_CHANGED;
  if (changed)
    thread->writer->options.changed(thread->writer->options.arg);
  return true;
}

static void answer_all(delivery_write **writes, size_t count, const ls_error *error) {
  for (size_t i = 0; i < count; i++)
    writes[i]->answer(writes[i], error);
}

/* One that cannot be done must not fail the others. */
static void move_one_by_one(writer_thread *thread, size_t count) {
  for (size_t i = 0; i < count; i++) {
    ls_error error = {0};
    bool done = move(thread, &thread->writes[i], 1, &error);
    answer_all(&thread->writes[i], 1, done ? NULL : &error);
  }
}

static void write_batch(writer_thread *thread, size_t count) {
  delivery_writer *writer = thread->writer;
  ls_error error = {0};
  int64_t begin_us = ls_clock_monotonic_us();
  bool done = move(thread, thread->writes, count, &error);
  ls_histogram_observe(writer->commit_seconds, (double)(ls_clock_monotonic_us() - begin_us) / 1e6);
  ls_histogram_observe(writer->batch_writes, (double)count);
  if (!done && ls_log_every(&writer->failure_limit, 1000))
    LS_WARN("deliveries cannot be written", LS_ERR(&error),
            LS_UINT("not_logged", ls_log_suppressed(&writer->failure_limit)));
  if (!done && count > 1 && !error.retriable)
    move_one_by_one(thread, count);
  else
    answer_all(thread->writes, count, done ? NULL : &error);
}

static void *run(void *arg) {
  writer_thread *thread = arg;
  ls_queue *queue = thread->writer->queue;
  size_t batch = thread->writer->options.batch;
  size_t count = 0; /* deferred by the batch before */
  for (;;) {
    ptrdiff_t taken = 0;
    if (count < batch)
      taken = ls_queue_pop_batch(queue, thread->taken, batch - count, count > 0 ? 0 : -1);
    if (taken < 0 && count == 0)
      return NULL;
    for (ptrdiff_t i = 0; i < taken; i++)
      thread->writes[count++] = thread->taken[i];
    count = drop_finished_calls(thread->writes, count);
    if (count == 0)
      continue;
    size_t first = put_first_ones_in_front(thread, count);
    write_batch(thread, first);
    count -= first;
    for (size_t i = 0; i < count; i++)
      thread->writes[i] = thread->writes[first + i];
  }
}

bool delivery_writer_start(delivery_writer *writer, ls_error *error) {
  for (unsigned i = 0; i < writer->options.threads; i++) {
    writer_thread *thread = &writer->threads[i];
    if (!ls_thread_start(&thread->thread, "writer", run, thread, error)) {
      delivery_writer_stop(writer);
      return false;
    }
    thread->is_running = true;
  }
  return true;
}

void delivery_writer_stop(delivery_writer *writer) {
  ls_queue_close(writer->queue);
  for (unsigned i = 0; i < writer->options.threads; i++) {
    if (writer->threads[i].is_running)
      pthread_join(writer->threads[i].thread, NULL);
    writer->threads[i].is_running = false;
  }
}
