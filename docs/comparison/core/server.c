/* The stock service on gRPC's C core and protobuf-c: one thread, one completion queue. Prints "port
 * N" when it serves; ends by SIGTERM. */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>

#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "stock/v1/stock.pb-c.h"

static const struct {
  const char *sku;
  int32_t level;
  int64_t count_ms;
} shelf[] = {{"lamp", 3, 0}, {"crate", 40, 10000}};

static int find(const char *sku) {
  for (int i = 0; i < 2; i++)
    if (strcmp(shelf[i].sku, sku) == 0)
      return i;
  return -1;
}

enum { GET_LEVEL, WATCH_LEVEL, METHODS };

typedef struct server {
  grpc_server *core;
  grpc_completion_queue *queue;
  void *methods[METHODS];
} server;

/* A call, from when the server asks for one until its status is sent. It is its own tag. */
typedef struct call {
  int method;
  enum { ASKED_FOR, SENDING, ENDING } state;
  grpc_call *core;
  gpr_timespec deadline;
  grpc_metadata_array metadata;
  grpc_byte_buffer *request;
  grpc_byte_buffer *sending;
  int32_t next_level;
  bool begun;
  int cancelled;
  grpc_slice text;
  grpc_metadata details;
} call;

static void ask_for(server *self, int method) {
  call *c = calloc(1, sizeof *c);
  if (c == NULL)
    abort();
  c->method = method;
  c->text = grpc_empty_slice();
  c->details.key = c->details.value = grpc_empty_slice();
  grpc_metadata_array_init(&c->metadata);
  if (grpc_server_request_registered_call(self->core, self->methods[method], &c->core, &c->deadline,
                                          &c->metadata, &c->request, self->queue, self->queue,
                                          c) != GRPC_CALL_OK)
    abort();
}

static void discard(call *c) {
  if (c->core != NULL)
    grpc_call_unref(c->core);
  grpc_metadata_array_destroy(&c->metadata);
  grpc_byte_buffer_destroy(c->request);
  grpc_byte_buffer_destroy(c->sending);
  grpc_slice_unref(c->text);
  grpc_slice_unref(c->details.key);
  grpc_slice_unref(c->details.value);
  free(c);
}

static void start(call *c, const grpc_op *ops, size_t count) {
  if (grpc_call_start_batch(c->core, ops, count, c, NULL) != GRPC_CALL_OK)
    abort();
}

/* The ops that go before others: the initial metadata, once, and a message if there is one. */
static size_t begin_ops(call *c, grpc_op *ops, const ProtobufCMessage *message) {
  size_t count = 0;
  if (!c->begun)
    ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
  c->begun = true;
  if (message != NULL) {
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer_destroy(c->sending);
    c->sending = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    ops[count].op = GRPC_OP_SEND_MESSAGE;
    ops[count++].data.send_message.send_message = c->sending;
  }
  return count;
}

static void end(call *c, const ProtobufCMessage *message, grpc_status_code code, const char *text) {
  grpc_op ops[4];
  memset(ops, 0, sizeof ops);
  size_t count = begin_ops(c, ops, message);
  c->text = grpc_slice_from_copied_string(text);
  grpc_op *status = &ops[count++];
  status->op = GRPC_OP_SEND_STATUS_FROM_SERVER;
  status->data.send_status_from_server.status = code;
  status->data.send_status_from_server.status_details = &c->text;
  status->data.send_status_from_server.trailing_metadata = &c->details;
  status->data.send_status_from_server.trailing_metadata_count =
      GRPC_SLICE_IS_EMPTY(c->details.key) ? 0 : 1;
  grpc_op *closed = &ops[count++];
  closed->op = GRPC_OP_RECV_CLOSE_ON_SERVER;
  closed->data.recv_close_on_server.cancelled = &c->cancelled;
  c->state = ENDING;
  start(c, ops, count);
}

static void refuse(call *c, const char *sku) {
  Google__Rpc__ErrorInfo__MetadataEntry entry = GOOGLE__RPC__ERROR_INFO__METADATA_ENTRY__INIT;
  entry.key = "sku";
  entry.value = (char *)sku;
  Google__Rpc__ErrorInfo__MetadataEntry *entries[] = {&entry};
  Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
  info.reason = "NO_SUCH_SKU";
  info.domain = "stock.example";
  info.n_metadata = 1;
  info.metadata = entries;

  Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
  any.type_url = "type.googleapis.com/google.rpc.ErrorInfo";
  any.value.len = google__rpc__error_info__get_packed_size(&info);
  any.value.data = malloc(any.value.len);
  if (any.value.data == NULL)
    abort();
  google__rpc__error_info__pack(&info, any.value.data);

  Google__Protobuf__Any *anys[] = {&any};
  Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
  status.code = GRPC_STATUS_NOT_FOUND;
  status.message = "no such sku";
  status.n_details = 1;
  status.details = anys;
  c->details.key = grpc_slice_from_static_string("grpc-status-details-bin");
  c->details.value = grpc_slice_malloc(google__rpc__status__get_packed_size(&status));
  google__rpc__status__pack(&status, GRPC_SLICE_START_PTR(c->details.value));
  free(any.value.data);
  end(c, NULL, GRPC_STATUS_NOT_FOUND, "no such sku");
}

