/* The handlers of delivery.v1.DeliveryOperations. They run one after the other on a thread and a
 * session of their own, so that an operator who replays dead letters keeps nobody waiting but
 * operators. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_OPERATIONS_H
#define LOCKSTEP_DELIVERY_DELIVERY_OPERATIONS_H

#include <stdbool.h>

#include "delivery/dead_letter_producer.h"
#include "delivery/delivery_counters.h"
#include "delivery/delivery_reader.h"
#include "delivery/order_event_consumer.h"
#include "delivery/pending_retrier.h"
#include "delivery/reconciler.h"
#include "runtime/rpc/server.h"

/* All must outlive the server. */
typedef struct delivery_operations {
  delivery_reader *reader;            /* of one thread, which nobody else uses */
  dead_letter_producer *dead_letters; /* which nobody else uses */
  order_event_consumer *consumer;
  pending_retrier *retrier;
  delivery_reconciler *reconciler;
  const delivery_counters *counters;
  const char *resync_topic; /* where dead letters that come of a resync are replayed to */
} delivery_operations;

/* Before the server starts. `operations` must outlive it. */
bool delivery_operations_register(delivery_operations *operations, ls_rpc_server *server,
                                  ls_error *error);

#endif
