/* One call's life on the server: posted, requested, handled, ended, released.
 *
 * Completions run on the poller's thread, one at a time; `lock` is for the handler's other threads.
 * The struct is released on the poller's thread when the handler has ended the call, its end has
 * been completed and no operation is in flight. */
#include "runtime/rpc/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/support/alloc.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/rpc/server_internal.h"

enum { FREE_CALLS_KEPT = 256 };

static void on_requested(ls_rpc_tag *tag, bool ok);
static void on_closed(ls_rpc_tag *tag, bool ok);
static void on_sent(ls_rpc_tag *tag, bool ok);
static void on_received(ls_rpc_tag *tag, bool ok);
static void on_ended(ls_rpc_tag *tag, bool ok);

static bool streams_in(const ls_rpc_call *call) {
  ls_rpc_kind kind = call->entry->method->kind;
  return kind == LS_RPC_CLIENT_STREAMING || kind == LS_RPC_BIDIRECTIONAL;
}

/* --- Posting and releasing --- */

static ls_rpc_call *new_call(ls_rpc_poller *poller) {
  ls_rpc_call *call = calloc(1, sizeof *call);
  if (call == NULL)
    return NULL;
  call->arena = ls_arena_new(poller->server->options.max_call_bytes);
  if (call->arena == NULL) {
    free(call);
    return NULL;
  }
  pthread_mutex_init(&call->lock, NULL);
  call->poller = poller;
  call->requested.complete = on_requested;
  call->closed.complete = on_closed;
  call->sent.complete = on_sent;
  call->received.complete = on_received;
  call->ended.complete = on_ended;
  grpc_metadata_array_init(&call->metadata);
  grpc_call_details_init(&call->details);
  return call;
}

static void free_call(ls_rpc_call *call) {
  grpc_metadata_array_destroy(&call->metadata);
  grpc_call_details_destroy(&call->details);
  ls_arena_destroy(call->arena);
  ls_arena_destroy(call->message_arena);
  pthread_mutex_destroy(&call->lock);
  free(call);
}

static void count_live(ls_rpc_server *server, int change) {
  pthread_mutex_lock(&server->lock);
  server->live_calls = change > 0 ? server->live_calls + 1 : server->live_calls - 1;
  if (server->live_calls == 0)
    pthread_cond_broadcast(&server->changed);
  pthread_mutex_unlock(&server->lock);
}

bool ls_rpc_call_post(ls_rpc_poller *poller, const ls_rpc_method_entry *entry) {
  ls_rpc_call *call = poller->free_calls;
  if (call != NULL) {
    poller->free_calls = call->next_free;
    poller->free_count--;
  } else if ((call = new_call(poller)) == NULL) {
    return false;
  }
  call->entry = entry;
  call->queue.limit_bytes = poller->server->options.send_buffer_bytes;
  count_live(poller->server, 1);
  LS_RPC_RELEASE(&call->requested);
  grpc_call_error result;
  if (entry == NULL) {
    result =
        grpc_server_request_call(poller->server->core, &call->core, &call->details, &call->metadata,
                                 poller->queue, poller->queue, &call->requested);
  } else {
    result = grpc_server_request_registered_call(
        poller->server->core, entry->registered, &call->core, &call->deadline, &call->metadata,
        streams_in(call) ? NULL : &call->incoming, poller->queue, poller->queue, &call->requested);
  }
  if (result == GRPC_CALL_OK)
    return true;
  LS_ERROR("gRPC core refused a request slot", LS_STR("error", grpc_call_error_to_string(result)));
  count_live(poller->server, -1);
  free_call(call);
  return false;
}

/* Posts one more request for an entry, or remembers that it is owed. */
static void post_next(ls_rpc_poller *poller, const ls_rpc_method_entry *entry) {
  if (ls_rpc_call_post(poller, entry))
    return;
  const ls_rpc_server *server = poller->server;
  poller->owed[entry != NULL ? (size_t)(entry - server->entries) : server->entry_count]++;
  poller->owed_count++;
}

