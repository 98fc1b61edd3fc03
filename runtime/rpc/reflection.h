/* The standard reflection service (grpc.reflection.v1 and v1alpha): which services a server has,
 * and the .proto files they come from. grpcurl and its like need nothing else. */
#ifndef LOCKSTEP_RUNTIME_RPC_REFLECTION_H
#define LOCKSTEP_RUNTIME_RPC_REFLECTION_H

#include <stdbool.h>

#include "runtime/base/error.h"
#include "runtime/rpc/server.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ls_rpc_reflection ls_rpc_reflection;

/* NULL: LS_RESOURCE_EXHAUSTED. */
ls_rpc_reflection *ls_rpc_reflection_new(ls_error *error);

/* Adds both versions of the service to a server, as its last services and before it starts. What
 * they tell of are the services that the server has then, these two included. Once; the server must
 * be destroyed before `reflection`. Errors as ls_rpc_server_add_service. */
bool ls_rpc_reflection_register(ls_rpc_reflection *reflection, ls_rpc_server *server,
                                ls_error *error);

/* After the server was destroyed. NULL is fine. */
void ls_rpc_reflection_destroy(ls_rpc_reflection *reflection);

#ifdef __cplusplus
}
#endif

#endif
