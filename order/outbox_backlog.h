/* What waits in the outbox, and the relay's mode, as the database has them. */
#ifndef LOCKSTEP_ORDER_OUTBOX_BACKLOG_H
#define LOCKSTEP_ORDER_OUTBOX_BACKLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "order/v1/order_operations.pb-c.h"
#include "runtime/postgres/connection.h"

/* The channel that tells of new rows in the outbox and of another mode. */
#define OUTBOX_CHANNEL "order_outbox"

typedef struct outbox_backlog {
  int64_t rows;          /* committed and not covered by a checkpoint; beyond 10,000 about */
  int64_t oldest_age_us; /* of the oldest of them; 0 when there is none */
} outbox_backlog;

/* Looks at no more than some 10,000 rows. */
bool outbox_backlog_read(ls_pg_connection *connection, outbox_backlog *backlog, ls_error *error);

typedef struct outbox_mode {
  Order__V1__EventPayload payload;
  Order__V1__EventTopics topics;
  int64_t set_time_us; /* since the Unix epoch */
} outbox_mode;

bool outbox_mode_read(ls_pg_connection *connection, outbox_mode *mode, ls_error *error);

/* Sets payload and topics, for all replicas, and tells them. Setting what is set changes nothing.
 * `mode` becomes what is in force. */
bool outbox_mode_write(ls_pg_connection *connection, outbox_mode *mode, ls_error *error);

/* Tells all replicas that there is something new. */
bool outbox_notify(ls_pg_connection *connection, ls_error *error);

#endif
