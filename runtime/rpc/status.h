/* The status of a call: code, message and google.rpc.Status details.
 *
 * Follows gRPC's status codes and the richer error model (google/rpc/status.proto,
 * google/rpc/error_details.proto), carried in the trailer grpc-status-details-bin. */
#ifndef LOCKSTEP_RUNTIME_RPC_STATUS_H
#define LOCKSTEP_RUNTIME_RPC_STATUS_H

#include <stddef.h>
#include <stdint.h>

#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "runtime/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A status owns its memory: start with LS_RPC_STATUS_INIT, end with ls_rpc_status_clear.
 * Not for two threads at once. */
typedef struct ls_rpc_status {
  ls_code code;
  char *message;    /* "" is NULL */
  uint8_t *details; /* a packed google.rpc.Status, or NULL */
  size_t details_bytes;
} ls_rpc_status;

#define LS_RPC_STATUS_INIT                                                                         \
  { LS_OK, NULL, NULL, 0 }

void ls_rpc_status_clear(ls_rpc_status *status);

/* Replaces what `status` held. */
void ls_rpc_status_set(ls_rpc_status *status, ls_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void ls_rpc_status_set_error(ls_rpc_status *status, const ls_error *error);

/* The message, never NULL. */
const char *ls_rpc_status_message(const ls_rpc_status *status);

/* Appends a google.rpc.ErrorInfo: reason in UPPER_SNAKE_CASE, domain of the service, and pairs of
 * metadata (key, value, key, value …, NULL). Code and message must have been set before. */
void ls_rpc_status_add_error_info(ls_rpc_status *status, const char *reason, const char *domain,
                                  ... /* const char * pairs, NULL */);

/* Appends a google.rpc.BadRequest with these violations. */
typedef struct ls_rpc_field_violation {
  const char *field; /* path from the request's root: "order.items[3].quantity" */
  const char *description;
} ls_rpc_field_violation;
void ls_rpc_status_add_bad_request(ls_rpc_status *status, const ls_rpc_field_violation *violations,
                                   size_t count);

/* Appends a google.rpc.RetryInfo. */
void ls_rpc_status_add_retry_info(ls_rpc_status *status, int64_t delay_ms);

/* Appends a message of any type, google.rpc's or your own. Code and message must have been set
 * before. */
void ls_rpc_status_add_detail(ls_rpc_status *status, const ProtobufCMessage *detail);

/* The first message of this type among the details, checked as ls_rpc_message_unpack does, or NULL.
 * Free with its …__free_unpacked(detail, NULL). */
ProtobufCMessage *ls_rpc_status_detail(const ls_rpc_status *status,
                                       const ProtobufCMessageDescriptor *type);

/* The first ErrorInfo among the details, or NULL. Free with google__rpc__error_info__free_unpacked.
 */
Google__Rpc__ErrorInfo *ls_rpc_status_error_info(const ls_rpc_status *status);

#ifdef __cplusplus
}
#endif

#endif
