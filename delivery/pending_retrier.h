/* Looks pending orders up again, beside the stream, until each is in step or out of tries; and
 * walks over all orders when an operator has asked for it.
 *
 * One thread of its own. Several replicas share the work: what one has claimed the others leave
 * alone. */
#ifndef LOCKSTEP_DELIVERY_PENDING_RETRIER_H
#define LOCKSTEP_DELIVERY_PENDING_RETRIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/delivery_counters.h"
#include "delivery/delivery_database.h"
#include "runtime/base/error.h"
#include "runtime/kafka/options.h"
#include "runtime/rpc/client.h"

typedef struct pending_retrier pending_retrier;

/* Everything pointed to must outlive the retrier. */
typedef struct pending_retrier_options {
  delivery_database *database;
  const ls_kafka_options *kafka;
  const char *dead_letter_topic;
  ls_rpc_channel *orders; /* the order service */
  size_t lookup_batch;
  unsigned lookup_calls;
  int64_t lookup_timeout_ms;
  int32_t max_attempts;     /* then it is a dead letter */
  int64_t initial_delay_ms; /* before the second attempt; about twice as long before each next */
  int64_t max_delay_ms;
  int64_t poll_interval_ms;
  const delivery_counters *counters;
  void (*changed)(void *arg); /* deliveries have changed; on the retrier's thread; must not block */
  void *arg;
} pending_retrier_options;

pending_retrier *pending_retrier_new(const pending_retrier_options *options, ls_error *error);
/* Starts the thread. Nothing that it needs has to be there yet. */
bool pending_retrier_start(pending_retrier *retrier, ls_error *error);

/* There is something new to look up. Any thread; cheap. */
void pending_retrier_wake(pending_retrier *retrier);

/* Finishes what is under way, ends the thread. */
void pending_retrier_stop(pending_retrier *retrier);
/* After stop, or if never started. NULL is fine. */
void pending_retrier_destroy(pending_retrier *retrier);

#endif
