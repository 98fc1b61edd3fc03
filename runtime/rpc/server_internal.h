/* What server.c (accepting) and call.c (one call's life) share. Not for others. */
#ifndef LOCKSTEP_RUNTIME_RPC_SERVER_INTERNAL_H
#define LOCKSTEP_RUNTIME_RPC_SERVER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "runtime/rpc/internal.h"
#include "runtime/rpc/server.h"

/* A method with its handler. */
typedef struct ls_rpc_method_entry {
  const ls_rpc_method *method;
  const ls_rpc_dispatch *dispatch;
  const void *handlers;
  void *user_data;
  void *registered; /* the core's handle */
} ls_rpc_method_entry;

/* One polling thread, its queue, and the calls it can use again. Only its thread touches
 * what is after `thread`. */
typedef struct ls_rpc_poller {
  ls_rpc_server *server;
  grpc_completion_queue *queue;
  pthread_t thread;
  ls_rpc_call *free_calls;
  unsigned free_count;
  /* Requests that could not be posted for lack of memory: of each entry, and, last, of unknown
   * methods. */
  unsigned *owed;
  unsigned owed_count;
} ls_rpc_poller;

struct ls_rpc_server {
  ls_rpc_server_options options;
  grpc_server *core;
  const ls_rpc_service **services;
  size_t service_count;
  ls_rpc_method_entry *entries;
  size_t entry_count;
  ls_rpc_poller *pollers;
  unsigned started_pollers;
  int *ports; /* bound */
  size_t port_count;
  bool started, shut_down;
  ls_rpc_tag shutdown_tag;

  _Atomic size_t active_calls; /* with a handler or on their way out */
  atomic_bool draining;

  pthread_mutex_t lock;
  pthread_cond_t changed; /* live_calls or core_done */
  size_t live_calls;      /* posted ahead or active: while there are any, the queues must live */
  bool core_done;
};

struct ls_rpc_call {
  ls_rpc_call *next_free;
  ls_rpc_poller *poller;
  const ls_rpc_method_entry *entry; /* NULL: the slot for methods that nobody registered */

  ls_rpc_tag requested, closed, sent, received, ended;
  grpc_call *core;
  grpc_call_details details;
  gpr_timespec deadline;
  grpc_metadata_array metadata;
  grpc_byte_buffer *incoming;
  grpc_byte_buffer *outgoing; /* the message being sent */
  int core_cancelled;

  ls_arena *arena;
  ls_arena *message_arena; /* of the newest streamed message */
  int64_t started_us;
  char *peer;
  char trace_parent[56];

  pthread_mutex_t lock; /* of what follows */
  unsigned outstanding; /* operations in flight */
  bool handler_ended;
  bool end_posted, end_done;
  bool close_posted;
  bool cancelled; /* by the client, its deadline or its connection */
  bool cancel_told;
  bool aborted; /* `status` is the runtime's, whatever the handler says */
  bool broken;  /* a send failed */
  bool initial_sent;
  bool compresses; /* the initial metadata names a compression */
  bool reading, half_closed;
  ls_rpc_send_queue queue;
  grpc_byte_buffer *reply;
  ls_rpc_metadata_list initial, trailing;
  ls_rpc_status status;
  grpc_slice status_message;
  ls_rpc_call_callback on_cancel, on_writable, on_done;
  void *cancel_arg, *writable_arg, *done_arg;
  void *state;
};

/* Makes or reuses a call and posts it ahead for `entry` (NULL: unknown methods). Poller's thread,
 * or any before the pollers run. */
bool ls_rpc_call_post(ls_rpc_poller *poller, const ls_rpc_method_entry *entry);

/* Frees the calls kept for reuse, once the poller's thread has ended. */
void ls_rpc_call_free_pool(ls_rpc_poller *poller);

#endif
