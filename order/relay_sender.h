/* Makes Kafka records of events and sends them. One thread. */
#ifndef LOCKSTEP_ORDER_RELAY_SENDER_H
#define LOCKSTEP_ORDER_RELAY_SENDER_H

#include "order/outbox_relay.h"
#include "order/relay_event.h"

typedef struct relay_sender relay_sender;

/* What became of a sent event: `failure` NULL is acknowledged by all in-sync replicas. */
typedef void (*relay_sent)(relay_event *event, const ls_error *failure, void *arg);

/* `options` must outlive it. `eventfd` becomes readable when there is something to poll for. */
relay_sender *relay_sender_new(const outbox_relay_options *options, relay_sent sent, void *arg,
                               int eventfd, ls_error *error);

/* Hands the event to the producer, which has it until `sent` is called, never from within this. An
 * event that is too large with its payload goes without it, and is marked oversized.
 * LS_RESOURCE_EXHAUSTED: the producer is full. LS_FAILED_PRECONDITION: the producer is broken; make
 * a new sender. */
bool relay_sender_send(relay_sender *sender, relay_event *event, ls_error *error);

/* Calls `sent` for what has been acknowledged or has failed. */
void relay_sender_poll(relay_sender *sender);

/* Whether the producer is broken for good. */
bool relay_sender_is_broken(const relay_sender *sender, ls_error *error);

/* Calls `sent` for all that was not acknowledged, as failed. NULL is fine. */
void relay_sender_destroy(relay_sender *sender);

#endif
