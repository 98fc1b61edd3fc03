/* A store's writes: what a transaction holds, and what is done when it fails.
 *
 * A transaction takes one round trip when it only creates orders, two when it changes some: the
 * first locks the orders, in the order of their ids so that two batches cannot wait for each other,
 * and reads them and the requests that are known already; the second writes and commits. Requests
 * are claimed in the order of their ids, and only by those who have their locks, for the same
 * reason. A claim that another transaction was faster with makes this one fail, and be tried again
 * with a look at the known requests first: rare, and it costs those nothing who do not repeat
 * themselves. */
#include "order/order_store.h"

#include <stdlib.h>
#include <string.h>

#include "order/order_store_internal.h"
#include "order/order_store_rows.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/rpc/message.h"

static const ls_pg_statement block_statement = {
    .name = "order_id_block", .sql = "SELECT nextval('order_id_block')", .columns = {LS_PG_INT8}};

static const ls_pg_statement partitions_statement = {.name = "outbox_add_partitions",
                                                     .sql = "SELECT outbox_add_partitions($1)",
                                                     .columns = {LS_PG_INT4}};

static const ls_pg_statement lock_statement = {.name = "orders_lock",
                                               .sql = "SELECT " ORDER_COLUMNS
                                                      " FROM orders WHERE order_id = ANY($1) "
                                                      "ORDER BY order_id FOR NO KEY UPDATE",
                                               .columns = {ORDER_COLUMN_TYPES}};

static const ls_pg_statement requests_statement = {
    .name = "order_requests_read",
    .sql = "SELECT request_id, fingerprint, response FROM order_requests "
           "WHERE request_id = ANY($1) ORDER BY request_id",
    .columns = {LS_PG_TEXT, LS_PG_BYTEA, LS_PG_BYTEA}};

static const char *request_id(const order_write *write) {
  switch (write->kind) {
  case ORDER_WRITE_CREATE:
    return write->request.create->request_id;
  case ORDER_WRITE_UPDATE:
    return write->request.update->request_id;
  case ORDER_WRITE_CANCEL:
    return write->request.cancel->request_id;
  case ORDER_WRITE_REPUBLISH:
    break;
  }
  return "";
}

static bool has_request_id(const order_write *write) {
  return request_id(write)[0] != '\0';
}

/* --- What waits for the next batch --- */

typedef struct placed_write {
  order_write *write;
  size_t position;
} placed_write;

static int compare_positions(const placed_write *a, const placed_write *b) {
  return (a->position > b->position) - (a->position < b->position);
}

static int compare_orders(const void *left, const void *right) {
  const placed_write *a = left, *b = right;
  int order = (a->write->order_id > b->write->order_id) - (a->write->order_id < b->write->order_id);
  return order != 0 ? order : compare_positions(a, b);
}

static int compare_requests(const void *left, const void *right) {
  const placed_write *a = left, *b = right;
  int order = strcmp(request_id(a->write), request_id(b->write));
  return order != 0 ? order : compare_positions(a, b);
}

/* Defers all but the first write to each order and with each request id; gives those that remain,
 * in their order. */
static size_t defer_repeated(order_write *const *writes, size_t count, placed_write *sorted,
                             order_write **remaining) {
  for (size_t i = 0; i < count; i++)
    sorted[i] = (placed_write){writes[i], i};
  qsort(sorted, count, sizeof *sorted, compare_orders);
  for (size_t i = 1; i < count; i++)
    if (sorted[i].write->order_id != 0 &&
        sorted[i].write->order_id == sorted[i - 1].write->order_id)
      sorted[i].write->outcome = ORDER_DEFERRED;
  qsort(sorted, count, sizeof *sorted, compare_requests);
  for (size_t i = 1; i < count; i++)
    if (has_request_id(sorted[i].write) &&
        strcmp(request_id(sorted[i].write), request_id(sorted[i - 1].write)) == 0) {
      sorted[i].write->outcome = ORDER_DEFERRED;
      sorted[i].write->is_repeat = true;
    }
  size_t kept = 0;
  for (size_t i = 0; i < count; i++)
    if (writes[i]->outcome != ORDER_DEFERRED)
      remaining[kept++] = writes[i];
  return kept;
}

/* --- One transaction --- */

/* What a transaction found before it decided. */
typedef struct known_state {
  order_list orders;
  const ls_pg_result *requests; /* NULL: not looked for */
} known_state;

