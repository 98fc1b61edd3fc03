/* What a transaction of the store writes, row by row; for the store alone. */
#ifndef LOCKSTEP_ORDER_ORDER_STORE_ROWS_H
#define LOCKSTEP_ORDER_ORDER_STORE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "order/order_store.h"

/* A write as it was decided, before it is written. */
typedef struct order_draft {
  const order_write *write;
  order_outcome outcome;
  Order__V1__Order *answer; /* ORDER_CHANGED: the new version; else as order_write.order says */
  bool items_changed;
  const char *request_id; /* to be remembered with the answer; NULL: none */
  uint8_t *packed;        /* the answer, if it is written anywhere */
  size_t packed_bytes;
} order_draft;

/* Packs the answer. False: out of memory. */
bool order_draft_pack(order_draft *draft, ls_arena *arena);

/* Whether it leaves anything in the database. */
bool order_draft_is_kept(const order_draft *draft);

/* Writes all that the drafts leave, in one round trip that ends with COMMIT. On failure the
 * transaction is rolled back, or the connection lost with the outcome of COMMIT unknown. */
bool order_rows_write(order_store *store, ls_pg_transaction transaction, const order_draft *drafts,
                      size_t count, ls_error *error);

#endif
