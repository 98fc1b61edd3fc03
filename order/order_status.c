/* How the order service says no. */
#include "order/order_status.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "runtime/rpc/status.h"

#define DOMAIN "order.lockstep"

enum { RETRY_AFTER_MS = 100, NUMBER_BYTES = 24 };

static void end(ls_rpc_call *call, ls_rpc_status *status) {
  ls_rpc_call_finish(call, status);
  ls_rpc_status_clear(status);
}

static const char *number(int64_t value, char text[NUMBER_BYTES]) {
  snprintf(text, NUMBER_BYTES, "%" PRId64, value);
  return text;
}

void order_fail_invalid(ls_rpc_call *call, const order_violations *violations) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_field_violation fields[ORDER_MAX_VIOLATIONS];
  for (size_t i = 0; i < violations->count; i++)
    fields[i] = (ls_rpc_field_violation){violations->list[i].field, violations->list[i].rule};
  const char *more = violations->count > 1 ? " (and others: see the details)" : "";
  ls_rpc_status_set(&status, LS_INVALID_ARGUMENT, "%s %s%s", violations->list[0].field,
                    violations->list[0].rule, more);
  ls_rpc_status_add_bad_request(&status, fields, violations->count);
  ls_rpc_status_add_error_info(&status, "INVALID_REQUEST", DOMAIN, (const char *)NULL);
  end(call, &status);
}

void order_fail_missing(ls_rpc_call *call, int64_t order_id) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  char id[NUMBER_BYTES];
  ls_rpc_status_set(&status, LS_NOT_FOUND, "there is no order %" PRId64, order_id);
  ls_rpc_status_add_error_info(&status, "ORDER_NOT_FOUND", DOMAIN, "order_id", number(order_id, id),
                               (const char *)NULL);
  end(call, &status);
}

/* A status about an order that is at another version or in another state than the caller thought.
 */
static void fail_about(ls_rpc_call *call, ls_rpc_status *status, const char *reason,
                       const Order__V1__Order *order) {
  char id[NUMBER_BYTES];
  char version[NUMBER_BYTES];
  ls_rpc_status_add_error_info(status, reason, DOMAIN, "order_id", number(order->order_id, id),
                               "current_version", number(order->version, version),
                               (const char *)NULL);
  end(call, status);
}

void order_fail_cancelled(ls_rpc_call *call, const Order__V1__Order *order) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_status_set(&status, LS_FAILED_PRECONDITION, "order %" PRId64 " is cancelled",
                    order->order_id);
  fail_about(call, &status, "ORDER_CANCELLED", order);
}

void order_fail_version(ls_rpc_call *call, const Order__V1__Order *order) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_status_set(&status, LS_ABORTED, "order %" PRId64 " is at version %" PRId64,
                    order->order_id, order->version);
  fail_about(call, &status, "VERSION_MISMATCH", order);
}

void order_fail_not_reached(ls_rpc_call *call, const Order__V1__Order *order, int64_t min_version) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_status_set(&status, LS_FAILED_PRECONDITION,
                    "order %" PRId64 " is at version %" PRId64 ", not yet at %" PRId64,
                    order->order_id, order->version, min_version);
  fail_about(call, &status, "VERSION_NOT_REACHED", order);
}

void order_fail_reused(ls_rpc_call *call) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_status_set(&status, LS_ALREADY_EXISTS, "the request_id was used for another request");
  ls_rpc_status_add_error_info(&status, "REQUEST_ID_REUSED", DOMAIN, (const char *)NULL);
  end(call, &status);
}

static ls_rpc_status overloaded = LS_RPC_STATUS_INIT;

static void make_overloaded(void) {
  ls_rpc_status_set(&overloaded, LS_RESOURCE_EXHAUSTED,
                    "too much is waiting already; nothing was done");
  ls_rpc_status_add_error_info(&overloaded, "OVERLOADED", DOMAIN, (const char *)NULL);
  ls_rpc_status_add_retry_info(&overloaded, RETRY_AFTER_MS);
}

/* Made once: when it is needed there is no time. */
void order_fail_overloaded(ls_rpc_call *call) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_overloaded);
  ls_rpc_call_finish(call, &overloaded);
}

void order_fail_unavailable(ls_rpc_call *call) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_status_set(&status, LS_UNAVAILABLE, "the order store does not answer");
  ls_rpc_status_add_error_info(&status, "STORE_UNAVAILABLE", DOMAIN, (const char *)NULL);
  end(call, &status);
}

void order_fail_store(ls_rpc_call *call, const ls_error *error) {
  switch (error->code) {
  case LS_UNAVAILABLE:
  case LS_DEADLINE_EXCEEDED:
    order_fail_unavailable(call);
    return;
  case LS_RESOURCE_EXHAUSTED:
    order_fail_overloaded(call);
    return;
  case LS_CANCELLED:
    ls_rpc_call_fail(call, LS_CANCELLED, "the call is over");
    return;
  default:
    ls_rpc_call_fail(call, LS_INTERNAL, "the order store failed");
  }
}
