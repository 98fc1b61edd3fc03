/* How the order service says no: statuses with a reason in the domain "order.lockstep", as
 * order/v1/order_service.proto lists them. Each ends the call. Any thread. */
#ifndef LOCKSTEP_ORDER_ORDER_STATUS_H
#define LOCKSTEP_ORDER_ORDER_STATUS_H

#include <stdint.h>

#include "order/order_check.h"
#include "order/v1/order.pb-c.h"
#include "runtime/base/error.h"
#include "runtime/rpc/call.h"

/* INVALID_ARGUMENT, INVALID_REQUEST. */
void order_fail_invalid(ls_rpc_call *call, const order_violations *violations);

/* NOT_FOUND, ORDER_NOT_FOUND. */
void order_fail_missing(ls_rpc_call *call, int64_t order_id);

/* FAILED_PRECONDITION, ORDER_CANCELLED. */
void order_fail_cancelled(ls_rpc_call *call, const Order__V1__Order *order);

/* ABORTED, VERSION_MISMATCH. */
void order_fail_version(ls_rpc_call *call, const Order__V1__Order *order);

/* FAILED_PRECONDITION, VERSION_NOT_REACHED. */
void order_fail_not_reached(ls_rpc_call *call, const Order__V1__Order *order, int64_t min_version);

/* ALREADY_EXISTS, REQUEST_ID_REUSED. */
void order_fail_reused(ls_rpc_call *call);

/* RESOURCE_EXHAUSTED, OVERLOADED: nothing was done. */
void order_fail_overloaded(ls_rpc_call *call);

/* UNAVAILABLE, STORE_UNAVAILABLE. */
void order_fail_unavailable(ls_rpc_call *call);

/* What an error of the store means to the caller; what it says itself is for the log. */
void order_fail_store(ls_rpc_call *call, const ls_error *error);

#endif
