/* Creates orders, and comes back later with what a busy service refuses. */
#ifndef CLIENT_PATIENT_ORDERS_H
#define CLIENT_PATIENT_ORDERS_H

#include "runtime/base/error.h"

enum { PATIENT_ORDERS = 100 };

/* Sends them all at once to the service at `target`. What is refused with RESOURCE_EXHAUSTED is
 * repeated, first after the delay that the service names, then after twice as long each time.
 * True when all were created, and at least one was refused on the way; false after a minute. */
bool create_patiently(const char *target, char *customer, ls_error *error);

#endif
