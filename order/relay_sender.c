/* Envelopes, headers and topics: see relay_sender.h and proto/order/v1/order_event.proto. */
#include "order/relay_sender.h"

#include <stdlib.h>
#include <string.h>

#include "order/v1/order_event.pb-c.h"
#include "runtime/base/text.h"
#include "runtime/kafka/cloud_events.h"
#include "runtime/kafka/producer.h"

/* What a record takes beyond key, value and headers, with room to spare. */
enum { RECORD_OVERHEAD_BYTES = 512 };

struct relay_sender {
  const outbox_relay_options *options;
  ls_kafka_producer *producer;
  relay_sent sent;
  void *arg;
  ls_buffer value;
};

static void on_delivery(const ls_kafka_delivery *delivery, void *arg) {
  relay_sender *sender = arg;
  sender->sent(delivery->opaque, delivery->error, sender->arg);
}

relay_sender *relay_sender_new(const outbox_relay_options *options, relay_sent sent, void *arg,
                               int eventfd, ls_error *error) {
  relay_sender *sender = calloc(1, sizeof *sender);
  if (sender == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
    return NULL;
  }
  sender->options = options;
  sender->sent = sent;
  sender->arg = arg;
  ls_kafka_producer_options producer = {
      .linger_ms = -1,          /* what comes while the broker is busy makes a batch all the same */
      .queue_bytes = 256 << 20, /* the relay bounds what is in flight long before */
      .message_max_bytes = (int64_t)options->max_event_bytes + RECORD_OVERHEAD_BYTES,
  };
  sender->producer = ls_kafka_producer_new(&options->kafka, &producer, on_delivery, sender, error);
  if (sender->producer == NULL) {
    free(sender);
    return NULL;
  }
  ls_kafka_producer_wake_by(sender->producer, eventfd);
  return sender;
}

void relay_sender_destroy(relay_sender *sender) {
  if (sender == NULL)
    return;
  ls_kafka_producer_destroy(sender->producer);
  ls_buffer_clear(&sender->value);
  free(sender);
}

void relay_sender_poll(relay_sender *sender) {
  while (ls_kafka_producer_poll(sender->producer, 0) > 0)
    continue;
}

bool relay_sender_is_broken(const relay_sender *sender, ls_error *error) {
  return ls_kafka_producer_is_fatal(sender->producer, error);
}

static const char *topic_of(const outbox_relay_options *options, const relay_event *event) {
  if (event->domain_topic)
    return options->domain_topic;
  switch (event->type) {
  case ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CREATED:
    return options->create_topic;
  case ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CANCELLED:
    return options->cancel_topic;
  default:
    return options->change_topic;
  }
}

/* CloudEvents wants a type. Where the topic is the type, it is the envelope's name. */
static const char *cloud_event_type(const relay_event *event) {
  if (!event->domain_topic)
    return "order.v1.OrderEvent";
  switch (event->type) {
  case ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CREATED:
    return "order.v1.OrderCreated";
  case ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CANCELLED:
    return "order.v1.OrderCancelled";
  default:
    return "order.v1.OrderChanged";
  }
}

/* The snapshot is packed already: it goes in as a field of the message, byte for byte. */
static bool append_snapshot(ls_buffer *value, const relay_event *event) {
  uint8_t prefix[11] = {6 << 3 | 2}; /* field `order`, length-delimited */
  size_t length = 1;
  size_t rest = event->snapshot_bytes;
  do {
    prefix[length++] = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest >>= 7;
  } while (rest > 0);
  return ls_buffer_append(value, prefix, length) &&
         ls_buffer_append(value, event->snapshot, event->snapshot_bytes);
}

static bool write_value(relay_sender *sender, relay_event *event, char *event_id, ls_error *error) {
  Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  time.seconds = event->occur_time_us / 1000000;
  time.nanos = (int32_t)(event->occur_time_us % 1000000) * 1000;
  Order__V1__OrderEvent envelope = ORDER__V1__ORDER_EVENT__INIT;
  envelope.event_id = event_id;
  if (event->domain_topic)
    envelope.type = (Order__V1__OrderEventType)event->type;
  envelope.order_id = event->order_id;
  envelope.version = event->version;
  envelope.occur_time = &time;

  uint8_t packed[256];
  size_t bytes = order__v1__order_event__get_packed_size(&envelope);
  if (bytes > sizeof packed)
    return ls_error_set(error, LS_INTERNAL, false, "", "envelope of %zu bytes", bytes);
  order__v1__order_event__pack(&envelope, packed);
  sender->value.length = 0;
  ls_buffer_append(&sender->value, packed, bytes);
  if (event->full_payload && !event->oversized) {
    if (bytes + event->snapshot_bytes + 11 > sender->options->max_event_bytes)
      event->oversized = true;
    else
      append_snapshot(&sender->value, event);
  }
  if (sender->value.failed) {
    ls_buffer_clear(&sender->value);
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
  }
  return true;
}

bool relay_sender_send(relay_sender *sender, relay_event *event, ls_error *error) {
  char key[LS_TEXT_DECIMAL_BYTES];
  size_t key_bytes = ls_text_decimal(key, (uint64_t)event->order_id);
  char event_id[2 * LS_TEXT_DECIMAL_BYTES];
  memcpy(event_id, key, key_bytes);
  event_id[key_bytes] = ':';
  ls_text_decimal(event_id + key_bytes + 1, (uint64_t)event->version);
  if (!write_value(sender, event, event_id, error))
    return false;

  ls_cloud_event attributes = {
      .id = event_id,
      .source = sender->options->source,
      .type = cloud_event_type(event),
      .subject = key,
      .trace_parent = event->trace_parent[0] != '\0' ? event->trace_parent : NULL,
      .time_us = event->occur_time_us,
  };
  size_t header_bytes = 0;
  ls_kafka_record record = {
      .topic = topic_of(sender->options, event),
      .key = key,
      .key_bytes = key_bytes,
      .value = sender->value.data,
      .value_bytes = sender->value.length,
      .headers = ls_cloud_event_headers(&attributes, &header_bytes),
      .timestamp_ms = event->occur_time_us / 1000,
      .opaque = event,
  };
  if (record.headers == NULL)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
  event->record_bytes = record.key_bytes + record.value_bytes + header_bytes;
  if (ls_kafka_produce(sender->producer, &record, error))
    return true;
  rd_kafka_headers_destroy(record.headers);
  return false;
}
