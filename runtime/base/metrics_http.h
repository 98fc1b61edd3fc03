/* The HTTP port for Prometheus and for probes:
 *   GET /metrics  the registry's text
 *   GET /healthz  200 as long as the process runs: it depends on nothing else
 *   GET /readyz   200 or 503, as the service says
 * On a thread of its own, with a bounded number of connections. Plain HTTP, without authentication:
 * bind it where only the platform reaches it. */
#ifndef LOCKSTEP_RUNTIME_BASE_METRICS_HTTP_H
#define LOCKSTEP_RUNTIME_BASE_METRICS_HTTP_H

#include <stdbool.h>

#include "runtime/base/error.h"
#include "runtime/base/metrics.h"

typedef struct ls_metrics_http ls_metrics_http;

/* Whether the service can serve; if not, it may say why in `reason`. On the server's thread; must
 * not block. */
typedef bool (*ls_ready)(void *arg, ls_error *reason);

/* Serves on `address` ("127.0.0.1:9464", "[::1]:9464", ":9464" for all addresses; port 0: any free
 * one). An empty address gives a server that is off. `metrics` must outlive it; `ready` NULL:
 * always ready. NULL: LS_INVALID_ARGUMENT for an address that is none, LS_UNAVAILABLE when it
 * cannot be bound. */
ls_metrics_http *ls_metrics_http_start(const char *address, ls_metrics *metrics, ls_ready ready,
                                       void *ready_arg, ls_error *error);

/* The bound port; 0 when it is off. */
int ls_metrics_http_port(const ls_metrics_http *server);

/* Ends connections and thread, frees. NULL is fine. */
void ls_metrics_http_stop(ls_metrics_http *server);

#endif
