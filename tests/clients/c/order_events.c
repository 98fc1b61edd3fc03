/* A consumer on librdkafka that reads all partitions of a topic, in no group. */
#include "order_events.h"

#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "answers.h"
#include "order/v1/order_event.pb-c.h"
#include "system.h"

enum { POLL_MS = 200 };

/* --- One event --- */

/* A header's text, which librdkafka ends with a NUL; "" when it is not there. */
static const char *header(const rd_kafka_headers_t *headers, const char *name) {
  const void *value = NULL;
  size_t bytes = 0;
  if (headers == NULL ||
      rd_kafka_header_get_last(headers, name, &value, &bytes) != RD_KAFKA_RESP_ERR_NO_ERROR ||
      value == NULL)
    return "";
  return value;
}

static const char *type_of(const Order__V1__OrderEvent *event) {
  switch (event->type) {
  case ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CREATED:
    return "order.v1.OrderCreated";
  case ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CHANGED:
    return "order.v1.OrderChanged";
  case ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CANCELLED:
    return "order.v1.OrderCancelled";
  default:
    return "none";
  }
}

/* RFC 3339, as the service writes it. */
static void time_text(const Google__Protobuf__Timestamp *moment, char out[40]) {
  out[0] = '\0';
  if (moment == NULL)
    return;
  struct tm parts;
  time_t seconds = (time_t)moment->seconds;
  size_t length = strftime(out, 40, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &parts));
  snprintf(out + length, 40 - length, ".%06dZ", moment->nanos / 1000);
}

/* The attributes of a CloudEvent are headers called "ce_…"; its content type is one, too. */
static bool check_attributes(const rd_kafka_message_t *message, const char *key,
                             const Order__V1__OrderEvent *event, ls_error *error) {
  char id[48];
  char time[40];
  snprintf(id, sizeof id, "%" PRId64 ":%" PRId64, event->order_id, event->version);
  time_text(event->occur_time, time);
  const struct {
    const char *name;
    const char *value;
  } expected[] = {
      {"ce_specversion", "1.0"},
      {"ce_source", "/lockstep/order"},
      {"ce_type", type_of(event)},
      {"ce_subject", key},
      {"ce_id", id},
      {"ce_time", time},
      {"content-type", "application/protobuf"},
      {"ce_dataschema", ""},
  };
  rd_kafka_headers_t *headers = NULL;
  rd_kafka_message_headers(message, &headers);
  for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
    const char *value = header(headers, expected[i].name);
    if (strcmp(value, expected[i].value) != 0)
      return wrong(error, "%s: %s is \"%s\", not \"%s\"", id, expected[i].name, value,
                   expected[i].value);
  }
  if (strcmp(event->event_id, id) != 0)
    return wrong(error, "%s: event_id is \"%s\"", id, event->event_id);
  return true;
}

static bool check_state(known_order *order, const Order__V1__OrderEvent *event, ls_error *error) {
  if (event->order_id != order->order_id || event->order == NULL ||
      event->order->order_id != event->order_id || event->order->version != event->version)
    return wrong(error, "%s does not hold its order", event->event_id);
  /* The same event may come twice, but within a topic no older one after a newer. */
  if (event->version < order->seen_version)
    return wrong(error, "%s came after version %" PRId64, event->event_id, order->seen_version);
  order->seen_version = event->version;
  order->seen_cancelled = event->type == ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CANCELLED &&
                          event->order->status == ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED;
  return true;
}

static known_order *find(known_order *orders, size_t count, const char *key) {
  int64_t order_id = strtoll(key, NULL, 10);
  for (size_t i = 0; i < count; i++)
    if (orders[i].order_id == order_id)
      return &orders[i];
  return NULL;
}

static bool take(const rd_kafka_message_t *message, known_order *orders, size_t count,
                 ls_error *error) {
  char key[24];
  snprintf(key, sizeof key, "%.*s", (int)message->key_len, (const char *)message->key);
  known_order *order = find(orders, count, key);
  if (order == NULL)
    return true; /* another client's */
  Order__V1__OrderEvent *event =
      order__v1__order_event__unpack(NULL, message->len, message->payload);
  if (event == NULL)
    return wrong(error, "an event of order %s is not an order.v1.OrderEvent", key);
  bool fine = check_attributes(message, key, event, error) && check_state(order, event, error);
  order__v1__order_event__free_unpacked(event, NULL);
  return fine;
}

