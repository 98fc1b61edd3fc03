/* gRPC channels and calls for clients: blocking and asynchronous, unary and streaming.
 *
 * A channel reconnects by itself, spreads calls over all addresses of its name (round_robin),
 * retries UNAVAILABLE as its options say, and gives every call a deadline. It has one polling
 * thread, on which all callbacks run; they must not block, nor use the blocking functions of the
 * same channel. */
#ifndef LOCKSTEP_RUNTIME_RPC_CLIENT_H
#define LOCKSTEP_RUNTIME_RPC_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "runtime/base/error.h"
#include "runtime/rpc/call.h"
#include "runtime/rpc/credentials.h"
#include "runtime/rpc/method.h"
#include "runtime/rpc/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ls_rpc_channel ls_rpc_channel;

typedef struct ls_rpc_channel_options {
  ls_rpc_tls tls;
  const char *tls_server_name; /* checked against the certificate instead of the target's; NULL: the
                                  target's */
  int64_t default_timeout_ms;  /* of calls that name none; 0: 30,000 */
  unsigned retry_attempts;  /* of a call that ends UNAVAILABLE before an answer, the first included;
                               0: 4; 1: no retry; at most 5 */
  size_t max_receive_bytes; /* of one message; 0: 16 MiB */
  size_t send_buffer_bytes; /* queued in one streaming call; 0: 64 KiB */
  unsigned max_depth;       /* of nested messages; 0: 64 */
} ls_rpc_channel_options;

/* `target` as gRPC names them: "host:port", "dns:///name:port", "unix:/path". `options` NULL: all
 * defaults; copied. Does not connect yet. */
ls_rpc_channel *ls_rpc_channel_new(const char *target, const ls_rpc_channel_options *options,
                                   ls_error *error);

/* Cancels what is in flight, waits until its callbacks have run, frees. Not from a callback. NULL
 * is fine. */
void ls_rpc_channel_destroy(ls_rpc_channel *channel);

typedef struct ls_rpc_metadata {
  const char *key;
  const void *value;
  size_t value_bytes;
} ls_rpc_metadata;

/* The metadata that a call was answered with. Filled by the call, and to be read once it is over.
 */
typedef struct ls_rpc_received ls_rpc_received;

/* For one call after another, as often as you like. NULL: out of memory. Any thread. */
ls_rpc_received *ls_rpc_received_new(void);

/* After the calls that fill it are over. NULL is fine. */
void ls_rpc_received_destroy(ls_rpc_received *received);

/* The first value of a key (lower case) of the metadata that came before the first message, or
 * after the last; false if there is none. `value` is not NUL-terminated, that of a -bin key is
 * decoded; it lives until the next call that fills `received`. */
bool ls_rpc_received_initial(const ls_rpc_received *received, const char *key, const char **value,
                             size_t *value_bytes);
bool ls_rpc_received_trailing(const ls_rpc_received *received, const char *key, const char **value,
                              size_t *value_bytes);

/* Whether the newest message came compressed; of a stream also while it goes on, between two reads.
 * False also where gRPC's core does not tell. */
bool ls_rpc_received_compressed(const ls_rpc_received *received);

typedef struct ls_rpc_call_options {
  int64_t timeout_ms; /* 0: the channel's default; there is always a deadline, except when negative,
                         for streams that are meant to stay */
  bool
      wait_for_ready; /* wait for a connection instead of failing UNAVAILABLE while there is none */
  const ls_rpc_metadata *metadata; /* request metadata, copied; one that gRPC does not allow ends
                                      the call with INVALID_ARGUMENT */
  size_t metadata_count;
  bool compress;             /* messages are sent gzip'd; the server may answer as it likes */
  ls_rpc_received *received; /* gets what the answer came with; NULL: not wanted. Must live until
                                the call is over, and be no other's until then */
} ls_rpc_call_options;

/* --- Unary. Typed wrappers of these are generated. --- */

/* Blocks until the answer or the deadline. True: `*response` (if not NULL) is the answer, to be
 * freed with its …__free_unpacked(response, NULL). False: `*response` is NULL and `status` says
 * why. `status` may be NULL. `options` may be NULL. Any thread but the channel's own. */
