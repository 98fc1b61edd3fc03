/* What the delivery service keeps in PostgreSQL.
 *
 * A store is one connection and the statements on it, for one thread at a time; it connects when it
 * is first used and again after a loss. Every function that takes an ls_error says LS_UNAVAILABLE
 * (retriable) when the database is down or the connection is lost: nothing was done then, or what
 * was done is safe to do again. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_STORE_H
#define LOCKSTEP_DELIVERY_DELIVERY_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/delivery.h"
#include "delivery/delivery_database.h"
#include "delivery/delivery_decide.h"
#include "delivery/order_event.h"
#include "runtime/base/arena.h"
#include "runtime/base/error.h"

typedef struct delivery_store delivery_store;

/* `database` must outlive the store. Does not connect. NULL: out of memory. */
delivery_store *delivery_store_new(delivery_database *database, ls_error *error);
/* NULL is fine. */
void delivery_store_destroy(delivery_store *store);

/* Connects unless connected, to a database with the right schema. Not once the process was asked to
 * end. */
bool delivery_store_connect(delivery_store *store, ls_error *error);
/* Its connection, of the store; NULL before the first. */
ls_pg_connection *delivery_store_connection(delivery_store *store);
/* Counts connections: another number, another session. 0 before the first. */
unsigned delivery_store_session(const delivery_store *store);

/* --- Applying orders --- */

/* One order of a batch: what has come of it, and what became of that. */
typedef struct delivery_work {
  int64_t order_id;
  const delivery_event *events; /* in the order they came */
  size_t event_count;
  const delivery_snapshot *const *snapshots; /* one for each event, NULL where it has none */
  const order_record *const *records;        /* one for each event, for pending_orders */
  delivery_lookup lookup;
  const delivery_snapshot *found; /* of DELIVERY_LOOKUP_FOUND */
  const char *lookup_problem;     /* of the other results: why, at most 480 bytes are kept */
  delivery_verdict *verdicts;     /* out: room for one for each event */
  delivery_decision decision;     /* out */
} delivery_work;

/* An attempt at a pending order ends. */
typedef struct delivery_pending_end {
  int64_t order_id;
  int64_t generation;
  int64_t claim;      /* of the attempt: it ends nothing once another has claimed the order */
  bool done;          /* it is no longer pending, unless it was asked for anew meanwhile */
  int32_t attempts;   /* otherwise */
  int64_t delay_ms;   /* until the next one */
  const char *reason; /* why; NULL: as it was */
} delivery_pending_end;

/* A record that is given up on. */
typedef struct delivery_letter {
  order_record record;
  const char *reason;
} delivery_letter;

/* What is written in one transaction. Orders ascending, none twice; the same for the ends. */
typedef struct delivery_batch {
  delivery_work *works;
  size_t work_count;
  const delivery_letter *letters;
  size_t letter_count;
  const delivery_pending_end *ends;
  size_t end_count;
  int64_t pending_delay_ms; /* until a new pending order's first attempt */
} delivery_batch;

/* What is known of orders: one for each id, all zero where there is nothing. Ids ascending. No
 * lock. */
bool delivery_store_known(delivery_store *store, const int64_t *order_ids, size_t count,
                          delivery_known *known, ls_error *error);

/* Whether a failure is due to what was to be written (SQLSTATE classes 22 and 23), rather than to
 * the database: a part of the batch cannot be written, whenever it is tried. */
bool delivery_store_is_about_data(const ls_error *error);

/* Locks the rows, decides each work anew with what is known then, and writes all of it, with
 * history, in one transaction; `applied` gets the number of deliveries that
 * changed. Whoever else applies, dispatches or completes the same deliveries meanwhile, each
 * version is applied at most once and no state is lost. Errors other than LS_UNAVAILABLE mean that
 * something in the batch cannot be written: nothing was. */
bool delivery_store_apply(delivery_store *store, delivery_batch *batch, size_t *applied,
                          ls_error *error);

/* --- Moving deliveries on --- */

/* A DispatchDelivery or CompleteDelivery. */
typedef struct delivery_move {
  int64_t order_id;
  bool complete;             /* else dispatch */
  const char *tracking_code; /* of dispatch */
  int64_t expected_revision;
  delivery_outcome outcome;         /* out */
  delivery_standing standing;       /* out: after it */
  Delivery__V1__Delivery *delivery; /* out, in the arena; NULL if not found */
} delivery_move;

/* Does the moves, in one transaction; orders ascending, none twice. */
bool delivery_store_move(delivery_store *store, delivery_move *const *moves, size_t count,
                         ls_arena *arena, ls_error *error);

/* --- Reading --- */

/* Deliveries by ascending order id, in the arena; ids ascending. Those in `history_ids` (ascending,
 * a part of the others) come with their history. */
bool delivery_store_get(delivery_store *store, const int64_t *order_ids, size_t count,
                        const int64_t *history_ids, size_t history_count, ls_arena *arena,
                        Delivery__V1__Delivery ***deliveries, size_t *found, ls_error *error);

