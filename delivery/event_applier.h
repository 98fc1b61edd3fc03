/* Applies events: decodes them, looks up what must be looked up, and writes deliveries, dead
 * letters and pending orders in one transaction. One of several that a consumer splits its batch
 * among, each with a database session and a thread of its own.
 *
 * The consumer's thread gives the work and waits for it; between event_applier_begin and _end
 * nothing else may be called. */
#ifndef LOCKSTEP_DELIVERY_EVENT_APPLIER_H
#define LOCKSTEP_DELIVERY_EVENT_APPLIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/dead_letter_producer.h"
#include "delivery/delivery_counters.h"
#include "delivery/event_batch.h"
#include "runtime/base/error.h"
#include "runtime/rpc/client.h"

typedef struct event_applier event_applier;

/* Everything pointed to must outlive the applier. */
typedef struct event_applier_options {
  delivery_database *database;
  dead_letter_producer *dead_letters; /* shared */
  event_topics topics;
  size_t batch_events;    /* taken at once, at most */
  ls_rpc_channel *orders; /* the order service */
  size_t lookup_batch;
  unsigned lookup_calls;
  int64_t lookup_timeout_ms;
  int64_t pending_delay_ms; /* until a pending order's first retry */
  const delivery_counters *counters;
  /* Told when deliveries have changed. Any applier's thread; must not block. */
  void (*changed)(void *arg);
  void *arg;
} event_applier_options;

/* NULL: out of memory. */
event_applier *event_applier_new(const event_applier_options *options, ls_error *error);
/* Ends the thread. NULL is fine. */
void event_applier_destroy(event_applier *applier);

/* Starts the thread that event_applier_begin uses. */
bool event_applier_start(event_applier *applier, ls_error *error);

/* Gives it these messages (at most batch_events), instead of what it had; they must stay until they
 * are done. */
void event_applier_take(event_applier *applier, rd_kafka_message_t *const *messages, size_t count);

/* Whether there is anything left to do of what it was given. */
bool event_applier_is_done(const event_applier *applier);

/* One try, on the calling thread. False: a service that it needs is down, and the same is to be
 * tried again. */
bool event_applier_try(event_applier *applier, ls_error *error);

/* The same on the applier's own thread: _begin does not wait, _end waits for it. */
void event_applier_begin(event_applier *applier);
bool event_applier_end(event_applier *applier, ls_error *error);

/* Counts what became of the events; once, when all is done. True if some went to pending_orders. */
bool event_applier_count(const event_applier *applier);

#endif
