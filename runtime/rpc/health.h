/* The standard health service (grpc.health.v1.Health): whether the server, or one of its services,
 * takes requests. Load balancers, Kubernetes and gRPC clients ask it. */
#ifndef LOCKSTEP_RUNTIME_RPC_HEALTH_H
#define LOCKSTEP_RUNTIME_RPC_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/error.h"
#include "runtime/rpc/credentials.h"
#include "runtime/rpc/server.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ls_rpc_health ls_rpc_health;

/* How many services one health service knows, "" included. */
enum { LS_RPC_HEALTH_MAX_SERVICES = 64 };

/* Knows only "", the server as a whole, which does not serve yet. NULL: LS_RESOURCE_EXHAUSTED. */
ls_rpc_health *ls_rpc_health_new(ls_error *error);

/* Adds the service to a server that has not started and that must be destroyed before `health`.
 * Errors as ls_rpc_server_add_service. */
bool ls_rpc_health_register(ls_rpc_health *health, ls_rpc_server *server, ls_error *error);

/* Sets the status of a service (its full name, "" for the server), which is known from then on.
 * Those who watch it are told; a slow reader may miss what came between, never the newest. One
 * service more than LS_RPC_HEALTH_MAX_SERVICES is logged and stays unknown. Does nothing after
 * ls_rpc_health_shutdown. Any thread. */
void ls_rpc_health_set(ls_rpc_health *health, const char *service, bool serving);

/* All services are NOT_SERVING for good. Those who watch are told, and their streams end, so that
 * the server can drain; to be called before ls_rpc_server_shutdown. Any thread, any number of
 * times. */
void ls_rpc_health_shutdown(ls_rpc_health *health);

/* After the server was destroyed. NULL is fine. */
void ls_rpc_health_destroy(ls_rpc_health *health);

/* Asks the server at `target` (as ls_rpc_channel_new) for the status of `service` ("": the server).
 * `tls` NULL: plaintext. Blocks for at most `timeout_ms`. False: LS_UNAVAILABLE when it does not
 * serve, LS_NOT_FOUND when it does not know the service, else the code the call failed with. Any
 * thread. */
bool ls_rpc_health_probe(const char *target, const ls_rpc_tls *tls, const char *service,
                         int64_t timeout_ms, ls_error *error);

#ifdef __cplusplus
}
#endif

#endif
