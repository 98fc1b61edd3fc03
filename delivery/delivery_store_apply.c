/* Applying orders to deliveries: lock, decide, write, in one transaction and two round trips. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "delivery/delivery_store.h"
#include "delivery/delivery_store_internal.h"

/* How often a batch begins anew when others made the same deliveries between its look and its
 * write. */
#define MAX_RACES 10

#define KNOWN_COLUMNS "order_id, revision, state, order_version, event_version, missing_versions"

static const ls_pg_statement known_statement = {
    .name = "delivery_known",
    .sql = "SELECT " KNOWN_COLUMNS " FROM deliveries WHERE order_id = ANY($1) ORDER BY order_id",
    .columns = {LS_PG_INT8, LS_PG_INT8, LS_PG_INT2, LS_PG_INT8, LS_PG_INT8, LS_PG_INT8_ARRAY}};

static const ls_pg_statement lock_statement = {
    .name = "delivery_lock",
    .sql = "SELECT " KNOWN_COLUMNS
           " FROM deliveries WHERE order_id = ANY($1) ORDER BY order_id FOR UPDATE",
    .columns = {LS_PG_INT8, LS_PG_INT8, LS_PG_INT2, LS_PG_INT8, LS_PG_INT8, LS_PG_INT8_ARRAY}};

/* The parameters of both statements below, from $1 to $13. */
#define CHANGES                                                                                    \
  "unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::smallint[], $6::text[], "  \
  "$7::text[], $8::text[], $9::text[], $10::text[], $11::bytea[], $12::bigint[], $13::text[]) "    \
  "AS n(order_id, revision, state, order_version, order_status, recipient, address_lines, "        \
  "postal_code, city, country_code, items, event_version, missing_versions)"

#define LOG_CHANGES                                                                                \
  "INSERT INTO delivery_history (order_id, revision, cause, order_version, state, change_time) "   \
  "SELECT order_id, revision, 1, order_version, state, update_time FROM changed"

/* Somebody else who made one of them meanwhile has it fail, and the batch begins anew. */
static const ls_pg_statement insert_statement = {
    .name = "delivery_insert",
    .sql = "WITH changed AS ("
           "  INSERT INTO deliveries (order_id, revision, state, order_version, order_status, "
           "    recipient, address_lines, postal_code, city, country_code, items, create_time, "
           "    update_time, event_version, missing_versions) "
           "  SELECT order_id, revision, state, order_version, order_status, recipient, "
           "    address_lines, postal_code, city, country_code, items, statement_timestamp(), "
           "    statement_timestamp(), event_version, missing_versions::bigint[] "
           "  FROM " CHANGES " ORDER BY order_id "
           "  RETURNING order_id, revision, state, order_version, update_time) " LOG_CHANGES};

/* The rows are locked; the guards say once more what the rules have said. */
static const ls_pg_statement update_statement = {
    .name = "delivery_update",
    .sql =
        "WITH changed AS ("
        "  UPDATE deliveries d SET revision = n.revision, state = n.state, "
        "    order_version = n.order_version, order_status = n.order_status, "
        "    recipient = n.recipient, address_lines = n.address_lines, "
        "    postal_code = n.postal_code, city = n.city, country_code = n.country_code, "
        "    items = n.items, update_time = statement_timestamp(), "
        "    event_version = n.event_version, missing_versions = n.missing_versions::bigint[] "
        "  FROM " CHANGES "  WHERE d.order_id = n.order_id AND d.order_version < n.order_version "
        "    AND d.revision = n.revision - 1 "
        "  RETURNING d.order_id, d.revision, d.state, d.order_version, "
        "d.update_time) " LOG_CHANGES};

static const ls_pg_statement tracker_statement = {
    .name = "delivery_track",
    .sql = "UPDATE deliveries d SET event_version = n.event_version, "
           "  missing_versions = n.missing_versions::bigint[] "
           "FROM unnest($1::bigint[], $2::bigint[], $3::text[]) "
           "  AS n(order_id, event_version, missing_versions) "
           "WHERE d.order_id = n.order_id"};

