/* Turns single reads into batches: a bounded queue, and threads that each read what waits in one
 * query. Reads go where the writes go, so none is older than what was acknowledged before. */
#ifndef LOCKSTEP_ORDER_ORDER_READER_H
#define LOCKSTEP_ORDER_ORDER_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "order/order_store.h"
#include "runtime/base/metrics.h"
#include "runtime/rpc/call.h"

typedef struct order_reader order_reader;
typedef struct order_read order_read;

/* A read on its way. The caller's, until it is answered. */
struct order_read {
  ls_rpc_call *call; /* reads whose call is over are answered LS_CANCELLED; NULL: none */

  const int64_t *order_ids; /* what to read, if there is no task; at most ORDER_MAX_BATCH_IDS */
  size_t count;
  /* Called once, on a reader's thread. `orders` holds at least those asked for, and others; NULL
   * with the reason in `error`. Lives until it returns. */
  void (*answer)(order_read *read, const order_list *orders, const ls_error *error);

  /* Something else to be done with a connected store, alone; NULL: read orders. It answers by
   * itself; `answer` is called instead, with an error, when there is no connection. */
  void (*task)(order_read *read, order_store *store);
};

typedef struct order_reader_options {
  order_database *database; /* must outlive the reader */
  unsigned threads;
  size_t batch;          /* reads answered from one query */
  size_t queue_capacity; /* reads that may wait */
  ls_metrics *metrics;   /* must outlive the reader */
} order_reader_options;

order_reader *order_reader_new(const order_reader_options *options, ls_error *error);

/* Starts the threads. The database need not be there yet. */
bool order_reader_start(order_reader *reader, ls_error *error);

/* Any thread. False, and nothing will come of it, when too many are waiting or the reader stops. */
bool order_reader_push(order_reader *reader, order_read *read);

/* Refuses new reads, does those that wait, ends the threads. */
void order_reader_stop(order_reader *reader);

/* After stop, or if never started. NULL is fine. */
void order_reader_destroy(order_reader *reader);

#endif
