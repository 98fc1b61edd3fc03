/* What has to be done now and then, on one thread with a session of its own: telling the other
 * replicas of commits and hearing of theirs, watching whether the database answers, and measuring
 * what waits in it.
 *
 * Replicas tell each other here and not in the transactions that write: a transaction with a NOTIFY
 * waits for all others with one when it commits. What is told is coalesced; the first commit after
 * a pause is told at once. It is a hint: whoever misses it looks by itself. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_MONITOR_H
#define LOCKSTEP_DELIVERY_DELIVERY_MONITOR_H

#include <stdbool.h>

#include "delivery/delivery_database.h"
#include "runtime/base/metrics.h"

typedef struct delivery_monitor delivery_monitor;

typedef struct delivery_monitor_options {
  delivery_database *database;          /* must outlive the monitor */
  void (*changed)(void *arg);           /* another replica has committed something, or may have */
  void (*ready)(bool ready, void *arg); /* whether the database can be used: when that changes, and
                                           once at first */
  void *arg;                            /* of both, which run on the monitor's thread */
  ls_metrics *metrics;                  /* must outlive the monitor */
} delivery_monitor_options;

delivery_monitor *delivery_monitor_new(const delivery_monitor_options *options, ls_error *error);

/* Starts the thread. The database need not be there yet. */
bool delivery_monitor_start(delivery_monitor *monitor, ls_error *error);

/* Something was committed here: the other replicas are to be told. Any thread; cheap. */
void delivery_monitor_committed(delivery_monitor *monitor);

/* Whether the database could be used a moment ago; if not, why. Any thread. */
bool delivery_monitor_is_ready(delivery_monitor *monitor, ls_error *reason);

/* Ends the thread. */
void delivery_monitor_stop(delivery_monitor *monitor);

/* After stop, or if never started. NULL is fine. */
void delivery_monitor_destroy(delivery_monitor *monitor);

#endif