static void post_owed(ls_rpc_poller *poller) {
  const ls_rpc_server *server = poller->server;
  for (size_t i = 0; poller->owed_count > 0 && i <= server->entry_count; i++) {
    while (poller->owed[i] > 0) {
      if (!ls_rpc_call_post(poller, i < server->entry_count ? &server->entries[i] : NULL))
        return;
      poller->owed[i]--;
      poller->owed_count--;
    }
  }
}

void ls_rpc_call_free_pool(ls_rpc_poller *poller) {
  while (poller->free_calls != NULL) {
    ls_rpc_call *call = poller->free_calls;
    poller->free_calls = call->next_free;
    free_call(call);
  }
  poller->free_count = 0;
}

/* Gives back what one use of the struct took, and keeps the struct. */
static void recycle(ls_rpc_call *call) {
  ls_rpc_poller *poller = call->poller;
  call->metadata.count = 0; /* the slices are the core's */
  if (call->entry == NULL && call->core != NULL) {
    grpc_call_details_destroy(&call->details);
    grpc_call_details_init(&call->details);
  }
  if (call->core != NULL)
    grpc_call_unref(call->core);
  if (call->incoming != NULL)
    grpc_byte_buffer_destroy(call->incoming);
  if (call->outgoing != NULL)
    grpc_byte_buffer_destroy(call->outgoing);
  if (call->reply != NULL)
    grpc_byte_buffer_destroy(call->reply);
  ls_rpc_send_queue_clear(&call->queue);
  ls_rpc_metadata_clear(&call->initial);
  ls_rpc_metadata_clear(&call->trailing);
  ls_rpc_status_clear(&call->status);
  if (call->end_posted)
    grpc_slice_unref(call->status_message);
  gpr_free(call->peer);
  ls_arena_reset(call->arena);
  if (call->message_arena != NULL)
    ls_arena_reset(call->message_arena);

  if (poller->free_count >= FREE_CALLS_KEPT) {
    free_call(call);
    return;
  }
  call->core = NULL;
  call->incoming = call->outgoing = call->reply = NULL;
  call->peer = NULL;
  call->trace_parent[0] = '\0';
  call->core_cancelled = 0;
  call->outstanding = 0;
  call->handler_ended = call->end_posted = call->end_done = call->close_posted = false;
  call->cancelled = call->cancel_told = call->aborted = call->broken = false;
  call->initial_sent = call->reading = call->half_closed = false;
  call->compresses = false;
  memset(&call->queue, 0, sizeof call->queue);
  call->on_cancel = call->on_writable = call->on_done = NULL;
  call->state = NULL;
  call->next_free = poller->free_calls;
  poller->free_calls = call;
  poller->free_count++;
}

static void observe(const ls_rpc_call *call) {
  const ls_rpc_server_options *options = &call->poller->server->options;
  if (options->observer == NULL || call->entry == NULL)
    return;
  ls_code code = call->status.code;
  if (call->cancelled && !call->aborted)
    code = ls_rpc_call_time_left_ms(call) == 0 ? LS_DEADLINE_EXCEEDED : LS_CANCELLED;
  options->observer(call->entry->method, code, ls_clock_monotonic_us() - call->started_us,
                    call->trace_parent[0] != '\0' ? call->trace_parent : NULL,
                    options->observer_arg);
}

/* Poller's thread, unlocked. */
static void release_when_over(ls_rpc_call *call) {
  pthread_mutex_lock(&call->lock);
  bool over = call->handler_ended && call->end_done && call->outstanding == 0;
  pthread_mutex_unlock(&call->lock);
  if (!over)
    return;
  observe(call);
  if (call->on_done != NULL)
    call->on_done(call, call->done_arg);
  ls_rpc_poller *poller = call->poller;
  atomic_fetch_sub(&poller->server->active_calls, 1);
  recycle(call);
  post_owed(poller); /* for one at least there is a struct to use again now */
  count_live(poller->server, -1);
}

