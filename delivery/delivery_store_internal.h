/* What the files of the delivery store share; not for others. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_STORE_INTERNAL_H
#define LOCKSTEP_DELIVERY_DELIVERY_STORE_INTERNAL_H

#include "delivery/delivery_store.h"

/* As many statements as one batch has, each with parameters of its own. */
enum { DELIVERY_STORE_PARAMS = 10 };

struct delivery_store {
  delivery_database *database;
  ls_pg_connection *connection; /* NULL until first connected */
  unsigned session;
  ls_pg_params *params[DELIVERY_STORE_PARAMS];
};

/* The columns that make a Delivery__V1__Delivery, and their types. */
#define DELIVERY_COLUMNS                                                                           \
  "order_id, revision, state, order_version, recipient, address_lines, postal_code, city, "        \
  "country_code, items, tracking_code, create_time, update_time"
#define DELIVERY_COLUMN_TYPES                                                                      \
  LS_PG_INT8, LS_PG_INT8, LS_PG_INT2, LS_PG_INT8, LS_PG_TEXT, LS_PG_TEXT, LS_PG_TEXT, LS_PG_TEXT,  \
      LS_PG_TEXT, LS_PG_BYTEA, LS_PG_TEXT, LS_PG_TIMESTAMPTZ, LS_PG_TIMESTAMPTZ

/* The n-th parameters, emptied. */
ls_pg_params *delivery_store_params(delivery_store *store, size_t index);

/* For what finds no memory. Returns false. */
bool delivery_store_exhausted(ls_error *error);

/* Ends a transaction that is left open; keeps `error`. Returns false. */
bool delivery_store_give_up(delivery_store *store);

/* A delivery from a row of DELIVERY_COLUMNS, in the arena. NULL on failure. */
Delivery__V1__Delivery *delivery_store_row(const ls_pg_result *result, size_t row, ls_arena *arena,
                                           ls_error *error);

/* The rules' view of the same row. */
delivery_standing delivery_store_standing(const ls_pg_result *result, size_t row);

/* A timestamp in the arena; NULL out of memory. */
Google__Protobuf__Timestamp *delivery_store_timestamp(int64_t wall_us, ls_arena *arena);

/* The timestamp of a column, likewise; true also where there is none, and `time` is unchanged. */
bool delivery_store_time(const ls_pg_result *result, size_t row, size_t column, ls_arena *arena,
                         Google__Protobuf__Timestamp **time);

/* The record in six columns from `column` on (topic, partition, offset, key, value, headers), in
 * the arena. */
bool delivery_store_record(const ls_pg_result *result, size_t row, size_t column, ls_arena *arena,
                           order_record *record, ls_error *error);

/* The record of the n-th of some items; NULL to leave it out. */
typedef const order_record *(*delivery_store_record_of)(const void *items, size_t index);

/* Adds six array parameters of the same columns, one element for each record. */
void delivery_store_add_records(ls_pg_params *params, delivery_store_record_of record_of,
                                const void *items, size_t count);

/* Text of at most 480 bytes, cut between characters. */
void delivery_store_add_reason(ls_pg_params *params, const char *reason);

/* In a batch: statements that insert dead letters and end attempts; see delivery_batch. */
extern const ls_pg_statement delivery_statement_letters;
void delivery_store_add_letters(ls_pg_params *params, const delivery_letter *letters, size_t count);

extern const ls_pg_statement delivery_statement_pending;
/* Those works whose decision is pending. */
void delivery_store_add_pending(ls_pg_params *params, const delivery_work *works, size_t count,
                                int64_t delay_ms);

extern const ls_pg_statement delivery_statement_pending_done;
extern const ls_pg_statement delivery_statement_pending_release;
void delivery_store_add_done(ls_pg_params *params, const delivery_pending_end *ends, size_t count);
void delivery_store_add_release(ls_pg_params *params, const delivery_pending_end *ends,
                                size_t count);

#endif