/* --- What is known --- */

static void read_known(const ls_pg_result *rows, size_t row, delivery_known *known) {
  memset(known, 0, sizeof *known);
  known->applied_version = ls_pg_get_int8(rows, row, 3);
  delivery_tracker *tracker = &known->tracker;
  tracker->event_version = ls_pg_get_int8(rows, row, 4);
  ls_pg_array missing = ls_pg_get_array(rows, row, 5);
  ls_pg_value value;
  while (tracker->missing_count < DELIVERY_MAX_MISSING && ls_pg_array_next(&missing, &value))
    tracker->missing[tracker->missing_count++] = ls_pg_value_int8(value);
}

bool delivery_store_known(delivery_store *store, const int64_t *order_ids, size_t count,
                          delivery_known *known, ls_error *error) {
  if (!delivery_store_connect(store, error))
    return false;
  ls_pg_params *params = delivery_store_params(store, 0);
  ls_pg_params_int8_array(params, order_ids, count);
  ls_pg_result *rows;
  if (!ls_pg_exec(store->connection, &known_statement, params, &rows, error))
    return false;
  size_t row = 0;
  for (size_t i = 0; i < count; i++) {
    if (row < ls_pg_row_count(rows) && ls_pg_get_int8(rows, row, 0) == order_ids[i])
      read_known(rows, row++, &known[i]);
    else
      memset(&known[i], 0, sizeof known[i]);
  }
  ls_pg_result_destroy(rows);
  return true;
}

/* --- Deciding --- */

/* What is to be written of a work. */
typedef enum change_kind { CHANGE_NONE, CHANGE_INSERT, CHANGE_UPDATE, CHANGE_TRACKER } change_kind;

typedef struct change {
  change_kind kind;
  const delivery_work *work;
  const delivery_snapshot *snapshot;
  delivery_standing standing;
} change;

static bool decide(delivery_work *work, const ls_pg_result *rows, size_t row, bool exists,
                   change *out, ls_error *error) {
  static const delivery_known nothing;
  delivery_known known = nothing;
  *out = (change){.kind = CHANGE_NONE, .work = work};
  if (exists) {
    read_known(rows, row, &known);
    out->standing =
        (delivery_standing){.revision = ls_pg_get_int8(rows, row, 1),
                            .state = (Delivery__V1__DeliveryState)ls_pg_get_int2(rows, row, 2),
                            .order_version = known.applied_version};
  }
  delivery_decision *decision = &work->decision;
  delivery_decide(&known, work->events, work->event_count, &work->lookup, decision, work->verdicts);
  if (decision->look_up)
    return ls_error_set(error, LS_INTERNAL, false, NULL,
                        "an order was to be applied without the lookup that it needs");
  if (decision->source != DELIVERY_FROM_NOWHERE) {
    out->snapshot = decision->source == DELIVERY_FROM_LOOKUP
                        ? work->found
                        : work->snapshots[decision->snapshot_event];
    out->kind = exists ? CHANGE_UPDATE : CHANGE_INSERT;
    delivery_apply_order(&out->standing, decision->version, out->snapshot->status);
  } else if (exists && decision->tracker_changed) {
    out->kind = CHANGE_TRACKER;
  }
  return true;
}

static bool decide_all(delivery_batch *batch, const ls_pg_result *rows, change *changes,
                       ls_error *error) {
  size_t row = 0;
  for (size_t i = 0; i < batch->work_count; i++) {
    delivery_work *work = &batch->works[i];
    bool exists = row < ls_pg_row_count(rows) && ls_pg_get_int8(rows, row, 0) == work->order_id;
    if (!decide(work, rows, row, exists, &changes[i], error))
      return false;
    row += exists;
  }
  return true;
}

