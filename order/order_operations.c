/* The handlers of order.v1.OrderOperations. */
#include "order/order_operations.h"

#include "order/order_check.h"
#include "order/order_status.h"
#include "order/outbox_backlog.h"
#include "order/v1/order_operations.grpc-c.h"

typedef struct operation {
  order_read read; /* first: the two have one address */
  order_operations *operations;
  const Order__V1__SetEventModeRequest *request; /* SetEventMode only */
} operation;

static void answer_failed(order_read *read, const order_list *orders, const ls_error *error) {
  (void)orders;
  order_fail_store(read->call, error);
}

static void push(ls_rpc_call *call, order_operations *operations,
                 const Order__V1__SetEventModeRequest *request,
                 void (*task)(order_read *read, order_store *store)) {
  operation *pushed = ls_rpc_call_alloc(call, sizeof *pushed);
  if (pushed == NULL) {
    order_fail_overloaded(call);
    return;
  }
  *pushed = (operation){.read = {.call = call, .answer = answer_failed, .task = task},
                        .operations = operations,
                        .request = request};
  if (!order_reader_push(operations->reader, &pushed->read))
    order_fail_overloaded(call);
}

static Google__Protobuf__Timestamp timestamp_of(int64_t unix_us) {
  Google__Protobuf__Timestamp timestamp = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  timestamp.seconds = unix_us / 1000000;
  timestamp.nanos = (int32_t)(unix_us % 1000000 * 1000);
  return timestamp;
}

static Order__V1__EventMode message_of(const outbox_mode *mode) {
  Order__V1__EventMode message = ORDER__V1__EVENT_MODE__INIT;
  message.payload = mode->payload;
  message.topics = mode->topics;
  return message;
}

static void get_event_mode_task(order_read *read, order_store *store) {
  outbox_mode mode;
  ls_error error = {0};
  if (!outbox_mode_read(order_store_connection(store), &mode, &error)) {
    order_fail_store(read->call, &error);
    return;
  }
  Order__V1__GetEventModeResponse response = ORDER__V1__GET_EVENT_MODE_RESPONSE__INIT;
  Order__V1__EventMode message = message_of(&mode);
  Google__Protobuf__Timestamp set_time = timestamp_of(mode.set_time_us);
  response.mode = &message;
  response.set_time = &set_time;
  order_v1_order_operations_get_event_mode_reply(read->call, &response);
}

static void set_event_mode_task(order_read *read, order_store *store) {
  const Order__V1__EventMode *wanted = ((operation *)read)->request->mode;
  outbox_mode mode = {.payload = wanted->payload, .topics = wanted->topics};
  ls_error error = {0};
  if (!outbox_mode_write(order_store_connection(store), &mode, &error)) {
    order_fail_store(read->call, &error);
    return;
  }
  outbox_relay_wake(((operation *)read)->operations->relay);
  Order__V1__SetEventModeResponse response = ORDER__V1__SET_EVENT_MODE_RESPONSE__INIT;
  Order__V1__EventMode message = message_of(&mode);
  Google__Protobuf__Timestamp set_time = timestamp_of(mode.set_time_us);
  response.mode = &message;
  response.set_time = &set_time;
  order_v1_order_operations_set_event_mode_reply(read->call, &response);
}

static void get_relay_state_task(order_read *read, order_store *store) {
  outbox_backlog backlog;
  outbox_relay_status status;
  ls_error error = {0};
  if (!outbox_backlog_read(order_store_connection(store), &backlog, &error)) {
    order_fail_store(read->call, &error);
    return;
  }
  outbox_relay_get_status(((operation *)read)->operations->relay, &status);
  Order__V1__GetRelayStateResponse response = ORDER__V1__GET_RELAY_STATE_RESPONSE__INIT;
  Google__Protobuf__Duration age = GOOGLE__PROTOBUF__DURATION__INIT;
  age.seconds = backlog.oldest_age_us / 1000000;
  age.nanos = (int32_t)(backlog.oldest_age_us % 1000000 * 1000);
  response.leader = status.leader;
  response.waiting_rows = backlog.rows;
  response.oldest_waiting_age = backlog.rows > 0 ? &age : NULL;
  response.highest_sequence = status.highest_sequence;
  response.gap_count = status.gap_count;
  response.produced_events = status.produced_events;
  response.produced_bytes = status.produced_bytes;
  response.failed_sends = status.failed_sends;
  response.oversized_events = status.oversized_events;
  response.problem = status.problem;
  order_v1_order_operations_get_relay_state_reply(read->call, &response);
}

static void get_event_mode(ls_rpc_call *call, const Order__V1__GetEventModeRequest *request,
                           void *user_data) {
  (void)request;
  push(call, user_data, NULL, get_event_mode_task);
}

static void set_event_mode(ls_rpc_call *call, const Order__V1__SetEventModeRequest *request,
                           void *user_data) {
  order_violations violations = {.count = 0};
  if (!order_check_set_event_mode(request, &violations)) {
    order_fail_invalid(call, &violations);
    return;
  }
  push(call, user_data, request, set_event_mode_task);
}

static void get_relay_state(ls_rpc_call *call, const Order__V1__GetRelayStateRequest *request,
                            void *user_data) {
  (void)request;
  push(call, user_data, NULL, get_relay_state_task);
}

static const order_v1_order_operations_handlers handlers = {
    .get_event_mode = get_event_mode,
    .set_event_mode = set_event_mode,
    .get_relay_state = get_relay_state,
};

bool order_operations_register(order_operations *operations, ls_rpc_server *server,
                               ls_error *error) {
  return order_v1_order_operations_register(server, &handlers, operations, error);
}
