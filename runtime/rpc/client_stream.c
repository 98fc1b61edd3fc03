/* Streaming calls of a client. The blocking functions stand on the same callbacks as the others.
 *
 * Completions run on the channel's thread; `lock` is for the caller's threads. A stream is over
 * when its status has come and no operation is in flight. */
#include <stdlib.h>
#include <string.h>

#include "runtime/base/thread.h"
#include "runtime/rpc/client.h"
#include "runtime/rpc/client_internal.h"

struct ls_rpc_stream {
  ls_rpc_client_call call;
  ls_rpc_tag opened, sent, received, closed, ended;
  const ls_rpc_stream_dispatch *dispatch;
  const void *events;
  void *arg;
  grpc_byte_buffer *incoming, *outgoing;

  pthread_mutex_t lock; /* of what follows */
  unsigned outstanding;
  ls_rpc_send_queue queue;
  bool reading, broken;
  bool close_wanted, close_posted;
  bool ended_by_status;
  ls_rpc_status verdict; /* the runtime's own, in place of what the server says, unless OK */

  /* Blocking use. */
  bool blocking;
  pthread_cond_t changed;
  bool room, over, end_of_messages;
  ProtobufCMessage *message;
  ls_rpc_status status;
};

static bool sends_many(const ls_rpc_stream *stream) {
  ls_rpc_kind kind = stream->call.method->kind;
  return kind == LS_RPC_CLIENT_STREAMING || kind == LS_RPC_BIDIRECTIONAL;
}

static void free_stream(ls_rpc_stream *stream) {
  if (stream->message != NULL)
    protobuf_c_message_free_unpacked(stream->message, NULL);
  ls_rpc_send_queue_clear(&stream->queue);
  ls_rpc_status_clear(&stream->status);
  ls_rpc_status_clear(&stream->verdict);
  pthread_cond_destroy(&stream->changed);
  pthread_mutex_destroy(&stream->lock);
  free(stream);
}

/* Channel's thread, unlocked. */
static void finish_when_over(ls_rpc_stream *stream) {
  pthread_mutex_lock(&stream->lock);
  bool over = stream->ended_by_status && stream->outstanding == 0;
  pthread_mutex_unlock(&stream->lock);
  if (!over)
    return;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_client_call_status(&stream->call, &status);
  if (stream->verdict.code != LS_OK) {
    ls_rpc_status_clear(&status);
    status = stream->verdict;
    stream->verdict = (ls_rpc_status)LS_RPC_STATUS_INIT;
  }
  bool blocking = stream->blocking;
  if (!blocking && stream->dispatch->done != NULL)
    stream->dispatch->done(stream, &status, stream->events, stream->arg);
  ls_rpc_client_call_end(&stream->call);
  if (!blocking) {
    ls_rpc_status_clear(&status);
    free_stream(stream);
    return;
  }
  pthread_mutex_lock(&stream->lock);
  stream->status = status;
  stream->over = true;
  pthread_cond_broadcast(&stream->changed);
  pthread_mutex_unlock(&stream->lock);
}

static void count_down(ls_rpc_stream *stream) {
  pthread_mutex_lock(&stream->lock);
  stream->outstanding--;
  pthread_mutex_unlock(&stream->lock);
}

static void on_opened(ls_rpc_tag *tag, bool ok) {
  (void)ok;
  ls_rpc_stream *stream = LS_RPC_OWNER(tag, ls_rpc_stream, opened);
  if (!sends_many(stream)) { /* the one request; of others it would be a message in flight */
    grpc_byte_buffer_destroy(stream->outgoing);
    stream->outgoing = NULL;
  }
  count_down(stream);
  finish_when_over(stream);
}

static void on_closed(ls_rpc_tag *tag, bool ok) {
  (void)ok;
  ls_rpc_stream *stream = LS_RPC_OWNER(tag, ls_rpc_stream, closed);
  count_down(stream);
  finish_when_over(stream);
}

