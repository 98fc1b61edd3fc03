/* The handlers of delivery.v1.DeliveryService: requests are checked here, queued, and answered by
 * the writer's and the reader's threads. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_SERVICE_H
#define LOCKSTEP_DELIVERY_DELIVERY_SERVICE_H

#include <stdbool.h>

#include "delivery/delivery_follow.h"
#include "delivery/delivery_reader.h"
#include "delivery/delivery_wait.h"
#include "delivery/delivery_writer.h"
#include "runtime/rpc/server.h"

/* All must outlive the server. */
typedef struct delivery_service {
  delivery_writer *writer;
  delivery_reader *reader;
  delivery_wait *wait;
  delivery_follow *follow;
} delivery_service;

/* Before the server starts. `service` must outlive it. */
bool delivery_service_register(delivery_service *service, ls_rpc_server *server, ls_error *error);

#endif
