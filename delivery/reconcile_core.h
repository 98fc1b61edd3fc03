/* What the comparison of orders with deliveries finds: a pure function of two lists of versions. No
 * I/O, no clock, no allocation. Any thread. */
#ifndef LOCKSTEP_DELIVERY_RECONCILE_CORE_H
#define LOCKSTEP_DELIVERY_RECONCILE_CORE_H

#include <stddef.h>
#include <stdint.h>

/* Ids, ascending and each once, and the version at the same place. */
typedef struct reconcile_versions {
  int64_t *order_ids;
  int64_t *versions;
  size_t count;
} reconcile_versions;

/* Compares what the orders are at with what the deliveries of the same range of ids are at. Into
 * `behind`: orders whose delivery is missing or older, with the order's version. Into `ahead`:
 * deliveries that are newer than their order, or have none, with the delivery's version; should the
 * orders have been read first, that may be for the time in between only. Both must have room for
 * as many as there are orders, or deliveries. */
void reconcile_compare(const reconcile_versions *orders, const reconcile_versions *deliveries,
                       reconcile_versions *behind, reconcile_versions *ahead);

/* How many of the list have ids up to `last_order_id`. */
size_t reconcile_count_up_to(const reconcile_versions *list, int64_t last_order_id);

#endif
