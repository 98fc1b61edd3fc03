/* The reconciler's thread. */
#include "delivery/reconciler.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "delivery/delivery_store_reconcile.h"
#include "delivery/order_lookup.h"
#include "runtime/base/log.h"
#include "runtime/base/thread.h"
#include "runtime/base/wake.h"

enum {
  PAGE = 1000,                /* orders compared at once */
  MOST_DELIVERIES = 2 * PAGE, /* in the same range of ids */
  MOST_PENDING = 5000,        /* with so many orders to be looked up, it waits */
  RETRY_MS = 5000,            /* after a page that failed */
  POLL_MS = 1000,             /* how late it may be with a page that is due */
  LOGGED = 10                 /* deliveries ahead that are named in the log, of one page */
};

#define ARENA_BYTES ((size_t)64 << 20)

struct delivery_reconciler {
  delivery_reconciler_options options;
  pthread_t thread;
  bool is_running;
  atomic_bool is_stopping;
  ls_wake *wake;
  ls_counter *compared, *behind;
  ls_gauge *ahead; /* in the last pass that this replica ended */

  /* The thread's own. */
  delivery_store *store;
  order_lookup *lookup;
  ls_arena *arena;
  ls_log_limit failure_limit;
};

/* A page as it is being compared. */
typedef struct page {
  reconcile_versions orders, deliveries, behind, ahead;
  int64_t last_order_id; /* the range's end */
  bool is_last;
} page;

delivery_reconciler *delivery_reconciler_new(const delivery_reconciler_options *options,
                                             ls_error *error) {
  delivery_reconciler *made = calloc(1, sizeof *made);
  if (made == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for the reconciler");
    return NULL;
  }
  made->options = *options;
  order_lookup_options lookup = {options->orders, options->lookup_batch, options->lookup_calls,
                                 options->lookup_timeout_ms, options->counters};
  made->wake = ls_wake_new(error);
  made->store = delivery_store_new(options->database, error);
  made->lookup = order_lookup_new(&lookup, error);
  made->arena = ls_arena_new(ARENA_BYTES);
  made->compared =
      ls_metrics_counter(options->metrics, "lockstep_delivery_reconcile_compared_total",
                         "Orders compared with their deliveries", NULL);
  made->behind =
      ls_metrics_counter(options->metrics, "lockstep_delivery_reconcile_behind_total",
                         "Deliveries found missing or older than their orders, those on their way "
                         "included",
                         NULL);
  made->ahead = ls_metrics_gauge(options->metrics, "lockstep_delivery_reconcile_ahead",
                                 "Deliveries newer than their orders, or without one, in the pass "
                                 "under way here",
                                 NULL);
  if (made->arena == NULL)
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for the reconciler");
  else if (made->wake != NULL && made->store != NULL && made->lookup != NULL)
    return made;
  delivery_reconciler_destroy(made);
  return NULL;
}

void delivery_reconciler_destroy(delivery_reconciler *reconciler) {
  if (reconciler == NULL)
    return;
  ls_wake_destroy(reconciler->wake);
  delivery_store_destroy(reconciler->store);
  order_lookup_destroy(reconciler->lookup);
  ls_arena_destroy(reconciler->arena);
  free(reconciler);
}

bool delivery_reconciler_is_enabled(const delivery_reconciler *reconciler) {
  return reconciler->options.interval_ms > 0;
}

void delivery_reconciler_wake(delivery_reconciler *reconciler) {
  ls_wake_signal(reconciler->wake);
}

static void report(delivery_reconciler *reconciler, const char *what, const ls_error *error) {
  if (ls_log_every(&reconciler->failure_limit, 10000))
    LS_WARN("orders and deliveries are not compared", LS_STR("step", what), LS_ERR(error),
            LS_UINT("not_logged", ls_log_suppressed(&reconciler->failure_limit)));
}

/* --- A page --- */

static bool make_room(ls_arena *arena, size_t count, reconcile_versions *list) {
  *list = (reconcile_versions){ls_arena_alloc(arena, (count + 1) * sizeof *list->order_ids),
                               ls_arena_alloc(arena, (count + 1) * sizeof *list->versions), 0};
  return list->order_ids != NULL && list->versions != NULL;
}

/* Orders first: a delivery read later that is older than its order was behind when that was read.
 */
static bool read_page(delivery_reconciler *reconciler, int64_t after_order_id, page *read,
                      ls_error *error) {
  ls_arena *arena = reconciler->arena;
  if (!order_lookup_versions(reconciler->lookup, after_order_id, PAGE, arena, &read->orders,
                             &read->is_last, error))
    return false;
  size_t count = read->orders.count;
  read->last_order_id = read->is_last || count == 0 ? INT64_MAX : read->orders.order_ids[count - 1];
  if (!delivery_store_versions(reconciler->store, after_order_id, read->last_order_id,
                               MOST_DELIVERIES, arena, &read->deliveries, error))
    return false;
  /* More deliveries than orders by far: the page ends with the last one that was read. */
  if (read->deliveries.count == MOST_DELIVERIES) {
    read->last_order_id = read->deliveries.order_ids[MOST_DELIVERIES - 1];
    read->orders.count = reconcile_count_up_to(&read->orders, read->last_order_id);
    read->is_last = false;
  }
  return (make_room(arena, read->orders.count, &read->behind) &&
          make_room(arena, read->deliveries.count, &read->ahead)) ||
         ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "no memory for a page of versions");
}