bool ls_rpc_unary(ls_rpc_channel *channel, const ls_rpc_method *method,
                  const ProtobufCMessage *request, const ls_rpc_call_options *options,
                  ProtobufCMessage **response, ls_rpc_status *status);

/* Calls the typed `done` with the result; response is NULL unless the status is OK, and lives only
 * during the callback, like status. */
typedef void (*ls_rpc_unary_dispatch)(ls_rpc_function done, const ls_rpc_status *status,
                                      const ProtobufCMessage *response, void *arg);

/* Starts a call and returns; `done` is called exactly once, on the channel's thread. The request is
 * packed before this returns. False: out of memory, `done` is not called. */
bool ls_rpc_unary_start(ls_rpc_channel *channel, const ls_rpc_method *method,
                        const ProtobufCMessage *request, const ls_rpc_call_options *options,
                        ls_rpc_unary_dispatch dispatch, ls_rpc_function done, void *arg);

/* --- Streams --- */

typedef struct ls_rpc_stream ls_rpc_stream;

/* How the runtime calls typed stream callbacks; generated. `events` is the typed table. */
typedef struct ls_rpc_stream_dispatch {
  void (*message)(ls_rpc_stream *stream, const ProtobufCMessage *message, const void *events,
                  void *arg);
  void (*writable)(ls_rpc_stream *stream, const void *events, void *arg);
  void (*done)(ls_rpc_stream *stream, const ls_rpc_status *status, const void *events, void *arg);
} ls_rpc_stream_dispatch;

/* Starts a streaming call that calls back: message for each one asked for, writable when there is
 * room again, done exactly once and last (the stream is freed after it returns). `request` is the
 * one request of a server-streaming method, which half-closes by itself; NULL for the others.
 * `events` must live until done. NULL: out of memory, nothing is called back. */
ls_rpc_stream *ls_rpc_stream_start(ls_rpc_channel *channel, const ls_rpc_method *method,
                                   const ProtobufCMessage *request,
                                   const ls_rpc_call_options *options,
                                   const ls_rpc_stream_dispatch *dispatch, const void *events,
                                   void *arg);

/* Of a started stream, until done, or of an opened one; any thread. half_close, cancel and compress
 * take NULL, too. */
ls_rpc_send_result ls_rpc_stream_send(ls_rpc_stream *stream, const ProtobufCMessage *message);
void ls_rpc_stream_read_next(ls_rpc_stream *stream);
void ls_rpc_stream_half_close(ls_rpc_stream *stream);
void ls_rpc_stream_cancel(ls_rpc_stream *stream);

/* In a call whose options say `compress`: whether the messages sent from now on are compressed,
 * which they are until this says otherwise. Any thread, until the stream is over. */
void ls_rpc_stream_compress(ls_rpc_stream *stream, bool compress);

/* Opens a streaming call for blocking use; to be ended with ls_rpc_stream_finish. NULL: out of
 * memory, which the functions for opened streams take for one that is over. */
ls_rpc_stream *ls_rpc_stream_open(ls_rpc_channel *channel, const ls_rpc_method *method,
                                  const ProtobufCMessage *request,
                                  const ls_rpc_call_options *options);

/* Of an opened stream; one thread may write while another reads.
 * write: blocks while the buffer is full; false when the stream is over.
 * read: blocks for the next message, to be freed with …__free_unpacked(message, NULL); NULL when
 * there are no more. finish (NULL gives RESOURCE_EXHAUSTED): cancels if the stream is not over,
 * waits for its end, fills `status` (may be NULL), frees. To end well: half-close, read until NULL,
 * then finish. True: the status is OK. */
bool ls_rpc_stream_write(ls_rpc_stream *stream, const ProtobufCMessage *message);
ProtobufCMessage *ls_rpc_stream_read(ls_rpc_stream *stream);
bool ls_rpc_stream_finish(ls_rpc_stream *stream, ls_rpc_status *status);

#ifdef __cplusplus
}
#endif

#endif
