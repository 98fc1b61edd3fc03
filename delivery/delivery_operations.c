/* The handlers of delivery.v1.DeliveryOperations. */
#include "delivery/delivery_operations.h"

#include <stdlib.h>
#include <string.h>

#include "delivery/delivery_status.h"
#include "delivery/delivery_store_reconcile.h"
#include "delivery/page_token.h"
#include "delivery/v1/delivery_operations.grpc-c.h"
#include "runtime/base/fault.h"
#include "runtime/base/log.h"

enum { MAX_PARTITIONS = 512, REPLAY_AT_ONCE = 100, MAX_DISCARD_REASON_BYTES = 480 };

/* Of raw records on a page, or replayed at once. */
#define MAX_RECORD_BYTES ((size_t)3 << 20)

typedef struct operation {
  delivery_read read; /* first: the two have one address */
  delivery_operations *operations;
  const ProtobufCMessage *request;
  int64_t after_id; /* of lists */
} operation;

static void answer_failed(delivery_read *read, const delivery_list *found, const ls_error *error) {
  (void)found;
  delivery_fail_store(read->call, error);
}

static void push(ls_rpc_call *call, delivery_operations *operations,
                 const ProtobufCMessage *request, int64_t after_id,
                 void (*task)(delivery_read *read, delivery_store *store, ls_arena *arena)) {
  operation *pushed = ls_rpc_call_alloc(call, sizeof *pushed);
  if (pushed == NULL) {
    delivery_fail_overloaded(call);
    return;
  }
  *pushed = (operation){.read = {.call = call, .answer = answer_failed, .task = task},
                        .operations = operations,
                        .request = request,
                        .after_id = after_id};
  if (!delivery_reader_push(operations->reader, &pushed->read))
    delivery_fail_overloaded(call);
}

static delivery_operations *operations_of(const delivery_read *read) {
  return ((const operation *)read)->operations;
}

/* --- The consumer's state --- */

/* Where nothing was taken since the partition was assigned, from what the group has committed, or
 * from the first event there is. */
static int64_t lag_of(const ls_kafka_partition *partition) {
  int64_t next = partition->position >= 0    ? partition->position
                 : partition->committed >= 0 ? partition->committed
                                             : partition->begin;
  return next >= 0 && partition->end >= next ? partition->end - next : -1;
}

static bool fill_partitions(order_event_consumer *consumer, ls_arena *arena,
                            Delivery__V1__GetConsumerStateResponse *response) {
  ls_kafka_partition *partitions = ls_arena_alloc(arena, MAX_PARTITIONS * sizeof *partitions);
  Delivery__V1__PartitionState *states = ls_arena_alloc(arena, MAX_PARTITIONS * sizeof *states);
  response->partitions = ls_arena_alloc(arena, MAX_PARTITIONS * sizeof *response->partitions);
  order_event_consumer_state *state = ls_arena_alloc(arena, sizeof *state);
  if (partitions == NULL || states == NULL || response->partitions == NULL || state == NULL)
    return false;
  order_event_consumer_read_state(consumer, partitions, MAX_PARTITIONS, state);
  for (size_t i = 0; i < state->partition_count; i++) {
    const ls_kafka_partition *partition = &partitions[i];
    delivery__v1__partition_state__init(&states[i]);
    states[i].topic = (char *)(uintptr_t)partition->topic;
    states[i].partition = partition->partition;
    states[i].position = partition->position;
    states[i].end = partition->end;
    states[i].lag = lag_of(partition);
    states[i].paused = state->paused;
    response->partitions[i] = &states[i];
  }
  response->n_partitions = state->partition_count;
  response->problem = state->problem;
  return true;
}

static void get_consumer_state_task(delivery_read *read, delivery_store *store, ls_arena *arena) {
  delivery_operations *operations = operations_of(read);
  Delivery__V1__GetConsumerStateResponse response = DELIVERY__V1__GET_CONSUMER_STATE_RESPONSE__INIT;
  Delivery__V1__ConsumerCounters counters = DELIVERY__V1__CONSUMER_COUNTERS__INIT;
  ls_error error = {0};
  if (!delivery_store_count_problems(store, &response.pending_orders, &response.dead_letters,
                                     &error)) {
    delivery_fail_store(read->call, &error);
    return;
  }
  if (!fill_partitions(operations->consumer, arena, &response)) {
    delivery_fail_overloaded(read->call);
    return;
  }
  delivery_counters_read(operations->counters, &counters);
  response.counters = &counters;
  delivery_v1_delivery_operations_get_consumer_state_reply(read->call, &response);
}

