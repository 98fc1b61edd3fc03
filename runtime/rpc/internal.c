/* Polling, packing, send queues and metadata: what server and client do alike. */
#include "runtime/rpc/internal.h"

#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer_reader.h>

#include "runtime/base/log.h"
#include "runtime/rpc/held_writes.h"
#include "runtime/rpc/message.h"

/* The next event. Where one follows the other, what is written on their behalf is held until there
 * is none. */
static grpc_event next_event(grpc_completion_queue *queue) {
  grpc_event event = grpc_completion_queue_next(queue, gpr_inf_past(GPR_CLOCK_MONOTONIC), NULL);
  if (event.type != GRPC_QUEUE_TIMEOUT) {
    ls_rpc_hold_writes();
    return event;
  }
  ls_rpc_release_writes();
  return grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
}

void ls_rpc_poll(grpc_completion_queue *queue) {
  for (;;) {
    grpc_event event = next_event(queue);
    if (event.type == GRPC_QUEUE_SHUTDOWN) {
      ls_rpc_release_writes(); /* the thread may be a caller's, and go on */
      return;
    }
    if (event.type != GRPC_OP_COMPLETE)
      continue;
    LS_RPC_ACQUIRE(event.tag);
    ls_rpc_tag *tag = event.tag;
    tag->complete(tag, event.success != 0);
  }
}

bool ls_rpc_start(grpc_call *call, const grpc_op *ops, size_t count, ls_rpc_tag *tag) {
  LS_RPC_RELEASE(tag);
  grpc_call_error result = grpc_call_start_batch(call, ops, count, tag, NULL);
  if (result == GRPC_CALL_OK)
    return true;
  LS_ERROR("gRPC core refused a batch", LS_STR("error", grpc_call_error_to_string(result)));
  return false;
}

/* The core decompresses, and tells of it only in a function for tests, which some builds of it may
 * not have. */
uint32_t
core_message_flags(grpc_call *call) __asm__("_Z37grpc_call_test_only_get_message_flagsP9grpc_call")
    __attribute__((weak));

bool ls_rpc_was_compressed(grpc_call *call) {
  const uint32_t was_compressed = UINT32_C(0x80000000) | UINT32_C(0x40000000);
  return core_message_flags != NULL && (core_message_flags(call) & was_compressed) != 0;
}

grpc_byte_buffer *ls_rpc_pack(const ProtobufCMessage *message, size_t *packed_bytes) {
  size_t bytes = protobuf_c_message_get_packed_size(message);
  grpc_slice slice = grpc_slice_malloc(bytes);
  protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
  grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  if (packed_bytes != NULL)
    *packed_bytes = bytes;
  return buffer;
}

ProtobufCMessage *ls_rpc_unpack(const ProtobufCMessageDescriptor *descriptor,
                                grpc_byte_buffer *buffer, unsigned max_depth, ls_arena *arena,
                                ls_error *error) {
  grpc_byte_buffer_reader reader;
  if (!grpc_byte_buffer_reader_init(&reader, buffer)) {
    ls_error_set(error, LS_INVALID_ARGUMENT, false, "protobuf", "message cannot be decompressed");
    return NULL;
  }
  grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
  ProtobufCMessage *message = ls_rpc_message_unpack(
      descriptor, GRPC_SLICE_START_PTR(whole), GRPC_SLICE_LENGTH(whole), max_depth, arena, error);
  grpc_slice_unref(whole);
  grpc_byte_buffer_reader_destroy(&reader);
  return message;
}

ls_rpc_send_result ls_rpc_send_queue_push(ls_rpc_send_queue *queue, grpc_byte_buffer *buffer,
                                          size_t bytes) {
  if (queue->bytes >= queue->limit_bytes) {
    queue->wanted = true;
    return LS_RPC_WOULD_BLOCK;
  }
  ls_rpc_pending_message *pending = malloc(sizeof *pending);
  if (pending == NULL)
    return LS_RPC_CLOSED;
  *pending =
      (ls_rpc_pending_message){NULL, buffer, bytes, queue->compressed ? 0 : GRPC_WRITE_NO_COMPRESS};
  if (queue->last != NULL)
    queue->last->next = pending;
  else
    queue->first = pending;
  queue->last = pending;
  /* An empty message takes room, too, or a flood of them would have no bound. */
  queue->bytes += bytes + sizeof *pending;
  if (queue->bytes < queue->limit_bytes)
    return LS_RPC_SENT;
  queue->wanted = true;
  return LS_RPC_SENT_FULL;
}

