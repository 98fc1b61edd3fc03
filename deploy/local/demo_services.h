/* The services that the demo drives: their channels, and what their operators' APIs tell. */
#ifndef LOCKSTEP_DEPLOY_LOCAL_DEMO_SERVICES_H
#define LOCKSTEP_DEPLOY_LOCAL_DEMO_SERVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "deploy/local/demo_figures.h"
#include "runtime/base/error.h"
#include "runtime/rpc/client.h"

typedef struct demo_services {
  ls_rpc_channel *order;
  ls_rpc_channel **deliveries;
  size_t delivery_count; /* 1 or more */
} demo_services;

/* Opens the channels; `delivery_addresses` are separated by commas. Connects with the first calls.
 * NULL on failure. End with demo_services_close. */
demo_services *demo_services_open(const char *order_address, const char *delivery_addresses,
                                  ls_error *error);

/* Cancels what is in flight and waits for its callbacks. NULL is fine. */
void demo_services_close(demo_services *services);

/* Switches the order service to the case. Blocks, like the functions below. */
bool demo_services_set_mode(demo_services *services, demo_case which, ls_error *error);

/* What has been counted since the services started, over all of them. */
typedef struct demo_counters {
  bool leader;           /* the relay of the order service leads */
  int64_t waiting_rows;  /* in its outbox */
  size_t idle_consumers; /* delivery services that have no partition to read */
  int64_t produced_events, produced_bytes;
  int64_t consumed, stale, overtaken, duplicates, coalesced;
  int64_t lookups, lookup_ids;
} demo_counters;

bool demo_services_count(demo_services *services, demo_counters *counters, ls_error *error);

/* Waits until the relay leads, nothing waits in the outbox, and every delivery service reads
 * partitions (for the last not forever: there may be fewer partitions than services). */
bool demo_services_await_ready(demo_services *services, int64_t timeout_ms, ls_error *error);

/* Waits until `versions` events more than `before` tells have been sent and delivery has taken them
 * all. */
bool demo_services_await_counted(demo_services *services, const demo_counters *before,
                                 int64_t versions, int64_t timeout_ms, demo_counters *after,
                                 ls_error *error);

/* An ls_error of a call that ended with `status`: "<what>: <code>: <message>". Returns false. */
bool demo_call_failed(const char *what, const ls_rpc_status *status, ls_error *error);

#endif