/* At most `limit` deliveries above `after_order_id` in `state` (UNSPECIFIED: in any). */
bool delivery_store_list(delivery_store *store, int64_t after_order_id,
                         Delivery__V1__DeliveryState state, int32_t limit, ls_arena *arena,
                         Delivery__V1__Delivery ***deliveries, size_t *found, ls_error *error);

/* --- Pending orders --- */

/* A pending order that was claimed for an attempt. */
typedef struct delivery_pending {
  int64_t order_id;
  int64_t min_version;
  int32_t attempts;
  int64_t generation;
  int64_t claim;
  int64_t applied_version; /* what the delivery is at; 0: there is none */
  bool poked;              /* asked for without a version: only a lookup will do */
  bool reconciling;        /* found behind by the comparison with the order service */
} delivery_pending;

/* Claims at most `limit` of those due for `lease_ms`, by ascending order id. No two replicas claim
 * the same. */
bool delivery_store_claim_pending(delivery_store *store, int32_t limit, int64_t lease_ms,
                                  ls_arena *arena, delivery_pending **pending, size_t *count,
                                  ls_error *error);

/* The record of a pending order, in the arena; `found` false if it is not pending any more. */
bool delivery_store_pending_record(delivery_store *store, int64_t order_id, ls_arena *arena,
                                   order_record *record, bool *found, ls_error *error);

/* Puts orders in line for a lookup at once. `topic`: where their dead letters, should they come to
 * that, are replayed to. */
bool delivery_store_ask_resync(delivery_store *store, const int64_t *order_ids, size_t count,
                               const char *topic, ls_error *error);

bool delivery_store_list_pending(delivery_store *store, int64_t after_order_id, int32_t limit,
                                 ls_arena *arena, Delivery__V1__PendingOrder ***pending,
                                 size_t *count, ls_error *error);

/* Numbers of pending orders and of dead letters neither replayed nor discarded. */
bool delivery_store_count_problems(delivery_store *store, int64_t *pending, int64_t *dead_letters,
                                   ls_error *error);

/* --- The walk over all orders --- */

/* Asks for a walk; one under way starts again. */
bool delivery_store_ask_resync_all(delivery_store *store, ls_error *error);

typedef struct delivery_resync {
  bool active;            /* claimed: the caller is to fetch the page */
  const char *page_token; /* in the arena */
  int64_t generation;
} delivery_resync;

/* Claims the walk for `lease_ms` if there is one that nobody is at. */
bool delivery_store_claim_resync(delivery_store *store, int64_t lease_ms, ls_arena *arena,
                                 delivery_resync *resync, ls_error *error);
/* Moves the cursor and gives the claim back; `page_token` "" with `done`: the walk is over. Does
 * nothing if the walk was asked for anew meanwhile. */
bool delivery_store_advance_resync(delivery_store *store, int64_t generation,
                                   const char *page_token, bool done, ls_error *error);

/* --- Dead letters --- */

/* Which to list beside those that wait for somebody. */
typedef struct delivery_letter_filter {
  bool replayed;
  bool discarded;
} delivery_letter_filter;

/* At most `limit` and about `max_bytes` of those above `after_id`, and whether there are more. */
bool delivery_store_list_letters(delivery_store *store, delivery_letter_filter filter,
                                 int64_t after_id, int32_t limit, size_t max_bytes, ls_arena *arena,
                                 Delivery__V1__DeadLetter ***letters, size_t *count, bool *more,
                                 ls_error *error);

/* A dead letter for its replay, in the arena. */
typedef struct delivery_stored_letter {
  int64_t dead_letter_id;
  order_record record;
} delivery_stored_letter;

/* The dead letter with this id, both for its replay and to be shown; `letter` NULL if there is
 * none. */
bool delivery_store_letter(delivery_store *store, int64_t dead_letter_id, ls_arena *arena,
                           delivery_stored_letter *stored, Delivery__V1__DeadLetter **letter,
                           ls_error *error);
/* At most `limit` and about `max_bytes` that were neither replayed nor discarded, above `after_id`
 * and up to `last_id`. */
bool delivery_store_letters_to_replay(delivery_store *store, int64_t after_id, int64_t last_id,
                                      int32_t limit, size_t max_bytes, ls_arena *arena,
                                      delivery_stored_letter **letters, size_t *count,
                                      ls_error *error);
/* The highest id there is; 0: none. */
bool delivery_store_last_letter(delivery_store *store, int64_t *dead_letter_id, ls_error *error);
bool delivery_store_mark_replayed(delivery_store *store, const int64_t *dead_letter_ids,
                                  size_t count, ls_error *error);
/* Does nothing where there is none, or it was discarded before. */
bool delivery_store_discard_letter(delivery_store *store, int64_t dead_letter_id,
                                   const char *reason, ls_error *error);

#endif
