/* Sends records that were given up on to the dead-letter topic, and back to where they came from.
 *
 * Connects to Kafka when it is first needed. Any thread; they wait for one another. */
#ifndef LOCKSTEP_DELIVERY_DEAD_LETTER_PRODUCER_H
#define LOCKSTEP_DELIVERY_DEAD_LETTER_PRODUCER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/delivery_store.h"
#include "delivery/order_event.h"
#include "runtime/base/arena.h"
#include "runtime/base/error.h"
#include "runtime/kafka/options.h"

typedef struct dead_letter_producer dead_letter_producer;

typedef struct dead_letter_producer_options {
  const ls_kafka_options *kafka; /* must outlive the producer */
  const char *topic;             /* must outlive the producer */
  int64_t timeout_ms;            /* until a record must be acknowledged */
} dead_letter_producer_options;

/* NULL: out of memory. */
dead_letter_producer *dead_letter_producer_new(const dead_letter_producer_options *options,
                                               ls_error *error);
/* NULL is fine. */
void dead_letter_producer_destroy(dead_letter_producer *producer);

/* Sends the records to the dead-letter topic, as they came, with the headers lockstep-reason,
 * lockstep-source-topic, -partition and -offset besides their own, and waits until all are
 * acknowledged. A value that is too large for the topic is left out, which the header
 * lockstep-value-bytes then tells of: the database has it. False: some are not acknowledged;
 * sending all again is safe. */
bool dead_letter_producer_send(dead_letter_producer *producer, const delivery_letter *letters,
                               size_t count, ls_error *error);

/* Sends the records to the topics they came from, with the header lockstep-replay-of, and waits
 * until all are acknowledged. A null value stays null. */
bool dead_letter_producer_replay(dead_letter_producer *producer,
                                 const delivery_stored_letter *letters, size_t count,
                                 ls_error *error);

/* Packs a message's headers as order_record keeps them, in the arena. False: no memory. */
bool order_record_pack_headers(const rd_kafka_message_t *message, ls_arena *arena,
                               order_record *record);

#endif
