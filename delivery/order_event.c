/* The order's event in a Kafka record. */
#include "delivery/order_event.h"

#include <inttypes.h>

#include "runtime/rpc/message.h"

/* An event holds an order, which holds an address: three in one another, and some to spare for what
 * later versions of the schema may hold. */
#define MAX_DEPTH 16

static bool invalid(ls_error *error, const char *text) {
  return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "%s", text);
}

bool order_event_read_key(const void *key, size_t bytes, int64_t *order_id) {
  const unsigned char *digits = key;
  if (bytes == 0 || bytes > 19 || digits[0] == '0')
    return false;
  int64_t id = 0;
  for (size_t i = 0; i < bytes; i++) {
    if (digits[i] < '0' || digits[i] > '9')
      return false;
    int64_t digit = digits[i] - '0';
    if (id > (INT64_MAX - digit) / 10)
      return false;
    id = id * 10 + digit;
  }
  *order_id = id;
  return true;
}

static bool take_order_id(const Order__V1__OrderEvent *message, order_event *event,
                          ls_error *error) {
  if (message->order_id < 0)
    return invalid(error, "the event's order_id is negative");
  if (message->order_id == 0)
    return true;
  if (event->order_id != 0 && event->order_id != message->order_id)
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                        "the key says order %" PRId64 ", the event's order_id %" PRId64,
                        event->order_id, message->order_id);
  event->order_id = message->order_id;
  return true;
}

static bool take_type(const Order__V1__OrderEvent *message, Order__V1__OrderEventType topic_type,
                      order_event *event, ls_error *error) {
  /* A later order service may have types that are unknown here. Nothing depends on them: the
   * version and the order's state say it all. */
  bool known = message->type >= ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_UNSPECIFIED &&
               message->type <= ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CANCELLED;
  if (!known)
    return true;
  if (topic_type == ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_UNSPECIFIED)
    event->type = message->type;
  else if (message->type != ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_UNSPECIFIED &&
           message->type != topic_type)
    return invalid(error, "the event's type is not the topic's");
  return true;
}

static bool take_snapshot(const Order__V1__Order *order, ls_arena *arena, order_event *event,
                          ls_error *error) {
  if (!delivery_snapshot_from_order(order, arena, &event->snapshot, error))
    return false;
  if (event->order_id != 0 && event->order_id != order->order_id)
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                        "the event is about order %" PRId64 ", the order in it is %" PRId64,
                        event->order_id, order->order_id);
  if (event->version != 0 && event->version != order->version)
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                        "the event is about version %" PRId64 ", the order in it is at %" PRId64,
                        event->version, order->version);
  event->order_id = order->order_id;
  event->version = order->version;
  event->has_snapshot = true;
  return true;
}

static bool decode_value(const order_record *record, Order__V1__OrderEventType topic_type,
                         ls_arena *arena, order_event *event, ls_error *error) {
  const Order__V1__OrderEvent *message = (const Order__V1__OrderEvent *)ls_rpc_message_unpack(
      &order__v1__order_event__descriptor, record->value, record->value_bytes, MAX_DEPTH, arena,
      error);
  if (message == NULL)
    return ls_error_prefix(error, "the value is no order.v1.OrderEvent");
  if (!take_order_id(message, event, error) || !take_type(message, topic_type, event, error))
    return false;
  if (message->version < 0)
    return invalid(error, "the event's version is negative");
  event->version = message->version;
  return message->order == NULL || take_snapshot(message->order, arena, event, error);
}

bool order_event_decode(const order_record *record, Order__V1__OrderEventType topic_type,
                        ls_arena *arena, order_event *event, ls_error *error) {
  *event = (order_event){.type = topic_type};
  if (record->key != NULL && record->key_bytes > 0 &&
      !order_event_read_key(record->key, record->key_bytes, &event->order_id))
    return invalid(error, "the key is no order id");
  if (record->value != NULL && record->value_bytes > 0 &&
      !decode_value(record, topic_type, arena, event, error))
    return false;
  if (event->order_id == 0)
    return invalid(error, "neither the key nor the value names an order");
  return true;
}
