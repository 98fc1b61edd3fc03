/* Lookups at the order service. */
#include "delivery/order_lookup.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "order/v1/order_service.grpc-c.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"

/* A call that is not answered is made again, twice: it goes to another replica of the order
 * service, where there is one, so that one that hangs does not hold everybody up. Together they
 * take the time-out. */
enum { TRIES = 3 };
static const int64_t try_share[TRIES] = {4, 4, 2};

/* Ids that one call asks for, or will. */
typedef struct range {
  size_t first, count;
  unsigned tries; /* that were not answered */
} range;

struct order_lookup {
  order_lookup_options options;
  pthread_mutex_t mutex;
  pthread_cond_t ended;

  /* Of the run under way; guarded by the mutex, as the channel's thread works on it. */
  const int64_t *order_ids;
  order_lookup_result *results;
  ls_arena *arena;
  range *waiting; /* a stack */
  size_t waiting_count, waiting_capacity;
  size_t under_way;
  bool is_late;    /* some call was not answered in time */
  bool any_answer; /* some call was answered: the service is there */
  bool down;       /* no more calls; `error` says why */
  ls_error error;

  size_t batch; /* ids in a call: fewer after calls that were not answered, up to the option's */
};

/* One call. */
typedef struct lookup_call {
  order_lookup *lookup;
  range ids;
} lookup_call;

order_lookup *order_lookup_new(const order_lookup_options *options, ls_error *error) {
  order_lookup *lookup = calloc(1, sizeof *lookup);
  if (lookup == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for order lookups");
    return NULL;
  }
  lookup->options = *options;
  lookup->batch = options->batch;
  pthread_mutex_init(&lookup->mutex, NULL);
  pthread_cond_init(&lookup->ended, NULL);
  return lookup;
}

void order_lookup_destroy(order_lookup *lookup) {
  if (lookup == NULL)
    return;
  pthread_cond_destroy(&lookup->ended);
  pthread_mutex_destroy(&lookup->mutex);
  free(lookup->waiting);
  free(lookup);
}

/* --- With the mutex held --- */

static const char out_of_memory[] = "out of memory for order lookups";

static void give_up(order_lookup *lookup, const char *text) {
  lookup->down = true;
  ls_error_set(&lookup->error, LS_UNAVAILABLE, true, NULL, "%s", text);
}

static void push(order_lookup *lookup, range ids) {
  if (lookup->waiting_count == lookup->waiting_capacity) {
    size_t capacity = lookup->waiting_capacity == 0 ? 16 : 2 * lookup->waiting_capacity;
    range *larger = realloc(lookup->waiting, capacity * sizeof *larger);
    if (larger == NULL) {
      give_up(lookup, out_of_memory);
      return;
    }
    lookup->waiting = larger;
    lookup->waiting_capacity = capacity;
  }
  lookup->waiting[lookup->waiting_count++] = ids;
}

static void fail_id(order_lookup *lookup, size_t index, delivery_lookup_kind kind,
                    const char *text) {
  order_lookup_result *result = &lookup->results[index];
  result->lookup = (delivery_lookup){kind, 0};
  result->problem = ls_arena_strdup(lookup->arena, text);
  if (result->problem == NULL)
    give_up(lookup, "no memory for the problems of order lookups");
}

static int compare_ids(const void *left, const void *right) {
  int64_t a = *(const int64_t *)left;
  int64_t b = *(const int64_t *)right;
  return (a > b) - (a < b);
}

/* The index of an id among those of the call; SIZE_MAX when it was not asked for. */
static size_t find_id(const order_lookup *lookup, range ids, int64_t order_id) {
  const int64_t *found =
      bsearch(&order_id, lookup->order_ids + ids.first, ids.count, sizeof order_id, compare_ids);
  return found == NULL ? SIZE_MAX : (size_t)(found - lookup->order_ids);
}

