/* bench-bare-produce SERVERS TOPIC COUNT: what librdkafka does with the relay's records when nobody
 * asks for more: one loop, values that are ready, texts of headers that are ready, the relay's
 * settings (runtime/kafka/options.c and producer.c, order/relay_sender.c), and a queue that is
 * always full. */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "order/v1/order_event.pb-c.h"
#include "produce_work.h"
#include "runtime/base/clock.h"

enum { POLL_EVERY = 64, WAIT_MS = 100, ID_BYTES = 32 };

typedef struct bare_record {
  char key[ID_BYTES], event_id[ID_BYTES], time[LS_RFC3339_BYTES];
  size_t bytes;
  uint8_t *value;
} bare_record;

static size_t acknowledged;

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
  (void)client;
  (void)opaque;
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
    produce_work_fail("record", rd_kafka_err2str(message->err));
  acknowledged++;
}

static void make_record(bare_record *record, size_t index) {
  uint8_t snapshot[PRODUCE_SNAPSHOT_BYTES];
  int64_t order_id = produce_order_id(index);
  int64_t time_us = produce_occur_time_us(index);
  snprintf(record->key, sizeof record->key, "%" PRId64, order_id);
  snprintf(record->event_id, sizeof record->event_id, "%" PRId64 ":1", order_id);
  ls_clock_format_rfc3339(time_us, 6, record->time);

  Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  time.seconds = time_us / 1000000;
  time.nanos = (int32_t)(time_us % 1000000) * 1000;
  Order__V1__OrderEvent event = ORDER__V1__ORDER_EVENT__INIT;
  event.event_id = record->event_id;
  event.type = ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CREATED;
  event.order_id = order_id;
  event.version = 1;
  event.occur_time = &time;
  produce_fill_snapshot(snapshot, index);
  static const uint8_t prefix[] = {6 << 3 | 2, 0x80, PRODUCE_SNAPSHOT_BYTES >> 7};
  size_t envelope = order__v1__order_event__get_packed_size(&event);
  record->bytes = envelope + sizeof prefix + sizeof snapshot;
  record->value = malloc(record->bytes);
  if (record->value == NULL)
    produce_work_fail("records", "out of memory");
  order__v1__order_event__pack(&event, record->value);
  memcpy(record->value + envelope, prefix, sizeof prefix);
  memcpy(record->value + envelope + sizeof prefix, snapshot, sizeof snapshot);
}

static rd_kafka_t *open_client(const produce_work *work) {
  static const char *const settings[][2] = {{"socket.nagle.disable", "true"},
                                            {"socket.keepalive.enable", "true"},
                                            {"enable.idempotence", "true"},
                                            {"acks", "all"},
                                            {"partitioner", "murmur2_random"},
                                            {"linger.ms", "1"},
                                            {"queue.buffering.max.messages", "100000"},
                                            {"queue.buffering.max.kbytes", "262144"},
                                            {"message.max.bytes", "1000512"},
                                            {"message.timeout.ms", "30000"},
                                            {"compression.type", "none"}};
  char text[256];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  if (rd_kafka_conf_set(conf, "bootstrap.servers", work->servers, text, sizeof text) !=
      RD_KAFKA_CONF_OK)
    produce_work_fail("bootstrap.servers", text);
  for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
    if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof text) !=
        RD_KAFKA_CONF_OK)
      produce_work_fail(settings[i][0], text);
  rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
  if (client == NULL)
    produce_work_fail("producer", text);
  return client;
}

static size_t add(rd_kafka_headers_t *headers, const char *name, const char *value) {
  size_t bytes = strlen(value);
  if (rd_kafka_header_add(headers, name, -1, value, (ssize_t)bytes) != RD_KAFKA_RESP_ERR_NO_ERROR)
    produce_work_fail("headers", "out of memory");
  return strlen(name) + bytes;
}

/* False: the queue is full. */
static bool produce(rd_kafka_t *client, rd_kafka_topic_t *topic, const bare_record *record,
                    size_t *bytes) {
  size_t key_bytes = strlen(record->key);
  rd_kafka_headers_t *headers = rd_kafka_headers_new(8);
  size_t header_bytes =
      add(headers, "ce_specversion", "1.0") + add(headers, "ce_id", record->event_id) +
      add(headers, "ce_source", PRODUCE_SOURCE) + add(headers, "ce_type", "order.v1.OrderCreated") +
      add(headers, "ce_subject", record->key) + add(headers, "ce_time", record->time) +
      add(headers, "content-type", "application/protobuf");
  rd_kafka_resp_err_t code = rd_kafka_producev(
      client, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
      RD_KAFKA_V_KEY(record->key, key_bytes), RD_KAFKA_V_VALUE(record->value, record->bytes),
      RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
    *bytes += key_bytes + record->bytes + header_bytes;
    return true;
  }
  rd_kafka_headers_destroy(headers);
  if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
    produce_work_fail("record", rd_kafka_err2str(code));
  return false;
}

/* Sends records [from, until) and waits for all; gives their bytes. */
static size_t send_all(rd_kafka_t *client, rd_kafka_topic_t *topic, const bare_record *records,
                       size_t from, size_t until) {
  size_t bytes = 0;
  for (size_t sent = from; sent < until;) {
    if (!produce(client, topic, &records[sent], &bytes))
      rd_kafka_poll(client, WAIT_MS);
    else if (++sent % POLL_EVERY == 0)
      rd_kafka_poll(client, 0);
  }
  while (acknowledged < until)
    rd_kafka_poll(client, WAIT_MS);
  return bytes;
}

int main(int argc, char **argv) {
  produce_work work = produce_work_read(argc, argv);
  size_t total = work.count + 1;
  bare_record *records = calloc(total, sizeof *records);
  if (records == NULL)
    produce_work_fail("records", "out of memory");
  for (size_t i = 0; i < total; i++)
    make_record(&records[i], i);
  rd_kafka_t *client = open_client(&work);
  rd_kafka_topic_t *topic = rd_kafka_topic_new(client, work.topic, NULL);

  send_all(client, topic, records, 0, 1); /* connects */
  produce_moment begin = produce_now();
  size_t bytes = send_all(client, topic, records, 1, total);
  produce_work_report(&work, begin, bytes);

  rd_kafka_topic_destroy(topic);
  rd_kafka_destroy(client);
  for (size_t i = 0; i < total; i++)
    free(records[i].value);
  free(records);
  return 0;
}
