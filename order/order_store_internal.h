/* What the files of the store share; not for others. */
#ifndef LOCKSTEP_ORDER_ORDER_STORE_INTERNAL_H
#define LOCKSTEP_ORDER_ORDER_STORE_INTERNAL_H

#include "order/order_store.h"

#include "runtime/base/arena.h"
#include "runtime/base/retry.h"
#include "runtime/postgres/params.h"

/* The statements of a batch that have parameters of their own. */
enum { ORDER_STORE_PARAMS = 7 };

enum {
  ORDER_ID_BLOCK = 1024,      /* what one number of the sequence order_id_block stands for */
  ORDER_PARTITIONS_AHEAD = 4, /* of the outbox, beyond the one in use */
  ORDER_MAX_DEPTH = 8         /* of messages in the order's own messages, and more than they have */
};

struct order_store {
  order_database *database;
  unsigned session;             /* counts connections */
  ls_pg_connection *connection; /* NULL until the first connect */
  ls_arena *arena;              /* results and what leads to them */
  ls_pg_params *params[ORDER_STORE_PARAMS];
  ls_backoff backoff;
  int64_t next_attempt_ms; /* to connect, by the monotonic clock */
  int64_t next_order_id,
      last_order_id; /* what is left of the block of ids; none when next > last */
};

/* Columns of orders, in the order in which order_from_row takes them. */
#define ORDER_COLUMNS                                                                              \
  "order_id, version, status, customer_id, currency_code, total_minor_units, recipient, "          \
  "address_lines, postal_code, city, country_code, note, cancel_reason, create_time, update_time"
#define ORDER_COLUMN_TYPES                                                                         \
  LS_PG_INT8, LS_PG_INT8, LS_PG_INT2, LS_PG_TEXT, LS_PG_TEXT, LS_PG_INT8, LS_PG_TEXT, LS_PG_TEXT,  \
      LS_PG_TEXT, LS_PG_TEXT, LS_PG_TEXT, LS_PG_TEXT, LS_PG_TEXT, LS_PG_TIMESTAMPTZ,               \
      LS_PG_TIMESTAMPTZ

/* order_items of the orders in $1, as orders_from_results takes them. */
extern const ls_pg_statement order_items_statement;

/* The orders of both results, which must go by ascending order id, with their items. Copies into
 * the store's arena. */
bool orders_from_results(order_store *store, const ls_pg_result *orders, const ls_pg_result *items,
                         order_list *list, ls_error *error);

/* Lines joined as the column address_lines has them; NULL: out of memory. */
char *order_join_lines(const Order__V1__Address *address, ls_arena *arena);

bool order_store_out_of_memory(ls_error *error);

#endif
