/* GetDelivery with min_order_version: calls that wait until a delivery has caught up with its
 * order.
 *
 * What is there is read first; only then the call waits, told by the watch (runtime/watch/watch.h)
 * of what this replica and others commit. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_WAIT_H
#define LOCKSTEP_DELIVERY_DELIVERY_WAIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/delivery_reader.h"
#include "delivery/v1/delivery_service.pb-c.h"
#include "runtime/base/metrics.h"
#include "runtime/rpc/call.h"

typedef struct delivery_wait delivery_wait;

typedef struct delivery_wait_options {
  delivery_database *database; /* must outlive it, like the reader and the metrics */
  delivery_reader *reader;
  size_t max_waiters;
  int64_t max_wait_ms;      /* of a call, whatever its deadline */
  int64_t poll_interval_ms; /* how old a change may get that nobody told of */
  ls_metrics *metrics;
} delivery_wait_options;

/* Starts the watch's thread. */
delivery_wait *delivery_wait_new(const delivery_wait_options *options, ls_error *error);

/* Handles a call of GetDelivery, whose request was checked and names a version. On the call's
 * polling thread. */
void delivery_wait_begin(delivery_wait *wait, ls_rpc_call *call,
                         const Delivery__V1__GetDeliveryRequest *request);

/* Something was committed: look. Any thread. */
void delivery_wait_wake(delivery_wait *wait);

/* Ends all that wait, UNAVAILABLE, and those that come later too. Not from a polling thread. */
void delivery_wait_stop(delivery_wait *wait);

/* After the server was destroyed and the reader stopped. NULL is fine. */
void delivery_wait_destroy(delivery_wait *wait);

/* Answers GetDelivery: with history only if it was asked for. Any thread. */
void delivery_reply(ls_rpc_call *call, const Delivery__V1__GetDeliveryRequest *request,
                    const Delivery__V1__Delivery *delivery);

#endif
