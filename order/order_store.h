/* The orders in PostgreSQL: one session's reads and writes.
 *
 * A store belongs to one thread at a time; several threads have one each. It connects when it is
 * told to, and stays unconnected after the connection was lost until it is told again. Results live
 * until the store's next read or write. */
#ifndef LOCKSTEP_ORDER_ORDER_STORE_H
#define LOCKSTEP_ORDER_ORDER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "order/order.h"
#include "order/order_database.h"
#include "runtime/base/error.h"
#include "runtime/postgres/connection.h"

typedef struct order_store order_store;

/* What the memory of one read or write may come to. */
#define ORDER_STORE_MAX_BYTES ((size_t)256 << 20)

/* A transaction failing for a passing reason (a deadlock, a serialization failure, a request that
 * another one was a moment faster with) is tried so often. */
#define ORDER_STORE_ATTEMPTS 5

/* `database` must outlive the store. Does not connect. NULL: out of memory. */
order_store *order_store_new(order_database *database, ls_error *error);

/* NULL is fine. */
void order_store_destroy(order_store *store);

/* Connects unless it is connected, and sees to the schema; may block for the connect timeout. */
bool order_store_connect(order_store *store, ls_error *error);

/* The same, but while the database is down it tries only now and then, after growing pauses, and
 * fails at once in between, and once the process was asked to end: what a thread with calls to
 * answer asks before each batch. */
bool order_store_ready(order_store *store, ls_error *error);

/* False once the connection is known to be lost; does not block. */
bool order_store_is_connected(order_store *store);

/* How often it has connected: another number is another session. */
unsigned order_store_session(const order_store *store);

/* For statements of others than the store; connected or not. NULL before the first connect. */
ls_pg_connection *order_store_connection(order_store *store);

/* --- Writing --- */

typedef enum order_write_kind {
  ORDER_WRITE_CREATE,
  ORDER_WRITE_UPDATE,
  ORDER_WRITE_CANCEL,
  ORDER_WRITE_REPUBLISH /* nothing changes; the newest event goes out once more */
} order_write_kind;

typedef union order_write_request {
  const Order__V1__CreateOrderRequest *create;
  const Order__V1__UpdateOrderRequest *update;
  const Order__V1__CancelOrderRequest *cancel;
} order_write_request; /* a republication has none */

/* One request, checked by order_check.h, and what came of it. */
typedef struct order_write {
  order_write_kind kind;
  order_write_request request;
  uint8_t fingerprint[ORDER_FINGERPRINT_BYTES]; /* used if the request has an id */
  const char *trace_parent;                     /* of the call; NULL: none */

  /* A create gets its own the first time it is tried, 0 before; a republication comes with it. */
  int64_t order_id;
  bool is_repeat; /* its request id was met already: look for the answer first */

  order_outcome outcome;
  /* The answer when ORDER_CHANGED, ORDER_UNCHANGED or ORDER_REPEATED; what stands in the way when
   * ORDER_ALREADY_CANCELLED or ORDER_VERSION_MISMATCH; else NULL. */
  const Order__V1__Order *order;
} order_write;

/* Writes a batch in one transaction, each write with an outcome of its own; it is committed when
 * this returns. The first write to an order, and the first with a request id, is done; the others
 * are ORDER_DEFERRED, and for the next batch. What makes the whole transaction fail is found by
 * trying writes one at a time: only the bad one is ORDER_FAILED, and that is logged here.
 *
 * A connection that was lost is made again, once. What may be done again without doing it twice is,
 * the rest is ORDER_UNAVAILABLE. `error` (may be NULL) tells of the last failure, LS_OK if there
 * was none. */
void order_store_write(order_store *store, order_write *const *writes, size_t count,
                       ls_error *error);

/* Makes partitions of the outbox for `ahead` more than is in use; `made` gets how many were
 * lacking. Needs a connected store. */
bool order_store_add_partitions(order_store *store, int32_t ahead, int32_t *made, ls_error *error);

/* --- Reading: always what is committed, and all of it as of one moment --- */

typedef struct order_list {
  Order__V1__Order **orders; /* by ascending id */
  size_t count;
} order_list;

/* Those of the ids that have an order; `ids` in any order, repeated ones are read once. */
bool order_store_read(order_store *store, const int64_t *ids, size_t count, order_list *found,
                      ls_error *error);

/* The order with this id in `list`, or NULL. */
Order__V1__Order *order_list_find(const order_list *list, int64_t order_id);

typedef struct order_query {
  const char *customer_id;       /* "": any */
  Order__V1__OrderStatus status; /* unspecified: any */
  int64_t after_order_id;
  int32_t limit; /* at least 1 */
} order_query;

bool order_store_list(order_store *store, const order_query *query, order_list *page,
                      ls_error *error);

/* Ids and versions, of the store like other results. */
typedef struct order_versions {
  int64_t *order_ids; /* ascending */
  int64_t *versions;  /* of the order at the same place */
  size_t count;
} order_versions;

/* At most `limit` orders with ids above `after_order_id` up to `last_order_id`. */
bool order_store_versions(order_store *store, int64_t after_order_id, int64_t last_order_id,
                          int32_t limit, order_versions *found, ls_error *error);

#endif
