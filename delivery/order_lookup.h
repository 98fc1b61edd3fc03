/* Looks orders up at the order service: what are they now?
 *
 * Many at once, in calls of at most `batch` ids, several of them under way. A call that fails
 * because of what it asks for is repeated in halves, down to single orders, so that one that cannot
 * be read does not fail its neighbours; one that is not answered is made again, to another replica
 * if there is one. One thread at a time for each order_lookup; they may share a channel. */
#ifndef LOCKSTEP_DELIVERY_ORDER_LOOKUP_H
#define LOCKSTEP_DELIVERY_ORDER_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/delivery.h"
#include "delivery/delivery_counters.h"
#include "delivery/delivery_decide.h"
#include "delivery/reconcile_core.h"
#include "runtime/base/arena.h"
#include "runtime/base/error.h"
#include "runtime/rpc/client.h"

typedef struct order_lookup order_lookup;

typedef struct order_lookup_options {
  ls_rpc_channel *channel;           /* must outlive the lookup */
  size_t batch;                      /* ids in one call, at most 1,000 */
  unsigned calls;                    /* under way at once */
  int64_t timeout_ms;                /* of one call, in up to three tries */
  const delivery_counters *counters; /* must outlive the lookup */
} order_lookup_options;

/* What came of one id. */
typedef struct order_lookup_result {
  delivery_lookup lookup;            /* FOUND, MISSING or FAILED */
  const delivery_snapshot *snapshot; /* of FOUND */
  const char *problem;               /* of the others: why */
} order_lookup_result;

/* NULL: out of memory. */
order_lookup *order_lookup_new(const order_lookup_options *options, ls_error *error);
/* NULL is fine. */
void order_lookup_destroy(order_lookup *lookup);

/* Asks for orders (ids ascending, none twice) and waits for the answers. True: there is a result
 * for each id, whose snapshot and problem live in `arena`. False with LS_UNAVAILABLE (retriable):
 * the order service does not answer, or to nobody just now; the results are not to be used. */
bool order_lookup_run(order_lookup *lookup, const int64_t *order_ids, size_t count, ls_arena *arena,
                      order_lookup_result *results, ls_error *error);

/* A page of all orders, by ascending id: at most `page_size`, as snapshots in `arena`. Orders that
 * break their contract are left out and logged. `next_page_token` is in the arena, "" after the
 * last page. LS_INVALID_ARGUMENT: the order service does not know the token (any more); else as
 * above. */
bool order_lookup_list(order_lookup *lookup, const char *page_token, int32_t page_size,
                       ls_arena *arena, delivery_snapshot **snapshots, size_t *count,
                       const char **next_page_token, ls_error *error);

/* Versions of at most `page_size` orders with ids above `after_order_id`, in `arena`, checked to be
 * as they must be; `is_last`: there are no more. LS_UNAVAILABLE as above; LS_INTERNAL: the order
 * service has broken its contract. */
bool order_lookup_versions(order_lookup *lookup, int64_t after_order_id, int32_t page_size,
                           ls_arena *arena, reconcile_versions *found, bool *is_last,
                           ls_error *error);

#endif
