/* Turns single writes into batches: a bounded queue, and threads that each commit whatever waits.
 *
 * Nobody waits for a batch to fill: an idle thread takes one write as soon as it is there, a busy
 * one finds those that came meanwhile. */
#ifndef LOCKSTEP_ORDER_ORDER_WRITER_H
#define LOCKSTEP_ORDER_ORDER_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "order/order_store.h"
#include "runtime/base/metrics.h"
#include "runtime/rpc/call.h"

typedef struct order_writer order_writer;
typedef struct order_write_job order_write_job;

/* A write on its way. The caller's, until it is answered. */
struct order_write_job {
  order_write write;
  ls_rpc_call *call; /* writes whose call is over are not tried; NULL: none */
  /* Called once, on a writer's thread, with the outcome in `write`; ORDER_UNDECIDED when the call
   * was over before. What the outcome refers to lives until it returns. */
  void (*answer)(order_write_job *job);
};

typedef struct order_writer_options {
  order_database *database; /* must outlive the writer */
  unsigned threads;
  size_t batch;          /* writes in one transaction */
  size_t queue_capacity; /* writes that may wait */
  /* Told of each batch in which something was committed, before its writes are answered. On a
   * writer's thread; must not block. NULL: nobody. */
  void (*committed)(order_write *const *writes, size_t count, void *arg);
  void *committed_arg;
  ls_metrics *metrics; /* must outlive the writer */
} order_writer_options;

order_writer *order_writer_new(const order_writer_options *options, ls_error *error);

/* Starts the threads. The database need not be there yet. */
bool order_writer_start(order_writer *writer, ls_error *error);

/* Any thread. False, and nothing will come of it, when too many are waiting or the writer stops. */
bool order_writer_push(order_writer *writer, order_write_job *job);

/* Refuses new writes, does those that wait, ends the threads. */
void order_writer_stop(order_writer *writer);

/* After stop, or if never started. NULL is fine. */
void order_writer_destroy(order_writer *writer);

#endif
