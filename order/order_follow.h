/* WatchOrders: streams that follow orders.
 *
 * A stream is told of versions by the watch (runtime/watch/watch.h). While its client reads slowly
 * it only remembers which orders it owes, and reads them again when there is room: a stream costs
 * the same memory however slow it is, and what it sends late is the newest. */
#ifndef LOCKSTEP_ORDER_ORDER_FOLLOW_H
#define LOCKSTEP_ORDER_ORDER_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "order/order_reader.h"
#include "order/order_store.h"
#include "order/v1/order_service.pb-c.h"
#include "runtime/base/metrics.h"
#include "runtime/rpc/call.h"

typedef struct order_follow order_follow;

typedef struct order_follow_options {
  order_database *database; /* must outlive it, like the reader and the metrics */
  order_reader *reader;
  size_t max_streams;
  int64_t poll_interval_ms; /* how old a change may get that nobody told of */
  ls_metrics *metrics;
} order_follow_options;

/* Starts the watch's thread. */
order_follow *order_follow_new(const order_follow_options *options, ls_error *error);

/* Handles a call of WatchOrders, whose request was checked. On the call's polling thread. */
void order_follow_begin(order_follow *follow, ls_rpc_call *call,
                        const Order__V1__WatchOrdersRequest *request);

/* Tells those who follow the orders of a batch, after its commit. Any thread. */
void order_follow_committed(order_follow *follow, order_write *const *writes, size_t count);

/* Something was committed elsewhere: look. Any thread. */
void order_follow_wake(order_follow *follow);

/* Ends all streams, UNAVAILABLE, and those that come later too. Not from a polling thread. */
void order_follow_stop(order_follow *follow);

/* After the server was destroyed. NULL is fine. */
void order_follow_destroy(order_follow *follow);

#endif