/* --- Ending --- */

/* Locked. */
static void send_initial(ls_rpc_call *call, grpc_op *op) {
  op->op = GRPC_OP_SEND_INITIAL_METADATA;
  op->data.send_initial_metadata.count = call->initial.count;
  op->data.send_initial_metadata.metadata = call->initial.items;
  if (call->compresses) {
    op->data.send_initial_metadata.maybe_compression_level.is_set = 1;
    op->data.send_initial_metadata.maybe_compression_level.level = GRPC_COMPRESS_LEVEL_HIGH;
  }
}

/* Sends the end if its time has come. Locked. */
static void try_end(ls_rpc_call *call) {
  if (!call->handler_ended || call->end_posted || call->queue.sending ||
      (call->queue.first != NULL && !call->broken))
    return;
  grpc_op ops[4];
  memset(ops, 0, sizeof ops);
  size_t count = 0;
  if (!call->initial_sent)
    send_initial(call, &ops[count++]);
  if (call->reply != NULL) {
    ops[count].op = GRPC_OP_SEND_MESSAGE;
    ops[count].flags = call->queue.compressed ? 0 : GRPC_WRITE_NO_COMPRESS;
    ops[count].data.send_message.send_message = call->reply;
    count++;
  }
  if (call->status.details != NULL)
    ls_rpc_metadata_add(&call->trailing, "grpc-status-details-bin", call->status.details,
                        call->status.details_bytes, NULL);
  call->status_message = grpc_slice_from_copied_string(ls_rpc_status_message(&call->status));
  ops[count].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
  ops[count].data.send_status_from_server.status = (grpc_status_code)call->status.code;
  ops[count].data.send_status_from_server.status_details = &call->status_message;
  ops[count].data.send_status_from_server.trailing_metadata_count = call->trailing.count;
  ops[count].data.send_status_from_server.trailing_metadata = call->trailing.items;
  count++;
  if (!call->close_posted) {
    call->close_posted = true;
    ops[count].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    ops[count].data.recv_close_on_server.cancelled = &call->core_cancelled;
    count++;
  }
  call->end_posted = true;
  call->outstanding++;
  ls_rpc_start(call->core, ops, count, &call->ended);
}

static void on_ended(ls_rpc_tag *tag, bool ok) {
  (void)ok;
  ls_rpc_call *call = LS_RPC_OWNER(tag, ls_rpc_call, ended);
  pthread_mutex_lock(&call->lock);
  call->outstanding--;
  call->end_done = true;
  pthread_mutex_unlock(&call->lock);
  release_when_over(call);
}

/* The handler's end. Takes `reply`. */
static void end(ls_rpc_call *call, const ls_rpc_status *status, grpc_byte_buffer *reply) {
  pthread_mutex_lock(&call->lock);
  if (call->handler_ended) {
    pthread_mutex_unlock(&call->lock);
    LS_ERROR("a handler ended its call twice", LS_STR("method", call->entry->method->path));
    if (reply != NULL)
      grpc_byte_buffer_destroy(reply);
    return;
  }
  call->handler_ended = true;
  if (!call->aborted && status != NULL && status->code != LS_OK) {
    call->status.code = status->code;
    call->status.message = status->message != NULL ? strdup(status->message) : NULL;
    if (status->details != NULL && (call->status.details = malloc(status->details_bytes)) != NULL) {
      memcpy(call->status.details, status->details, status->details_bytes);
      call->status.details_bytes = status->details_bytes;
    }
  }
  if (call->status.code != LS_OK || call->broken) {
    ls_rpc_send_queue_clear(&call->queue);
    if (reply != NULL)
      grpc_byte_buffer_destroy(reply);
    reply = NULL;
  }
  call->reply = reply;
  try_end(call);
  pthread_mutex_unlock(&call->lock);
}

