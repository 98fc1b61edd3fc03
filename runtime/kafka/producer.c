/* The producer: librdkafka's, with the settings that make it safe. */
#include "runtime/kafka/producer.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/kafka/password.h"

#define LINGER_MS 1
#define QUEUE_MESSAGES 100000
#define QUEUE_BYTES INT64_C(67108864)
#define MESSAGE_MAX_BYTES 1000000
#define MESSAGE_TIMEOUT_MS 30000
#define PURGE_WAIT_MS 5000 /* for the reports of what was purged; they need no network */

enum { TOPICS_KEPT = 8 };

struct ls_kafka_producer {
  rd_kafka_t *client;
  ls_kafka_password password;
  /* Of topics that were produced to. By its name alone librdkafka looks a topic up only when it
   * next happens to, up to a second after the first record. */
  rd_kafka_topic_t *topics[TOPICS_KEPT];
  size_t topic_count;
  rd_kafka_queue_t *events;
  ls_kafka_delivery_callback callback;
  void *arg;
};

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
  (void)client;
  const ls_kafka_producer *producer = opaque;
  if (!producer->callback)
    return;
  ls_error error = {0};
  if (message->err)
    ls_kafka_error_set(&error, message->err, NULL);
  ls_kafka_delivery delivery = {.opaque = message->_private,
                                .error = message->err ? &error : NULL,
                                .partition = message->partition,
                                .offset = message->offset};
  producer->callback(&delivery, producer->arg);
}

/* 0: `default_value`; negative: 0, which switches off. */
static int64_t or_default(int64_t value, int64_t default_value) {
  if (value == 0)
    return default_value;
  return value < 0 ? 0 : value;
}

static bool configure(rd_kafka_conf_t *conf, const ls_kafka_producer_options *options,
                      ls_error *error) {
  int64_t queue_kib = (or_default(options->queue_bytes, QUEUE_BYTES) + 1023) / 1024;
  return ls_kafka_conf_set(conf, "enable.idempotence", "true", error) &&
         ls_kafka_conf_set(conf, "acks", "all", error) &&
         /* The Java client's, so that other clients find the same partition for a key. */
         ls_kafka_conf_set(conf, "partitioner", "murmur2_random", error) &&
         ls_kafka_conf_set_number(conf, "linger.ms", or_default(options->linger_ms, LINGER_MS),
                                  error) &&
         ls_kafka_conf_set_number(conf, "queue.buffering.max.messages",
                                  or_default(options->queue_messages, QUEUE_MESSAGES), error) &&
         ls_kafka_conf_set_number(conf, "queue.buffering.max.kbytes", queue_kib, error) &&
         ls_kafka_conf_set_number(conf, "message.max.bytes",
                                  or_default(options->message_max_bytes, MESSAGE_MAX_BYTES),
                                  error) &&
         ls_kafka_conf_set_number(conf, "message.timeout.ms",
                                  or_default(options->message_timeout_ms, MESSAGE_TIMEOUT_MS),
                                  error) &&
         ls_kafka_conf_set(conf, "compression.type",
                           options->compression ? options->compression : "none", error);
}

ls_kafka_producer *ls_kafka_producer_new(const ls_kafka_options *options,
                                         const ls_kafka_producer_options *producer_options,
                                         ls_kafka_delivery_callback callback, void *arg,
                                         ls_error *error) {
  static const ls_kafka_producer_options all_defaults;
  ls_kafka_producer *producer = calloc(1, sizeof *producer);
  if (!producer) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of memory for a Kafka producer");
    return NULL;
  }
  producer->callback = callback;
  producer->arg = arg;
  rd_kafka_conf_t *conf = NULL;
  if (!ls_kafka_password_init(&producer->password, options, error) ||
      !(conf = ls_kafka_conf_new(options, error)))
    goto failed;
  if (!configure(conf, producer_options ? producer_options : &all_defaults, error)) {
    rd_kafka_conf_destroy(conf);
    goto failed;
  }
  rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  rd_kafka_conf_set_opaque(conf, producer);
  producer->client = ls_kafka_client_new(RD_KAFKA_PRODUCER, conf, error);
  if (!producer->client)
    goto failed;
  return producer;

failed:
  ls_kafka_password_clear(&producer->password);
  free(producer);
  return NULL;
}

