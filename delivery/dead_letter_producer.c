/* Dead letters on their way to Kafka. */
#include "delivery/dead_letter_producer.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "delivery/v1/delivery_operations.pb-c.h"
#include "runtime/base/fault.h"
#include "runtime/kafka/producer.h"

/* What the broker takes is the topic's affair. */
#define MESSAGE_MAX_BYTES (64 * 1024 * 1024)
#define QUEUE_BYTES (128 * 1024 * 1024)
#define POLL_MS 100

struct dead_letter_producer {
  dead_letter_producer_options options;
  pthread_mutex_t mutex;       /* held while records are sent */
  ls_kafka_producer *producer; /* NULL until needed, and after it has failed */
};

typedef enum sending_state {
  SENDING_OPEN,
  SENDING_DONE,
  SENDING_TOO_LARGE,
  SENDING_FAILED
} sending_state;

/* A record on its way. */
typedef struct sending {
  const order_record *record;
  const char *reason;     /* of a dead letter */
  int64_t dead_letter_id; /* of a replay */
  bool without_value;
  sending_state state;
  ls_error error;
} sending;

dead_letter_producer *dead_letter_producer_new(const dead_letter_producer_options *options,
                                               ls_error *error) {
  dead_letter_producer *producer = calloc(1, sizeof *producer);
  if (producer == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for dead letters");
    return NULL;
  }
  producer->options = *options;
  pthread_mutex_init(&producer->mutex, NULL);
  return producer;
}

void dead_letter_producer_destroy(dead_letter_producer *producer) {
  if (producer == NULL)
    return;
  ls_kafka_producer_destroy(producer->producer);
  pthread_mutex_destroy(&producer->mutex);
  free(producer);
}

static void on_delivery(const ls_kafka_delivery *delivery, void *arg) {
  (void)arg;
  sending *one = delivery->opaque;
  if (delivery->error == NULL) {
    one->state = SENDING_DONE;
    return;
  }
  one->error = *delivery->error;
  one->state = delivery->error->code == LS_OUT_OF_RANGE ? SENDING_TOO_LARGE : SENDING_FAILED;
}

static bool connect_producer(dead_letter_producer *producer, ls_error *error) {
  if (producer->producer != NULL)
    return true;
  ls_kafka_producer_options options = {.queue_bytes = QUEUE_BYTES,
                                       .message_max_bytes = MESSAGE_MAX_BYTES,
                                       .message_timeout_ms = producer->options.timeout_ms};
  producer->producer =
      ls_kafka_producer_new(producer->options.kafka, &options, on_delivery, NULL, error);
  return producer->producer != NULL;
}

/* --- Headers --- */

bool order_record_pack_headers(const rd_kafka_message_t *message, ls_arena *arena,
                               order_record *record) {
  rd_kafka_headers_t *headers;
  record->headers = "";
  record->headers_bytes = 0;
  if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
    return true;
  size_t count = rd_kafka_header_cnt(headers);
  Delivery__V1__RecordHeader *list = ls_arena_alloc(arena, count * sizeof *list + 1);
  Delivery__V1__RecordHeader **pointers = ls_arena_alloc(arena, count * sizeof *pointers + 1);
  if (list == NULL || pointers == NULL)
    return false;
  Delivery__V1__DeadLetter holder = DELIVERY__V1__DEAD_LETTER__INIT;
  const char *name;
  const void *value;
  size_t bytes;
  for (size_t i = 0; i < count; i++) {
    if (rd_kafka_header_get_all(headers, i, &name, &value, &bytes) != RD_KAFKA_RESP_ERR_NO_ERROR)
      break;
    delivery__v1__record_header__init(&list[i]);
    list[i].key = (char *)(uintptr_t)name;
    list[i].value = (ProtobufCBinaryData){bytes, (uint8_t *)(uintptr_t)value};
    pointers[holder.n_headers++] = &list[i];
  }
  holder.headers = pointers;
  uint8_t *packed = ls_arena_alloc(arena, delivery__v1__dead_letter__get_packed_size(&holder) + 1);
  if (packed == NULL)
    return false;
  record->headers_bytes = delivery__v1__dead_letter__pack(&holder, packed);
  record->headers = packed;
  return true;
}

