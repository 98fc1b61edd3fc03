/* A server with what each has besides its services: health, reflection, and metrics of its calls.
 * A process may have several, each with services of its own. */
#ifndef LOCKSTEP_RUNTIME_RPC_ENDPOINT_H
#define LOCKSTEP_RUNTIME_RPC_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/error.h"
#include "runtime/base/metrics.h"
#include "runtime/rpc/health.h"
#include "runtime/rpc/server.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ls_rpc_endpoint ls_rpc_endpoint;

/* A server without services. `options` as for ls_rpc_server_new; the observer is the endpoint's
 * own. `health` and `metrics` may serve several endpoints, and must outlive them. */
ls_rpc_endpoint *ls_rpc_endpoint_new(const ls_rpc_server_options *options, ls_rpc_health *health,
                                     ls_metrics *metrics, ls_error *error);

/* To add services to. It stays the endpoint's. */
ls_rpc_server *ls_rpc_endpoint_server(ls_rpc_endpoint *endpoint);

/* After the last service was added: adds what each server has, and binds to `address` ("host:port",
 * port 0: any free one). Errors as ls_rpc_server_listen. */
bool ls_rpc_endpoint_listen(ls_rpc_endpoint *endpoint, const char *address, ls_error *error);

/* The port that was bound; 0: none, also without an endpoint. */
int ls_rpc_endpoint_port(const ls_rpc_endpoint *endpoint);

bool ls_rpc_endpoint_start(ls_rpc_endpoint *endpoint, ls_error *error);

/* As ls_rpc_server_shutdown; true at once for one that was not started, and for NULL. */
bool ls_rpc_endpoint_shutdown(ls_rpc_endpoint *endpoint, int64_t grace_ms);

/* After shutdown, or if not started. NULL is fine. */
void ls_rpc_endpoint_destroy(ls_rpc_endpoint *endpoint);

#ifdef __cplusplus
}
#endif

#endif