/* The end of the call, but a read in flight comes to its end first. */
static void on_ended(ls_rpc_tag *tag, bool ok) {
  (void)ok;
  ls_rpc_stream *stream = LS_RPC_OWNER(tag, ls_rpc_stream, ended);
  pthread_mutex_lock(&stream->lock);
  stream->outstanding--;
  stream->ended_by_status = true;
  ls_rpc_send_queue_clear(&stream->queue);
  pthread_cond_broadcast(&stream->changed);
  pthread_mutex_unlock(&stream->lock);
  finish_when_over(stream);
}

/* Ends the call with a status of the runtime's own, which it takes. Locked. */
static void give_up(ls_rpc_stream *stream, ls_rpc_status *status) {
  if (stream->verdict.code == LS_OK)
    stream->verdict = *status;
  else
    ls_rpc_status_clear(status);
  if (!stream->ended_by_status)
    grpc_call_cancel(stream->call.core, NULL);
}

/* Starts the next send, or the half-close once all is sent. Locked. */
static void send_next(ls_rpc_stream *stream) {
  grpc_op op;
  memset(&op, 0, sizeof op);
  grpc_byte_buffer *buffer = stream->broken || stream->ended_by_status
                                 ? NULL
                                 : ls_rpc_send_queue_next(&stream->queue, &op);
  if (buffer != NULL) {
    stream->outgoing = buffer;
    stream->outstanding++;
    ls_rpc_start(stream->call.core, &op, 1, &stream->sent);
  } else if (stream->close_wanted && !stream->close_posted && !stream->queue.sending &&
             !stream->ended_by_status) {
    stream->close_posted = true;
    op.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    stream->outstanding++;
    ls_rpc_start(stream->call.core, &op, 1, &stream->closed);
  }
}

static void tell_writable(ls_rpc_stream *stream) {
  if (!stream->blocking) {
    if (stream->dispatch->writable != NULL)
      stream->dispatch->writable(stream, stream->events, stream->arg);
    return;
  }
  pthread_mutex_lock(&stream->lock);
  stream->room = true;
  pthread_cond_broadcast(&stream->changed);
  pthread_mutex_unlock(&stream->lock);
}

static void on_sent(ls_rpc_tag *tag, bool ok) {
  ls_rpc_stream *stream = LS_RPC_OWNER(tag, ls_rpc_stream, sent);
  pthread_mutex_lock(&stream->lock);
  grpc_byte_buffer_destroy(stream->outgoing);
  stream->outgoing = NULL;
  bool room = ls_rpc_send_queue_sent(&stream->queue);
  if (!ok) { /* the status will come, and says why */
    stream->broken = true;
    ls_rpc_send_queue_clear(&stream->queue);
    pthread_cond_broadcast(&stream->changed);
  }
  send_next(stream);
  bool tell = room && ok;
  pthread_mutex_unlock(&stream->lock);
  if (tell)
    tell_writable(stream);
  count_down(stream);
  finish_when_over(stream);
}

static void on_received(ls_rpc_tag *tag, bool ok) {
  ls_rpc_stream *stream = LS_RPC_OWNER(tag, ls_rpc_stream, received);
  grpc_byte_buffer *buffer = stream->incoming;
  stream->incoming = NULL;
  pthread_mutex_lock(&stream->lock);
  stream->reading = false;
  pthread_mutex_unlock(&stream->lock);

  ProtobufCMessage *message = NULL;
  if (buffer != NULL && ok) {
    ls_rpc_status refusal = LS_RPC_STATUS_INIT;
    message = ls_rpc_client_call_message(&stream->call, buffer, &refusal);
    if (message == NULL) {
      pthread_mutex_lock(&stream->lock);
      give_up(stream, &refusal);
      pthread_mutex_unlock(&stream->lock);
    }
  }
  if (buffer != NULL)
    grpc_byte_buffer_destroy(buffer);

  if (stream->blocking) {
    pthread_mutex_lock(&stream->lock);
    stream->message = message;
    stream->end_of_messages = message == NULL;
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
  } else if (message != NULL) {
    if (stream->dispatch->message != NULL)
      stream->dispatch->message(stream, message, stream->events, stream->arg);
    protobuf_c_message_free_unpacked(message, NULL);
  }
  count_down(stream);
  finish_when_over(stream);
}

