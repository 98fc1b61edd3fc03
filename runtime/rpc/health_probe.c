/* Asks another process for its health. */
#include "grpc/health/v1/health.grpc-c.h"
#include "runtime/rpc/client.h"
#include "runtime/rpc/health.h"

static bool check(ls_rpc_channel *channel, const char *service, int64_t timeout_ms,
                  ls_error *error) {
  Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  request.service = (char *)(uintptr_t)service;
  ls_rpc_call_options options = {.timeout_ms = timeout_ms > 0 ? timeout_ms : 1};
  Grpc__Health__V1__HealthCheckResponse *response = NULL;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (!grpc_health_v1_health_check(channel, &request, &options, &response, &status)) {
    ls_error_set(error, status.code, status.code == LS_UNAVAILABLE, NULL, "%s",
                 ls_rpc_status_message(&status));
    ls_rpc_status_clear(&status);
    return false;
  }
  bool is_serving =
      response->status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
  grpc__health__v1__health_check_response__free_unpacked(response, NULL);
  return is_serving || ls_error_set(error, LS_UNAVAILABLE, true, NULL, "it is not serving");
}

bool ls_rpc_health_probe(const char *target, const ls_rpc_tls *tls, const char *service,
                         int64_t timeout_ms, ls_error *error) {
  ls_rpc_channel_options options = {.retry_attempts = 1};
  if (tls != NULL)
    options.tls = *tls;
  ls_rpc_channel *channel = ls_rpc_channel_new(target, &options, error);
  bool is_serving = channel != NULL && check(channel, service, timeout_ms, error);
  ls_rpc_channel_destroy(channel);
  return is_serving || ls_error_prefix(error, "health of \"%s\" at %s", service, target);
}
