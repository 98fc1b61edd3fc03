/* What the consumer and the retrier count, for Prometheus and for GetConsumerState. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_COUNTERS_H
#define LOCKSTEP_DELIVERY_DELIVERY_COUNTERS_H

#include "delivery/v1/delivery_operations.pb-c.h"
#include "runtime/base/metrics.h"

/* Each as ConsumerCounters says, where it has it. Handles live as long as the registry; any thread.
 */
typedef struct delivery_counters {
  ls_counter *consumed;
  ls_counter *applied;
  ls_counter *stale;
  ls_counter *overtaken;
  ls_counter *duplicates;
  ls_counter *coalesced;
  ls_counter *pending;
  ls_counter *dead_lettered;
  ls_counter *lookups;
  ls_counter *lookup_ids;
  ls_counter *pending_resolved;
  ls_counter *pending_given_up;
  ls_counter *reconciled; /* deliveries behind that a lookup brought into step */
  ls_histogram *batch_events;
  ls_histogram *batch_seconds;
  ls_histogram *lookup_seconds;
} delivery_counters;

void delivery_counters_init(delivery_counters *counters, ls_metrics *metrics);

/* Fills a message that was initialized. */
void delivery_counters_read(const delivery_counters *counters,
                            Delivery__V1__ConsumerCounters *message);

#endif
