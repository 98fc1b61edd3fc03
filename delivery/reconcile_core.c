/* The comparison: see reconcile_core.h. */
#include "delivery/reconcile_core.h"

#include <stdbool.h>

static void add(reconcile_versions *list, int64_t order_id, int64_t version) {
  list->order_ids[list->count] = order_id;
  list->versions[list->count++] = version;
}

void reconcile_compare(const reconcile_versions *orders, const reconcile_versions *deliveries,
                       reconcile_versions *behind, reconcile_versions *ahead) {
  size_t order = 0;
  size_t delivery = 0;
  behind->count = ahead->count = 0;
  while (order < orders->count || delivery < deliveries->count) {
    bool no_order = order == orders->count;
    bool no_delivery = delivery == deliveries->count;
    int64_t order_id = no_order ? deliveries->order_ids[delivery] : orders->order_ids[order];
    int64_t id = no_delivery || order_id < deliveries->order_ids[delivery]
                     ? order_id
                     : deliveries->order_ids[delivery];
    int64_t wanted = 0;
    int64_t applied = 0;
    if (!no_order && orders->order_ids[order] == id)
      wanted = orders->versions[order++];
    if (!no_delivery && deliveries->order_ids[delivery] == id)
      applied = deliveries->versions[delivery++];
    if (applied < wanted)
      add(behind, id, wanted);
    else if (applied > wanted)
      add(ahead, id, applied);
  }
}

size_t reconcile_count_up_to(const reconcile_versions *list, int64_t last_order_id) {
  size_t count = list->count;
  while (count > 0 && list->order_ids[count - 1] > last_order_id)
    count--;
  return count;
}
