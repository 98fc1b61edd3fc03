/* A call as the server's handler sees it.
 *
 * Life: the handler gets the call, and must end it exactly once, with ls_rpc_call_reply,
 * ls_rpc_call_finish or ls_rpc_call_fail, now or later, from any thread, also when the call was
 * cancelled meanwhile. After that the pointer is dead (callbacks registered before still come, with
 * done last). The request and what ls_rpc_call_alloc gave live until then.
 *
 * Threads: all callbacks of one call (start, message, half_close, writable, cancel, done) run on
 * the one polling thread that owns the call, never two at a time; they must not block. The
 * functions here may be called from any thread unless they say otherwise. */
#ifndef LOCKSTEP_RUNTIME_RPC_CALL_H
#define LOCKSTEP_RUNTIME_RPC_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "runtime/rpc/method.h"
#include "runtime/rpc/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ls_rpc_call ls_rpc_call;

/* What a send did with its message. */
typedef enum ls_rpc_send_result {
  LS_RPC_SENT,        /* taken; there is room for more */
  LS_RPC_SENT_FULL,   /* taken; the call's buffer is now full: wait for writable */
  LS_RPC_WOULD_BLOCK, /* not taken: the buffer is full; writable will be called */
  LS_RPC_CLOSED       /* not taken: the call is over or cancelled, be it because the message is too
                         large or found no memory (RESOURCE_EXHAUSTED at the client) */
} ls_rpc_send_result;

typedef void (*ls_rpc_call_callback)(ls_rpc_call *call, void *arg);

const ls_rpc_method *ls_rpc_call_method(const ls_rpc_call *call);

/* Milliseconds until the client's deadline, 0 once it has passed, INT64_MAX without one. */
int64_t ls_rpc_call_time_left_ms(const ls_rpc_call *call);

/* True once the client cancelled, its deadline passed or its connection broke. */
bool ls_rpc_call_is_cancelled(const ls_rpc_call *call);

/* "ipv4:127.0.0.1:41234"; lives as long as the request. */
const char *ls_rpc_call_peer(ls_rpc_call *call);

/* The call's W3C trace context (header traceparent): the client's if it sent a valid one, else one
 * made for this call. 55 characters; lives as long as the request. */
const char *ls_rpc_call_trace_parent(ls_rpc_call *call);

/* The first value of a request metadata key (lower case); false if there is none. `value` is not
 * NUL-terminated and lives as long as the request. */
bool ls_rpc_call_metadata(const ls_rpc_call *call, const char *key, const char **value,
                          size_t *value_bytes);

/* Memory that is freed with the call. NULL when the call's arena is at its bound or the machine is
 * out of memory. The polling thread's callbacks only, or one thread at a time after them. */
void *ls_rpc_call_alloc(ls_rpc_call *call, size_t bytes);

/* Response metadata. Initial metadata must be added before the first send or the end; keys in lower
 * case, those ending in -bin carry any bytes. Copies. False: too late, or invalid key or value. */
bool ls_rpc_call_add_initial_metadata(ls_rpc_call *call, const char *key, const void *value,
                                      size_t value_bytes);
bool ls_rpc_call_add_trailing_metadata(ls_rpc_call *call, const char *key, const void *value,
                                       size_t value_bytes);

/* Whether messages sent from now on are compressed, by what the client takes; they are not until
 * this says so. To be turned on before the first send or the end, afterwards it has no effect; may
 * then be turned off and on for single messages. */
void ls_rpc_call_compress(ls_rpc_call *call, bool compress);

/* Whether the newest message from the client came compressed; false also where gRPC's core does not
 * tell. In start and message only. */
bool ls_rpc_call_message_compressed(const ls_rpc_call *call);

/* Registers a callback, at most one of each kind. In start only.
 * cancel: the call is cancelled (once). The handler still has to end it.
 * writable: there is room again after LS_RPC_SENT_FULL or LS_RPC_WOULD_BLOCK.
 * done: the last of all, after the end has been sent or has become impossible; frees `arg`'s state.
 */
void ls_rpc_call_on_cancel(ls_rpc_call *call, ls_rpc_call_callback callback, void *arg);
void ls_rpc_call_on_writable(ls_rpc_call *call, ls_rpc_call_callback callback, void *arg);
void ls_rpc_call_on_done(ls_rpc_call *call, ls_rpc_call_callback callback, void *arg);

/* A pointer of the handler's own, NULL at first. */
void ls_rpc_call_set_state(ls_rpc_call *call, void *state);
void *ls_rpc_call_state(const ls_rpc_call *call);

/* Streams to the client: queues one message. At most the server's send_buffer_bytes wait in a call
 * (one message always fits): that is how a slow reader slows the writer. */
ls_rpc_send_result ls_rpc_call_send(ls_rpc_call *call, const ProtobufCMessage *message);

/* Streams from the client: asks for the next message. Nothing is read unasked: that is how a slow
 * handler slows the client. To be called in start, and once for each message that was handled. */
void ls_rpc_call_read_next(ls_rpc_call *call);

/* Ends the call with OK and one message (unary and client-streaming methods). */
void ls_rpc_call_reply(ls_rpc_call *call, const ProtobufCMessage *response);

/* Ends the call. `status` NULL is OK; only its content is used, the caller keeps it. Messages
 * queued by send go out before it when the status is OK, and are dropped otherwise. */
void ls_rpc_call_finish(ls_rpc_call *call, const ls_rpc_status *status);
void ls_rpc_call_fail(ls_rpc_call *call, ls_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif

#endif
