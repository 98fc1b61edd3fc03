/* What the parts of runtime/rpc share: tags, polling, packed messages. Not for others. */
#ifndef LOCKSTEP_RUNTIME_RPC_INTERNAL_H
#define LOCKSTEP_RUNTIME_RPC_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <protobuf-c/protobuf-c.h>

#include "runtime/base/arena.h"
#include "runtime/base/error.h"
#include "runtime/rpc/call.h"
#include "runtime/rpc/client.h"
#include "runtime/rpc/credentials.h"
#include "runtime/rpc/status.h"

/* The tag of an operation: what to do when its completion comes out of the queue. */
typedef struct ls_rpc_tag {
  void (*complete)(struct ls_rpc_tag *tag, bool ok);
} ls_rpc_tag;

/* The struct that holds the tag `member`. */
#define LS_RPC_OWNER(tag, type, member) ((type *)(void *)((char *)(tag)-offsetof(type, member)))

/* The C core is not built with ThreadSanitizer, which therefore cannot see that what was done
 * before an operation started happened before its completion. */
#if defined(__SANITIZE_THREAD__)
#define LS_RPC_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LS_RPC_TSAN 1
#endif
#endif
#ifdef LS_RPC_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define LS_RPC_RELEASE(address) __tsan_release(address)
#define LS_RPC_ACQUIRE(address) __tsan_acquire(address)
#else
#define LS_RPC_RELEASE(address) ((void)(address))
#define LS_RPC_ACQUIRE(address) ((void)(address))
#endif

/* Runs completions until the queue is shut down and empty. */
void ls_rpc_poll(grpc_completion_queue *queue);

/* Starts a batch whose completion goes to `tag`. False when the core refuses it, which it does only
 * for a misuse by this runtime. */
bool ls_rpc_start(grpc_call *call, const grpc_op *ops, size_t count, ls_rpc_tag *tag);

/* A packed message, to be destroyed by the caller; NULL when out of memory. */
grpc_byte_buffer *ls_rpc_pack(const ProtobufCMessage *message, size_t *packed_bytes);

/* Checks and unpacks what was received. As ls_rpc_message_unpack. */
ProtobufCMessage *ls_rpc_unpack(const ProtobufCMessageDescriptor *descriptor,
                                grpc_byte_buffer *buffer, unsigned max_depth, ls_arena *arena,
                                ls_error *error);

/* Packed messages that wait for their turn in a streaming call. Not locked. */
typedef struct ls_rpc_pending_message {
  struct ls_rpc_pending_message *next;
  grpc_byte_buffer *buffer;
  size_t bytes;
  uint32_t flags; /* of GRPC_OP_SEND_MESSAGE */
} ls_rpc_pending_message;

typedef struct ls_rpc_send_queue {
  ls_rpc_pending_message *first, *last;
  size_t bytes;       /* of those waiting and of the one being sent */
  size_t limit_bytes; /* at or above: full */
  size_t sending_bytes;
  bool sending;
  bool wanted;     /* somebody waits for room */
  bool compressed; /* what is pushed is to be compressed, if the call has a compression */
} ls_rpc_send_queue;

/* Takes the buffer if it answers LS_RPC_SENT or LS_RPC_SENT_FULL; LS_RPC_CLOSED: out of memory. */
ls_rpc_send_result ls_rpc_send_queue_push(ls_rpc_send_queue *queue, grpc_byte_buffer *buffer,
                                          size_t bytes);
/* Fills `op` with the sending of the next buffer, now the caller's, marked as being sent; NULL if
 * there is none or one is being sent. */
grpc_byte_buffer *ls_rpc_send_queue_next(ls_rpc_send_queue *queue, grpc_op *op);
/* The one being sent has gone. True: somebody waits for room and there is some. */
bool ls_rpc_send_queue_sent(ls_rpc_send_queue *queue);
void ls_rpc_send_queue_clear(ls_rpc_send_queue *queue);

/* Metadata to be sent: copies, in a growing array. */
typedef struct ls_rpc_metadata_list {
  grpc_metadata *items;
  size_t count, capacity;
} ls_rpc_metadata_list;

/* LS_INVALID_ARGUMENT for what gRPC does not allow, LS_RESOURCE_EXHAUSTED when out of memory. */
bool ls_rpc_metadata_add(ls_rpc_metadata_list *list, const char *key, const void *value,
                         size_t value_bytes, ls_error *error);
/* Copies what was received; as much as there is memory for. */
void ls_rpc_metadata_copy(ls_rpc_metadata_list *list, const grpc_metadata_array *received);
/* The first value of a key in `count` items; false if there is none. */
bool ls_rpc_metadata_find(const grpc_metadata *items, size_t count, const char *key,
                          const char **value, size_t *value_bytes);
void ls_rpc_metadata_clear(ls_rpc_metadata_list *list);

/* Whether the newest message that the core has handed over came compressed. */
bool ls_rpc_was_compressed(grpc_call *call);

/* A status out of what a call ended with; takes the details from the trailing metadata. */
void ls_rpc_status_receive(ls_rpc_status *status, grpc_status_code code, grpc_slice message,
                           const grpc_metadata_array *trailing);

/* Core credentials, to be released by the caller. */
grpc_server_credentials *ls_rpc_server_credentials(const ls_rpc_tls *tls, ls_error *error);
grpc_channel_credentials *ls_rpc_channel_credentials(const ls_rpc_tls *tls, ls_error *error);

gpr_timespec ls_rpc_deadline(int64_t timeout_ms);

#endif