grpc_byte_buffer *ls_rpc_send_queue_next(ls_rpc_send_queue *queue, grpc_op *op) {
  if (queue->sending || queue->first == NULL)
    return NULL;
  ls_rpc_pending_message *pending = queue->first;
  grpc_byte_buffer *buffer = pending->buffer;
  queue->first = pending->next;
  if (queue->first == NULL)
    queue->last = NULL;
  queue->sending = true;
  queue->sending_bytes = pending->bytes + sizeof *pending;
  op->op = GRPC_OP_SEND_MESSAGE;
  op->flags = pending->flags;
  op->data.send_message.send_message = buffer;
  free(pending);
  return buffer;
}

bool ls_rpc_send_queue_sent(ls_rpc_send_queue *queue) {
  queue->sending = false;
  queue->bytes -= queue->sending_bytes;
  queue->sending_bytes = 0;
  if (!queue->wanted || queue->bytes > queue->limit_bytes / 2)
    return false;
  queue->wanted = false;
  return true;
}

void ls_rpc_send_queue_clear(ls_rpc_send_queue *queue) {
  while (queue->first != NULL) {
    ls_rpc_pending_message *pending = queue->first;
    queue->first = pending->next;
    queue->bytes -= pending->bytes + sizeof *pending;
    grpc_byte_buffer_destroy(pending->buffer);
    free(pending);
  }
  queue->last = NULL;
}

/* Room for one more item; NULL when out of memory. */
static grpc_metadata *add_item(ls_rpc_metadata_list *list) {
  if (list->count == list->capacity) {
    size_t capacity = list->capacity == 0 ? 4 : list->capacity * 2;
    grpc_metadata *grown = realloc(list->items, capacity * sizeof *grown);
    if (grown == NULL)
      return NULL;
    list->items = grown;
    list->capacity = capacity;
  }
  grpc_metadata *item = &list->items[list->count++];
  memset(item, 0, sizeof *item);
  return item;
}

bool ls_rpc_metadata_add(ls_rpc_metadata_list *list, const char *key, const void *value,
                         size_t value_bytes, ls_error *error) {
  grpc_slice name = grpc_slice_from_copied_string(key);
  grpc_slice content = grpc_slice_from_copied_buffer(value, value_bytes);
  grpc_metadata *item = NULL;
  if (!grpc_header_key_is_legal(name))
    ls_error_set(error, LS_INVALID_ARGUMENT, false, "", "metadata key \"%.64s\" is not legal", key);
  else if (!grpc_is_binary_header(name) && !grpc_header_nonbin_value_is_legal(content))
    ls_error_set(error, LS_INVALID_ARGUMENT, false, "",
                 "the value of metadata key \"%.64s\", which does not end in -bin, must be "
                 "printable ASCII",
                 key);
  else if ((item = add_item(list)) == NULL)
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
  if (item == NULL) {
    grpc_slice_unref(name);
    grpc_slice_unref(content);
    return false;
  }
  item->key = name;
  item->value = content;
  return true;
}

void ls_rpc_metadata_copy(ls_rpc_metadata_list *list, const grpc_metadata_array *received) {
  for (size_t i = 0; i < received->count; i++) {
    grpc_metadata *item = add_item(list);
    if (item == NULL)
      return;
    item->key = grpc_slice_copy(received->metadata[i].key);
    item->value = grpc_slice_copy(received->metadata[i].value);
  }
}

bool ls_rpc_metadata_find(const grpc_metadata *items, size_t count, const char *key,
                          const char **value, size_t *value_bytes) {
  for (size_t i = 0; i < count; i++) {
    if (grpc_slice_str_cmp(items[i].key, key) == 0) {
      *value = (const char *)GRPC_SLICE_START_PTR(items[i].value);
      *value_bytes = GRPC_SLICE_LENGTH(items[i].value);
      return true;
    }
  }
  return false;
}

void ls_rpc_metadata_clear(ls_rpc_metadata_list *list) {
  for (size_t i = 0; i < list->count; i++) {
    grpc_slice_unref(list->items[i].key);
    grpc_slice_unref(list->items[i].value);
  }
  free(list->items);
  *list = (ls_rpc_metadata_list){NULL, 0, 0};
}

gpr_timespec ls_rpc_deadline(int64_t timeout_ms) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
}