static bool assign_ids(order_store *store, order_write *const *writes, size_t count,
                       ls_error *error) {
  for (size_t i = 0; i < count; i++) {
    if (writes[i]->order_id != 0)
      continue;
    if (store->next_order_id > store->last_order_id) {
      ls_pg_result *block = NULL;
      if (!ls_pg_exec(store->connection, &block_statement, NULL, &block, error))
        return false;
      store->last_order_id = ls_pg_get_int8(block, 0, 0) * ORDER_ID_BLOCK;
      store->next_order_id = store->last_order_id - ORDER_ID_BLOCK + 1;
      ls_pg_result_destroy(block);
    }
    writes[i]->order_id = store->next_order_id++;
  }
  return true;
}

/* The row of a request among the known ones, -1 if it is not. */
static ptrdiff_t find_request(const ls_pg_result *requests, const char *wanted) {
  size_t low = 0;
  size_t high = requests == NULL ? 0 : ls_pg_row_count(requests);
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(ls_pg_get_text(requests, middle, 0, NULL), wanted);
    if (order == 0)
      return (ptrdiff_t)middle;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return -1;
}

/* A request that was done before gets the answer it got then, whatever has become of the order. */
static void repeat_answer(order_store *store, const order_write *write,
                          const ls_pg_result *requests, size_t row, order_draft *draft) {
  size_t bytes;
  const void *known = ls_pg_get_bytea(requests, row, 1, &bytes);
  if (bytes != ORDER_FINGERPRINT_BYTES || memcmp(known, write->fingerprint, bytes) != 0) {
    draft->outcome = ORDER_REQUEST_ID_REUSED;
    return;
  }
  const void *response = ls_pg_get_bytea(requests, row, 2, &bytes);
  ls_error error = {0};
  ProtobufCMessage *order = ls_rpc_message_unpack(&order__v1__order__descriptor, response, bytes,
                                                  ORDER_MAX_DEPTH, store->arena, &error);
  if (order == NULL) {
    LS_ERROR("the stored answer to a request cannot be read",
             LS_STR("request_id", request_id(write)), LS_ERR(&error));
    draft->outcome = ORDER_FAILED;
    return;
  }
  draft->outcome = ORDER_REPEATED;
  draft->answer = (Order__V1__Order *)order;
}

static void decide(order_store *store, order_write *write, const known_state *known, int64_t now_us,
                   order_draft *draft) {
  *draft = (order_draft){.write = write};
  ptrdiff_t row = has_request_id(write) ? find_request(known->requests, request_id(write)) : -1;
  if (row >= 0) {
    repeat_answer(store, write, known->requests, (size_t)row, draft);
    return;
  }
  Order__V1__Order *current = order_list_find(&known->orders, write->order_id);
  Order__V1__Order *next = NULL;
  switch (write->kind) {
  case ORDER_WRITE_CREATE:
    next = order_create(write->request.create, write->order_id, now_us, store->arena);
    draft->outcome = next == NULL ? ORDER_OUT_OF_MEMORY : ORDER_CHANGED;
    draft->items_changed = true;
    break;
  case ORDER_WRITE_UPDATE:
    draft->outcome = order_update(current, write->request.update, now_us, store->arena, &next,
                                  &draft->items_changed);
    break;
  case ORDER_WRITE_CANCEL:
    draft->outcome = order_cancel(current, write->request.cancel, now_us, store->arena, &next);
    break;
  case ORDER_WRITE_REPUBLISH:
    draft->outcome = current == NULL ? ORDER_MISSING : ORDER_REPUBLISHED;
    break;
  }
  draft->answer = draft->outcome == ORDER_CHANGED ? next : current;
  bool answered = draft->outcome == ORDER_CHANGED || draft->outcome == ORDER_UNCHANGED ||
                  draft->outcome == ORDER_REPUBLISHED;
  draft->request_id = answered && has_request_id(write) ? request_id(write) : NULL;
  if (answered && !order_draft_pack(draft, store->arena))
    *draft = (order_draft){.write = write, .outcome = ORDER_OUT_OF_MEMORY};
}

/* Locks the orders to be changed and reads what is there: the open transaction's first round trip.
 */
