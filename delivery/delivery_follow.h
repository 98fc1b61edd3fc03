/* WatchDeliveries: streams that follow deliveries.
 *
 * A stream is told of revisions by the watch (runtime/watch/watch.h). While its client reads slowly
 * it only remembers that it owes something, and has the watch look anew when there is room: a
 * stream costs the same memory however slow it is, and what it sends late is the newest. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_FOLLOW_H
#define LOCKSTEP_DELIVERY_DELIVERY_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/delivery_store.h"
#include "delivery/v1/delivery_service.pb-c.h"
#include "runtime/base/metrics.h"
#include "runtime/rpc/call.h"

typedef struct delivery_follow delivery_follow;

typedef struct delivery_follow_options {
  delivery_database *database; /* must outlive it, like the metrics */
  size_t max_streams;
  int64_t poll_interval_ms; /* how old a change may get that nobody told of */
  ls_metrics *metrics;
} delivery_follow_options;

/* Starts the watch's thread. */
delivery_follow *delivery_follow_new(const delivery_follow_options *options, ls_error *error);

/* Handles a call of WatchDeliveries, whose request was checked. On the call's polling thread. */
void delivery_follow_begin(delivery_follow *follow, ls_rpc_call *call,
                           const Delivery__V1__WatchDeliveriesRequest *request);

/* Something was committed: look. Any thread. */
void delivery_follow_wake(delivery_follow *follow);

/* Ends all streams, UNAVAILABLE, and those that come later too. Not from a polling thread. */
void delivery_follow_stop(delivery_follow *follow);

/* After the server was destroyed. NULL is fine. */
void delivery_follow_destroy(delivery_follow *follow);

#endif
