/* Turns single reads into batches: a bounded queue, and threads that each read what waits in one
 * query. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_READER_H
#define LOCKSTEP_DELIVERY_DELIVERY_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/delivery_store.h"
#include "runtime/base/metrics.h"
#include "runtime/rpc/call.h"

typedef struct delivery_reader delivery_reader;
typedef struct delivery_read delivery_read;

/* Deliveries by ascending order id. */
typedef struct delivery_list {
  Delivery__V1__Delivery **deliveries;
  size_t count;
} delivery_list;

/* NULL if it is not among them. Its history is there if anybody asked for it. */
Delivery__V1__Delivery *delivery_list_find(const delivery_list *list, int64_t order_id);

/* A read on its way. The caller's, until it is answered. */
struct delivery_read {
  ls_rpc_call *call; /* reads whose call is over are answered LS_CANCELLED; NULL: none */

  const int64_t *order_ids; /* what to read, if there is no task; at most DELIVERY_MAX_IDS */
  size_t count;
  bool with_history;
  /* Called once, on a reader's thread. `found` holds at least those asked for that there are, and
   * others; NULL with the reason in `error`. Lives until it returns. */
  void (*answer)(delivery_read *read, const delivery_list *found, const ls_error *error);

  /* Something else to be done with a connected store, alone; NULL: read deliveries. It answers by
   * itself; `answer` is called instead, with an error, when there is no connection. */
  void (*task)(delivery_read *read, delivery_store *store, ls_arena *arena);
};

typedef struct delivery_reader_options {
  const char *name;            /* of the threads and, in metrics, of the queue; constant storage */
  delivery_database *database; /* must outlive the reader */
  unsigned threads;
  size_t batch;          /* reads answered from one query */
  size_t queue_capacity; /* reads that may wait */
  ls_metrics *metrics;   /* must outlive the reader */
} delivery_reader_options;

delivery_reader *delivery_reader_new(const delivery_reader_options *options, ls_error *error);

/* Starts the threads. The database need not be there yet. */
bool delivery_reader_start(delivery_reader *reader, ls_error *error);

/* Any thread. False, and nothing will come of it, when too many are waiting or the reader stops. */
bool delivery_reader_push(delivery_reader *reader, delivery_read *read);

/* Refuses new reads, does those that wait, ends the threads. */
void delivery_reader_stop(delivery_reader *reader);

/* After stop, or if never started. NULL is fine. */
void delivery_reader_destroy(delivery_reader *reader);

#endif