static bool lock_and_read(order_store *store, order_write *const *writes, size_t count,
                          known_state *known, ls_pg_batch_item items[3], size_t *item_count,
                          ls_error *error) {
  ls_pg_params *ids = store->params[0];
  ls_pg_params *requests = store->params[1];
  bool is_locking = false;
  bool is_looking = false;
  ls_pg_params_reset(ids);
  ls_pg_params_array_begin(ids, LS_PG_INT8);
  ls_pg_params_reset(requests);
  ls_pg_params_array_begin(requests, LS_PG_TEXT);
  for (size_t i = 0; i < count; i++) {
    if (writes[i]->kind != ORDER_WRITE_CREATE) {
      ls_pg_params_int8(ids, writes[i]->order_id);
      is_locking = true;
    }
    if (has_request_id(writes[i])) {
      ls_pg_params_text(requests, request_id(writes[i]));
      is_looking = true;
    }
  }
  ls_pg_params_array_end(ids);
  ls_pg_params_array_end(requests);
  if (is_locking) {
    items[(*item_count)++] = (ls_pg_batch_item){.statement = &lock_statement, .params = ids};
    items[(*item_count)++] = (ls_pg_batch_item){.statement = &order_items_statement, .params = ids};
  }
  if (is_looking)
    items[(*item_count)++] =
        (ls_pg_batch_item){.statement = &requests_statement, .params = requests};
  if (!ls_pg_exec_batch(store->connection, LS_PG_BEGIN, items, *item_count, error))
    return false;
  if (is_locking &&
      !orders_from_results(store, items[0].result, items[1].result, &known->orders, error))
    return false;
  known->requests = is_looking ? items[*item_count - 1].result : NULL;
  return true;
}

/* What a failed transaction leaves. */
typedef struct transaction_state {
  bool may_be_committed; /* COMMIT was on its way when it failed */
} transaction_state;

/* Does a batch in one transaction. True: committed, and every write has its outcome. */
static bool try_transaction(order_store *store, order_write *const *writes, size_t count,
                            transaction_state *state, ls_error *error) {
  known_state known = {.orders = {NULL, 0}, .requests = NULL};
  ls_pg_batch_item reads[3] = {{0}};
  size_t read_count = 0;
  bool is_reading = false;
  bool done = false;
  state->may_be_committed = false;
  for (size_t i = 0; i < count; i++)
    is_reading = is_reading || writes[i]->kind != ORDER_WRITE_CREATE || writes[i]->is_repeat;
  order_draft *drafts = ls_arena_alloc(store->arena, count * sizeof *drafts);
  if (drafts == NULL)
    return order_store_out_of_memory(error);
  if (!assign_ids(store, writes, count, error))
    return false;
  if (is_reading && !lock_and_read(store, writes, count, &known, reads, &read_count, error))
    goto cleanup;
  int64_t now_us = ls_clock_wall_us();
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    decide(store, writes[i], &known, now_us, &drafts[i]);
    kept += order_draft_is_kept(&drafts[i]);
  }
  if (kept > 0) {
    ls_pg_transaction transaction = is_reading ? LS_PG_COMMIT : LS_PG_BEGIN_COMMIT;
    state->may_be_committed = true;
    if (!order_rows_write(store, transaction, drafts, count, error))
      goto cleanup;
  }
  for (size_t i = 0; i < count; i++) {
    writes[i]->outcome = drafts[i].outcome;
    writes[i]->order = drafts[i].answer;
  }
  done = true;

cleanup:
  ls_pg_batch_clear(reads, read_count);
  /* Nothing to write, or no memory to decide: the locks go, and nothing was changed. */
  (void)ls_pg_rollback(store->connection, NULL);
  return done;
}

/* --- When it fails --- */

static void give_up(order_write *const *writes, size_t count, order_outcome outcome) {
  for (size_t i = 0; i < count; i++)
    writes[i]->outcome = outcome;
}

/* The connection went away while COMMIT was on its way. What names its request is done again, and
 * finds its answer if it was committed; of the others nobody can know. Gives how many are left. */
static size_t keep_repeatable(order_write **writes, size_t count) {
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    if (!has_request_id(writes[i])) {
      writes[i]->outcome = ORDER_UNAVAILABLE;
      continue;
    }
    writes[i]->is_repeat = true;
    writes[kept++] = writes[i];
  }
  return kept;
}

bool order_store_add_partitions(order_store *store, int32_t ahead, int32_t *made, ls_error *error) {
  ls_pg_params *params = store->params[0];
  ls_pg_params_reset(params);
  ls_pg_params_int4(params, ahead);
  ls_pg_result *result = NULL;
  if (!ls_pg_exec(store->connection, &partitions_statement, params, &result, error))
    return false;
  *made = ls_pg_get_int4(result, 0, 0);
  ls_pg_result_destroy(result);
  return true;
}

