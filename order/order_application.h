/* The order service, put together: what starts before what, and what ends before what. */
#ifndef LOCKSTEP_ORDER_ORDER_APPLICATION_H
#define LOCKSTEP_ORDER_ORDER_APPLICATION_H

#include <stdbool.h>

#include "order/order_config.h"
#include "runtime/base/error.h"

typedef struct order_application order_application;

/* Starts everything. A database or a Kafka that is down does not fail the start: the service then
 * answers UNAVAILABLE, its health is NOT_SERVING, and it keeps trying. What only a person can mend
 * does: LS_INVALID_ARGUMENT for settings that make no sense together, LS_FAILED_PRECONDITION for a
 * schema that is not this program's or certificates that cannot be used, LS_UNAVAILABLE for an
 * address that cannot be bound. `config` must outlive the application. */
order_application *order_application_start(const order_config *config, ls_error *error);

/* Says NOT_SERVING, refuses new calls, lets those in flight end and the relay finish within the
 * configured grace time, ends all threads, frees. True: nothing had to be cut off. NULL is fine. */
bool order_application_stop(order_application *application);

/* The ports that were bound; 0: none. */
int order_application_port(const order_application *application);
int order_application_operations_port(const order_application *application);
int order_application_metrics_port(const order_application *application);

#endif
