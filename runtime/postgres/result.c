/* Decoding of results. */
#include "runtime/postgres/result.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/postgres/internal.h"

struct ls_pg_result {
  PGresult *rows;
  size_t row_count;
  size_t column_count;
  uint64_t affected_rows;
};

ls_pg_result *ls_pg_result_new(void) {
  return calloc(1, sizeof(ls_pg_result));
}

void ls_pg_result_fill(ls_pg_result *result, PGresult *rows) {
  result->rows = rows;
  result->row_count = (size_t)PQntuples(rows);
  result->column_count = (size_t)PQnfields(rows);
  result->affected_rows = strtoull(PQcmdTuples(rows), NULL, 10);
}

void ls_pg_result_destroy(ls_pg_result *result) {
  if (!result)
    return;
  PQclear(result->rows);
  free(result);
}

size_t ls_pg_row_count(const ls_pg_result *result) {
  return result->row_count;
}

uint64_t ls_pg_affected_rows(const ls_pg_result *result) {
  return result->affected_rows;
}

static ls_pg_value value_at(const ls_pg_result *result, size_t row, size_t column) {
  if (row >= result->row_count || column >= result->column_count ||
      PQgetisnull(result->rows, (int)row, (int)column))
    return (ls_pg_value){0};
  return (ls_pg_value){.data =
                           (const unsigned char *)PQgetvalue(result->rows, (int)row, (int)column),
                       .bytes = (size_t)PQgetlength(result->rows, (int)row, (int)column)};
}

/* The value if the column is of that type, else a NULL. */
static ls_pg_value typed_value(const ls_pg_result *result, size_t row, size_t column,
                               ls_pg_type type) {
  if (column >= result->column_count || PQftype(result->rows, (int)column) != (Oid)type)
    return (ls_pg_value){0};
  return value_at(result, row, column);
}

bool ls_pg_is_null(const ls_pg_result *result, size_t row, size_t column) {
  return value_at(result, row, column).data == NULL;
}

bool ls_pg_value_bool(ls_pg_value value) {
  return value.data && value.bytes == 1 && value.data[0] != 0;
}

int16_t ls_pg_value_int2(ls_pg_value value) {
  uint16_t big_endian;
  if (!value.data || value.bytes != sizeof big_endian)
    return 0;
  memcpy(&big_endian, value.data, sizeof big_endian);
  return (int16_t)be16toh(big_endian);
}

int32_t ls_pg_value_int4(ls_pg_value value) {
  uint32_t big_endian;
  if (!value.data || value.bytes != sizeof big_endian)
    return 0;
  memcpy(&big_endian, value.data, sizeof big_endian);
  return (int32_t)be32toh(big_endian);
}

uint64_t ls_pg_value_xid8(ls_pg_value value) {
  uint64_t big_endian;
  if (!value.data || value.bytes != sizeof big_endian)
    return 0;
  memcpy(&big_endian, value.data, sizeof big_endian);
  return be64toh(big_endian);
}

int64_t ls_pg_value_int8(ls_pg_value value) {
  return (int64_t)ls_pg_value_xid8(value);
}

int64_t ls_pg_value_timestamptz(ls_pg_value value) {
  if (!value.data)
    return 0;
  int64_t postgres_us = ls_pg_value_int8(value);
  int64_t unix_us;
  if (postgres_us == INT64_MIN || postgres_us == INT64_MAX ||
      __builtin_add_overflow(postgres_us, LS_PG_EPOCH_US, &unix_us))
    return postgres_us < 0 ? INT64_MIN : INT64_MAX;
  return unix_us;
}

bool ls_pg_get_bool(const ls_pg_result *result, size_t row, size_t column) {
  return ls_pg_value_bool(typed_value(result, row, column, LS_PG_BOOL));
}

int16_t ls_pg_get_int2(const ls_pg_result *result, size_t row, size_t column) {
  return ls_pg_value_int2(typed_value(result, row, column, LS_PG_INT2));
}

int32_t ls_pg_get_int4(const ls_pg_result *result, size_t row, size_t column) {
  return ls_pg_value_int4(typed_value(result, row, column, LS_PG_INT4));
}

int64_t ls_pg_get_int8(const ls_pg_result *result, size_t row, size_t column) {
  return ls_pg_value_int8(typed_value(result, row, column, LS_PG_INT8));
}

uint64_t ls_pg_get_xid8(const ls_pg_result *result, size_t row, size_t column) {
  return ls_pg_value_xid8(typed_value(result, row, column, LS_PG_XID8));
}

int64_t ls_pg_get_timestamptz(const ls_pg_result *result, size_t row, size_t column) {
  return ls_pg_value_timestamptz(typed_value(result, row, column, LS_PG_TIMESTAMPTZ));
}

static const void *get_bytes(ls_pg_value value, size_t *bytes) {
  if (bytes)
    *bytes = value.bytes;
  return value.data ? value.data : (const unsigned char *)"";
}

const char *ls_pg_get_text(const ls_pg_result *result, size_t row, size_t column, size_t *bytes) {
  return get_bytes(typed_value(result, row, column, LS_PG_TEXT), bytes);
}

const void *ls_pg_get_bytea(const ls_pg_result *result, size_t row, size_t column, size_t *bytes) {
  return get_bytes(typed_value(result, row, column, LS_PG_BYTEA), bytes);
}

static int32_t int4_at(const unsigned char *place) {
  return ls_pg_value_int4((ls_pg_value){.data = place, .bytes = 4});
}

ls_pg_array ls_pg_get_array(const ls_pg_result *result, size_t row, size_t column) {
  ls_pg_array none = {0};
  if (column >= result->column_count)
    return none;
  ls_pg_type element = ls_pg_type_element_of((ls_pg_type)PQftype(result->rows, (int)column));
  ls_pg_value value = value_at(result, row, column);
  none.element = element;
  /* dimensions, has-nulls, element type, length, lower bound */
  if (element == LS_PG_NONE || !value.data || value.bytes < 20 || int4_at(value.data) != 1 ||
      int4_at(value.data + 12) < 0)
    return none;
  return (ls_pg_array){.element = element,
                       .count = (size_t)int4_at(value.data + 12),
                       .next = value.data + 20,
                       .bytes = value.bytes - 20};
}

bool ls_pg_array_next(ls_pg_array *array, ls_pg_value *value) {
  if (array->count == 0 || array->bytes < 4)
    return false;
  int32_t bytes = int4_at(array->next);
  array->next += 4;
  array->bytes -= 4;
  array->count--;
  *value = (ls_pg_value){0};
  if (bytes < 0)
    return true;
  if ((size_t)bytes > array->bytes) {
    array->count = 0;
    return false;
  }
  *value = (ls_pg_value){.data = array->next, .bytes = (size_t)bytes};
  array->next += bytes;
  array->bytes -= (size_t)bytes;
  return true;
}
