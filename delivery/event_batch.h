/* The events of one batch: decoded, put together by order, and counted. No I/O but what it is told
 * to hold. One thread at a time. */
#ifndef LOCKSTEP_DELIVERY_EVENT_BATCH_H
#define LOCKSTEP_DELIVERY_EVENT_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "delivery/delivery_counters.h"
#include "delivery/delivery_store.h"
#include "delivery/order_event.h"
#include "delivery/order_lookup.h"

typedef struct event_batch event_batch;

/* The topics, by the type of event that they tell. */
typedef struct event_topics {
  const char *domain; /* the message tells the type */
  const char *create;
  const char *change;
  const char *cancel;
} event_topics;

/* Room for `capacity` events. `topics` must outlive the batch. NULL: out of memory. */
event_batch *event_batch_new(size_t capacity, const event_topics *topics, ls_error *error);
/* NULL is fine. */
void event_batch_destroy(event_batch *batch);

/* Forgets what was in the batch and takes these messages, which must outlive their time in it:
 * decodes them, puts the valid events together by order (ascending) and makes dead letters of the
 * others. LS_RESOURCE_EXHAUSTED: take fewer. */
bool event_batch_take(event_batch *batch, rd_kafka_message_t *const *messages, size_t count,
                      ls_error *error);

/* The orders, ascending. */
size_t event_batch_order_count(const event_batch *batch);
const int64_t *event_batch_order_ids(const event_batch *batch);
/* Which of them are settled and need nothing more; all false after take. */
bool event_batch_is_settled(const event_batch *batch, size_t index);
void event_batch_settle(event_batch *batch, size_t index);

/* Whether there is an event that a lookup may be needed for: one without payload. */
bool event_batch_may_look_up(const event_batch *batch);

/* Room for what is known of the orders, one for each. */
delivery_known *event_batch_known(event_batch *batch);

/* Which orders have to be looked up, by what is known; ascending, until the next call. */
const int64_t *event_batch_to_look_up(event_batch *batch, size_t *count);
/* Room for the results of these lookups, and the memory for them. */
order_lookup_result *event_batch_results(event_batch *batch);
ls_arena *event_batch_arena(event_batch *batch);
/* Hands the results to their orders. LS_RESOURCE_EXHAUSTED: take fewer. */
bool event_batch_take_results(event_batch *batch, ls_error *error);

/* What to apply, one for each order. */
delivery_work *event_batch_works(event_batch *batch);

/* Makes dead letters of all events of an order that cannot be written, and settles it. */
bool event_batch_refuse(event_batch *batch, size_t index, const char *reason, ls_error *error);

/* The dead letters. */
const delivery_letter *event_batch_letters(const event_batch *batch, size_t *count);

/* Counts all events by what has become of them; once, after everything is applied. True if some
 * went to pending_orders. */
bool event_batch_count(const event_batch *batch, const delivery_counters *counters);

#endif
