/* The rows a statement gave.
 *
 * Columns were checked against the statement's declaration when it was prepared, so the getters
 * cannot fail: a NULL reads as 0, false or the empty string, and so does a row or column out of
 * range, or a getter of another type than the column's. What a getter points to lives as long as
 * the result. Rows and columns count from 0. Any thread may read; nothing is changed. */
#ifndef LOCKSTEP_RUNTIME_POSTGRES_RESULT_H
#define LOCKSTEP_RUNTIME_POSTGRES_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/postgres/types.h"

typedef struct ls_pg_result ls_pg_result;

/* NULL is fine. */
void ls_pg_result_destroy(ls_pg_result *result);

size_t ls_pg_row_count(const ls_pg_result *result);

/* Rows inserted, updated, deleted or selected. */
uint64_t ls_pg_affected_rows(const ls_pg_result *result);

bool ls_pg_is_null(const ls_pg_result *result, size_t row, size_t column);

bool ls_pg_get_bool(const ls_pg_result *result, size_t row, size_t column);
int16_t ls_pg_get_int2(const ls_pg_result *result, size_t row, size_t column);
int32_t ls_pg_get_int4(const ls_pg_result *result, size_t row, size_t column);
int64_t ls_pg_get_int8(const ls_pg_result *result, size_t row, size_t column);
uint64_t ls_pg_get_xid8(const ls_pg_result *result, size_t row, size_t column);

/* Microseconds since the Unix epoch; INT64_MIN for -infinity, INT64_MAX for infinity. */
int64_t ls_pg_get_timestamptz(const ls_pg_result *result, size_t row, size_t column);

/* text is NUL-terminated; `bytes` (without the NUL) may be NULL. Never NULL. */
const char *ls_pg_get_text(const ls_pg_result *result, size_t row, size_t column, size_t *bytes);
const void *ls_pg_get_bytea(const ls_pg_result *result, size_t row, size_t column, size_t *bytes);

/* One element of an array. */
typedef struct ls_pg_value {
  const unsigned char *data; /* NULL for an SQL NULL */
  size_t bytes;
} ls_pg_value;

/* An array being read from its first element on. */
typedef struct ls_pg_array {
  ls_pg_type element;
  size_t count;              /* of elements not yet read */
  const unsigned char *next; /* private */
  size_t bytes;              /* private */
} ls_pg_array;

/* A one-dimensional array value; no elements for a NULL, an empty array or any other value. */
ls_pg_array ls_pg_get_array(const ls_pg_result *result, size_t row, size_t column);

/* The next element; false after the last. */
bool ls_pg_array_next(ls_pg_array *array, ls_pg_value *value);

/* An element as a number, as the getters above read them. bytea and text: data and bytes as they
 * are, without a NUL. */
bool ls_pg_value_bool(ls_pg_value value);
int16_t ls_pg_value_int2(ls_pg_value value);
int32_t ls_pg_value_int4(ls_pg_value value);
int64_t ls_pg_value_int8(ls_pg_value value);
uint64_t ls_pg_value_xid8(ls_pg_value value);
int64_t ls_pg_value_timestamptz(ls_pg_value value);

#endif
