/* Unary calls of a client: one batch, one completion. */
#include <stdlib.h>
#include <string.h>

#include "runtime/base/thread.h"
#include "runtime/rpc/client.h"
#include "runtime/rpc/client_internal.h"

typedef struct unary {
  ls_rpc_client_call call;
  ls_rpc_tag completed;
  grpc_byte_buffer *request, *response;
  /* The response is on the heap and the receiver's to keep, as is what it takes out of the status.
   */
  void (*done)(ls_rpc_status *status, ProtobufCMessage *response, void *arg);
  void *arg;
} unary;

static void on_completed(ls_rpc_tag *tag, bool ok) {
  (void)ok; /* the status says it better */
  unary *u = LS_RPC_OWNER(tag, unary, completed);
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_client_call_status(&u->call, &status);
  ProtobufCMessage *response = NULL;
  if (status.code == LS_OK) {
    if (u->response != NULL)
      response = ls_rpc_client_call_message(&u->call, u->response, &status);
    else
      ls_rpc_status_set(&status, LS_INTERNAL, "%s answered OK without a message",
                        u->call.method->path);
  }
  u->done(&status, response, u->arg);
  ls_rpc_status_clear(&status);
  if (u->response != NULL)
    grpc_byte_buffer_destroy(u->response);
  grpc_byte_buffer_destroy(u->request);
  ls_rpc_client_call_end(&u->call);
  free(u);
}

static bool start(ls_rpc_channel *channel, const ls_rpc_method *method,
                  const ProtobufCMessage *request, const ls_rpc_call_options *options,
                  void (*done)(ls_rpc_status *, ProtobufCMessage *, void *), void *arg) {
  unary *u = calloc(1, sizeof *u);
  if (u == NULL)
    return false;
  u->completed.complete = on_completed;
  u->done = done;
  u->arg = arg;
  u->request = ls_rpc_pack(request, NULL);
  ls_rpc_client_call_start(&u->call, channel, method, options);

  grpc_op ops[6];
  memset(ops, 0, sizeof ops);
  ls_rpc_client_call_send_initial(&u->call, &ops[0]);
  ops[1].op = GRPC_OP_SEND_MESSAGE;
  ops[1].data.send_message.send_message = u->request;
  ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
  ls_rpc_client_call_receive_initial(&u->call, &ops[3]);
  ops[4].op = GRPC_OP_RECV_MESSAGE;
  ops[4].data.recv_message.recv_message = &u->response;
  ls_rpc_client_call_receive_status(&u->call, &ops[5]);
  ls_rpc_start(u->call.core, ops, 6, &u->completed);
  return true;
}

/* --- Asynchronous --- */

typedef struct typed_done {
  ls_rpc_unary_dispatch dispatch;
  ls_rpc_function done;
  void *arg;
} typed_done;

static void dispatch_typed(ls_rpc_status *status, ProtobufCMessage *response, void *arg) {
  typed_done *typed = arg;
  typed->dispatch(typed->done, status, response, typed->arg);
  if (response != NULL)
    protobuf_c_message_free_unpacked(response, NULL);
  free(typed);
}

bool ls_rpc_unary_start(ls_rpc_channel *channel, const ls_rpc_method *method,
                        const ProtobufCMessage *request, const ls_rpc_call_options *options,
                        ls_rpc_unary_dispatch dispatch, ls_rpc_function done, void *arg) {
  typed_done *typed = malloc(sizeof *typed);
  if (typed == NULL)
    return false;
  *typed = (typed_done){dispatch, done, arg};
  if (start(channel, method, request, options, dispatch_typed, typed))
    return true;
  free(typed);
  return false;
}

/* --- Blocking --- */

typedef struct waiter {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool done;
  ls_rpc_status status;
  ProtobufCMessage *response;
} waiter;

static void wake_waiter(ls_rpc_status *status, ProtobufCMessage *response, void *arg) {
  waiter *w = arg;
  pthread_mutex_lock(&w->lock);
  w->status = *status;
  *status = (ls_rpc_status)LS_RPC_STATUS_INIT;
  w->response = response;
  w->done = true;
  pthread_cond_signal(&w->changed);
  pthread_mutex_unlock(&w->lock);
}

bool ls_rpc_unary(ls_rpc_channel *channel, const ls_rpc_method *method,
                  const ProtobufCMessage *request, const ls_rpc_call_options *options,
                  ProtobufCMessage **response, ls_rpc_status *status) {
  waiter w = {.status = LS_RPC_STATUS_INIT};
  pthread_mutex_init(&w.lock, NULL);
  ls_condition_init(&w.changed);
  if (!start(channel, method, request, options, wake_waiter, &w)) {
    ls_rpc_status_set(&w.status, LS_RESOURCE_EXHAUSTED, "out of memory");
    w.done = true;
  }
  pthread_mutex_lock(&w.lock);
  while (!w.done)
    ls_condition_wait_until(&w.changed, &w.lock, -1);
  pthread_mutex_unlock(&w.lock);
  pthread_cond_destroy(&w.changed);
  pthread_mutex_destroy(&w.lock);

  bool ok = w.status.code == LS_OK;
  if (response != NULL)
    *response = w.response;
  else if (w.response != NULL)
    protobuf_c_message_free_unpacked(w.response, NULL);
  if (status != NULL) {
    ls_rpc_status_clear(status);
    *status = w.status;
  } else {
    ls_rpc_status_clear(&w.status);
  }
  return ok;
}