static void get_consumer_state(ls_rpc_call *call,
                               const Delivery__V1__GetConsumerStateRequest *request,
                               void *user_data) {
  push(call, user_data, &request->base, 0, get_consumer_state_task);
}

/* --- Lists --- */

/* False: the call was answered. */
static bool check_page(ls_rpc_call *call, int32_t page_size, page_query query, const char *token,
                       int64_t *after_id) {
  delivery_violations violations = {.count = 0};
  if (delivery_check_page_size(page_size, &violations) && !page_token_read(query, token, after_id))
    delivery_violate(&violations, "page_token",
                     "must be the next_page_token of a page of the same query");
  if (violations.count > 0)
    delivery_fail_invalid(call, &violations);
  return violations.count == 0;
}

static void list_pending_task(delivery_read *read, delivery_store *store, ls_arena *arena) {
  const operation *one = (const operation *)read;
  const Delivery__V1__ListPendingOrdersRequest *request =
      (const Delivery__V1__ListPendingOrdersRequest *)one->request;
  Delivery__V1__ListPendingOrdersResponse response =
      DELIVERY__V1__LIST_PENDING_ORDERS_RESPONSE__INIT;
  int32_t page_size = delivery_page_size(request->page_size);
  char token[PAGE_TOKEN_BYTES];
  ls_error error = {0};
  if (!delivery_store_list_pending(store, one->after_id, page_size + 1, arena,
                                   &response.pending_orders, &response.n_pending_orders, &error)) {
    delivery_fail_store(read->call, &error);
    return;
  }
  if (response.n_pending_orders > (size_t)page_size) {
    response.n_pending_orders = (size_t)page_size;
    page_token_make((page_query){PAGE_PENDING_ORDERS, 0},
                    response.pending_orders[page_size - 1]->order_id, token);
    response.next_page_token = token;
  }
  delivery_v1_delivery_operations_list_pending_orders_reply(read->call, &response);
}

static void list_pending_orders(ls_rpc_call *call,
                                const Delivery__V1__ListPendingOrdersRequest *request,
                                void *user_data) {
  int64_t after_id = 0;
  if (check_page(call, request->page_size, (page_query){PAGE_PENDING_ORDERS, 0},
                 request->page_token, &after_id))
    push(call, user_data, &request->base, after_id, list_pending_task);
}

static page_query letters_query(const Delivery__V1__ListDeadLettersRequest *request) {
  return (page_query){PAGE_DEAD_LETTERS, (uint8_t)((request->include_replayed != 0) |
                                                   (request->include_discarded != 0) << 1)};
}

static void list_letters_task(delivery_read *read, delivery_store *store, ls_arena *arena) {
  const operation *one = (const operation *)read;
  const Delivery__V1__ListDeadLettersRequest *request =
      (const Delivery__V1__ListDeadLettersRequest *)one->request;
  Delivery__V1__ListDeadLettersResponse response = DELIVERY__V1__LIST_DEAD_LETTERS_RESPONSE__INIT;
  char token[PAGE_TOKEN_BYTES];
  bool more;
  ls_error error = {0};
  delivery_letter_filter filter = {request->include_replayed != 0, request->include_discarded != 0};
  if (!delivery_store_list_letters(
          store, filter, one->after_id, delivery_page_size(request->page_size), MAX_RECORD_BYTES,
          arena, &response.dead_letters, &response.n_dead_letters, &more, &error)) {
    delivery_fail_store(read->call, &error);
    return;
  }
  if (more) {
    page_token_make(letters_query(request),
                    response.dead_letters[response.n_dead_letters - 1]->dead_letter_id, token);
    response.next_page_token = token;
  }
  delivery_v1_delivery_operations_list_dead_letters_reply(read->call, &response);
}

