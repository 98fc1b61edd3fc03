/* Reads the orders' events from Kafka: CloudEvents in binary mode, with an order.v1.OrderEvent as
 * value. */
#ifndef CLIENT_ORDER_EVENTS_H
#define CLIENT_ORDER_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/error.h"

typedef struct known_order {
  int64_t order_id;
  int64_t version; /* its newest, as the service said */
  bool cancelled;
  int64_t seen_version; /* of the newest event read; 0: none */
  bool seen_cancelled;  /* that was a cancellation */
} known_order;

typedef struct order_events_options {
  const char *bootstrap_servers;
  const char *topic;
  const char *group; /* librdkafka wants a name, although nothing is stored under it */
  int timeout_ms;
} order_events_options;

/* Reads the topic from its beginning until each of these orders has come to its version, and checks
 * what comes on the way. */
bool order_events_follow(const order_events_options *options, known_order *orders, size_t count,
                         ls_error *error);

#endif
