/* The handlers of order.v1.OrderService: requests are checked here, queued, and answered by the
 * writer's and the reader's threads. */
#ifndef LOCKSTEP_ORDER_ORDER_SERVICE_H
#define LOCKSTEP_ORDER_ORDER_SERVICE_H

#include <stdbool.h>

#include "order/order_follow.h"
#include "order/order_reader.h"
#include "order/order_writer.h"
#include "runtime/rpc/server.h"

/* All must outlive the server. */
typedef struct order_service {
  order_writer *writer;
  order_reader *reader;
  order_follow *follow;
} order_service;

/* Before the server starts. `service` must outlive it. */
bool order_service_register(order_service *service, ls_rpc_server *server, ls_error *error);

#endif