void ls_kafka_producer_destroy(ls_kafka_producer *producer) {
  if (!producer)
    return;
  ls_kafka_producer_purge(producer);
  if (producer->events)
    rd_kafka_queue_destroy(producer->events);
  for (size_t i = 0; i < producer->topic_count; i++)
    rd_kafka_topic_destroy(producer->topics[i]);
  rd_kafka_destroy(producer->client);
  ls_kafka_password_clear(&producer->password);
  free(producer);
}

/* The topic by its handle where there is one, or room for one, and by its name otherwise. */
static rd_kafka_vu_t topic_part(ls_kafka_producer *producer, const char *name) {
  for (size_t i = 0; i < producer->topic_count; i++)
    if (strcmp(rd_kafka_topic_name(producer->topics[i]), name) == 0)
      return (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = producer->topics[i]};
  rd_kafka_topic_t *topic =
      producer->topic_count < TOPICS_KEPT ? rd_kafka_topic_new(producer->client, name, NULL) : NULL;
  if (topic == NULL)
    return (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = name};
  producer->topics[producer->topic_count++] = topic;
  return (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = topic};
}

bool ls_kafka_produce(ls_kafka_producer *producer, const ls_kafka_record *record, ls_error *error) {
  rd_kafka_vu_t parts[8];
  size_t count = 0;
  parts[count++] = topic_part(producer, record->topic);
  parts[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY};
  parts[count].vtype = RD_KAFKA_VTYPE_VALUE;
  parts[count].u.mem.ptr = record->value ? (void *)record->value : (void *)"";
  parts[count++].u.mem.size = record->value ? record->value_bytes : 0;
  parts[count].vtype = RD_KAFKA_VTYPE_KEY;
  parts[count].u.mem.ptr = (void *)record->key;
  parts[count++].u.mem.size = record->key_bytes;
  parts[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = record->opaque};
  if (record->timestamp_ms > 0)
    parts[count++] =
        (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = record->timestamp_ms};
  if (record->headers)
    parts[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = record->headers};
  rd_kafka_error_t *failure = rd_kafka_produceva(producer->client, parts, count);
  if (!failure)
    return true;
  if (!ls_kafka_producer_is_fatal(producer, error)) /* else refused with the fatal error's code */
    ls_kafka_error_set(error, rd_kafka_error_code(failure), rd_kafka_error_string(failure));
  rd_kafka_error_destroy(failure);
  return false;
}

int ls_kafka_producer_poll(ls_kafka_producer *producer, int timeout_ms) {
  ls_kafka_password_look(&producer->password, producer->client);
  return rd_kafka_poll(producer->client, timeout_ms);
}

void ls_kafka_producer_wake_by(ls_kafka_producer *producer, int eventfd) {
  static const uint64_t one = 1;
  if (!producer->events)
    producer->events = rd_kafka_queue_get_main(producer->client);
  rd_kafka_queue_io_event_enable(producer->events, eventfd, &one, sizeof one);
}

bool ls_kafka_producer_flush(ls_kafka_producer *producer, int timeout_ms, ls_error *error) {
  rd_kafka_resp_err_t code = rd_kafka_flush(producer->client, timeout_ms);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
    return true;
  if (code == RD_KAFKA_RESP_ERR__TIMED_OUT)
    return ls_error_set(error, LS_DEADLINE_EXCEEDED, true, rd_kafka_err2name(code),
                        "%zu records are not delivered after %d ms",
                        ls_kafka_producer_in_flight(producer), timeout_ms);
  return ls_kafka_error_set(error, code, NULL);
}

void ls_kafka_producer_purge(ls_kafka_producer *producer) {
  (void)rd_kafka_purge(producer->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  (void)rd_kafka_flush(producer->client, PURGE_WAIT_MS);
}

size_t ls_kafka_producer_in_flight(const ls_kafka_producer *producer) {
  return (size_t)rd_kafka_outq_len(producer->client);
}

bool ls_kafka_producer_is_fatal(const ls_kafka_producer *producer, ls_error *error) {
  char text[256];
  rd_kafka_resp_err_t code = rd_kafka_fatal_error(producer->client, text, sizeof text);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
    return false;
  ls_error_set(error, LS_FAILED_PRECONDITION, false, rd_kafka_err2name(code), "%s", text);
  return true;
}

rd_kafka_t *ls_kafka_producer_handle(ls_kafka_producer *producer) {
  return producer->client;
}