/* Without bytes protobuf-c has no pointer, which Kafka would take for a null value. */
static void add_header(rd_kafka_headers_t *headers, const char *name, const void *value,
                       size_t bytes) {
  rd_kafka_header_add(headers, name, -1, bytes > 0 ? value : "", (ssize_t)bytes);
}

static void add_number(rd_kafka_headers_t *headers, const char *name, int64_t number) {
  char text[24];
  int length = snprintf(text, sizeof text, "%" PRId64, number);
  add_header(headers, name, text, (size_t)length);
}

/* What an earlier trip through here has added is replaced. */
static bool is_ours(const char *name) {
  return strncmp(name, "lockstep-", 9) == 0;
}

static rd_kafka_headers_t *make_headers(const sending *one) {
  const order_record *record = one->record;
  Delivery__V1__DeadLetter *holder =
      delivery__v1__dead_letter__unpack(NULL, record->headers_bytes, record->headers);
  rd_kafka_headers_t *headers = rd_kafka_headers_new(8);
  for (size_t i = 0; holder != NULL && i < holder->n_headers; i++)
    if (!is_ours(holder->headers[i]->key))
      add_header(headers, holder->headers[i]->key, holder->headers[i]->value.data,
                 holder->headers[i]->value.len);
  if (holder != NULL)
    delivery__v1__dead_letter__free_unpacked(holder, NULL);
  if (one->reason == NULL) {
    add_number(headers, "lockstep-replay-of", one->dead_letter_id);
    return headers;
  }
  add_header(headers, "lockstep-reason", one->reason, strlen(one->reason));
  add_header(headers, "lockstep-source-topic", record->topic, strlen(record->topic));
  add_number(headers, "lockstep-source-partition", record->partition);
  add_number(headers, "lockstep-source-offset", record->offset);
  if (one->without_value)
    add_number(headers, "lockstep-value-bytes", (int64_t)record->value_bytes);
  return headers;
}

/* --- Sending --- */

