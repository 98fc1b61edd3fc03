/* The handlers of order.v1.OrderOperations. */
#include "order/order_operations.h"

#include "order/order_check.h"
#include "order/order_status.h"
#include "order/outbox_backlog.h"
#include "order/v1/order_operations.grpc-c.h"

enum { REPUBLISHED_AT_ONCE = 256 };

typedef struct operation {
  order_read read; /* first: the two have one address */
  order_operations *operations;
  const ProtobufCMessage *request;
} operation;

static void answer_failed(order_read *read, const order_list *orders, const ls_error *error) {
  (void)orders;
  order_fail_store(read->call, error);
}

static void push(ls_rpc_call *call, order_operations *operations, const ProtobufCMessage *request,
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
  const Order__V1__EventMode *wanted =
      ((const Order__V1__SetEventModeRequest *)((operation *)read)->request)->mode;
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
  push(call, user_data, &request->base, set_event_mode_task);
}

/* --- Republishing --- */

/* Commits these orders' newest events to the outbox once more; adds how many had one. */
static bool republish_some(order_store *store, const int64_t *order_ids, size_t count,
                           const char *trace_parent, Order__V1__RepublishOrdersResponse *response,
                           ls_error *error) {
  order_write writes[REPUBLISHED_AT_ONCE];
  order_write *pointers[REPUBLISHED_AT_ONCE] = {NULL};
  for (size_t i = 0; i < count; i++) {
    writes[i] = (order_write){
        .kind = ORDER_WRITE_REPUBLISH, .order_id = order_ids[i], .trace_parent = trace_parent};
    pointers[i] = &writes[i];
  }
  order_store_write(store, pointers, count, error);
  for (size_t i = 0; i < count; i++) {
    if (writes[i].outcome == ORDER_REPUBLISHED) {
      response->republished++;
      response->last_order_id = writes[i].order_id;
    } else if (writes[i].outcome != ORDER_MISSING) {
      return error->code != LS_OK
                 ? false
                 : ls_error_set(error, LS_UNAVAILABLE, true, NULL, "an event was not written");
    }
  }
  return true;
}

static bool republish_ids(order_read *read, order_store *store,
                          const Order__V1__RepublishOrdersRequest *request,
                          Order__V1__RepublishOrdersResponse *response, ls_error *error) {
  const char *trace_parent = ls_rpc_call_trace_parent(read->call);
  int64_t ids[ORDER_MAX_BATCH_IDS];
  size_t count = order_sort_ids(request->order_ids, request->n_order_ids, ids);
  bool done = true;
  for (size_t first = 0; done && first < count; first += REPUBLISHED_AT_ONCE) {
    size_t left = count - first;
    done =
        republish_some(store, ids + first, left < REPUBLISHED_AT_ONCE ? left : REPUBLISHED_AT_ONCE,
                       trace_parent, response, error);
  }
  return done;
}

/* Until the range or the call is over. */
static bool republish_range(order_read *read, order_store *store,
                            const Order__V1__RepublishOrdersRequest *request,
                            Order__V1__RepublishOrdersResponse *response, ls_error *error) {
  const char *trace_parent = ls_rpc_call_trace_parent(read->call);
  int64_t after_order_id = request->first_order_id - 1;
  int64_t ids[REPUBLISHED_AT_ONCE];
  for (;;) {
    order_versions found;
    if (!order_store_versions(store, after_order_id, request->last_order_id, REPUBLISHED_AT_ONCE,
                              &found, error))
      return false;
    if (found.count == 0 || ls_rpc_call_is_cancelled(read->call))
      return true;
    for (size_t i = 0; i < found.count; i++)
      ids[i] = found.order_ids[i];
    after_order_id = ids[found.count - 1];
    if (!republish_some(store, ids, found.count, trace_parent, response, error))
      return false;
  }
}

static void republish_task(order_read *read, order_store *store) {
  const Order__V1__RepublishOrdersRequest *request =
      (const Order__V1__RepublishOrdersRequest *)((operation *)read)->request;
  Order__V1__RepublishOrdersResponse response = ORDER__V1__REPUBLISH_ORDERS_RESPONSE__INIT;
  ls_error error = {0};
  bool done = request->n_order_ids > 0 ? republish_ids(read, store, request, &response, &error)
                                       : republish_range(read, store, request, &response, &error);
  /* The relay may lead in another replica; should this fail, it looks by itself before long. */
  outbox_relay_wake(((operation *)read)->operations->relay);
  done = done && outbox_notify(order_store_connection(store), &error);
  if (done)
    order_v1_order_operations_republish_orders_reply(read->call, &response);
  else
    order_fail_store(read->call, &error);
}

static void republish_orders(ls_rpc_call *call, const Order__V1__RepublishOrdersRequest *request,
                             void *user_data) {
  order_violations violations = {.count = 0};
  if (!order_check_republish(request, &violations)) {
    order_fail_invalid(call, &violations);
    return;
  }
  push(call, user_data, &request->base, republish_task);
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
    .republish_orders = republish_orders,
};

bool order_operations_register(order_operations *operations, ls_rpc_server *server,
                               ls_error *error) {
  return order_v1_order_operations_register(server, &handlers, operations, error);
}