/* A delivery may be ahead of what was read of its order because that went on meanwhile. */
static bool count_ahead(delivery_reconciler *reconciler, const reconcile_versions *ahead,
                        int64_t *count, ls_error *error) {
  *count = 0;
  if (ahead->count == 0)
    return true;
  order_lookup_result *results = ls_arena_alloc(reconciler->arena, ahead->count * sizeof *results);
  if (results == NULL)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "no memory for lookups");
  if (!order_lookup_run(reconciler->lookup, ahead->order_ids, ahead->count, reconciler->arena,
                        results, error))
    return false;
  for (size_t i = 0; i < ahead->count; i++) {
    const delivery_lookup *lookup = &results[i].lookup;
    if (lookup->kind != DELIVERY_LOOKUP_MISSING &&
        (lookup->kind != DELIVERY_LOOKUP_FOUND || lookup->version >= ahead->versions[i]))
      continue;
    if (++*count <= LOGGED)
      LS_ERROR(
          "delivery is ahead of its order", LS_INT("order_id", ahead->order_ids[i]),
          LS_INT("delivery_version", ahead->versions[i]),
          LS_INT("order_version", lookup->kind == DELIVERY_LOOKUP_FOUND ? lookup->version : 0));
  }
  return true;
}

static int64_t pause_ms(const delivery_reconciler *reconciler, const page *compared) {
  return (int64_t)compared->orders.count * 1000 / reconciler->options.rate;
}

static bool compare(delivery_reconciler *reconciler, const delivery_reconciliation *claim,
                    delivery_reconciled *result, ls_error *error) {
  page compared = {0};
  if (!read_page(reconciler, claim->after_order_id, &compared, error))
    return false;
  reconcile_compare(&compared.orders, &compared.deliveries, &compared.behind, &compared.ahead);
  if (!count_ahead(reconciler, &compared.ahead, &result->ahead, error))
    return false;
  result->compared = (int64_t)compared.orders.count;
  result->behind = compared.behind;
  result->done = compared.is_last;
  result->after_order_id = compared.is_last ? 0 : compared.last_order_id;
  result->next_ms =
      compared.is_last ? reconciler->options.interval_ms : pause_ms(reconciler, &compared);
  ls_counter_add(reconciler->compared, compared.orders.count);
  ls_counter_add(reconciler->behind, compared.behind.count);
  if (claim->after_order_id == 0)
    ls_gauge_set(reconciler->ahead, 0);
  ls_gauge_add(reconciler->ahead, (double)result->ahead);
  return true;
}

/* A call for versions, and one for orders. */
static int64_t lease_ms(const delivery_reconciler *reconciler) {
  return 2 * reconciler->options.lookup_timeout_ms;
}

/* True if there may be more to do at once. */
static bool compare_next(delivery_reconciler *reconciler) {
  ls_error error = {0};
  delivery_reconciliation claim;
  ls_arena_reset(reconciler->arena);
  if (!delivery_store_claim_reconciliation(reconciler->store, lease_ms(reconciler), MOST_PENDING,
                                           &claim, &error)) {
    report(reconciler, "claim", &error);
    return false;
  }
  if (!claim.active)
    return false;
  delivery_reconciled result = {.generation = claim.generation,
                                .grace_ms = reconciler->options.grace_ms,
                                .topic = reconciler->options.topic};
  bool done = compare(reconciler, &claim, &result, &error);
  if (!done) {
    report(reconciler, "compare", &error);
    result = (delivery_reconciled){.generation = claim.generation,
                                   .after_order_id = claim.after_order_id,
                                   .next_ms = RETRY_MS,
                                   .topic = reconciler->options.topic};
  }
  if (!delivery_store_advance_reconciliation(reconciler->store, &result, &error)) {
    report(reconciler, "advance", &error);
    return false;
  }
  return done && result.next_ms < POLL_MS;
}

/* --- The thread --- */

static void *run(void *arg) {
  delivery_reconciler *reconciler = arg;
  while (!atomic_load(&reconciler->is_stopping)) {
    bool more = compare_next(reconciler);
    /* Other replicas' pages are not told of: what is due is found by looking. */
    ls_wake_wait(reconciler->wake, more ? POLL_MS / 10 : POLL_MS);
  }
  return NULL;
}

bool delivery_reconciler_start(delivery_reconciler *reconciler, ls_error *error) {
  if (!delivery_reconciler_is_enabled(reconciler))
    return true;
  reconciler->is_running =
      ls_thread_start(&reconciler->thread, "reconciler", run, reconciler, error);
  return reconciler->is_running;
}

void delivery_reconciler_stop(delivery_reconciler *reconciler) {
  atomic_store(&reconciler->is_stopping, true);
  ls_wake_signal(reconciler->wake);
  if (reconciler->is_running)
    pthread_join(reconciler->thread, NULL);
  reconciler->is_running = false;
}
