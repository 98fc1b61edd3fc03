/* Counts a server's calls and times them, by method and code, under the names that gRPC middleware
 * of other languages uses: grpc_server_handled_total{grpc_service, grpc_method, grpc_code} and
 * grpc_server_handling_seconds{grpc_service, grpc_method}. */
#ifndef LOCKSTEP_RUNTIME_RPC_RPC_METRICS_H
#define LOCKSTEP_RUNTIME_RPC_RPC_METRICS_H

#include <stdbool.h>

#include "runtime/base/error.h"
#include "runtime/base/metrics.h"
#include "runtime/rpc/server.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ls_rpc_metrics ls_rpc_metrics;

/* `metrics` must outlive it. NULL: LS_RESOURCE_EXHAUSTED. */
ls_rpc_metrics *ls_rpc_metrics_new(ls_metrics *metrics, ls_error *error);

/* Takes in the methods of all services the server has; calls of others are counted together. Once,
 * after the last service was added and before the server starts. */
bool ls_rpc_metrics_add_server(ls_rpc_metrics *metrics, const ls_rpc_server *server,
                               ls_error *error);

/* The observer for ls_rpc_server_options; `arg` is the ls_rpc_metrics. Takes no lock but for the
 * first call of a method that ends with a code. */
void ls_rpc_metrics_observe(const ls_rpc_method *method, ls_code code, int64_t duration_us,
                            const char *trace_parent, void *arg);

/* After the server was destroyed. NULL is fine. */
void ls_rpc_metrics_destroy(ls_rpc_metrics *metrics);

#ifdef __cplusplus
}
#endif

#endif