/* The request's message, or NULL if the call was ended because it is none. */
static ProtobufCMessage *read_request(call *c, const ProtobufCMessageDescriptor *descriptor) {
  grpc_byte_buffer_reader reader;
  ProtobufCMessage *message = NULL;
  if (c->request != NULL && grpc_byte_buffer_reader_init(&reader, c->request)) {
    grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
    message = protobuf_c_message_unpack(descriptor, NULL, GRPC_SLICE_LENGTH(all),
                                        GRPC_SLICE_START_PTR(all));
    grpc_slice_unref(all);
    grpc_byte_buffer_reader_destroy(&reader);
  }
  if (message == NULL)
    end(c, NULL, GRPC_STATUS_INTERNAL, "the request cannot be read");
  return message;
}

static int64_t time_left_ms(const call *c) {
  gpr_timespec now = gpr_now(c->deadline.clock_type);
  return gpr_time_to_millis(gpr_time_sub(c->deadline, now));
}

static void get_level(call *c) {
  Stock__V1__GetLevelRequest *request =
      (Stock__V1__GetLevelRequest *)read_request(c, &stock__v1__get_level_request__descriptor);
  if (request == NULL)
    return;
  int found = find(request->sku);
  if (found < 0) {
    refuse(c, request->sku);
  } else if (time_left_ms(c) < shelf[found].count_ms) {
    end(c, NULL, GRPC_STATUS_DEADLINE_EXCEEDED, "counting takes longer");
  } else {
    Stock__V1__GetLevelResponse response = STOCK__V1__GET_LEVEL_RESPONSE__INIT;
    response.level = shelf[found].level;
    end(c, &response.base, GRPC_STATUS_OK, "");
  }
  stock__v1__get_level_request__free_unpacked(request, NULL);
}

/* One message at a time: the next is sent when the one before has gone. */
static void send_level(call *c) {
  if (c->next_level < 0) {
    end(c, NULL, GRPC_STATUS_OK, "");
    return;
  }
  Stock__V1__WatchLevelResponse message = STOCK__V1__WATCH_LEVEL_RESPONSE__INIT;
  message.level = c->next_level--;
  grpc_op ops[2];
  memset(ops, 0, sizeof ops);
  c->state = SENDING;
  start(c, ops, begin_ops(c, ops, &message.base));
}

static void watch_level(call *c) {
  Stock__V1__WatchLevelRequest *request =
      (Stock__V1__WatchLevelRequest *)read_request(c, &stock__v1__watch_level_request__descriptor);
  if (request == NULL)
    return;
  int found = find(request->sku);
  if (found < 0) {
    refuse(c, request->sku);
  } else {
    c->next_level = shelf[found].level;
    send_level(c);
  }
  stock__v1__watch_level_request__free_unpacked(request, NULL);
}

static void handle(server *self, call *c, bool ok) {
  if (c->state == ENDING || (c->state == ASKED_FOR && !ok)) {
    discard(c);
  } else if (c->state == SENDING && ok) {
    send_level(c);
  } else if (c->state == SENDING) {
    end(c, NULL, GRPC_STATUS_CANCELLED, "");
  } else {
    ask_for(self, c->method);
    if (c->method == GET_LEVEL)
      get_level(c);
    else
      watch_level(c);
  }
}

static void *work(void *arg) {
  server *self = arg;
  for (;;) {
    grpc_event event =
        grpc_completion_queue_next(self->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    if (event.type == GRPC_QUEUE_SHUTDOWN)
      return NULL;
    if (event.tag == self)
      grpc_completion_queue_shutdown(self->queue);
    else
      handle(self, event.tag, event.success != 0);
  }
}

int main(void) {
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stop, NULL);

  grpc_init();
  server self = {.core = grpc_server_create(NULL, NULL),
                 .queue = grpc_completion_queue_create_for_next(NULL)};
  grpc_server_register_completion_queue(self.core, self.queue, NULL);
  self.methods[GET_LEVEL] =
      grpc_server_register_method(self.core, "/stock.v1.StockService/GetLevel", NULL,
                                  GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
  self.methods[WATCH_LEVEL] =
      grpc_server_register_method(self.core, "/stock.v1.StockService/WatchLevel", NULL,
                                  GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
  grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
  int port = grpc_server_add_http2_port(self.core, "127.0.0.1:0", credentials);
  grpc_server_credentials_release(credentials);
  if (port == 0) {
    fprintf(stderr, "server: cannot listen\n");
    return 1;
  }
  grpc_server_start(self.core);
  for (int method = 0; method < METHODS; method++)
    ask_for(&self, method);
  pthread_t worker;
  if (pthread_create(&worker, NULL, work, &self) != 0)
    abort();
  printf("port %d\n", port);
  fflush(stdout);
  int signal_number;
  sigwait(&stop, &signal_number);
  grpc_server_shutdown_and_notify(self.core, self.queue, &self);
  pthread_join(worker, NULL);
  grpc_server_destroy(self.core);
  grpc_completion_queue_destroy(self.queue);
  grpc_shutdown();
  return 0;
}
