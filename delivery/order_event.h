/* A Kafka record as it came, and the order's event in it. No I/O. Any thread. */
#ifndef LOCKSTEP_DELIVERY_ORDER_EVENT_H
#define LOCKSTEP_DELIVERY_ORDER_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/delivery.h"
#include "order/v1/order_event.pb-c.h"
#include "runtime/base/arena.h"
#include "runtime/base/error.h"

/* A record's raw bytes and where it stood. Points to memory of whoever made it. */
typedef struct order_record {
  const char *topic;
  int32_t partition;
  int64_t offset;  /* -1: it never stood in Kafka */
  const void *key; /* NULL: there was none */
  size_t key_bytes;
  const void *value; /* NULL: it was null, which is not the same as empty */
  size_t value_bytes;
  const void *headers; /* a packed delivery.v1.DeadLetter that holds headers and nothing else */
  size_t headers_bytes;
} order_record;

/* What a record says: order X reached version V, perhaps with what X is at V. */
typedef struct order_event {
  int64_t order_id;
  int64_t version;                /* 0: unknown */
  Order__V1__OrderEventType type; /* UNSPECIFIED: nobody knows */
  bool has_snapshot;
  delivery_snapshot snapshot;
} order_event;

/* Reads the event. `topic_type` is the type that the topic tells, UNSPECIFIED in the domain topic.
 * A record with a key and no value (null or empty) means "look at this order". What the event
 * points to lives in `arena`. LS_INVALID_ARGUMENT with the reason when the record is no valid
 * event; LS_RESOURCE_EXHAUSTED when the arena is at its bound. */
bool order_event_decode(const order_record *record, Order__V1__OrderEventType topic_type,
                        ls_arena *arena, order_event *event, ls_error *error);

/* Reads an order id from decimal text: 1 or more, digits only, no leading zero. */
bool order_event_read_key(const void *key, size_t bytes, int64_t *order_id);

#endif
