/* What has to be done now and then, on one thread with a session of its own: telling the other
 * replicas of commits and hearing of theirs, watching whether the database answers, making
 * partitions of the outbox before they are needed, and removing answers that are too old to be
 * asked for again.
 *
 * Replicas tell each other here and not in the transactions that write: a transaction with a NOTIFY
 * waits for all others with one when it commits, one after the other. What is told is coalesced;
 * the first commit after a pause is told at once. It is a hint: whoever misses it looks by itself.
 */
#ifndef LOCKSTEP_ORDER_ORDER_UPKEEP_H
#define LOCKSTEP_ORDER_ORDER_UPKEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "order/order_database.h"
#include "runtime/base/metrics.h"

typedef struct order_upkeep order_upkeep;

typedef struct order_upkeep_options {
  order_database *database;             /* must outlive the upkeep */
  int64_t request_retention_ms;         /* answers are kept for so long */
  void (*changed)(void *arg);           /* another replica has committed something, or may have */
  void (*ready)(bool ready, void *arg); /* whether the database can be used: when that changes, and
                                           once at first */
  void *arg;                            /* of both, which run on the upkeep's thread */
  ls_metrics *metrics;                  /* must outlive the upkeep */
} order_upkeep_options;

order_upkeep *order_upkeep_new(const order_upkeep_options *options, ls_error *error);

/* Starts the thread. The database need not be there yet. */
bool order_upkeep_start(order_upkeep *upkeep, ls_error *error);

/* Something was committed here: the other replicas are to be told. Any thread; cheap. */
void order_upkeep_committed(order_upkeep *upkeep);

/* Whether the database could be used a moment ago; if not, why. Any thread. */
bool order_upkeep_is_ready(order_upkeep *upkeep, ls_error *reason);

/* Ends the thread. */
void order_upkeep_stop(order_upkeep *upkeep);

/* After stop, or if never started. NULL is fine. */
void order_upkeep_destroy(order_upkeep *upkeep);

#endif