static ls_rpc_stream *begin(ls_rpc_channel *channel, const ls_rpc_method *method,
                            const ProtobufCMessage *request, const ls_rpc_call_options *options,
                            const ls_rpc_stream_dispatch *dispatch, const void *events, void *arg) {
  ls_rpc_stream *stream = calloc(1, sizeof *stream);
  if (stream == NULL)
    return NULL;
  stream->opened.complete = on_opened;
  stream->sent.complete = on_sent;
  stream->received.complete = on_received;
  stream->closed.complete = on_closed;
  stream->ended.complete = on_ended;
  stream->dispatch = dispatch;
  stream->events = events;
  stream->arg = arg;
  stream->blocking = dispatch == NULL;
  stream->room = true;
  stream->queue.limit_bytes = channel->options.send_buffer_bytes;
  stream->queue.compressed = true;
  stream->outstanding = 2;
  pthread_mutex_init(&stream->lock, NULL);
  ls_condition_init(&stream->changed);
  ls_rpc_client_call_start(&stream->call, channel, method, options);

  grpc_op ops[4];
  memset(ops, 0, sizeof ops);
  size_t count = 0;
  ls_rpc_client_call_send_initial(&stream->call, &ops[count++]);
  if (!sends_many(stream)) {
    stream->outgoing = ls_rpc_pack(request, NULL);
    ops[count].op = GRPC_OP_SEND_MESSAGE;
    ops[count++].data.send_message.send_message = stream->outgoing;
    ops[count++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    stream->close_posted = true;
  }
  /* Held, or a call that fails at once is over before its second batch has been started. */
  pthread_mutex_lock(&stream->lock);
  ls_rpc_client_call_receive_initial(&stream->call, &ops[count++]);
  ls_rpc_start(stream->call.core, ops, count, &stream->opened);
  memset(&ops[0], 0, sizeof ops[0]);
  ls_rpc_client_call_receive_status(&stream->call, &ops[0]);
  ls_rpc_start(stream->call.core, &ops[0], 1, &stream->ended);
  pthread_mutex_unlock(&stream->lock);
  return stream;
}

/* --- Asynchronous --- */

ls_rpc_stream *ls_rpc_stream_start(ls_rpc_channel *channel, const ls_rpc_method *method,
                                   const ProtobufCMessage *request,
                                   const ls_rpc_call_options *options,
                                   const ls_rpc_stream_dispatch *dispatch, const void *events,
                                   void *arg) {
  return begin(channel, method, request, options, dispatch, events, arg);
}

ls_rpc_send_result ls_rpc_stream_send(ls_rpc_stream *stream, const ProtobufCMessage *message) {
  size_t bytes = 0;
  grpc_byte_buffer *buffer = ls_rpc_pack(message, &bytes);
  pthread_mutex_lock(&stream->lock);
  ls_rpc_send_result result = LS_RPC_CLOSED;
  bool open =
      !stream->broken && !stream->ended_by_status && !stream->close_wanted && sends_many(stream);
  if (open)
    result = ls_rpc_send_queue_push(&stream->queue, buffer, bytes);
  if (result == LS_RPC_SENT || result == LS_RPC_SENT_FULL) {
    buffer = NULL;
    send_next(stream);
  } else if (open && result == LS_RPC_CLOSED) {
    ls_rpc_status refusal = LS_RPC_STATUS_INIT;
    ls_rpc_status_set(&refusal, LS_RESOURCE_EXHAUSTED, "out of memory");
    give_up(stream, &refusal);
  }
  pthread_mutex_unlock(&stream->lock);
  if (buffer != NULL)
    grpc_byte_buffer_destroy(buffer);
  return result;
}

void ls_rpc_stream_read_next(ls_rpc_stream *stream) {
  pthread_mutex_lock(&stream->lock);
  if (!stream->reading && !stream->ended_by_status) {
    stream->reading = true;
    stream->outstanding++;
    grpc_op op;
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_RECV_MESSAGE;
    op.data.recv_message.recv_message = &stream->incoming;
    ls_rpc_start(stream->call.core, &op, 1, &stream->received);
  }
  pthread_mutex_unlock(&stream->lock);
}

void ls_rpc_stream_half_close(ls_rpc_stream *stream) {
  if (stream == NULL)
    return;
  pthread_mutex_lock(&stream->lock);
  if (sends_many(stream)) {
    stream->close_wanted = true;
    send_next(stream);
  }
  pthread_mutex_unlock(&stream->lock);
}

void ls_rpc_stream_compress(ls_rpc_stream *stream, bool compress) {
  if (stream == NULL)
    return;
  pthread_mutex_lock(&stream->lock);
  stream->queue.compressed = compress;
  pthread_mutex_unlock(&stream->lock);
}

void ls_rpc_stream_cancel(ls_rpc_stream *stream) {
  if (stream == NULL)
    return;
  pthread_mutex_lock(&stream->lock);
  if (!stream->ended_by_status) /* after that the core's call may be gone */
    grpc_call_cancel(stream->call.core, NULL);
  pthread_mutex_unlock(&stream->lock);
}

/* --- Blocking --- */

ls_rpc_stream *ls_rpc_stream_open(ls_rpc_channel *channel, const ls_rpc_method *method,
                                  const ProtobufCMessage *request,
                                  const ls_rpc_call_options *options) {
  return begin(channel, method, request, options, NULL, NULL, NULL);
}

bool ls_rpc_stream_write(ls_rpc_stream *stream, const ProtobufCMessage *message) {
  while (stream != NULL) {
    pthread_mutex_lock(&stream->lock);
    stream->room = false;
    pthread_mutex_unlock(&stream->lock);
    ls_rpc_send_result result = ls_rpc_stream_send(stream, message);
    if (result != LS_RPC_WOULD_BLOCK)
      return result != LS_RPC_CLOSED;
    pthread_mutex_lock(&stream->lock);
    while (!stream->room && !stream->over && !stream->broken && !stream->ended_by_status)
      ls_condition_wait_until(&stream->changed, &stream->lock, -1);
    pthread_mutex_unlock(&stream->lock);
  }
  return false;
}

ProtobufCMessage *ls_rpc_stream_read(ls_rpc_stream *stream) {
  if (stream == NULL)
    return NULL;
  pthread_mutex_lock(&stream->lock);
  bool ended = stream->end_of_messages;
  pthread_mutex_unlock(&stream->lock);
  if (ended)
    return NULL;
  ls_rpc_stream_read_next(stream);
  pthread_mutex_lock(&stream->lock);
  while (stream->message == NULL && !stream->end_of_messages && !stream->over)
    ls_condition_wait_until(&stream->changed, &stream->lock, -1);
  ProtobufCMessage *message = stream->message;
  stream->message = NULL;
  pthread_mutex_unlock(&stream->lock);
  return message;
}

bool ls_rpc_stream_finish(ls_rpc_stream *stream, ls_rpc_status *status) {
  if (stream == NULL) {
    if (status != NULL)
      ls_rpc_status_set(status, LS_RESOURCE_EXHAUSTED, "out of memory");
    return false;
  }
  pthread_mutex_lock(&stream->lock);
  /* After the last message the status is on its way; before it nobody wants the rest. The core's
   * call is there as long as its status has not come. */
  if (!stream->end_of_messages && !stream->ended_by_status)
    grpc_call_cancel(stream->call.core, NULL);
  while (!stream->over)
    ls_condition_wait_until(&stream->changed, &stream->lock, -1);
  pthread_mutex_unlock(&stream->lock);
  bool ok = stream->status.code == LS_OK;
  if (status != NULL) {
    ls_rpc_status_clear(status);
    *status = stream->status;
    stream->status = (ls_rpc_status)LS_RPC_STATUS_INIT;
  }
  free_stream(stream);
  return ok;
}
