/* Reconciliation in the store: where the comparison stands, and what it finds. As in
 * delivery_store.h. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_STORE_RECONCILE_H
#define LOCKSTEP_DELIVERY_DELIVERY_STORE_RECONCILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/delivery_store.h"
#include "delivery/reconcile_core.h"

typedef struct delivery_reconciliation {
  bool active;            /* claimed: the caller is to compare the next page */
  int64_t after_order_id; /* which begins behind this one */
  int64_t generation;
} delivery_reconciliation;

/* Claims the next page for `lease_ms`, if it is due, nobody is at it, and fewer than `max_pending`
 * orders wait for a lookup. */
bool delivery_store_claim_reconciliation(delivery_store *store, int64_t lease_ms,
                                         int64_t max_pending,
                                         delivery_reconciliation *reconciliation, ls_error *error);

/* What deliveries are at, of ids above `after_order_id` up to `last_order_id`, at most `limit`; in
 * the arena. */
bool delivery_store_versions(delivery_store *store, int64_t after_order_id, int64_t last_order_id,
                             int32_t limit, ls_arena *arena, reconcile_versions *found,
                             ls_error *error);

/* What has come of a page. */
typedef struct delivery_reconciled {
  int64_t generation;        /* of the claim */
  int64_t after_order_id;    /* where the next page begins; 0 when the pass is done */
  bool done;                 /* this was the last page */
  int64_t next_ms;           /* until the next page, or pass */
  int64_t compared;          /* orders */
  int64_t ahead;             /* deliveries that really are */
  reconcile_versions behind; /* deliveries to be looked up, */
  int64_t grace_ms;          /* after so long, unless they are in step by then */
  const char *topic; /* where their dead letters, should they come to that, are replayed to */
} delivery_reconciled;

/* Puts what is behind in line for a lookup, unless it is already, counts, and moves the cursor: in
 * one transaction, all of it or, if the comparison was begun anew meanwhile, nothing. */
bool delivery_store_advance_reconciliation(delivery_store *store,
                                           const delivery_reconciled *reconciled, ls_error *error);

/* Has the comparison begin anew at once. */
bool delivery_store_start_reconciliation(delivery_store *store, ls_error *error);

/* Fills a message that was initialized, but for `enabled` and `healed`. */
bool delivery_store_read_reconciliation(delivery_store *store, ls_arena *arena,
                                        Delivery__V1__GetReconciliationStateResponse *state,
                                        ls_error *error);

#endif
