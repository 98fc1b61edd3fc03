/* What the consumer and the retrier count. */
#include "delivery/delivery_counters.h"

static const double batch_bounds[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};

void delivery_counters_init(delivery_counters *counters, ls_metrics *metrics) {
  const struct {
    ls_counter **counter;
    const char *name, *help;
  } rows[] = {
      {&counters->consumed, "lockstep_delivery_events_consumed_total",
       "Events taken from Kafka, once for each time they came"},
      {&counters->applied, "lockstep_delivery_events_applied_total",
       "Events whose version, or a newer one, was applied because of them"},
      {&counters->stale, "lockstep_delivery_events_stale_total", "Events that changed nothing"},
      {&counters->overtaken, "lockstep_delivery_events_overtaken_total",
       "Stale events that a newer one of the same order had overtaken"},
      {&counters->duplicates, "lockstep_delivery_events_duplicate_total",
       "Stale events that had come before"},
      {&counters->coalesced, "lockstep_delivery_events_coalesced_total",
       "Stale events whose work a newer one in the same batch saved"},
      {&counters->pending, "lockstep_delivery_events_pending_total",
       "Events whose lookup failed and is retried beside the stream"},
      {&counters->dead_lettered, "lockstep_delivery_events_dead_lettered_total",
       "Events that went to the dead-letter topic at once"},
      {&counters->lookups, "lockstep_delivery_lookups_total", "Calls of BatchGetOrders"},
      {&counters->lookup_ids, "lockstep_delivery_lookup_ids_total",
       "Orders asked for in calls of BatchGetOrders"},
      {&counters->pending_resolved, "lockstep_delivery_pending_resolved_total",
       "Pending orders that a retry brought into step"},
      {&counters->pending_given_up, "lockstep_delivery_pending_given_up_total",
       "Pending orders given up on, each a dead letter"},
      {&counters->reconciled, "lockstep_delivery_reconcile_healed_total",
       "Deliveries found behind their orders that a lookup brought into step"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    *rows[i].counter = ls_metrics_counter(metrics, rows[i].name, rows[i].help, NULL);
  counters->batch_events =
      ls_metrics_histogram(metrics, "lockstep_delivery_batch_events", "Events handled in one batch",
                           batch_bounds, sizeof batch_bounds / sizeof batch_bounds[0], NULL);
  counters->batch_seconds = ls_metrics_histogram(
      metrics, "lockstep_delivery_batch_seconds",
      "Time from taking a batch to its commit in the database, waits for a service that is down "
      "included",
      ls_metric_seconds, ls_metric_seconds_count, NULL);
  counters->lookup_seconds = ls_metrics_histogram(metrics, "lockstep_delivery_lookup_seconds",
                                                  "Time the lookups of one batch took together",
                                                  ls_metric_seconds, ls_metric_seconds_count, NULL);
}

static int64_t read_counter(const ls_counter *counter) {
  return (int64_t)ls_counter_value(counter);
}

void delivery_counters_read(const delivery_counters *counters,
                            Delivery__V1__ConsumerCounters *message) {
  message->consumed = read_counter(counters->consumed);
  message->applied = read_counter(counters->applied);
  message->stale = read_counter(counters->stale);
  message->overtaken = read_counter(counters->overtaken);
  message->duplicates = read_counter(counters->duplicates);
  message->coalesced = read_counter(counters->coalesced);
  message->pending = read_counter(counters->pending);
  message->dead_lettered = read_counter(counters->dead_lettered);
  message->lookups = read_counter(counters->lookups);
  message->lookup_ids = read_counter(counters->lookup_ids);
  message->pending_resolved = read_counter(counters->pending_resolved);
  message->pending_given_up = read_counter(counters->pending_given_up);
}
