/* The consumer: takes events from Kafka by the batch, brings deliveries into step, and commits
 * offsets after the database has committed.
 *
 * One thread of its own, and one for each applier: what is polled is split among them by order, and
 * is done when all of them are. While a service that is needed is down it pauses the partitions,
 * stays in the group, and tries again what is not done: Kafka is the buffer. What is taken from it
 * by a rebalance meanwhile it forgets. */
#ifndef LOCKSTEP_DELIVERY_ORDER_EVENT_CONSUMER_H
#define LOCKSTEP_DELIVERY_ORDER_EVENT_CONSUMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/delivery_counters.h"
#include "delivery/event_batch.h"
#include "runtime/base/error.h"
#include "runtime/base/metrics.h"
#include "runtime/kafka/consumer.h"
#include "runtime/kafka/options.h"
#include "runtime/rpc/client.h"

typedef struct order_event_consumer order_event_consumer;

enum { ORDER_EVENT_CONSUMER_THREADS_MAX = 16 };

/* Everything pointed to must outlive the consumer. */
typedef struct order_event_consumer_options {
  delivery_database *database;
  const ls_kafka_options *kafka;
  const char *group_id;
  const char *group_instance_id; /* "": none */
  event_topics topics;
  const char *dead_letter_topic;
  unsigned threads;         /* that apply, 1 to ORDER_EVENT_CONSUMER_THREADS_MAX */
  size_t batch_events;      /* that one of them takes at once */
  int64_t batch_bytes;      /* of their keys and values; one event always fits */
  int64_t queued_max_bytes; /* prefetched */
  int64_t session_timeout_ms;
  ls_rpc_channel *orders; /* the order service */
  size_t lookup_batch;
  unsigned lookup_calls;
  int64_t lookup_timeout_ms;
  int64_t pending_delay_ms; /* until a pending order's first retry */
  const delivery_counters *counters;
  ls_metrics *metrics;
  /* Told when deliveries have changed, on any applier's thread, and when there are new pending
   * orders. Must not block. */
  void (*changed)(void *arg);
  void (*pending)(void *arg);
  void *arg;
} order_event_consumer_options;

order_event_consumer *order_event_consumer_new(const order_event_consumer_options *options,
                                               ls_error *error);

/* Starts the thread. Neither Kafka nor the database nor the order service need be there yet. */
bool order_event_consumer_start(order_event_consumer *consumer, ls_error *error);

/* Finishes the batch in hand unless it waits for a service that is down, commits offsets, leaves
 * the group, ends the thread. */
void order_event_consumer_stop(order_event_consumer *consumer);

/* After stop, or if never started. NULL is fine. */
void order_event_consumer_destroy(order_event_consumer *consumer);

/* The partitions assigned, at most `max`; whether they are paused; the last failure that is not
 * mended
 * ("": none). Any thread. */
typedef struct order_event_consumer_state {
  size_t partition_count;
  bool paused;
  char problem[480];
} order_event_consumer_state;
void order_event_consumer_read_state(order_event_consumer *consumer, ls_kafka_partition *partitions,
                                     size_t max, order_event_consumer_state *state);

#endif
