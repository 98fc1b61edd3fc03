/* What a handler may ask of its call, and tell it: deadline, metadata, callbacks, state. */
#include <string.h>

#include <grpc/support/alloc.h>

#include "runtime/base/random.h"
#include "runtime/rpc/call.h"
#include "runtime/rpc/server_internal.h"

const ls_rpc_method *ls_rpc_call_method(const ls_rpc_call *call) {
  return call->entry->method;
}

int64_t ls_rpc_call_time_left_ms(const ls_rpc_call *call) {
  gpr_timespec deadline = gpr_convert_clock_type(call->deadline, GPR_CLOCK_MONOTONIC);
  if (gpr_time_cmp(deadline, gpr_inf_future(GPR_CLOCK_MONOTONIC)) == 0)
    return INT64_MAX;
  gpr_timespec left = gpr_time_sub(deadline, gpr_now(GPR_CLOCK_MONOTONIC));
  int64_t left_ms = (int64_t)left.tv_sec * 1000 + left.tv_nsec / 1000000;
  return left_ms > 0 ? left_ms : 0;
}

bool ls_rpc_call_is_cancelled(const ls_rpc_call *call) {
  ls_rpc_call *locked = (ls_rpc_call *)(uintptr_t)call;
  pthread_mutex_lock(&locked->lock);
  bool cancelled = call->cancelled;
  pthread_mutex_unlock(&locked->lock);
  return cancelled || ls_rpc_call_time_left_ms(call) == 0;
}

const char *ls_rpc_call_peer(ls_rpc_call *call) {
  pthread_mutex_lock(&call->lock);
  if (call->peer == NULL)
    call->peer = grpc_call_get_peer(call->core);
  pthread_mutex_unlock(&call->lock);
  return call->peer != NULL ? call->peer : "unknown";
}

bool ls_rpc_call_metadata(const ls_rpc_call *call, const char *key, const char **value,
                          size_t *value_bytes) {
  return ls_rpc_metadata_find(call->metadata.metadata, call->metadata.count, key, value,
                              value_bytes);
}

const char *ls_rpc_call_trace_parent(ls_rpc_call *call) {
  pthread_mutex_lock(&call->lock);
  if (call->trace_parent[0] == '\0') {
    const char *value;
    size_t bytes;
    if (ls_rpc_call_metadata(call, "traceparent", &value, &bytes) &&
        ls_trace_parent_valid(value, bytes)) {
      /* A later version may be longer; what comes first is the same. */
      memcpy(call->trace_parent, value, LS_TRACE_PARENT_LENGTH);
      call->trace_parent[LS_TRACE_PARENT_LENGTH] = '\0';
    } else {
      ls_trace_parent_new(call->trace_parent);
    }
  }
  pthread_mutex_unlock(&call->lock);
  return call->trace_parent;
}

void *ls_rpc_call_alloc(ls_rpc_call *call, size_t bytes) {
  return ls_arena_alloc(call->arena, bytes);
}

bool ls_rpc_call_add_initial_metadata(ls_rpc_call *call, const char *key, const void *value,
                                      size_t value_bytes) {
  pthread_mutex_lock(&call->lock);
  bool added = !call->initial_sent && !call->handler_ended &&
               ls_rpc_metadata_add(&call->initial, key, value, value_bytes, NULL);
  pthread_mutex_unlock(&call->lock);
  return added;
}

bool ls_rpc_call_add_trailing_metadata(ls_rpc_call *call, const char *key, const void *value,
                                       size_t value_bytes) {
  pthread_mutex_lock(&call->lock);
  bool added =
      !call->handler_ended && ls_rpc_metadata_add(&call->trailing, key, value, value_bytes, NULL);
  pthread_mutex_unlock(&call->lock);
  return added;
}

void ls_rpc_call_compress(ls_rpc_call *call, bool compress) {
  pthread_mutex_lock(&call->lock);
  if (!call->initial_sent && compress)
    call->compresses = true;
  call->queue.compressed = compress;
  pthread_mutex_unlock(&call->lock);
}

bool ls_rpc_call_message_compressed(const ls_rpc_call *call) {
  return ls_rpc_was_compressed(call->core);
}

void ls_rpc_call_on_cancel(ls_rpc_call *call, ls_rpc_call_callback callback, void *arg) {
  call->on_cancel = callback;
  call->cancel_arg = arg;
}

void ls_rpc_call_on_writable(ls_rpc_call *call, ls_rpc_call_callback callback, void *arg) {
  call->on_writable = callback;
  call->writable_arg = arg;
}

void ls_rpc_call_on_done(ls_rpc_call *call, ls_rpc_call_callback callback, void *arg) {
  call->on_done = callback;
  call->done_arg = arg;
}

void ls_rpc_call_set_state(ls_rpc_call *call, void *state) {
  call->state = state;
}

void *ls_rpc_call_state(const ls_rpc_call *call) {
  return call->state;
}
