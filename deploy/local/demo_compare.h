/* Whether delivery is in step with order, as the two gRPC APIs show it. */
#ifndef LOCKSTEP_DEPLOY_LOCAL_DEMO_COMPARE_H
#define LOCKSTEP_DEPLOY_LOCAL_DEMO_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/v1/delivery_service.pb-c.h"
#include "deploy/local/demo_calls.h"
#include "deploy/local/demo_progress.h"
#include "deploy/local/demo_services.h"
#include "order/v1/order_service.pb-c.h"
#include "runtime/base/error.h"

/* Waits until delivery shows every order at the version that its writer knows. Puts the orders in
 * the order of their ids. False: LS_DEADLINE_EXCEEDED when nothing came nearer for `timeout_ms`,
 * LS_CANCELLED when a stop was requested, or the failure of a call. */
bool demo_await_in_step(demo_services *services, demo_order *orders, size_t count,
                        int64_t timeout_ms, demo_progress *progress, ls_error *error);

/* Reads all orders and all deliveries and compares them, in the order of their ids as left by
 * demo_await_in_step. `*mismatches`: how many differ; the first few are described on stderr. */
bool demo_compare_all(demo_services *services, const demo_order *orders, size_t count,
                      int64_t *mismatches, ls_error *error);

/* Whether a delivery is what its order says it should be. If not, `why` says what differs. Either
 * may be NULL: it is missing. Pure. */
bool demo_delivery_matches(const Order__V1__Order *order, const Delivery__V1__Delivery *delivery,
                           char *why, size_t why_bytes);

#endif
