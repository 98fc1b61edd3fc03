/* What channel.c, client_unary.c and client_stream.c share. Not for others. */
#ifndef LOCKSTEP_RUNTIME_RPC_CLIENT_INTERNAL_H
#define LOCKSTEP_RUNTIME_RPC_CLIENT_INTERNAL_H

#include <pthread.h>

#include "runtime/rpc/internal.h"

struct ls_rpc_received {
  ls_rpc_metadata_list initial, trailing;
  bool compressed;
};

/* A call in flight, in its channel's list, so that destroying the channel can cancel it. */
typedef struct ls_rpc_client_call {
  struct ls_rpc_client_call *next, **link; /* of the channel's list, under its lock */
  ls_rpc_channel *channel;
  const ls_rpc_method *method;
  grpc_call *core;
  /* What is received at the end. */
  grpc_metadata_array initial, trailing;
  grpc_status_code code;
  grpc_slice message;
  ls_rpc_received *received; /* the caller's, NULL: nobody asked */
  /* What is sent at the start. */
  ls_rpc_metadata_list metadata;
  uint32_t initial_flags;
} ls_rpc_client_call;

struct ls_rpc_channel {
  ls_rpc_channel_options options;
  grpc_channel *core;
  grpc_completion_queue *queue;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t idle;
  ls_rpc_client_call *calls;
  bool closing;
};

/* Makes the core's call and enters it into the channel's list. With metadata that it cannot take
 * the call comes to its end by itself. */
void ls_rpc_client_call_start(ls_rpc_client_call *call, ls_rpc_channel *channel,
                              const ls_rpc_method *method, const ls_rpc_call_options *options);
/* Fills the operations that are the same in all calls. */
void ls_rpc_client_call_send_initial(ls_rpc_client_call *call, grpc_op *op);
void ls_rpc_client_call_receive_initial(ls_rpc_client_call *call, grpc_op *op);
void ls_rpc_client_call_receive_status(ls_rpc_client_call *call, grpc_op *op);
/* Unpacks what was received, a message of the caller's; NULL with a status when that fails. */
ProtobufCMessage *ls_rpc_client_call_message(ls_rpc_client_call *call, grpc_byte_buffer *buffer,
                                             ls_rpc_status *status);
/* The status the call ended with; fills what is received besides. */
void ls_rpc_client_call_status(ls_rpc_client_call *call, ls_rpc_status *status);
/* Leaves the channel's list and releases what start took. The channel may be gone afterwards. */
void ls_rpc_client_call_end(ls_rpc_client_call *call);

#endif
