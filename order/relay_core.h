/* What decides in the relay, without I/O, clock or hidden allocation: which rows are new, which are
 * missing and may still come, which event may be sent next, and what a checkpoint may say.
 *
 * The outbox numbers its rows, and a transaction that commits late leaves a gap among numbers that
 * were read already. So the place in the outbox is {highest number read, the gaps below it}. A gap
 * ends when its row shows up, or when every transaction that could have taken its number has ended
 * without it: a row's transaction has an id before the row has a number, so all such transactions
 * have ids below the `limit` known when the gap was first seen.
 *
 * One order's events are fenced: the next one becomes ready when the one before it is acknowledged.
 * So that an order that changes faster than Kafka acknowledges does not fill the core and delay all
 * others, each has a share of the room; what is beyond it is deferred, and read again later.
 *
 * One thread at a time. */
#ifndef LOCKSTEP_ORDER_RELAY_CORE_H
#define LOCKSTEP_ORDER_RELAY_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/error.h"

typedef struct relay_core relay_core;

/* Sequence numbers first … last, of which none was seen; whoever could still fill them has a
 * transaction id below `limit`. */
typedef struct relay_gap {
  int64_t first;
  int64_t last;
  uint64_t limit;
} relay_gap;

/* With so many gaps no fresh rows are taken until some have ended: their number is that of
 * transactions running at a time, or so. */
enum { RELAY_MAX_GAPS = 4096 };

/* An order has at most this part of the room; at least two events. With so many orders deferred,
 * further ones take what they get. */
enum { RELAY_ORDER_SHARE = 32, RELAY_MAX_DEFERRED = 64 };

/* A row of the outbox as the core sees it. */
typedef struct relay_row {
  int64_t sequence;
  int64_t order_id;
  void *event;   /* the caller's */
  bool left_out; /* set by the core, of rows that it has taken: deferred, the event stays the
                    caller's */
} relay_row;

/* An event in the core's care, from being read until it is acknowledged. */
typedef struct relay_entry relay_entry;

/* Room for `capacity` events at a time. Starts after `highest`, with these gaps, by ascending
 * number, as a checkpoint gave them. NULL when out of memory. */
relay_core *relay_core_new(size_t capacity, int64_t highest, const relay_gap *gaps,
                           size_t gap_count);

/* Gives the caller's pointers of all events still in care back through `release`. NULL is fine. */
void relay_core_destroy(relay_core *core, void (*release)(void *event, void *arg), void *arg);

/* What to read next: rows above `*after`, at most `*limit` of them by ascending sequence, and all
 * rows within the gaps. `*limit` is 0 when there is no room; then nothing is to be read. */
void relay_core_plan(const relay_core *core, int64_t *after, size_t *limit, const relay_gap **gaps,
                     size_t *gap_count);

/* What was read, all of it from one snapshot of the database: `filled` are rows from within the
 * gaps, `fresh` those above the highest, each by ascending sequence. The snapshot saw the end of
 * every transaction with an id below `oldest_running`; 0 says that not all rows of the gaps were
 * read, so that none of them ends. `next_transaction` is an id that nobody had when the snapshot
 * was taken; only needed where the fresh rows leave gaps.
 *
 * At most as many fresh rows as the plan's limit are taken, and as many filled ones as there is
 * room for; `*taken_filled` and `*taken_fresh` say how many of each, and the rest is to be read
 * again. False, with nothing taken: out of memory, or the rows are not as they must be. */
bool relay_core_observe(relay_core *core, relay_row *filled, size_t filled_count, relay_row *fresh,
                        size_t fresh_count, uint64_t oldest_running, uint64_t next_transaction,
                        size_t *taken_filled, size_t *taken_fresh, ls_error *error);

/* A deferred order of which more can be taken now. False: there is none. Its rows from `*first` up
 * to `*last` are to be read, at most `*limit` of them by ascending sequence. */
bool relay_core_plan_deferred(const relay_core *core, int64_t *order_id, int64_t *first,
                              int64_t *last, size_t *limit);

/* What was read of them, in a snapshot not older than that of the last relay_core_observe. Fewer
 * than the limit: there are no more, and the order is deferred no longer. False, with nothing
 * taken: out of memory, or the rows are not as they must be. */
bool relay_core_observe_deferred(relay_core *core, int64_t order_id, relay_row *rows, size_t count,
                                 ls_error *error);

/* The next event that may be sent, which is thereby in flight; NULL when there is none. */
relay_entry *relay_core_next(relay_core *core);

/* The event could not even be handed to the producer, or its sending has failed: it waits, and its
 * order's later events with it, until relay_core_retry. */
void relay_core_failed(relay_core *core, relay_entry *entry);

/* Makes all that failed ready again, in the order they failed. Gives their number. */
size_t relay_core_retry(relay_core *core);

/* The event is safely in Kafka. Gives the caller's pointer back; the entry is dead. */
void *relay_core_acknowledged(relay_core *core, relay_entry *entry);

void *relay_entry_event(const relay_entry *entry);
int64_t relay_entry_sequence(const relay_entry *entry);

/* Where a successor may go on: everything at or below `*highest` is acknowledged or never was, but
 * for the gaps, `*gap_count` of them by ascending number. Events that failed, or that filled an old
 * gap, are gaps to the successor, so that one of them does not hold all others back; those that are
 * deferred do hold it, and are sent again with all behind them after a crash. `*highest` never goes
 * down.
 * `*gaps` is the core's, until the next call. False: out of memory. */
bool relay_core_checkpoint(relay_core *core, int64_t *highest, const relay_gap **gaps,
                           size_t *gap_count, ls_error *error);

/* Events in care, those of them in flight, those that failed and wait, and missing sequence
 * numbers. */
size_t relay_core_size(const relay_core *core);
size_t relay_core_in_flight(const relay_core *core);
size_t relay_core_failed_count(const relay_core *core);
size_t relay_core_deferred_count(const relay_core *core); /* orders */
int64_t relay_core_missing(const relay_core *core);
int64_t relay_core_highest(const relay_core *core);

#endif