/* --- Writing --- */

/* As PostgreSQL writes a bigint[] in text: unnest takes no arrays of different lengths. */
static void add_missing(ls_pg_params *params, const delivery_tracker *tracker) {
  char text[2 + DELIVERY_MAX_MISSING * 21];
  size_t length = 0;
  text[length++] = '{';
  for (size_t i = 0; i < tracker->missing_count; i++)
    length += (size_t)snprintf(text + length, sizeof text - length, i == 0 ? "%lld" : ",%lld",
                               (long long)tracker->missing[i]);
  text[length++] = '}';
  ls_pg_params_text_bytes(params, text, length);
}

/* One array parameter: `append` for each change of the kind. */
#define EACH(type, append)                                                                         \
  ls_pg_params_array_begin(params, type);                                                          \
  for (size_t i = 0; i < count; i++) {                                                             \
    const change *one = &changes[i];                                                               \
    if (one->kind == kind)                                                                         \
      append;                                                                                      \
  }                                                                                                \
  ls_pg_params_array_end(params)

static void add_changes(ls_pg_params *params, change_kind kind, const change *changes,
                        size_t count) {
  EACH(LS_PG_INT8, ls_pg_params_int8(params, one->work->order_id));
  EACH(LS_PG_INT8, ls_pg_params_int8(params, one->standing.revision));
  EACH(LS_PG_INT2, ls_pg_params_int2(params, (int16_t)one->standing.state));
  EACH(LS_PG_INT8, ls_pg_params_int8(params, one->standing.order_version));
  EACH(LS_PG_INT2, ls_pg_params_int2(params, (int16_t)one->snapshot->status));
  EACH(LS_PG_TEXT, ls_pg_params_text(params, one->snapshot->recipient));
  EACH(LS_PG_TEXT, ls_pg_params_text(params, one->snapshot->address_lines));
  EACH(LS_PG_TEXT, ls_pg_params_text(params, one->snapshot->postal_code));
  EACH(LS_PG_TEXT, ls_pg_params_text(params, one->snapshot->city));
  EACH(LS_PG_TEXT, ls_pg_params_text(params, one->snapshot->country_code));
  EACH(LS_PG_BYTEA, ls_pg_params_bytea(params, one->snapshot->items, one->snapshot->items_bytes));
  EACH(LS_PG_INT8, ls_pg_params_int8(params, one->work->decision.tracker.event_version));
  EACH(LS_PG_TEXT, add_missing(params, &one->work->decision.tracker));
}

static void add_trackers(ls_pg_params *params, const change *changes, size_t count) {
  const change_kind kind = CHANGE_TRACKER;
  EACH(LS_PG_INT8, ls_pg_params_int8(params, one->work->order_id));
  EACH(LS_PG_INT8, ls_pg_params_int8(params, one->work->decision.tracker.event_version));
  EACH(LS_PG_TEXT, add_missing(params, &one->work->decision.tracker));
}

static size_t count_kind(change_kind kind, const change *changes, size_t count) {
  size_t found = 0;
  for (size_t i = 0; i < count; i++)
    found += changes[i].kind == kind;
  return found;
}

static size_t count_pending(const delivery_batch *batch) {
  size_t found = 0;
  for (size_t i = 0; i < batch->work_count; i++)
    found += batch->works[i].decision.pending;
  return found;
}

/* The statements of a batch, as they are put together. */
typedef struct statements {
  delivery_store *store;
  ls_pg_batch_item items[DELIVERY_STORE_PARAMS];
  size_t count;
} statements;

static ls_pg_params *add_statement(statements *list, const ls_pg_statement *statement) {
  /* The first parameters are those of the lock. */
  ls_pg_params *params = delivery_store_params(list->store, list->count + 1);
  list->items[list->count++] = (ls_pg_batch_item){statement, params, NULL};
  return params;
}

