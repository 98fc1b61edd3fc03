/* A gRPC server on the C core: N polling threads with a completion queue each, registered methods,
 * requests posted ahead, an arena per call. */
#ifndef LOCKSTEP_RUNTIME_RPC_SERVER_H
#define LOCKSTEP_RUNTIME_RPC_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/error.h"
#include "runtime/rpc/call.h"
#include "runtime/rpc/credentials.h"
#include "runtime/rpc/method.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ls_rpc_server ls_rpc_server;

/* Told of each call of a known method that ended. `trace_parent` is NULL when nobody asked for it.
 * On the call's polling thread; must not block. */
typedef void (*ls_rpc_call_observer)(const ls_rpc_method *method, ls_code code, int64_t duration_us,
                                     const char *trace_parent, void *arg);

typedef struct ls_rpc_server_options {
  unsigned threads;         /* polling threads; 0: 1 */
  unsigned posted_requests; /* posted ahead per method and thread; 0: 16 */
  unsigned max_calls;       /* in flight; one more is RESOURCE_EXHAUSTED; 0: 16384 */
  unsigned max_streams;     /* concurrent streams of one connection; 0: 1024 */
  size_t max_receive_bytes; /* of one message; 0: 4 MiB */
  size_t max_send_bytes;    /* of one message; 0: 16 MiB */
  size_t max_call_bytes;    /* of one call's arena; 0: 64 MiB */
  size_t send_buffer_bytes; /* queued in one streaming call; 0: 64 KiB */
  unsigned max_depth;       /* of nested messages; 0: 64 */
  /* A connection older than this, give or take a tenth, takes no new calls: its client makes
   * another one, and looks the name up for it. Calls in hand go on. 0: it may get as old as it
   * likes. */
  int64_t max_connection_age_ms;
  ls_rpc_tls tls;
  ls_rpc_call_observer observer; /* NULL: none */
  void *observer_arg;
} ls_rpc_server_options;

/* `options` NULL: all defaults. Copied, strings included. Starts nothing yet. */
ls_rpc_server *ls_rpc_server_new(const ls_rpc_server_options *options, ls_error *error);

/* How the runtime calls typed handlers; generated, one for each method in the service's order.
 * start's request is NULL for client-streaming and bidirectional methods; message and half_close
 * are NULL for the others. A message lives until ls_rpc_call_read_next is called again. half_close
 * comes when the client has sent its last message; a handler without a cancel callback hears of a
 * cancellation in half_close, too, where ls_rpc_call_is_cancelled tells the two apart. */
typedef struct ls_rpc_dispatch {
  void (*start)(ls_rpc_call *call, const ProtobufCMessage *request, const void *handlers,
                void *user_data);
  void (*message)(ls_rpc_call *call, const ProtobufCMessage *message, const void *handlers,
                  void *user_data);
  void (*half_close)(ls_rpc_call *call, const void *handlers, void *user_data);
} ls_rpc_dispatch;

/* Adds a service before start. `handlers` and `user_data` must outlive the server. Generated
 * `…_register` functions call it. LS_ALREADY_EXISTS for a service added twice. */
bool ls_rpc_server_add_service(ls_rpc_server *server, const ls_rpc_service *service,
                               const ls_rpc_dispatch *dispatch, const void *handlers,
                               void *user_data, ls_error *error);

/* The services added so far, in order, health and reflection included. */
size_t ls_rpc_server_service_count(const ls_rpc_server *server);
const ls_rpc_service *ls_rpc_server_service(const ls_rpc_server *server, size_t index);

/* Binds to "host:port" (port 0: any free one), before start; may be called for several addresses.
 * `port` (may be NULL) gets the bound port. LS_UNAVAILABLE when the address cannot be bound. */
bool ls_rpc_server_listen(ls_rpc_server *server, const char *address, int *port, ls_error *error);

/* Starts the polling threads and accepts calls. */
bool ls_rpc_server_start(ls_rpc_server *server, ls_error *error);

/* From now on new calls are answered UNAVAILABLE, which clients retry elsewhere; those in flight go
 * on. Any thread. */
void ls_rpc_server_drain(ls_rpc_server *server);

/* Graceful end: drains, gives the calls in flight `grace_ms` to end by themselves, then cancels
 * them. Handlers must still end them. Returns when all polling threads have ended; true if no call
 * had to be cancelled. Not from a polling thread; once. */
bool ls_rpc_server_shutdown(ls_rpc_server *server, int64_t grace_ms);

/* After shutdown, or if start was never called. NULL is fine. */
void ls_rpc_server_destroy(ls_rpc_server *server);

/* Calls in flight now. */
size_t ls_rpc_server_active_calls(const ls_rpc_server *server);

#ifdef __cplusplus
}
#endif

#endif