static void list_dead_letters(ls_rpc_call *call,
                              const Delivery__V1__ListDeadLettersRequest *request,
                              void *user_data) {
  int64_t after_id = 0;
  if (check_page(call, request->page_size, letters_query(request), request->page_token, &after_id))
    push(call, user_data, &request->base, after_id, list_letters_task);
}

/* --- One dead letter --- */

/* False: the call was answered. */
static bool find_letter(const delivery_read *read, delivery_store *store, int64_t id,
                        ls_arena *arena, delivery_stored_letter *stored,
                        Delivery__V1__DeadLetter **letter) {
  ls_error error = {0};
  if (!delivery_store_letter(store, id, arena, stored, letter, &error))
    delivery_fail_store(read->call, &error);
  else if (*letter == NULL)
    delivery_fail_missing_letter(read->call, id);
  else
    return true;
  return false;
}

static void check_letter_id(int64_t dead_letter_id, delivery_violations *violations) {
  if (dead_letter_id < 1)
    delivery_violate(violations, "dead_letter_id", "must be 1 or more");
}

static void get_letter_task(delivery_read *read, delivery_store *store, ls_arena *arena) {
  int64_t id =
      ((const Delivery__V1__GetDeadLetterRequest *)((operation *)read)->request)->dead_letter_id;
  delivery_stored_letter stored;
  Delivery__V1__GetDeadLetterResponse response = DELIVERY__V1__GET_DEAD_LETTER_RESPONSE__INIT;
  if (find_letter(read, store, id, arena, &stored, &response.dead_letter))
    delivery_v1_delivery_operations_get_dead_letter_reply(read->call, &response);
}

static void get_dead_letter(ls_rpc_call *call, const Delivery__V1__GetDeadLetterRequest *request,
                            void *user_data) {
  delivery_violations violations = {.count = 0};
  check_letter_id(request->dead_letter_id, &violations);
  if (violations.count > 0)
    delivery_fail_invalid(call, &violations);
  else
    push(call, user_data, &request->base, 0, get_letter_task);
}

static void discard_task(delivery_read *read, delivery_store *store, ls_arena *arena) {
  const Delivery__V1__DiscardDeadLetterRequest *request =
      (const Delivery__V1__DiscardDeadLetterRequest *)((operation *)read)->request;
  delivery_stored_letter stored;
  Delivery__V1__DiscardDeadLetterResponse response =
      DELIVERY__V1__DISCARD_DEAD_LETTER_RESPONSE__INIT;
  ls_error error = {0};
  if (!delivery_store_discard_letter(store, request->dead_letter_id, request->reason, &error))
    delivery_fail_store(read->call, &error);
  else if (find_letter(read, store, request->dead_letter_id, arena, &stored, &response.dead_letter))
    delivery_v1_delivery_operations_discard_dead_letter_reply(read->call, &response);
}

static void discard_dead_letter(ls_rpc_call *call,
                                const Delivery__V1__DiscardDeadLetterRequest *request,
                                void *user_data) {
  delivery_violations violations = {.count = 0};
  check_letter_id(request->dead_letter_id, &violations);
  size_t bytes = strnlen(request->reason, MAX_DISCARD_REASON_BYTES + 1);
  if (bytes < 1 || bytes > MAX_DISCARD_REASON_BYTES)
    delivery_violate(&violations, "reason", "must be 1 to 480 bytes");
  if (violations.count > 0)
    delivery_fail_invalid(call, &violations);
  else
    push(call, user_data, &request->base, 0, discard_task);
}

/* --- Replay --- */

static void fail_replay(ls_rpc_call *call, const ls_error *error) {
  LS_WARN("dead letters are not replayed", LS_ERR(error));
  ls_rpc_call_fail(call, error->code == LS_OUT_OF_RANGE ? LS_FAILED_PRECONDITION : LS_UNAVAILABLE,
                   "the dead letter was not replayed: %s", error->message);
}

