/* The delivery service, put together: what starts before what, and what ends before what. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_APPLICATION_H
#define LOCKSTEP_DELIVERY_DELIVERY_APPLICATION_H

#include <stdbool.h>

#include "delivery/delivery_config.h"
#include "runtime/base/error.h"

typedef struct delivery_application delivery_application;

/* Starts everything. A database, a Kafka or an order service that is down does not fail the start:
 * the service answers UNAVAILABLE without the database, its health is NOT_SERVING then, and it
 * keeps trying. What only a person can mend does: LS_INVALID_ARGUMENT for settings that make no
 * sense together, LS_FAILED_PRECONDITION for a schema that is not this program's or certificates
 * that cannot be used, LS_UNAVAILABLE for an address that cannot be bound. `config` must outlive
 * the application. */
delivery_application *delivery_application_start(const delivery_config *config, ls_error *error);

/* Says NOT_SERVING, ends the calls that wait or follow, finishes the batch of events in hand,
 * commits its offsets and leaves the group, lets other calls in flight end within the configured
 * grace time, ends all threads, frees. True: nothing had to be cut off. NULL is fine. */
bool delivery_application_stop(delivery_application *application);

/* The ports that were bound; 0: none. */
int delivery_application_port(const delivery_application *application);
int delivery_application_operations_port(const delivery_application *application);
int delivery_application_metrics_port(const delivery_application *application);

#endif