static void take_order(order_lookup *lookup, range ids, const Order__V1__Order *order) {
  size_t index = find_id(lookup, ids, order->order_id);
  if (index == SIZE_MAX)
    return;
  ls_error error = {0};
  delivery_snapshot *snapshot = ls_arena_alloc(lookup->arena, sizeof *snapshot);
  if (snapshot == NULL) {
    give_up(lookup, "no memory for what order lookups found");
  } else if (delivery_snapshot_copy_order(order, lookup->arena, snapshot, &error)) {
    lookup->results[index] =
        (order_lookup_result){{DELIVERY_LOOKUP_FOUND, snapshot->version}, snapshot, NULL};
  } else if (error.code == LS_INVALID_ARGUMENT) {
    fail_id(lookup, index, DELIVERY_LOOKUP_FAILED, error.message);
  } else {
    give_up(lookup, error.message);
  }
}

static void take_answer(order_lookup *lookup, range ids,
                        const Order__V1__BatchGetOrdersResponse *response) {
  lookup->any_answer = true;
  for (size_t i = 0; i < response->n_orders && !lookup->down; i++)
    take_order(lookup, ids, response->orders[i]);
  for (size_t i = 0; i < response->n_missing_order_ids && !lookup->down; i++) {
    size_t index = find_id(lookup, ids, response->missing_order_ids[i]);
    if (index != SIZE_MAX)
      fail_id(lookup, index, DELIVERY_LOOKUP_MISSING, "the order service has no such order");
  }
  for (size_t i = ids.first; i < ids.first + ids.count && !lookup->down; i++)
    if (lookup->results[i].lookup.kind == DELIVERY_LOOKUP_NONE)
      fail_id(lookup, i, DELIVERY_LOOKUP_FAILED, "the order service's answer left the order out");
}

static bool is_overload(const ls_rpc_status *status) {
  Google__Rpc__ErrorInfo *info = ls_rpc_status_error_info(status);
  bool overload = info != NULL && strcmp(info->reason, "OVERLOADED") == 0;
  if (info != NULL)
    google__rpc__error_info__free_unpacked(info, NULL);
  return overload;
}

/* Whether a failure may be due to one of the orders asked for, rather than to the service, to the
 * way there, or to who asks. */
static bool is_about_orders(const order_lookup *lookup, const ls_rpc_status *status) {
  switch (status->code) {
  case LS_UNKNOWN:
  case LS_INVALID_ARGUMENT:
  case LS_NOT_FOUND:
  case LS_FAILED_PRECONDITION:
  case LS_ABORTED:
  case LS_OUT_OF_RANGE:
  case LS_INTERNAL:
  case LS_DATA_LOSS:
    return true;
  case LS_RESOURCE_EXHAUSTED: /* overload, or an answer too large for a message */
    return !is_overload(status);
  case LS_DEADLINE_EXCEEDED:
    return lookup->any_answer;
  default:
    return false;
  }
}

static void take_failure(order_lookup *lookup, range ids, const ls_rpc_status *status) {
  char text[256];
  if (status->code == LS_DEADLINE_EXCEEDED && ids.tries + 1 < TRIES) {
    push(lookup, (range){ids.first, ids.count, ids.tries + 1});
    return;
  }
  snprintf(text, sizeof text, "BatchGetOrders: %s: %s", ls_code_name(status->code),
           ls_rpc_status_message(status));
  lookup->is_late = lookup->is_late || status->code == LS_DEADLINE_EXCEEDED;
  if (!is_about_orders(lookup, status)) {
    give_up(lookup, text);
  } else if (ids.count == 1) {
    fail_id(lookup, ids.first, DELIVERY_LOOKUP_FAILED, text);
  } else {
    size_t half = ids.count / 2;
    push(lookup, (range){ids.first, half, 0});
    push(lookup, (range){ids.first + half, ids.count - half, 0});
  }
}

/* --- Calls --- */

static void on_done(const ls_rpc_status *status, const Order__V1__BatchGetOrdersResponse *response,
                    void *arg) {
  lookup_call *call = arg;
  order_lookup *lookup = call->lookup;
  pthread_mutex_lock(&lookup->mutex);
  if (lookup->down) {
    /* What else comes is of no use. */
  } else if (status->code == LS_OK) {
    take_answer(lookup, call->ids, response);
  } else {
    take_failure(lookup, call->ids, status);
  }
  lookup->under_way--;
  pthread_cond_signal(&lookup->ended);
  pthread_mutex_unlock(&lookup->mutex);
  free(call);
}

