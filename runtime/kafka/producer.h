/* A producer that neither loses nor reorders what it accepts without saying so: acks=all and
 * idempotent, with a bounded queue.
 *
 * Every record that was accepted is reported once to the delivery callback, which runs inside
 * ls_kafka_producer_poll, _flush, _purge and _destroy, on the calling thread. One thread at a
 * time produces, one polls. */
#ifndef LOCKSTEP_RUNTIME_KAFKA_PRODUCER_H
#define LOCKSTEP_RUNTIME_KAFKA_PRODUCER_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/error.h"
#include "runtime/kafka/options.h"

typedef struct ls_kafka_producer ls_kafka_producer;

typedef struct ls_kafka_producer_options {
  int64_t linger_ms;          /* how long a record waits for others; 0: 1; negative: not at all */
  int64_t queue_messages;     /* records in the queue and in flight; 0: 100,000 */
  int64_t queue_bytes;        /* their sizes together, in KiB steps; 0: 64 MiB */
  int64_t message_max_bytes;  /* of one record; 0: 1,000,000 */
  int64_t message_timeout_ms; /* a record not acknowledged until then has failed; 0: 30,000;
                                 negative: never */
  const char *compression;    /* none, lz4, zstd, …; NULL: none */
} ls_kafka_producer_options;

/* What became of a record. Valid during the callback. */
typedef struct ls_kafka_delivery {
  void *opaque;          /* the record's */
  const ls_error *error; /* NULL: acknowledged by all in-sync replicas */
  int32_t partition;
  int64_t offset;
} ls_kafka_delivery;

typedef void (*ls_kafka_delivery_callback)(const ls_kafka_delivery *delivery, void *arg);

/* `producer_options` NULL: all defaults. Connects in the background. `callback` may be NULL. NULL
 * with LS_INVALID_ARGUMENT. */
ls_kafka_producer *ls_kafka_producer_new(const ls_kafka_options *options,
                                         const ls_kafka_producer_options *producer_options,
                                         ls_kafka_delivery_callback callback, void *arg,
                                         ls_error *error);

/* Purges what is not delivered, reports it, frees. Flush before. NULL is fine. */
void ls_kafka_producer_destroy(ls_kafka_producer *producer);

typedef struct ls_kafka_record {
  const char *topic;
  const void *key; /* NULL: no key */
  size_t key_bytes;
  const void *value; /* NULL is sent as an empty value, never as Kafka's null */
  size_t value_bytes;
  rd_kafka_headers_t *headers; /* NULL: none */
  int64_t timestamp_ms;        /* since the Unix epoch; 0: now */
  void *opaque;                /* comes back with the delivery */
} ls_kafka_record;

/* Queues a record; copies key and value, and takes the headers over on success only. Never blocks.
 * LS_RESOURCE_EXHAUSTED (retriable): the queue is full, poll first. LS_OUT_OF_RANGE: larger than
 * message_max_bytes. LS_FAILED_PRECONDITION: fatal, see below. */
bool ls_kafka_produce(ls_kafka_producer *producer, const ls_kafka_record *record, ls_error *error);

/* Looks at the password's file now and then, and runs the callbacks that are due; waits up to
 * `timeout_ms` for the first. How many events it served. */
int ls_kafka_producer_poll(ls_kafka_producer *producer, int timeout_ms);

/* Adds 1 to an eventfd whenever there is something to poll for where there was nothing: then poll
 * with timeout 0 until it gives 0. The descriptor must outlive the producer. */
void ls_kafka_producer_wake_by(ls_kafka_producer *producer, int eventfd);

/* Waits until everything is delivered or has failed. LS_DEADLINE_EXCEEDED: not yet. */
bool ls_kafka_producer_flush(ls_kafka_producer *producer, int timeout_ms, ls_error *error);

/* Gives up what is not acknowledged: it is reported as LS_CANCELLED, and may have been written all
 * the same. */
void ls_kafka_producer_purge(ls_kafka_producer *producer);

/* Records not yet reported. Any thread. */
size_t ls_kafka_producer_in_flight(const ls_kafka_producer *producer);

/* True if the producer can no longer keep its promise of order, with the reason: nothing it is
 * given will be sent; the caller makes a new one and sends again what was not acknowledged. Any
 * thread. */
bool ls_kafka_producer_is_fatal(const ls_kafka_producer *producer, ls_error *error);

/* librdkafka's handle, for what is not wrapped. It stays the producer's. */
rd_kafka_t *ls_kafka_producer_handle(ls_kafka_producer *producer);

#endif
