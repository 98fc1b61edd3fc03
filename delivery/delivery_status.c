/* How the delivery service says no. */
#include "delivery/delivery_status.h"

#include <inttypes.h>
#include <stdio.h>

#include "runtime/rpc/status.h"

#define DOMAIN "delivery.lockstep"

enum { RETRY_AFTER_MS = 100, NUMBER_BYTES = 24 };

static void end(ls_rpc_call *call, ls_rpc_status *status) {
  ls_rpc_call_finish(call, status);
  ls_rpc_status_clear(status);
}

static const char *number(int64_t value, char text[NUMBER_BYTES]) {
  snprintf(text, NUMBER_BYTES, "%" PRId64, value);
  return text;
}

void delivery_fail_invalid(ls_rpc_call *call, const delivery_violations *violations) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_field_violation fields[DELIVERY_MAX_VIOLATIONS];
  for (size_t i = 0; i < violations->count; i++)
    fields[i] =
        (ls_rpc_field_violation){violations->list[i].field, violations->list[i].description};
  const char *more = violations->count > 1 ? " (and others: see the details)" : "";
  ls_rpc_status_set(&status, LS_INVALID_ARGUMENT, "%s %s%s", violations->list[0].field,
                    violations->list[0].description, more);
  ls_rpc_status_add_bad_request(&status, fields, violations->count);
  ls_rpc_status_add_error_info(&status, "INVALID_REQUEST", DOMAIN, (const char *)NULL);
  end(call, &status);
}

void delivery_fail_missing(ls_rpc_call *call, int64_t order_id) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  char id[NUMBER_BYTES];
  ls_rpc_status_set(&status, LS_NOT_FOUND, "there is no delivery of order %" PRId64, order_id);
  ls_rpc_status_add_error_info(&status, "DELIVERY_NOT_FOUND", DOMAIN, "order_id",
                               number(order_id, id), (const char *)NULL);
  end(call, &status);
}

void delivery_fail_missing_letter(ls_rpc_call *call, int64_t dead_letter_id) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  char id[NUMBER_BYTES];
  ls_rpc_status_set(&status, LS_NOT_FOUND, "there is no dead letter %" PRId64, dead_letter_id);
  ls_rpc_status_add_error_info(&status, "DEAD_LETTER_NOT_FOUND", DOMAIN, "dead_letter_id",
                               number(dead_letter_id, id), (const char *)NULL);
  end(call, &status);
}

/* A status about a delivery that is not as the caller thought. */
static void fail_about(ls_rpc_call *call, ls_rpc_status *status, const char *reason,
                       int64_t order_id, const delivery_standing *standing) {
  char id[NUMBER_BYTES];
  char revision[NUMBER_BYTES];
  ls_rpc_status_add_error_info(status, reason, DOMAIN, "order_id", number(order_id, id),
                               "current_revision", number(standing->revision, revision),
                               "current_state", delivery_state_name(standing->state),
                               (const char *)NULL);
  end(call, status);
}

void delivery_fail_revision(ls_rpc_call *call, int64_t order_id,
                            const delivery_standing *standing) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_status_set(&status, LS_ABORTED,
                    "the delivery of order %" PRId64 " is at revision %" PRId64, order_id,
                    standing->revision);
  fail_about(call, &status, "REVISION_MISMATCH", order_id, standing);
}

void delivery_fail_state(ls_rpc_call *call, int64_t order_id, const delivery_standing *standing) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_status_set(&status, LS_FAILED_PRECONDITION, "the delivery of order %" PRId64 " is %s",
                    order_id, delivery_state_name(standing->state));
  fail_about(call, &status, "DELIVERY_STATE", order_id, standing);
}

void delivery_fail_not_reached(ls_rpc_call *call, int64_t order_id, int64_t min_order_version) {
  ls_rpc_call_fail(call, LS_DEADLINE_EXCEEDED,
                   "the delivery of order %" PRId64 " has not reached version %" PRId64
                   " of the order in time",
                   order_id, min_order_version);
}

void delivery_fail_overloaded(ls_rpc_call *call) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_status_set(&status, LS_RESOURCE_EXHAUSTED,
                    "too much is waiting already; nothing was done");
  ls_rpc_status_add_error_info(&status, "OVERLOADED", DOMAIN, (const char *)NULL);
  ls_rpc_status_add_retry_info(&status, RETRY_AFTER_MS);
  end(call, &status);
}

void delivery_fail_stopping(ls_rpc_call *call) {
  ls_rpc_call_fail(call, LS_UNAVAILABLE, "the service stops");
}

static void fail_unavailable(ls_rpc_call *call) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_status_set(&status, LS_UNAVAILABLE, "the delivery store does not answer");
  ls_rpc_status_add_error_info(&status, "STORE_UNAVAILABLE", DOMAIN, (const char *)NULL);
  end(call, &status);
}

void delivery_fail_store(ls_rpc_call *call, const ls_error *error) {
  switch (error->code) {
  case LS_UNAVAILABLE:
  case LS_DEADLINE_EXCEEDED:
  case LS_FAILED_PRECONDITION: /* the schema: an operator's affair */
    fail_unavailable(call);
    return;
  case LS_RESOURCE_EXHAUSTED:
    delivery_fail_overloaded(call);
    return;
  case LS_CANCELLED:
    ls_rpc_call_fail(call, LS_CANCELLED, "the call is over");
    return;
  default:
    ls_rpc_call_fail(call, LS_INTERNAL, "the delivery store failed");
  }
}
