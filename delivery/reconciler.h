/* The reconciler: compares all orders' versions with all deliveries', page by page, again and
 * again, and has what fell behind looked up. It finds what no event will ever tell of: a topic that
 * was deleted or kept too short, a database that was restored, rows that went missing.
 *
 * One thread of its own; of all replicas one compares at a time. */
#ifndef LOCKSTEP_DELIVERY_RECONCILER_H
#define LOCKSTEP_DELIVERY_RECONCILER_H

#include <stdbool.h>
#include <stdint.h>

#include "delivery/delivery_counters.h"
#include "delivery/delivery_database.h"
#include "runtime/base/error.h"
#include "runtime/rpc/client.h"

typedef struct delivery_reconciler delivery_reconciler;

/* Everything pointed to must outlive the reconciler. */
typedef struct delivery_reconciler_options {
  delivery_database *database;
  ls_rpc_channel *orders; /* the order service */
  size_t lookup_batch;
  unsigned lookup_calls;
  int64_t lookup_timeout_ms;
  int64_t interval_ms; /* between the end of a pass and the next one's beginning; 0: never */
  int64_t rate;        /* orders compared in a second, at most */
  int64_t grace_ms;    /* what events may need to arrive, before a lookup is made */
  const char *topic;   /* where dead letters that come of it are replayed to */
  const delivery_counters *counters;
  ls_metrics *metrics;
} delivery_reconciler_options;

delivery_reconciler *delivery_reconciler_new(const delivery_reconciler_options *options,
                                             ls_error *error);

/* Starts the thread, unless the interval is 0. Nothing that it needs has to be there yet. */
bool delivery_reconciler_start(delivery_reconciler *reconciler, ls_error *error);

/* Whether it runs. Any thread. */
bool delivery_reconciler_is_enabled(const delivery_reconciler *reconciler);

/* There may be something to do now. Any thread; cheap. */
void delivery_reconciler_wake(delivery_reconciler *reconciler);

/* Finishes the page in hand, ends the thread. */
void delivery_reconciler_stop(delivery_reconciler *reconciler);
/* After stop, or if never started. NULL is fine. */
void delivery_reconciler_destroy(delivery_reconciler *reconciler);

#endif
