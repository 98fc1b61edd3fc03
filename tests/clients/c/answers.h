/* What came of a call: errors for people, and the google.rpc details that a service adds. */
#ifndef CLIENT_ANSWERS_H
#define CLIENT_ANSWERS_H

#include <stdbool.h>
#include <stdint.h>

#include "order/v1/order.pb-c.h"
#include "runtime/base/error.h"
#include "runtime/rpc/status.h"

/* Says what is not as it should be. Returns false. */
bool wrong(ls_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says that a call failed, and clears its status. Returns false. */
bool call_failed(ls_error *error, const char *method, ls_rpc_status *status);

/* The version that the order is at, as the ErrorInfo of a VERSION_MISMATCH says; 0 for any other
 * status. */
int64_t status_current_version(const ls_rpc_status *status);

/* Does a BadRequest among the details name this field? */
bool status_names_field(const ls_rpc_status *status, const char *field);

/* The RetryInfo's delay, or -1 when the details have none. */
int64_t status_retry_delay_ms(const ls_rpc_status *status);

/* The same in every field? */
bool same_order(const Order__V1__Order *one, const Order__V1__Order *other);

#endif