typedef enum next_step {
  STEP_REPEAT, /* the same again */
  STEP_REFUSED /* it would fail again */
} next_step;

/* What to do about a failure that left the connection alive. */
static next_step after_failure(order_store *store, order_write *const *writes, size_t count,
                               unsigned attempt, const ls_error *failure) {
  if (failure->code == LS_ALREADY_EXISTS) {
    for (size_t i = 0; i < count; i++)
      writes[i]->is_repeat = true;
    return STEP_REPEAT;
  }
  /* A check constraint, or no partition for the row: these share their SQLSTATE. */
  if (strcmp(failure->source, "23514") == 0) {
    int32_t made = 0;
    ls_error error = {0};
    if (!order_store_add_partitions(store, ORDER_PARTITIONS_AHEAD, &made, &error))
      LS_ERROR("partitions of the outbox cannot be made", LS_ERR(&error));
    /* None made: another writer may have done it meanwhile, which the second attempt shows. */
    return made > 0 || attempt == 0 ? STEP_REPEAT : STEP_REFUSED;
  }
  return failure->retriable && failure->code == LS_UNAVAILABLE ? STEP_REPEAT : STEP_REFUSED;
}

static void write_one_by_one(order_store *store, order_write **writes, size_t count,
                             ls_error *error);

static void write_batch(order_store *store, order_write **writes, size_t count, ls_error *error) {
  bool is_reconnected = false;
  for (unsigned attempt = 0; count > 0 && attempt < ORDER_STORE_ATTEMPTS; attempt++) {
    transaction_state state;
    if (!order_store_connect(store, error)) {
      give_up(writes, count, ORDER_UNAVAILABLE);
      return;
    }
    if (try_transaction(store, writes, count, &state, error)) {
      ls_error_clear(error);
      return;
    }
    /* A primary that has become a standby: its successor may be found by connecting again. */
    if (strcmp(error->source, "25006") == 0) {
      ls_pg_connection_destroy(store->connection);
      store->connection = NULL;
    }
    if (!order_store_is_connected(store)) {
      if (state.may_be_committed)
        count = keep_repeatable(writes, count);
      if (is_reconnected)
        break;
      is_reconnected = true;
    } else if (after_failure(store, writes, count, attempt, error) == STEP_REFUSED) {
      if (error->retriable)
        break;
      write_one_by_one(store, writes, count, error);
      return;
    }
  }
  if (count > 0 && error->code == LS_ALREADY_EXISTS && order_store_is_connected(store)) {
    write_one_by_one(store, writes, count, error);
    return;
  }
  give_up(writes, count,
          error->code == LS_RESOURCE_EXHAUSTED ? ORDER_OUT_OF_MEMORY : ORDER_UNAVAILABLE);
}

static void write_one_by_one(order_store *store, order_write **writes, size_t count,
                             ls_error *error) {
  if (count == 1) {
    LS_ERROR_TRACE(writes[0]->trace_parent, "an order cannot be written",
                   LS_INT("order_id", writes[0]->order_id), LS_ERR(error));
    writes[0]->outcome = ORDER_FAILED;
    return;
  }
  for (size_t i = 0; i < count; i++)
    write_batch(store, &writes[i], 1, error);
}

void order_store_write(order_store *store, order_write *const *writes, size_t count,
                       ls_error *error) {
  ls_error unused = {0};
  if (error == NULL)
    error = &unused;
  ls_error_clear(error);
  ls_arena_reset(store->arena);
  for (size_t i = 0; i < count; i++) {
    writes[i]->outcome = ORDER_UNDECIDED;
    writes[i]->order = NULL;
    if (writes[i]->kind == ORDER_WRITE_UPDATE)
      writes[i]->order_id = writes[i]->request.update->order->order_id;
    else if (writes[i]->kind == ORDER_WRITE_CANCEL)
      writes[i]->order_id = writes[i]->request.cancel->order_id;
  }
  order_write **remaining = ls_arena_alloc(store->arena, count * sizeof(order_write *));
  placed_write *sorted = ls_arena_alloc(store->arena, count * sizeof *sorted);
  if (remaining == NULL || sorted == NULL) {
    order_store_out_of_memory(error);
    give_up(writes, count, ORDER_OUT_OF_MEMORY);
    return;
  }
  size_t kept = defer_repeated(writes, count, sorted, remaining);
  write_batch(store, remaining, kept, error);
}