static void replay_task(delivery_read *read, delivery_store *store, ls_arena *arena) {
  const operation *one = (const operation *)read;
  int64_t id = ((const Delivery__V1__ReplayDeadLetterRequest *)one->request)->dead_letter_id;
  delivery_stored_letter stored;
  Delivery__V1__DeadLetter *letter;
  ls_error error = {0};
  if (!find_letter(read, store, id, arena, &stored, &letter))
    return;
  if (!dead_letter_producer_replay(one->operations->dead_letters, &stored, 1, &error)) {
    fail_replay(read->call, &error);
    return;
  }
  LS_FAULT_POINT("delivery.replayed");
  if (!delivery_store_mark_replayed(store, &id, 1, &error) ||
      !delivery_store_letter(store, id, arena, &stored, &letter, &error)) {
    delivery_fail_store(read->call, &error);
    return;
  }
  Delivery__V1__ReplayDeadLetterResponse response = DELIVERY__V1__REPLAY_DEAD_LETTER_RESPONSE__INIT;
  response.dead_letter = letter;
  delivery_v1_delivery_operations_replay_dead_letter_reply(read->call, &response);
}

static void replay_dead_letter(ls_rpc_call *call,
                               const Delivery__V1__ReplayDeadLetterRequest *request,
                               void *user_data) {
  delivery_violations violations = {.count = 0};
  check_letter_id(request->dead_letter_id, &violations);
  if (violations.count > 0)
    delivery_fail_invalid(call, &violations);
  else
    push(call, user_data, &request->base, 0, replay_task);
}

/* Up to `last_id`, so that what fails again and comes back does not make this go on for ever. */
static bool replay_some(delivery_operations *operations, delivery_store *store, ls_arena *arena,
                        int64_t last_id, int64_t *after_id, size_t *count, ls_error *error) {
  delivery_stored_letter *letters;
  int64_t ids[REPLAY_AT_ONCE];
  ls_arena_reset(arena);
  if (!delivery_store_letters_to_replay(store, *after_id, last_id, REPLAY_AT_ONCE, MAX_RECORD_BYTES,
                                        arena, &letters, count, error))
    return false;
  if (*count == 0)
    return true;
  for (size_t i = 0; i < *count; i++)
    ids[i] = letters[i].dead_letter_id;
  *after_id = ids[*count - 1];
  if (!dead_letter_producer_replay(operations->dead_letters, letters, *count, error))
    return false;
  LS_FAULT_POINT("delivery.replayed");
  return delivery_store_mark_replayed(store, ids, *count, error);
}

static void replay_all_task(delivery_read *read, delivery_store *store, ls_arena *arena) {
  delivery_operations *operations = operations_of(read);
  Delivery__V1__ReplayAllDeadLettersResponse response =
      DELIVERY__V1__REPLAY_ALL_DEAD_LETTERS_RESPONSE__INIT;
  int64_t last_id;
  int64_t after_id = 0;
  size_t count = 0;
  ls_error error = {0};
  bool done = delivery_store_last_letter(store, &last_id, &error);
  do {
    done = done && replay_some(operations, store, arena, last_id, &after_id, &count, &error);
    if (done)
      response.replayed += (int64_t)count;
  } while (done && count > 0 && !ls_rpc_call_is_cancelled(read->call));
  if (done)
    delivery_v1_delivery_operations_replay_all_dead_letters_reply(read->call, &response);
  else
    fail_replay(read->call, &error);
}

static void replay_all_dead_letters(ls_rpc_call *call,
                                    const Delivery__V1__ReplayAllDeadLettersRequest *request,
                                    void *user_data) {
  push(call, user_data, &request->base, 0, replay_all_task);
}

/* --- Resync --- */

static bool schedule(delivery_operations *operations, delivery_store *store,
                     const Delivery__V1__ResyncOrdersRequest *request, ls_arena *arena,
                     int64_t *scheduled, ls_error *error) {
  *scheduled = 0;
  if (request->all)
    return delivery_store_ask_resync_all(store, error);
  int64_t *ids = ls_arena_memdup(arena, request->order_ids, request->n_order_ids * sizeof *ids);
  if (ids == NULL)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "no memory for the ids");
  size_t count = delivery_sort_ids(ids, request->n_order_ids);
  *scheduled = (int64_t)count;
  return delivery_store_ask_resync(store, ids, count, operations->resync_topic, error);
}

