/* An event on its way from the outbox to Kafka. */
#ifndef LOCKSTEP_ORDER_RELAY_EVENT_H
#define LOCKSTEP_ORDER_RELAY_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "order/relay_core.h"

/* One allocation, snapshot included; freed with free(). */
typedef struct relay_event {
  relay_entry *entry; /* once it is sent */
  int64_t sequence;
  int64_t order_id;
  int64_t version;
  int64_t occur_time_us;
  int type;          /* order.v1.OrderEventType */
  bool full_payload; /* the mode that its row was made in */
  bool domain_topic;
  bool oversized;      /* Kafka would not have it with its payload */
  size_t record_bytes; /* of the record that was sent: key, value, headers */
  char trace_parent[56];
  size_t snapshot_bytes;
  uint8_t snapshot[]; /* a packed order.v1.Order */
} relay_event;

#endif