void ls_rpc_call_finish(ls_rpc_call *call, const ls_rpc_status *status) {
  end(call, status, NULL);
}

void ls_rpc_call_fail(ls_rpc_call *call, ls_code code, const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  ls_rpc_status status = {code, text, NULL, 0};
  end(call, &status, NULL);
}

/* Packs a message of the method's response type; fails the packing with a status otherwise. */
static grpc_byte_buffer *pack_response(const ls_rpc_call *call, const ProtobufCMessage *message,
                                       size_t *bytes, ls_rpc_status *status) {
  if (message->descriptor != call->entry->method->response) {
    ls_rpc_status_set(status, LS_INTERNAL, "the handler answered with %s instead of %s",
                      message->descriptor->name, call->entry->method->response->name);
    return NULL;
  }
  grpc_byte_buffer *buffer = ls_rpc_pack(message, bytes);
  size_t limit = call->poller->server->options.max_send_bytes;
  if (buffer != NULL && *bytes <= limit)
    return buffer;
  ls_rpc_status_set(status, LS_RESOURCE_EXHAUSTED,
                    "the answer of %zu bytes is larger than the %zu that may be sent", *bytes,
                    limit);
  if (buffer != NULL)
    grpc_byte_buffer_destroy(buffer);
  return NULL;
}

void ls_rpc_call_reply(ls_rpc_call *call, const ProtobufCMessage *response) {
  size_t bytes = 0;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  grpc_byte_buffer *buffer = pack_response(call, response, &bytes, &status);
  end(call, &status, buffer);
  ls_rpc_status_clear(&status);
}

/* --- Cancellation --- */

/* Poller's thread, unlocked. */
static void tell_cancelled(ls_rpc_call *call) {
  pthread_mutex_lock(&call->lock);
  bool tell = !call->handler_ended && !call->cancel_told && call->on_cancel != NULL;
  call->cancel_told = call->cancel_told || tell;
  pthread_mutex_unlock(&call->lock);
  if (tell)
    call->on_cancel(call, call->cancel_arg);
}

static void on_closed(ls_rpc_tag *tag, bool ok) {
  (void)ok;
  ls_rpc_call *call = LS_RPC_OWNER(tag, ls_rpc_call, closed);
  pthread_mutex_lock(&call->lock);
  call->outstanding--;
  bool cancelled = call->core_cancelled != 0;
  call->cancelled = call->cancelled || cancelled;
  pthread_mutex_unlock(&call->lock);
  if (cancelled)
    tell_cancelled(call);
  release_when_over(call);
}

/* A handler that goes on after its callback wants to know when the client has gone. */
static void watch_close(ls_rpc_call *call) {
  pthread_mutex_lock(&call->lock);
  if (!call->close_posted) {
    call->close_posted = true;
    call->outstanding++;
    grpc_op op;
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    op.data.recv_close_on_server.cancelled = &call->core_cancelled;
    ls_rpc_start(call->core, &op, 1, &call->closed);
  }
  pthread_mutex_unlock(&call->lock);
}

/* The runtime's own verdict on the call. The handler is told as if it were cancelled, and ends it.
 */
static void abort_call(ls_rpc_call *call, const ls_error *error) {
  pthread_mutex_lock(&call->lock);
  if (!call->aborted && !call->handler_ended) {
    call->aborted = call->cancelled = true;
    ls_rpc_status_set_error(&call->status, error);
    ls_rpc_send_queue_clear(&call->queue);
  }
  pthread_mutex_unlock(&call->lock);
}

/* --- Streaming --- */

/* Starts the next send, if there is one. Locked. */
static void send_next(ls_rpc_call *call) {
  grpc_op ops[2];
  memset(ops, 0, sizeof ops);
  grpc_byte_buffer *buffer = ls_rpc_send_queue_next(&call->queue, &ops[0]);
  if (buffer == NULL)
    return;
  size_t count = 1;
  if (!call->initial_sent) {
    call->initial_sent = true;
    send_initial(call, &ops[count++]);
  }
  call->outgoing = buffer;
  call->outstanding++;
  ls_rpc_start(call->core, ops, count, &call->sent);
}

