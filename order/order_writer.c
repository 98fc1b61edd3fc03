/* The writer's threads. */
#include "order/order_writer.h"

#include <stdlib.h>

#include "runtime/base/clock.h"
#include "runtime/base/fault.h"
#include "runtime/base/log.h"
#include "runtime/base/queue.h"
#include "runtime/base/thread.h"
#include "runtime/rpc/held_writes.h"

typedef struct writer_thread {
  order_writer *writer;
  pthread_t thread;
  bool is_running;
  order_store *store;
  void **taken;           /* from the queue */
  order_write_job **jobs; /* those deferred to this batch first */
  order_write **writes;
} writer_thread;

struct order_writer {
  order_writer_options options;
  ls_queue *queue;
  writer_thread *threads;
  ls_histogram *batch_writes;
  ls_histogram *commit_seconds;
  ls_log_limit failure_limit;
};

static const double batch_bounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};

static double queue_depth(void *arg) {
  return (double)ls_queue_size(((order_writer *)arg)->queue);
}

static bool add_metrics(order_writer *writer) {
  ls_metrics *metrics = writer->options.metrics;
  writer->batch_writes = ls_metrics_histogram(metrics, "lockstep_order_write_batch_size",
                                              "Writes tried in one transaction", batch_bounds,
                                              sizeof batch_bounds / sizeof batch_bounds[0], NULL);
  writer->commit_seconds = ls_metrics_histogram(metrics, "lockstep_order_write_batch_seconds",
                                                "Time a batch of writes took, commit included",
                                                ls_metric_seconds, ls_metric_seconds_count, NULL);
  return ls_metrics_gauge_callback(metrics, "lockstep_order_write_queue_depth",
                                   "Writes that wait to be taken into a batch", NULL, queue_depth,
                                   writer);
}

order_writer *order_writer_new(const order_writer_options *options, ls_error *error) {
  order_writer *writer = calloc(1, sizeof *writer);
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
    thread->store = order_store_new(options->database, NULL);
    thread->taken = calloc(options->batch, sizeof *thread->taken);
    thread->jobs = calloc(options->batch, sizeof *thread->jobs);
    thread->writes = calloc(options->batch, sizeof *thread->writes);
    if (thread->store == NULL || thread->taken == NULL || thread->jobs == NULL ||
        thread->writes == NULL)
      goto failed;
  }
  if (!add_metrics(writer))
    goto failed;
  return writer;

failed:
  order_writer_destroy(writer);
  ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for the order writer");
  return NULL;
}

void order_writer_destroy(order_writer *writer) {
  if (writer == NULL)
    return;
  ls_metrics_remove_callbacks(writer->options.metrics, writer);
  for (unsigned i = 0; writer->threads != NULL && i < writer->options.threads; i++) {
    order_store_destroy(writer->threads[i].store);
    free(writer->threads[i].taken);
    free(writer->threads[i].jobs);
    free(writer->threads[i].writes);
  }
  free(writer->threads);
  ls_queue_destroy(writer->queue);
  free(writer);
}

bool order_writer_push(order_writer *writer, order_write_job *job) {
  return ls_queue_push(writer->queue, job);
}

/* Answers those whose calls are over, gives how many are left. */
static size_t drop_finished_calls(order_write_job **jobs, size_t count) {
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    if (jobs[i]->call != NULL && ls_rpc_call_is_cancelled(jobs[i]->call)) {
      jobs[i]->write.outcome = ORDER_UNDECIDED;
      jobs[i]->answer(jobs[i]);
    } else {
      jobs[kept++] = jobs[i];
    }
  }
  return kept;
}

static void report_failure(order_writer *writer, const ls_error *error) {
  if (ls_log_every(&writer->failure_limit, 1000))
    LS_WARN("orders cannot be written", LS_ERR(error),
            LS_UINT("not_logged", ls_log_suppressed(&writer->failure_limit)));
}

static void write_batch(writer_thread *thread, size_t count) {
  order_writer *writer = thread->writer;
  ls_error error = {0};
  for (size_t i = 0; i < count; i++)
    thread->writes[i] = &thread->jobs[i]->write;
  if (!order_store_ready(thread->store, &error)) {
    for (size_t i = 0; i < count; i++)
      thread->writes[i]->outcome = ORDER_UNAVAILABLE;
    report_failure(writer, &error);
    return;
  }
  int64_t begin_us = ls_clock_monotonic_us();
  order_store_write(thread->store, thread->writes, count, &error);
  ls_histogram_observe(writer->commit_seconds, (double)(ls_clock_monotonic_us() - begin_us) / 1e6);
  ls_histogram_observe(writer->batch_writes, (double)count);
  if (error.code != LS_OK)
    report_failure(writer, &error);
  bool is_changed = false;
  for (size_t i = 0; i < count; i++)
    is_changed = is_changed || thread->writes[i]->outcome == ORDER_CHANGED;
  if (is_changed)
    LS_FAULT_POINT("order.committed");
  if (is_changed && writer->options.committed != NULL)
    writer->options.committed(thread->writes, count, writer->options.committed_arg);
}

/* Answers all but the deferred, which stay; gives how many those are. */
static size_t answer_batch(writer_thread *thread, size_t count) {
  size_t deferred = 0;
  if (count > 1)
    ls_rpc_hold_writes();
  for (size_t i = 0; i < count; i++) {
    order_write_job *job = thread->jobs[i];
    if (job->write.outcome == ORDER_DEFERRED)
      thread->jobs[deferred++] = job;
    else
      job->answer(job);
  }
  ls_rpc_release_writes();
  return deferred;
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
      thread->jobs[count++] = thread->taken[i];
    count = drop_finished_calls(thread->jobs, count);
    if (count == 0)
      continue;
    write_batch(thread, count);
    count = answer_batch(thread, count);
  }
}

bool order_writer_start(order_writer *writer, ls_error *error) {
  for (unsigned i = 0; i < writer->options.threads; i++) {
    writer_thread *thread = &writer->threads[i];
    if (!ls_thread_start(&thread->thread, "order-writer", run, thread, error)) {
      order_writer_stop(writer);
      return false;
    }
    thread->is_running = true;
  }
  return true;
}

void order_writer_stop(order_writer *writer) {
  ls_queue_close(writer->queue);
  for (unsigned i = 0; i < writer->options.threads; i++) {
    if (writer->threads[i].is_running)
      pthread_join(writer->threads[i].thread, NULL);
    writer->threads[i].is_running = false;
  }
}
