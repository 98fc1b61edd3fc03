/* How the delivery service says no: statuses with a reason in the domain "delivery.lockstep", as
 * delivery/v1/delivery_service.proto lists them. Each ends the call. Any thread. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_STATUS_H
#define LOCKSTEP_DELIVERY_DELIVERY_STATUS_H

#include <stdint.h>

#include "delivery/delivery.h"
#include "runtime/base/error.h"
#include "runtime/rpc/call.h"

/* INVALID_ARGUMENT, INVALID_REQUEST. */
void delivery_fail_invalid(ls_rpc_call *call, const delivery_violations *violations);

/* NOT_FOUND, DELIVERY_NOT_FOUND. */
void delivery_fail_missing(ls_rpc_call *call, int64_t order_id);

/* NOT_FOUND, DEAD_LETTER_NOT_FOUND. */
void delivery_fail_missing_letter(ls_rpc_call *call, int64_t dead_letter_id);

/* ABORTED, REVISION_MISMATCH. */
void delivery_fail_revision(ls_rpc_call *call, int64_t order_id, const delivery_standing *standing);

/* FAILED_PRECONDITION, DELIVERY_STATE. */
void delivery_fail_state(ls_rpc_call *call, int64_t order_id, const delivery_standing *standing);

/* DEADLINE_EXCEEDED: the wait for the order's version was in vain. */
void delivery_fail_not_reached(ls_rpc_call *call, int64_t order_id, int64_t min_order_version);

/* RESOURCE_EXHAUSTED, OVERLOADED: nothing was done. */
void delivery_fail_overloaded(ls_rpc_call *call);

/* UNAVAILABLE: the service stops. */
void delivery_fail_stopping(ls_rpc_call *call);

/* What an error of the store or of Kafka means to the caller; what it says itself is for the log.
 */
void delivery_fail_store(ls_rpc_call *call, const ls_error *error);

#endif