static void on_sent(ls_rpc_tag *tag, bool ok) {
  ls_rpc_call *call = LS_RPC_OWNER(tag, ls_rpc_call, sent);
  pthread_mutex_lock(&call->lock);
  call->outstanding--;
  grpc_byte_buffer_destroy(call->outgoing);
  call->outgoing = NULL;
  bool room = ls_rpc_send_queue_sent(&call->queue);
  if (!ok) {
    call->broken = true;
    ls_rpc_send_queue_clear(&call->queue);
  }
  send_next(call);
  try_end(call);
  bool tell = room && !call->handler_ended && call->on_writable != NULL;
  pthread_mutex_unlock(&call->lock);
  if (tell)
    call->on_writable(call, call->writable_arg);
  release_when_over(call);
}

/* The handler is told by the cancellation, which the core brings to the poller's thread. */
static void abort_sending(ls_rpc_call *call, const ls_error *error) {
  abort_call(call, error);
  grpc_call_cancel_with_status(call->core, (grpc_status_code)error->code, error->message, NULL);
}

ls_rpc_send_result ls_rpc_call_send(ls_rpc_call *call, const ProtobufCMessage *message) {
  size_t bytes = 0;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  grpc_byte_buffer *buffer = pack_response(call, message, &bytes, &status);
  ls_error error;
  if (buffer == NULL) {
    ls_error_set(&error, status.code, false, "", "%s", ls_rpc_status_message(&status));
    ls_rpc_status_clear(&status);
    abort_sending(call, &error);
    return LS_RPC_CLOSED;
  }
  pthread_mutex_lock(&call->lock);
  ls_rpc_send_result result = LS_RPC_CLOSED;
  bool open = !call->cancelled && !call->broken && !call->handler_ended;
  if (open)
    result = ls_rpc_send_queue_push(&call->queue, buffer, bytes);
  bool is_short = open && result == LS_RPC_CLOSED;
  if (result == LS_RPC_SENT || result == LS_RPC_SENT_FULL) {
    buffer = NULL;
    send_next(call);
  }
  pthread_mutex_unlock(&call->lock);
  if (buffer != NULL)
    grpc_byte_buffer_destroy(buffer);
  if (is_short) {
    ls_error_set(&error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
    abort_sending(call, &error);
  }
  return result;
}

void ls_rpc_call_read_next(ls_rpc_call *call) {
  pthread_mutex_lock(&call->lock);
  if (!call->handler_ended && !call->reading && !call->half_closed && streams_in(call)) {
    call->reading = true;
    call->outstanding++;
    grpc_op op;
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_RECV_MESSAGE;
    op.data.recv_message.recv_message = &call->incoming;
    ls_rpc_start(call->core, &op, 1, &call->received);
  }
  pthread_mutex_unlock(&call->lock);
}

/* The client's messages have come to an end, by its half-close, a cancellation or a bad message. A
 * handler without a cancel callback hears of all three in half_close, so that it always can end. */
static void end_of_messages(ls_rpc_call *call) {
  pthread_mutex_lock(&call->lock);
  call->half_closed = true;
  bool ended = call->handler_ended;
  bool cancelled = call->cancelled;
  bool has_cancel = call->on_cancel != NULL;
  pthread_mutex_unlock(&call->lock);
  if (ended)
    return;
  if (cancelled && has_cancel)
    tell_cancelled(call);
  else
    call->entry->dispatch->half_close(call, call->entry->handlers, call->entry->user_data);
}

static void on_received(ls_rpc_tag *tag, bool ok) {
  ls_rpc_call *call = LS_RPC_OWNER(tag, ls_rpc_call, received);
  const ls_rpc_server_options *options = &call->poller->server->options;
  grpc_byte_buffer *buffer = call->incoming;
  call->incoming = NULL;
  pthread_mutex_lock(&call->lock);
  call->outstanding--;
  call->reading = false;
  /* No message is the half-close, or the end of a call that was cut off. */
  if (!ok || (buffer == NULL && grpc_call_failed_before_recv_message(call->core)))
    call->cancelled = true;
  bool ended = call->handler_ended;
  pthread_mutex_unlock(&call->lock);

  if (buffer == NULL || !ok) {
    end_of_messages(call);
  } else if (!ended) {
    ls_error error;
    ls_error_clear(&error);
    if (call->message_arena == NULL)
      call->message_arena = ls_arena_new(options->max_call_bytes);
    else
      ls_arena_reset(call->message_arena);
    ProtobufCMessage *message = NULL;
    if (call->message_arena == NULL)
      ls_error_set(&error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
    else
      message = ls_rpc_unpack(call->entry->method->request, buffer, options->max_depth,
                              call->message_arena, &error);
    if (message != NULL) {
      call->entry->dispatch->message(call, message, call->entry->handlers, call->entry->user_data);
    } else {
      abort_call(call, &error);
      end_of_messages(call);
    }
  }
  if (buffer != NULL)
    grpc_byte_buffer_destroy(buffer);
  release_when_over(call);
}

/* --- A new call --- */

/* Why the call is not to be handled; false: it is. */
static bool refused(ls_rpc_call *call, ls_error *error) {
  ls_rpc_server *server = call->poller->server;
  if (call->entry == NULL) {
    char *method = grpc_slice_to_c_string(call->details.method);
    ls_error_set(error, LS_UNIMPLEMENTED, false, "", "there is no method %s", method);
    gpr_free(method);
    return true;
  }
  if (atomic_load(&server->draining))
    return !ls_error_set(error, LS_UNAVAILABLE, true, "", "the server is shutting down");
  if (atomic_load(&server->active_calls) > server->options.max_calls)
    return !ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "",
                         "%u calls are in flight, which is all the server takes",
                         server->options.max_calls);
  return false;
}

static const ProtobufCMessage *unpack_request(ls_rpc_call *call, ls_error *error) {
  const ls_rpc_method *method = call->entry->method;
  if (call->incoming == NULL) {
    ls_error_set(error, LS_INVALID_ARGUMENT, false, "", "%s needs one request message",
                 method->path);
    return NULL;
  }
  const ProtobufCMessage *request = ls_rpc_unpack(
      method->request, call->incoming, call->poller->server->options.max_depth, call->arena, error);
  grpc_byte_buffer_destroy(call->incoming);
  call->incoming = NULL;
  return request;
}

static void on_requested(ls_rpc_tag *tag, bool ok) {
  ls_rpc_call *call = LS_RPC_OWNER(tag, ls_rpc_call, requested);
  const ls_rpc_method_entry *entry = call->entry;
  ls_rpc_poller *poller = call->poller;
  if (!ok) { /* the server is shutting down */
    call->core = NULL;
    recycle(call);
    count_live(poller->server, -1);
    return;
  }
  atomic_fetch_add(&poller->server->active_calls, 1);
  post_owed(poller);
  post_next(poller, entry);
  call->started_us = ls_clock_monotonic_us();
  if (entry == NULL)
    call->deadline = call->details.deadline;

  ls_error error;
  const ProtobufCMessage *request = NULL;
  if (refused(call, &error) ||
      (!streams_in(call) && (request = unpack_request(call, &error)) == NULL)) {
    ls_rpc_status status = LS_RPC_STATUS_INIT;
    ls_rpc_status_set_error(&status, &error);
    end(call, &status, NULL);
    ls_rpc_status_clear(&status);
    return;
  }
  entry->dispatch->start(call, request, entry->handlers, entry->user_data);
  watch_close(call);
}