/* False: out of memory. */
static bool start_call(order_lookup *lookup, lookup_call *call) {
  Order__V1__BatchGetOrdersRequest request = ORDER__V1__BATCH_GET_ORDERS_REQUEST__INIT;
  request.n_order_ids = call->ids.count;
  request.order_ids = (int64_t *)(uintptr_t)(lookup->order_ids + call->ids.first);
  ls_rpc_call_options options = {.timeout_ms =
                                     lookup->options.timeout_ms / try_share[call->ids.tries] + 1};
  ls_counter_add(lookup->options.counters->lookups, 1);
  ls_counter_add(lookup->options.counters->lookup_ids, call->ids.count);
  return order_v1_order_service_batch_get_orders_async(lookup->options.channel, &request, &options,
                                                       on_done, call);
}

/* Starts what may be started and waits until nothing is under way. With the mutex held. */
static void run_calls(order_lookup *lookup) {
  for (;;) {
    bool may_start =
        lookup->waiting_count > 0 && !lookup->down && lookup->under_way < lookup->options.calls;
    if (may_start) {
      lookup_call *call = malloc(sizeof *call);
      if (call == NULL) {
        give_up(lookup, out_of_memory);
        continue;
      }
      *call = (lookup_call){lookup, lookup->waiting[--lookup->waiting_count]};
      lookup->under_way++;
      pthread_mutex_unlock(&lookup->mutex);
      bool started = start_call(lookup, call);
      pthread_mutex_lock(&lookup->mutex);
      if (!started) {
        lookup->under_way--;
        free(call);
        give_up(lookup, out_of_memory);
      }
    } else if (lookup->under_way > 0) {
      pthread_cond_wait(&lookup->ended, &lookup->mutex);
    } else {
      return;
    }
  }
}

/* An answer that took too long may have been too large for the way it came. */
static void adapt_batch(order_lookup *lookup, bool done) {
  if (done)
    lookup->batch *= 2;
  else if (lookup->is_late)
    lookup->batch /= 4;
  if (lookup->batch < 1)
    lookup->batch = 1;
  if (lookup->batch > lookup->options.batch)
    lookup->batch = lookup->options.batch;
}

bool order_lookup_run(order_lookup *lookup, const int64_t *order_ids, size_t count, ls_arena *arena,
                      order_lookup_result *results, ls_error *error) {
  int64_t begin_us = ls_clock_monotonic_us();
  memset(results, 0, count * sizeof *results);
  pthread_mutex_lock(&lookup->mutex);
  lookup->order_ids = order_ids;
  lookup->results = results;
  lookup->arena = arena;
  lookup->waiting_count = 0;
  lookup->any_answer = false;
  lookup->down = false;
  lookup->is_late = false;
  for (size_t first = 0; first < count; first += lookup->batch) {
    size_t rest = count - first;
    push(lookup, (range){first, rest < lookup->batch ? rest : lookup->batch, 0});
  }
  run_calls(lookup);
  bool done = !lookup->down;
  adapt_batch(lookup, done);
  if (!done)
    *error = lookup->error;
  pthread_mutex_unlock(&lookup->mutex);
  ls_histogram_observe(lookup->options.counters->lookup_seconds,
                       (double)(ls_clock_monotonic_us() - begin_us) / 1e6);
  return done;
}

/* --- All orders --- */

static bool take_page(const Order__V1__ListOrdersResponse *response, ls_arena *arena,
                      delivery_snapshot **snapshots, size_t *count, const char **next_page_token,
                      ls_error *error) {
  size_t capacity = response->n_orders > 0 ? response->n_orders : 1;
  *count = 0;
  *snapshots = ls_arena_alloc(arena, capacity * sizeof **snapshots);
  *next_page_token = ls_arena_strdup(arena, response->next_page_token);
  if (*snapshots == NULL || *next_page_token == NULL)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "no memory for a page of orders");
  for (size_t i = 0; i < response->n_orders; i++) {
    ls_error problem = {0};
    if (delivery_snapshot_copy_order(response->orders[i], arena, &(*snapshots)[*count], &problem)) {
      (*count)++;
    } else if (problem.code == LS_INVALID_ARGUMENT) {
      LS_WARN("order left out of the resync", LS_INT("order_id", response->orders[i]->order_id),
              LS_ERR(&problem));
    } else {
      *error = problem;
      return false;
    }
  }
  return true;
}

