/* The parameters of a statement, encoded in PostgreSQL's binary format as they are added.
 *
 * One growing buffer holds all of them, so that an object that is reset and used again allocates
 * nothing. What goes wrong on the way (out of memory, a misuse) is kept, later additions do
 * nothing, and the execution reports it: the additions themselves need no checks.
 *
 * The n-th addition is $n. Between array_begin and array_end additions are elements instead. One
 * thread at a time. */
#ifndef LOCKSTEP_RUNTIME_POSTGRES_PARAMS_H
#define LOCKSTEP_RUNTIME_POSTGRES_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/error.h"
#include "runtime/postgres/types.h"

typedef struct ls_pg_params ls_pg_params;

/* NULL when out of memory. */
ls_pg_params *ls_pg_params_new(void);

/* NULL is fine. */
void ls_pg_params_destroy(ls_pg_params *params);

/* Forgets parameters and error, keeps the memory. */
void ls_pg_params_reset(ls_pg_params *params);

/* How many parameters were added; an array counts once, when it is ended. */
size_t ls_pg_params_count(const ls_pg_params *params);

/* Bytes of encoded values so far, to bound a batch. */
size_t ls_pg_params_bytes(const ls_pg_params *params);

/* False with the first error of the additions, or when an array was left open. */
bool ls_pg_params_check(const ls_pg_params *params, ls_error *error);

void ls_pg_params_bool(ls_pg_params *params, bool value);
void ls_pg_params_int2(ls_pg_params *params, int16_t value);
void ls_pg_params_int4(ls_pg_params *params, int32_t value);
void ls_pg_params_int8(ls_pg_params *params, int64_t value);
void ls_pg_params_xid8(ls_pg_params *params, uint64_t value);

/* Microseconds since the Unix epoch; INT64_MIN is -infinity, INT64_MAX is infinity. */
void ls_pg_params_timestamptz(ls_pg_params *params, int64_t unix_us);

/* Copies. text: UTF-8 up to its NUL; NULL adds an SQL NULL. text_bytes, bytea: `value` may be NULL
 * when `bytes` is 0, and that is an empty value, not a NULL. */
void ls_pg_params_text(ls_pg_params *params, const char *value);
void ls_pg_params_text_bytes(ls_pg_params *params, const char *value, size_t bytes);
void ls_pg_params_bytea(ls_pg_params *params, const void *value, size_t bytes);

/* A NULL of `type` (in an array: of the element's type). */
void ls_pg_params_null(ls_pg_params *params, ls_pg_type type);

/* One dimension, subscripts from 1; no elements: the empty array. Elements must be of `element`. */
void ls_pg_params_array_begin(ls_pg_params *params, ls_pg_type element);
void ls_pg_params_array_end(ls_pg_params *params);

/* A whole int8[]. */
void ls_pg_params_int8_array(ls_pg_params *params, const int64_t *values, size_t count);

/* The n-th parameter (from 0) as it is sent; data is NULL for an SQL NULL. Until the next addition,
 * reset or destroy. */
typedef struct ls_pg_param {
  ls_pg_type type;
  const void *data;
  size_t bytes;
} ls_pg_param;
ls_pg_param ls_pg_params_at(const ls_pg_params *params, size_t index);

#endif