static bool write_batch(delivery_store *store, delivery_batch *batch, const change *changes,
                        size_t *applied, ls_error *error) {
  size_t count = batch->work_count;
  size_t inserts = count_kind(CHANGE_INSERT, changes, count);
  size_t updates = count_kind(CHANGE_UPDATE, changes, count);
  size_t pending = count_pending(batch);
  statements list = {.store = store};
  if (inserts > 0)
    add_changes(add_statement(&list, &insert_statement), CHANGE_INSERT, changes, count);
  if (updates > 0)
    add_changes(add_statement(&list, &update_statement), CHANGE_UPDATE, changes, count);
  if (count_kind(CHANGE_TRACKER, changes, count) > 0)
    add_trackers(add_statement(&list, &tracker_statement), changes, count);
  if (batch->letter_count > 0)
    delivery_store_add_letters(add_statement(&list, &delivery_statement_letters), batch->letters,
                               batch->letter_count);
  if (batch->end_count > 0) {
    delivery_store_add_done(add_statement(&list, &delivery_statement_pending_done), batch->ends,
                            batch->end_count);
    delivery_store_add_release(add_statement(&list, &delivery_statement_pending_release),
                               batch->ends, batch->end_count);
  } else if (pending > 0) {
    delivery_store_add_pending(add_statement(&list, &delivery_statement_pending), batch->works,
                               count, batch->pending_delay_ms);
  }
  *applied = inserts + updates;
  if (list.count == 0) {
    delivery_store_give_up(store); /* nothing to write; the locks go */
    return true;
  }
  if (!ls_pg_exec_batch(store->connection, LS_PG_COMMIT, list.items, list.count, error))
    return false;
  /* The statements on deliveries come first; their outer INSERT counts what was written. */
  uint64_t written = 0;
  for (size_t i = 0; i < (size_t)(inserts > 0) + (updates > 0); i++)
    written += ls_pg_affected_rows(list.items[i].result);
  ls_pg_batch_clear(list.items, list.count);
  if (written == inserts + updates)
    return true;
  return ls_error_set(error, LS_UNAVAILABLE, true, NULL,
                      "%zu of %zu deliveries were not written, although they were locked",
                      inserts + updates - (size_t)written, inserts + updates);
}

static bool apply_once(delivery_store *store, delivery_batch *batch, change *changes,
                       size_t *applied, ls_error *error) {
  ls_pg_params *ids = delivery_store_params(store, 0);
  ls_pg_params_array_begin(ids, LS_PG_INT8);
  for (size_t i = 0; i < batch->work_count; i++)
    ls_pg_params_int8(ids, batch->works[i].order_id);
  ls_pg_params_array_end(ids);
  ls_pg_batch_item lock = {&lock_statement, ids, NULL};
  if (!ls_pg_exec_batch(store->connection, LS_PG_BEGIN, &lock, 1, error))
    return false;
  bool decided = decide_all(batch, lock.result, changes, error);
  ls_pg_batch_clear(&lock, 1);
  if (!decided)
    return delivery_store_give_up(store);
  return write_batch(store, batch, changes, applied, error);
}

bool delivery_store_is_about_data(const ls_error *error) {
  return strncmp(error->source, "22", 2) == 0 || strncmp(error->source, "23", 2) == 0;
}

bool delivery_store_apply(delivery_store *store, delivery_batch *batch, size_t *applied,
                          ls_error *error) {
  *applied = 0;
  if (!delivery_store_connect(store, error))
    return false;
  size_t count = batch->work_count > 0 ? batch->work_count : 1;
  change *changes = calloc(count, sizeof *changes);
  if (changes == NULL)
    return delivery_store_exhausted(error);
  bool done = false;
  for (int race = 0; race < MAX_RACES; race++) {
    done = apply_once(store, batch, changes, applied, error);
    if (done || error->code != LS_ALREADY_EXISTS)
      break;
  }
  free(changes);
  return done;
}
