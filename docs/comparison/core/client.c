/* client ADDRESS SKU MILLISECONDS, on gRPC's C core and protobuf-c: asks for the level, then
 * watches it. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "stock/v1/stock.pb-c.h"

typedef struct call {
  grpc_call *core;
  grpc_completion_queue *queue;
  grpc_metadata_array initial, trailing;
  grpc_status_code code;
  grpc_slice text;
} call;

/* Starts the ops and waits for them. */
static bool run(call *c, const grpc_op *ops, size_t count) {
  if (grpc_call_start_batch(c->core, ops, count, c, NULL) != GRPC_CALL_OK)
    abort();
  grpc_event event =
      grpc_completion_queue_next(c->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
  return event.success != 0;
}

static void begin(call *c, grpc_channel *channel, const char *path, int64_t timeout_ms,
                  const ProtobufCMessage *request) {
  memset(c, 0, sizeof *c);
  c->text = grpc_empty_slice();
  grpc_metadata_array_init(&c->initial);
  grpc_metadata_array_init(&c->trailing);
  c->queue = grpc_completion_queue_create_for_next(NULL);
  gpr_timespec deadline =
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
  grpc_slice path_slice = grpc_slice_from_copied_string(path);
  c->core = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, c->queue, path_slice,
                                     NULL, deadline, NULL);
  grpc_slice_unref(path_slice);

  grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(request));
  protobuf_c_message_pack(request, GRPC_SLICE_START_PTR(slice));
  grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  grpc_op ops[4];
  memset(ops, 0, sizeof ops);
  ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
  ops[1].op = GRPC_OP_SEND_MESSAGE;
  ops[1].data.send_message.send_message = buffer;
  ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
  ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
  ops[3].data.recv_initial_metadata.recv_initial_metadata = &c->initial;
  run(c, ops, 4); /* what went wrong comes with the status */
  grpc_byte_buffer_destroy(buffer);
}

/* The next message; NULL when there is none, or none that can be read. */
static ProtobufCMessage *read_message(call *c, const ProtobufCMessageDescriptor *descriptor) {
  grpc_byte_buffer *buffer = NULL;
  grpc_op op;
  memset(&op, 0, sizeof op);
  op.op = GRPC_OP_RECV_MESSAGE;
  op.data.recv_message.recv_message = &buffer;
  if (!run(c, &op, 1) || buffer == NULL)
    return NULL;
  ProtobufCMessage *message = NULL;
  grpc_byte_buffer_reader reader;
  if (grpc_byte_buffer_reader_init(&reader, buffer)) {
    grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
    message = protobuf_c_message_unpack(descriptor, NULL, GRPC_SLICE_LENGTH(all),
                                        GRPC_SLICE_START_PTR(all));
    grpc_slice_unref(all);
    grpc_byte_buffer_reader_destroy(&reader);
  }
  grpc_byte_buffer_destroy(buffer);
  return message;
}

static void explain_details(const grpc_metadata *entry) {
  Google__Rpc__Status *details = google__rpc__status__unpack(NULL, GRPC_SLICE_LENGTH(entry->value),
                                                             GRPC_SLICE_START_PTR(entry->value));
  if (details == NULL)
    return;
  Google__Rpc__ErrorInfo *info = NULL;
  if (details->n_details > 0 &&
      strcmp(details->details[0]->type_url, "type.googleapis.com/google.rpc.ErrorInfo") == 0)
    info = google__rpc__error_info__unpack(NULL, details->details[0]->value.len,
                                           details->details[0]->value.data);
  if (info != NULL) {
    printf("reason %s of %s\n", info->reason, info->domain);
    for (size_t i = 0; i < info->n_metadata; i++)
      printf("%s = %s\n", info->metadata[i]->key, info->metadata[i]->value);
    google__rpc__error_info__free_unpacked(info, NULL);
  }
  google__rpc__status__free_unpacked(details, NULL);
}

/* Waits for the status, tells of it unless it is OK, and frees the call. */
static void finish(call *c) {
  grpc_op op;
  memset(&op, 0, sizeof op);
  op.op = GRPC_OP_RECV_STATUS_ON_CLIENT;
  op.data.recv_status_on_client.trailing_metadata = &c->trailing;
  op.data.recv_status_on_client.status = &c->code;
  op.data.recv_status_on_client.status_details = &c->text;
  run(c, &op, 1);
  if (c->code != GRPC_STATUS_OK) {
    printf("error %d: %.*s\n", (int)c->code, (int)GRPC_SLICE_LENGTH(c->text),
           (const char *)GRPC_SLICE_START_PTR(c->text));
    for (size_t i = 0; i < c->trailing.count; i++)
      if (grpc_slice_str_cmp(c->trailing.metadata[i].key, "grpc-status-details-bin") == 0)
        explain_details(&c->trailing.metadata[i]);
  }
  grpc_metadata_array_destroy(&c->initial);
  grpc_metadata_array_destroy(&c->trailing);
  grpc_slice_unref(c->text);
  grpc_call_unref(c->core);
  grpc_completion_queue_shutdown(c->queue);
  while (grpc_completion_queue_next(c->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
         GRPC_QUEUE_SHUTDOWN)
    continue;
  grpc_completion_queue_destroy(c->queue);
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: client ADDRESS SKU MILLISECONDS\n");
    return 64;
  }
  grpc_init();
  grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
  grpc_channel *channel = grpc_channel_create(argv[1], credentials, NULL);
  grpc_channel_credentials_release(credentials);
  int64_t timeout_ms = atoi(argv[3]);
  call c;

  Stock__V1__GetLevelRequest request = STOCK__V1__GET_LEVEL_REQUEST__INIT;
  request.sku = argv[2];
  begin(&c, channel, "/stock.v1.StockService/GetLevel", timeout_ms, &request.base);
  Stock__V1__GetLevelResponse *response =
      (Stock__V1__GetLevelResponse *)read_message(&c, &stock__v1__get_level_response__descriptor);
  if (response != NULL) {
    printf("level %d\n", response->level);
    stock__v1__get_level_response__free_unpacked(response, NULL);
  }
  finish(&c);

  Stock__V1__WatchLevelRequest watch = STOCK__V1__WATCH_LEVEL_REQUEST__INIT;
  watch.sku = argv[2];
  begin(&c, channel, "/stock.v1.StockService/WatchLevel", timeout_ms, &watch.base);
  Stock__V1__WatchLevelResponse *message;
  while ((message = (Stock__V1__WatchLevelResponse *)read_message(
              &c, &stock__v1__watch_level_response__descriptor)) != NULL) {
    printf("now %d\n", message->level);
    stock__v1__watch_level_response__free_unpacked(message, NULL);
  }
  finish(&c);

  grpc_channel_destroy(channel);
  grpc_shutdown();
  return 0;
}