bool order_lookup_list(order_lookup *lookup, const char *page_token, int32_t page_size,
                       ls_arena *arena, delivery_snapshot **snapshots, size_t *count,
                       const char **next_page_token, ls_error *error) {
  Order__V1__ListOrdersRequest request = ORDER__V1__LIST_ORDERS_REQUEST__INIT;
  request.page_size = page_size;
  request.page_token = (char *)(uintptr_t)page_token;
  ls_rpc_call_options options = {.timeout_ms = lookup->options.timeout_ms};
  Order__V1__ListOrdersResponse *response;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (!order_v1_order_service_list_orders(lookup->options.channel, &request, &options, &response,
                                          &status)) {
    ls_error_set(error, status.code == LS_INVALID_ARGUMENT ? LS_INVALID_ARGUMENT : LS_UNAVAILABLE,
                 status.code != LS_INVALID_ARGUMENT, NULL, "ListOrders: %s: %s",
                 ls_code_name(status.code), ls_rpc_status_message(&status));
    ls_rpc_status_clear(&status);
    return false;
  }
  ls_rpc_status_clear(&status);
  bool done = take_page(response, arena, snapshots, count, next_page_token, error);
  order__v1__list_orders_response__free_unpacked(response, NULL);
  return done;
}

/* --- Their versions --- */

static bool take_versions(const Order__V1__ListOrderVersionsResponse *response,
                          int64_t after_order_id, ls_arena *arena, reconcile_versions *found,
                          ls_error *error) {
  size_t count = response->n_order_ids;
  if (response->n_versions != count || (count == 0 && !response->is_last))
    return ls_error_set(error, LS_INTERNAL, false, NULL,
                        "ListOrderVersions: %zu ids and %zu versions", count, response->n_versions);
  for (size_t i = 0; i < count; i++) {
    if (response->order_ids[i] <= after_order_id || response->versions[i] < 1)
      return ls_error_set(error, LS_INTERNAL, false, NULL,
                          "ListOrderVersions: order_ids[%zu] does not ascend or has no version", i);
    after_order_id = response->order_ids[i];
  }
  size_t bytes = count * sizeof(int64_t);
  found->order_ids = ls_arena_memdup(arena, response->order_ids, bytes);
  found->versions = ls_arena_memdup(arena, response->versions, bytes);
  found->count = count;
  return count == 0 || (found->order_ids != NULL && found->versions != NULL) ||
         ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "no memory for a page of versions");
}

bool order_lookup_versions(order_lookup *lookup, int64_t after_order_id, int32_t page_size,
                           ls_arena *arena, reconcile_versions *found, bool *is_last,
                           ls_error *error) {
  Order__V1__ListOrderVersionsRequest request = ORDER__V1__LIST_ORDER_VERSIONS_REQUEST__INIT;
  request.after_order_id = after_order_id;
  request.page_size = page_size;
  ls_rpc_call_options options = {.timeout_ms = lookup->options.timeout_ms};
  Order__V1__ListOrderVersionsResponse *response;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  *found = (reconcile_versions){0};
  if (!order_v1_order_service_list_order_versions(lookup->options.channel, &request, &options,
                                                  &response, &status)) {
    ls_error_set(error, LS_UNAVAILABLE, true, NULL, "ListOrderVersions: %s: %s",
                 ls_code_name(status.code), ls_rpc_status_message(&status));
    ls_rpc_status_clear(&status);
    return false;
  }
  ls_rpc_status_clear(&status);
  *is_last = response->is_last != 0;
  bool done = take_versions(response, after_order_id, arena, found, error);
  order__v1__list_order_versions_response__free_unpacked(response, NULL);
  return done;
}