/* ls_kafka_produce sends no null values; here a null has to stay one. */
static bool produce_null(dead_letter_producer *producer, const char *topic,
                         const order_record *record, rd_kafka_headers_t *headers, sending *one,
                         ls_error *error) {
  rd_kafka_vu_t parts[] = {
      {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic},
      {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
      {.vtype = RD_KAFKA_VTYPE_KEY,
       .u.mem = {.ptr = (void *)(uintptr_t)record->key, .size = record->key_bytes}},
      {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
      {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = one}};
  rd_kafka_error_t *failure = rd_kafka_produceva(ls_kafka_producer_handle(producer->producer),
                                                 parts, sizeof parts / sizeof parts[0]);
  if (failure == NULL)
    return true;
  ls_kafka_error_set(error, rd_kafka_error_code(failure), rd_kafka_error_string(failure));
  rd_kafka_error_destroy(failure);
  return false;
}

static bool produce(dead_letter_producer *producer, sending *one, ls_error *error) {
  const order_record *record = one->record;
  const char *topic = one->reason != NULL ? producer->options.topic : record->topic;
  rd_kafka_headers_t *headers = make_headers(one);
  one->state = SENDING_OPEN;
  bool done;
  if (record->value == NULL || one->without_value) {
    done = produce_null(producer, topic, record, headers, one, error);
  } else {
    ls_kafka_record out = {.topic = topic,
                           .key = record->key,
                           .key_bytes = record->key_bytes,
                           .value = record->value,
                           .value_bytes = record->value_bytes,
                           .headers = headers,
                           .opaque = one};
    done = ls_kafka_produce(producer->producer, &out, error);
  }
  if (!done)
    rd_kafka_headers_destroy(headers);
  return done;
}

/* Until all that were accepted are reported; the message timeout bounds it. */
static void wait_for_reports(dead_letter_producer *producer) {
  while (ls_kafka_producer_in_flight(producer->producer) > 0)
    ls_kafka_producer_poll(producer->producer, POLL_MS);
}

static bool send_once(dead_letter_producer *producer, sending *list, size_t count,
                      ls_error *error) {
  bool accepted = true;
  for (size_t i = 0; i < count && accepted; i++) {
    if (list[i].state == SENDING_DONE)
      continue;
    accepted = produce(producer, &list[i], error);
    while (!accepted && error->code == LS_RESOURCE_EXHAUSTED &&
           ls_kafka_producer_in_flight(producer->producer) > 0) {
      ls_kafka_producer_poll(producer->producer, POLL_MS);
      accepted = produce(producer, &list[i], error);
    }
    if (!accepted && error->code == LS_OUT_OF_RANGE) {
      list[i].state = SENDING_TOO_LARGE;
      accepted = true;
    }
  }
  LS_FAULT_POINT("letters.produced");
  wait_for_reports(producer);
  return accepted;
}

/* Whether all is done; if some were too large, they are set up for another try without value. */
static bool judge(sending *list, size_t count, bool *again, ls_error *error) {
  bool done = true;
  *again = false;
  for (size_t i = 0; i < count; i++) {
    sending *one = &list[i];
    if (one->state == SENDING_DONE)
      continue;
    done = false;
    if (one->state == SENDING_TOO_LARGE && one->reason != NULL && !one->without_value) {
      one->without_value = true;
      *again = true;
    } else {
      *error = one->error;
      if (error->code == LS_OK)
        ls_error_set(error, LS_UNAVAILABLE, true, NULL, "a record was not sent");
      *again = false;
      return false;
    }
  }
  return done;
}

static bool send_locked(dead_letter_producer *producer, sending *list, size_t count,
                        ls_error *error) {
  if (!connect_producer(producer, error))
    return false;
  bool again = false;
  bool done = false;
  do {
    again = false;
    done = send_once(producer, list, count, error) && judge(list, count, &again, error);
  } while (!done && again);
  if (!done) {
    /* Whatever was wrong with it: the next try begins with a new one. */
    ls_kafka_producer_destroy(producer->producer);
    producer->producer = NULL;
    ls_error_prefix(error, "dead letters");
  }
  return done;
}

static bool send_all(dead_letter_producer *producer, sending *list, size_t count, ls_error *error) {
  pthread_mutex_lock(&producer->mutex);
  bool done = send_locked(producer, list, count, error);
  pthread_mutex_unlock(&producer->mutex);
  return done;
}

static sending *new_list(size_t count, ls_error *error) {
  sending *list = calloc(count, sizeof *list);
  if (list == NULL)
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of memory for dead letters");
  return list;
}

bool dead_letter_producer_send(dead_letter_producer *producer, const delivery_letter *letters,
                               size_t count, ls_error *error) {
  if (count == 0)
    return true;
  sending *list = new_list(count, error);
  if (list == NULL)
    return false;
  for (size_t i = 0; i < count; i++)
    list[i] = (sending){.record = &letters[i].record, .reason = letters[i].reason};
  bool done = send_all(producer, list, count, error);
  free(list);
  return done;
}

bool dead_letter_producer_replay(dead_letter_producer *producer,
                                 const delivery_stored_letter *letters, size_t count,
                                 ls_error *error) {
  if (count == 0)
    return true;
  sending *list = new_list(count, error);
  if (list == NULL)
    return false;
  for (size_t i = 0; i < count; i++)
    list[i] = (sending){.record = &letters[i].record, .dead_letter_id = letters[i].dead_letter_id};
  bool done = send_all(producer, list, count, error);
  free(list);
  return done;
}
