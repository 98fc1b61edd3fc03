/* Turns single DispatchDelivery and CompleteDelivery calls into batches: a bounded queue, and
 * threads that each commit whatever waits.
 *
 * Nobody waits for a batch to fill: an idle thread takes one as soon as it is there, a busy one
 * finds those that came meanwhile. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_WRITER_H
#define LOCKSTEP_DELIVERY_DELIVERY_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/delivery_store.h"
#include "runtime/base/metrics.h"
#include "runtime/rpc/call.h"

typedef struct delivery_writer delivery_writer;
typedef struct delivery_write delivery_write;

/* A move on its way. The caller's, until it is answered. */
struct delivery_write {
  delivery_move move;
  ls_rpc_call *call; /* writes whose call is over are not tried */
  /* Called once, on a writer's thread; `error` NULL: the outcome is in `move`, and what it refers
   * to lives until this returns. Otherwise it may or may not have been done: it may be repeated. */
  void (*answer)(delivery_write *write, const ls_error *error);
};

typedef struct delivery_writer_options {
  delivery_database *database; /* must outlive the writer */
  unsigned threads;
  size_t batch;          /* moves in one transaction */
  size_t queue_capacity; /* writes that may wait */
  /* Told of each batch in which something was committed, before it is answered. On a writer's
   * thread; must not block. */
  void (*changed)(void *arg);
  void *arg;
  ls_metrics *metrics; /* must outlive the writer */
} delivery_writer_options;

delivery_writer *delivery_writer_new(const delivery_writer_options *options, ls_error *error);

/* Starts the threads. The database need not be there yet. */
bool delivery_writer_start(delivery_writer *writer, ls_error *error);

/* Any thread. False, and nothing will come of it, when too many are waiting or the writer stops. */
bool delivery_writer_push(delivery_writer *writer, delivery_write *write);

/* Refuses new writes, does those that wait, ends the threads. */
void delivery_writer_stop(delivery_writer *writer);

/* After stop, or if never started. NULL is fine. */
void delivery_writer_destroy(delivery_writer *writer);

#endif
