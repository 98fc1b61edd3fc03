/* The services that the demo drives: their channels, and what their operators' APIs tell. */
#ifndef LOCKSTEP_DEPLOY_LOCAL_DEMO_SERVICES_H
#define LOCKSTEP_DEPLOY_LOCAL_DEMO_SERVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "deploy/local/demo_addresses.h"
#include "deploy/local/demo_figures.h"
#include "runtime/base/error.h"
#include "runtime/rpc/client.h"

/* One for each address. */
typedef struct demo_channels {
  ls_rpc_channel **items;
  size_t count; /* 1 or more */
} demo_channels;

/* The replicas of a service share a database: any of them can be asked for an order or a delivery.
 * What the operators' RPCs tell is of one replica, so all of those must be asked. */
typedef struct demo_services {
  demo_channels orders, order_operations;
  demo_channels deliveries, delivery_operations;
} demo_services;

/* Opens the channels. Connects with the first calls. NULL on failure. End with
 * demo_services_close. */
demo_services *demo_services_open(const demo_addresses *addresses, ls_error *error);

/* Cancels what is in flight and waits for its callbacks. NULL is fine. */
void demo_services_close(demo_services *services);

/* The channel whose turn it is: they are taken one after another. */
ls_rpc_channel *demo_channel(const demo_channels *channels, size_t turn);

/* Switches the order services to the case. Blocks, like the functions below. */
bool demo_services_set_mode(demo_services *services, demo_case which, ls_error *error);

/* What has been counted since the services started, over all of them. */
typedef struct demo_counters {
  int leader;            /* the order service whose relay leads, by its place; -1: none does */
  int64_t waiting_rows;  /* in the outbox */
  size_t idle_consumers; /* delivery services that have no partition to read */
  int64_t produced_events, produced_bytes; /* by the leader */
  int64_t consumed, stale, overtaken, duplicates, coalesced;
  int64_t lookups, lookup_ids;
} demo_counters;

bool demo_services_count(demo_services *services, demo_counters *counters, ls_error *error);

/* The same again, to be compared with `before`. LS_FAILED_PRECONDITION when it cannot be, because a
 * service was started anew or another relay leads: each counts from its own start. That none leads
 * just now is no failure. */
bool demo_services_count_again(demo_services *services, const demo_counters *before,
                               demo_counters *after, ls_error *error);

/* Waits until a relay leads, nothing waits in the outbox, and every delivery service reads
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
