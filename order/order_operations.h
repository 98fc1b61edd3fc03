/* The handlers of order.v1.OrderOperations; they run on the reader's threads. */
#ifndef LOCKSTEP_ORDER_ORDER_OPERATIONS_H
#define LOCKSTEP_ORDER_ORDER_OPERATIONS_H

#include <stdbool.h>

#include "order/order_reader.h"
#include "order/outbox_relay.h"
#include "runtime/rpc/server.h"

/* Both must outlive the server. */
typedef struct order_operations {
  order_reader *reader;
  outbox_relay *relay;
} order_operations;

/* Before the server starts. `operations` must outlive it. */
bool order_operations_register(order_operations *operations, ls_rpc_server *server,
                               ls_error *error);

#endif