static void resync_task(delivery_read *read, delivery_store *store, ls_arena *arena) {
  delivery_operations *operations = operations_of(read);
  Delivery__V1__ResyncOrdersResponse response = DELIVERY__V1__RESYNC_ORDERS_RESPONSE__INIT;
  ls_error error = {0};
  if (!schedule(operations, store,
                (const Delivery__V1__ResyncOrdersRequest *)((operation *)read)->request, arena,
                &response.scheduled, &error)) {
    delivery_fail_store(read->call, &error);
    return;
  }
  pending_retrier_wake(operations->retrier);
  delivery_v1_delivery_operations_resync_orders_reply(read->call, &response);
}

static void resync_orders(ls_rpc_call *call, const Delivery__V1__ResyncOrdersRequest *request,
                          void *user_data) {
  delivery_violations violations = {.count = 0};
  if (!request->all)
    delivery_check_ids(request->order_ids, request->n_order_ids, &violations);
  else if (request->n_order_ids > 0)
    delivery_violate(&violations, "order_ids", "must be empty with all");
  if (violations.count > 0)
    delivery_fail_invalid(call, &violations);
  else
    push(call, user_data, &request->base, 0, resync_task);
}

/* --- Reconciliation --- */

static void reconciliation_state_task(delivery_read *read, delivery_store *store, ls_arena *arena) {
  delivery_operations *operations = operations_of(read);
  Delivery__V1__GetReconciliationStateResponse response =
      DELIVERY__V1__GET_RECONCILIATION_STATE_RESPONSE__INIT;
  ls_error error = {0};
  if (!delivery_store_read_reconciliation(store, arena, &response, &error)) {
    delivery_fail_store(read->call, &error);
    return;
  }
  response.enabled = delivery_reconciler_is_enabled(operations->reconciler);
  response.healed = (int64_t)ls_counter_value(operations->counters->reconciled);
  delivery_v1_delivery_operations_get_reconciliation_state_reply(read->call, &response);
}

static void get_reconciliation_state(ls_rpc_call *call,
                                     const Delivery__V1__GetReconciliationStateRequest *request,
                                     void *user_data) {
  push(call, user_data, &request->base, 0, reconciliation_state_task);
}

static void start_reconciliation_task(delivery_read *read, delivery_store *store, ls_arena *arena) {
  (void)arena;
  ls_error error = {0};
  if (!delivery_store_start_reconciliation(store, &error)) {
    delivery_fail_store(read->call, &error);
    return;
  }
  delivery_reconciler_wake(operations_of(read)->reconciler);
  Delivery__V1__StartReconciliationResponse response =
      DELIVERY__V1__START_RECONCILIATION_RESPONSE__INIT;
  delivery_v1_delivery_operations_start_reconciliation_reply(read->call, &response);
}

static void start_reconciliation(ls_rpc_call *call,
                                 const Delivery__V1__StartReconciliationRequest *request,
                                 void *user_data) {
  if (delivery_reconciler_is_enabled(((delivery_operations *)user_data)->reconciler))
    push(call, user_data, &request->base, 0, start_reconciliation_task);
  else
    ls_rpc_call_fail(call, LS_FAILED_PRECONDITION,
                     "reconciliation is off here: RECONCILE_INTERVAL is 0");
}

static const delivery_v1_delivery_operations_handlers handlers = {
    .get_consumer_state = get_consumer_state,
    .list_pending_orders = list_pending_orders,
    .list_dead_letters = list_dead_letters,
    .get_dead_letter = get_dead_letter,
    .discard_dead_letter = discard_dead_letter,
    .replay_dead_letter = replay_dead_letter,
    .replay_all_dead_letters = replay_all_dead_letters,
    .resync_orders = resync_orders,
    .get_reconciliation_state = get_reconciliation_state,
    .start_reconciliation = start_reconciliation,
};

bool delivery_operations_register(delivery_operations *operations, ls_rpc_server *server,
                                  ls_error *error) {
  return delivery_v1_delivery_operations_register(server, &handlers, operations, error);
}