/* --- The consumer --- */

static rd_kafka_t *consumer_new(const order_events_options *options, ls_error *error) {
  const char *const settings[][2] = {
      {"bootstrap.servers", options->bootstrap_servers},
      {"group.id", options->group},
      {"enable.auto.commit", "false"},
  };
  char reason[256] = "";
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
    if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], reason, sizeof reason) !=
        RD_KAFKA_CONF_OK) {
      rd_kafka_conf_destroy(conf);
      wrong(error, "%s: %s", settings[i][0], reason);
      return NULL;
    }
  rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof reason);
  if (consumer == NULL) { /* otherwise conf is the consumer's */
    rd_kafka_conf_destroy(conf);
    wrong(error, "no consumer: %s", reason);
    return NULL;
  }
  rd_kafka_poll_set_consumer(consumer);
  return consumer;
}

/* All partitions of the topic, from their beginnings. */
static bool assign_all(rd_kafka_t *consumer, const order_events_options *options, ls_error *error) {
  const struct rd_kafka_metadata *metadata = NULL;
  rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer, options->topic, NULL);
  rd_kafka_resp_err_t failure =
      rd_kafka_metadata(consumer, 0, topic, &metadata, options->timeout_ms);
  rd_kafka_topic_destroy(topic);
  if (failure != RD_KAFKA_RESP_ERR_NO_ERROR)
    return wrong(error, "no metadata: %s", rd_kafka_err2str(failure));
  rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(8);
  if (metadata->topic_cnt == 1)
    for (int i = 0; i < metadata->topics[0].partition_cnt; i++)
      rd_kafka_topic_partition_list_add(all, options->topic, metadata->topics[0].partitions[i].id)
          ->offset = RD_KAFKA_OFFSET_BEGINNING;
  rd_kafka_metadata_destroy(metadata);
  failure = rd_kafka_assign(consumer, all);
  rd_kafka_topic_partition_list_destroy(all);
  return failure == RD_KAFKA_RESP_ERR_NO_ERROR ||
         wrong(error, "not assigned: %s", rd_kafka_err2str(failure));
}

static bool all_reached(const known_order *orders, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (orders[i].seen_version < orders[i].version)
      return false;
  return true;
}

static bool read_all(rd_kafka_t *consumer, const order_events_options *options, known_order *orders,
                     size_t count, ls_error *error) {
  int64_t end_ms = monotonic_ms() + options->timeout_ms;
  bool fine = true;
  while (fine && !all_reached(orders, count)) {
    if (monotonic_ms() >= end_ms)
      return wrong(error, "events are missing after %d ms", options->timeout_ms);
    rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, POLL_MS);
    if (message == NULL)
      continue;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) /* the others librdkafka gets over by itself */
      fine = take(message, orders, count, error);
    rd_kafka_message_destroy(message);
  }
  return fine;
}

bool order_events_follow(const order_events_options *options, known_order *orders, size_t count,
                         ls_error *error) {
  rd_kafka_t *consumer = consumer_new(options, error);
  if (consumer == NULL)
    return false;
  bool fine =
      assign_all(consumer, options, error) && read_all(consumer, options, orders, count, error);
  rd_kafka_consumer_close(consumer);
  rd_kafka_destroy(consumer);
  for (size_t i = 0; fine && i < count; i++) {
    if (orders[i].seen_version != orders[i].version)
      fine = wrong(error, "order %" PRId64 " is at version %" PRId64 ", its events at %" PRId64,
                   orders[i].order_id, orders[i].version, orders[i].seen_version);
    else if (orders[i].seen_cancelled != orders[i].cancelled)
      fine = wrong(error, "the last event of order %" PRId64 " is not its last change",
                   orders[i].order_id);
  }
  return fine;
}
