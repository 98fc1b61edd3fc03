/* The relay's side of the database: leadership, reading the outbox, checkpoints, old partitions.
 * One thread. Every failure but a lost race means that the session is to be given up. */
#ifndef LOCKSTEP_ORDER_RELAY_READER_H
#define LOCKSTEP_ORDER_RELAY_READER_H

#include "order/relay_core.h"
#include "order/relay_event.h"
#include "runtime/postgres/connection.h"

typedef struct relay_reader relay_reader;

/* Opens the session. */
relay_reader *relay_reader_new(const ls_pg_options *options, ls_error *error);

/* Ends the session, and with it the leadership. NULL is fine. */
void relay_reader_destroy(relay_reader *reader);

/* Asks for the leadership: whether it has it now. */
bool relay_reader_lead(relay_reader *reader, bool *leads, ls_error *error);

/* A core that goes on where the last checkpoint was. NULL on failure. */
relay_core *relay_reader_load(relay_reader *reader, size_t capacity, ls_error *error);

/* Reads what the core plans, at most `limit` fresh rows, and gives it to the core as relay_event.
 * `more`: there may be more to be had at once. */
bool relay_reader_read(relay_reader *reader, relay_core *core, size_t limit, size_t *bytes,
                       bool *more, ls_error *error);

/* Reads some of an order that the core has deferred, if there is one it has room for, in the same
 * way. */
bool relay_reader_read_deferred(relay_reader *reader, relay_core *core, size_t *bytes,
                                ls_error *error);

/* Writes the core's checkpoint. */
bool relay_reader_checkpoint(relay_reader *reader, relay_core *core, int64_t *highest,
                             int64_t *gap_count, ls_error *error);

/* The session is a lease: it ends, and with it the leadership, when nothing is heard of its holder
 * for some seconds. This says something now and then; to be called at least every
 * relay_reader_keep_ms. */
bool relay_reader_keep(relay_reader *reader, ls_error *error);
int relay_reader_keep_ms(void);

/* Makes partitions ahead, and drops those in which all is done according to the last checkpoint. */
bool relay_reader_housekeep(relay_reader *reader, ls_error *error);

/* To be polled for reading; notifications of new rows in `count`. */
int relay_reader_socket(const relay_reader *reader);
bool relay_reader_notifications(relay_reader *reader, size_t *count, ls_error *error);

#endif
