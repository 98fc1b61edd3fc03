/* The relay: sends what the outbox holds to Kafka, in each order's order, and remembers how far it
 * is.
 *
 * One thread with a database session and a Kafka producer of its own. Of all replicas one leads:
 * the one whose session holds an advisory lock; the others stand by and ask for it every second.
 * Only the leader reads the outbox. Whatever fails is tried again; after a crash or a change of
 * leader some events are sent twice, none is left out, and the versions of one order never overtake
 * each other in one topic. */
#ifndef LOCKSTEP_ORDER_OUTBOX_RELAY_H
#define LOCKSTEP_ORDER_OUTBOX_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/error.h"
#include "runtime/kafka/options.h"
#include "runtime/postgres/connection.h"

typedef struct outbox_relay outbox_relay;

typedef struct outbox_relay_options {
  ls_pg_options database;
  ls_kafka_options kafka;
  const char *domain_topic; /* "order-topic" and so on */
  const char *create_topic;
  const char *change_topic;
  const char *cancel_topic;
  const char *source;       /* ce_source of the events: "/lockstep/order" */
  size_t max_event_bytes;   /* a larger full payload goes as zero payload */
  unsigned max_in_flight;   /* events read and not yet acknowledged; 0: 4096 */
  int64_t poll_interval_ms; /* looks for what nobody told of; 0: 1000 */
} outbox_relay_options;

/* `options` and its strings must outlive the relay. NULL when out of memory. */
outbox_relay *outbox_relay_new(const outbox_relay_options *options, ls_error *error);

/* Starts the thread. It needs neither database nor Kafka to be there yet. */
bool outbox_relay_start(outbox_relay *relay, ls_error *error);

/* There is something new in the outbox: after a commit in this process. Any thread, cheap. */
void outbox_relay_wake(outbox_relay *relay);

/* Whether this replica leads, as far as it knows. Any thread. */
bool outbox_relay_is_leader(const outbox_relay *relay);

/* What the relay has done since it was started. */
typedef struct outbox_relay_status {
  bool leader;
  int64_t highest_sequence; /* of the last checkpoint */
  int64_t gap_count;        /* sequence numbers in its gaps */
  int64_t produced_events;  /* acknowledged by Kafka */
  int64_t produced_bytes;   /* of their keys, values and headers */
  int64_t failed_sends;
  int64_t oversized_events;
  int64_t in_flight;
  char problem[480]; /* "" when all is well */
} outbox_relay_status;

/* Any thread. */
void outbox_relay_get_status(const outbox_relay *relay, outbox_relay_status *status);

/* Reads no more, waits up to `grace_ms` for acknowledgements of what is in flight, writes the
 * checkpoint, gives the leadership up and ends the thread. True: nothing was in flight any more. */
bool outbox_relay_stop(outbox_relay *relay, int64_t grace_ms);

/* After stop, or if never started. NULL is fine. */
void outbox_relay_destroy(outbox_relay *relay);

#endif
