/* A server with health, reflection and metrics: see endpoint.h. */
#include "runtime/rpc/endpoint.h"

#include <stdlib.h>

#include "runtime/rpc/reflection.h"
#include "runtime/rpc/rpc_metrics.h"

struct ls_rpc_endpoint {
  ls_rpc_health *health;
  ls_rpc_metrics *metrics;
  ls_rpc_reflection *reflection; /* of this server's services */
  ls_rpc_server *server;
  int port;
  bool is_running;
};

ls_rpc_endpoint *ls_rpc_endpoint_new(const ls_rpc_server_options *options, ls_rpc_health *health,
                                     ls_metrics *metrics, ls_error *error) {
  ls_rpc_endpoint *endpoint = calloc(1, sizeof *endpoint);
  if (endpoint == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for a server");
    return NULL;
  }
  endpoint->health = health;
  endpoint->metrics = ls_rpc_metrics_new(metrics, error);
  endpoint->reflection = endpoint->metrics == NULL ? NULL : ls_rpc_reflection_new(error);
  if (endpoint->reflection == NULL)
    goto failed;
  ls_rpc_server_options observed = *options;
  observed.observer = ls_rpc_metrics_observe;
  observed.observer_arg = endpoint->metrics;
  endpoint->server = ls_rpc_server_new(&observed, error);
  if (endpoint->server == NULL)
    goto failed;
  return endpoint;

failed:
  ls_rpc_endpoint_destroy(endpoint);
  return NULL;
}

ls_rpc_server *ls_rpc_endpoint_server(ls_rpc_endpoint *endpoint) {
  return endpoint->server;
}

bool ls_rpc_endpoint_listen(ls_rpc_endpoint *endpoint, const char *address, ls_error *error) {
  return ls_rpc_health_register(endpoint->health, endpoint->server, error) &&
         ls_rpc_reflection_register(endpoint->reflection, endpoint->server, error) &&
         ls_rpc_metrics_add_server(endpoint->metrics, endpoint->server, error) &&
         ls_rpc_server_listen(endpoint->server, address, &endpoint->port, error);
}

int ls_rpc_endpoint_port(const ls_rpc_endpoint *endpoint) {
  return endpoint == NULL ? 0 : endpoint->port;
}

bool ls_rpc_endpoint_start(ls_rpc_endpoint *endpoint, ls_error *error) {
  endpoint->is_running = ls_rpc_server_start(endpoint->server, error);
  return endpoint->is_running;
}

bool ls_rpc_endpoint_shutdown(ls_rpc_endpoint *endpoint, int64_t grace_ms) {
  return endpoint == NULL || !endpoint->is_running ||
         ls_rpc_server_shutdown(endpoint->server, grace_ms);
}

void ls_rpc_endpoint_destroy(ls_rpc_endpoint *endpoint) {
  if (endpoint == NULL)
    return;
  ls_rpc_server_destroy(endpoint->server);
  ls_rpc_reflection_destroy(endpoint->reflection);
  ls_rpc_metrics_destroy(endpoint->metrics);
  free(endpoint);
}
