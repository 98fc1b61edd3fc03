/* Encoding of parameters: one buffer of values, and beside it what libpq wants to know of each. */
#include "runtime/postgres/params.h"

#include <endian.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/postgres/internal.h"

#define PARAMS_MAX 65535                   /* the protocol counts them in 16 bits */
#define PARAMS_BYTES_MAX ((size_t)1 << 30) /* the server takes no larger message */
#define ARRAY_HEADER_BYTES 20              /* dimensions, has-nulls, element, length, lower bound */
#define ARRAY_EMPTY_BYTES 12               /* an empty array has no dimension to describe */

typedef struct param {
  size_t offset;
  bool is_null;
} param;

struct ls_pg_params {
  unsigned char *data;
  size_t bytes, data_capacity;

  size_t count, capacity;
  param *params;
  Oid *types;
  int *lengths;
  int *formats;
  const char **values; /* pointers into data, set when the parameters are bound */

  ls_pg_type element; /* of the array that is open; LS_PG_NONE: none is */
  size_t array_offset;
  size_t array_count;
  bool array_has_null;

  ls_error error;
};

ls_pg_params *ls_pg_params_new(void) {
  return calloc(1, sizeof(ls_pg_params));
}

void ls_pg_params_destroy(ls_pg_params *params) {
  if (!params)
    return;
  free(params->data);
  free(params->params);
  free(params->types);
  free(params->lengths);
  free(params->formats);
  free(params->values);
  free(params);
}

void ls_pg_params_reset(ls_pg_params *params) {
  params->bytes = 0;
  params->count = 0;
  params->element = LS_PG_NONE;
  ls_error_clear(&params->error);
}

size_t ls_pg_params_count(const ls_pg_params *params) {
  return params->count;
}

size_t ls_pg_params_bytes(const ls_pg_params *params) {
  return params->bytes;
}

bool ls_pg_params_check(const ls_pg_params *params, ls_error *error) {
  if (params->error.code != LS_OK) {
    if (error)
      *error = params->error;
    return false;
  }
  if (params->element != LS_PG_NONE)
    return ls_error_set(error, LS_INTERNAL, false, NULL, "parameter %zu is an array never ended",
                        params->count + 1);
  return true;
}

static bool out_of_memory(ls_pg_params *params) {
  return ls_error_set(&params->error, LS_RESOURCE_EXHAUSTED, true, NULL,
                      "out of memory for the parameters of a statement");
}

static void too_large(ls_pg_params *params) {
  ls_error_set(&params->error, LS_OUT_OF_RANGE, false, NULL,
               "the parameters of a statement are larger than %zu bytes", PARAMS_BYTES_MAX);
}

/* Room for `bytes` more; NULL with the error kept. */
static unsigned char *extend(ls_pg_params *params, size_t bytes) {
  if (bytes > PARAMS_BYTES_MAX - params->bytes) {
    too_large(params);
    return NULL;
  }
  size_t needed = params->bytes + bytes;
  if (needed > params->data_capacity) {
    size_t capacity = params->data_capacity ? params->data_capacity : 256;
    while (capacity < needed)
      capacity *= 2;
    unsigned char *data = realloc(params->data, capacity);
    if (!data) {
      out_of_memory(params);
      return NULL;
    }
    params->data = data;
    params->data_capacity = capacity;
  }
  unsigned char *place = params->data + params->bytes;
  params->bytes = needed;
  return place;
}

static bool grow_one(void **array, size_t capacity, size_t item_bytes) {
  void *grown = realloc(*array, capacity * item_bytes);
  if (!grown)
    return false;
  *array = grown;
  return true;
}

/* The arrays grow together; one that did not keeps its old, still sufficient, size. */
static bool grow_params(ls_pg_params *params) {
  if (params->count < params->capacity)
    return true;
  size_t capacity = params->capacity ? params->capacity * 2 : 16;
  void *members[] = {params->params, params->types, params->lengths, params->formats,
                     (void *)params->values};
  bool done = grow_one(&members[0], capacity, sizeof *params->params) &&
              grow_one(&members[1], capacity, sizeof *params->types) &&
              grow_one(&members[2], capacity, sizeof *params->lengths) &&
              grow_one(&members[3], capacity, sizeof *params->formats) &&
              grow_one(&members[4], capacity, sizeof *params->values);
  params->params = members[0];
  params->types = members[1];
  params->lengths = members[2];
  params->formats = members[3];
  params->values = members[4];
  if (!done)
    return out_of_memory(params);
  params->capacity = capacity;
  return true;
}

static void add_param(ls_pg_params *params, ls_pg_type type, size_t offset, size_t bytes,
                      bool is_null) {
  if (params->count == PARAMS_MAX) {
    ls_error_set(&params->error, LS_OUT_OF_RANGE, false, NULL,
                 "a statement takes at most %d parameters", PARAMS_MAX);
    return;
  }
  if (!grow_params(params))
    return;
  size_t i = params->count++;
  params->params[i] = (param){.offset = offset, .is_null = is_null};
  params->types[i] = (Oid)type;
  params->lengths[i] = (int)bytes;
  params->formats[i] = 1;
}

static void put_int4(unsigned char *place, uint32_t value) {
  uint32_t big_endian = htobe32(value);
  memcpy(place, &big_endian, sizeof big_endian);
}

/* Adds a value as a parameter or, in an open array, as an element. `value` NULL: an SQL NULL. */
static void add_value(ls_pg_params *params, ls_pg_type type, const void *value, size_t bytes) {
  if (params->error.code != LS_OK)
    return;
  if (bytes > PARAMS_BYTES_MAX) {
    too_large(params);
    return;
  }
  if (params->element == LS_PG_NONE) {
    size_t offset = params->bytes;
    unsigned char *place = extend(params, bytes);
    if (!place && bytes > 0)
      return;
    if (bytes > 0)
      memcpy(place, value, bytes);
    if (params->error.code == LS_OK)
      add_param(params, type, offset, bytes, value == NULL);
    return;
  }
  if (type != params->element) {
    ls_error_set(&params->error, LS_INTERNAL, false, NULL,
                 "parameter %zu: an element of type %s in an array of %s", params->count + 1,
                 ls_pg_type_name(type), ls_pg_type_name(params->element));
    return;
  }
  unsigned char *place = extend(params, 4 + bytes);
  if (!place)
    return;
  put_int4(place, value ? (uint32_t)bytes : UINT32_MAX);
  if (bytes > 0)
    memcpy(place + 4, value, bytes);
  params->array_count++;
  params->array_has_null |= value == NULL;
}

void ls_pg_params_bool(ls_pg_params *params, bool value) {
  unsigned char byte = value ? 1 : 0;
  add_value(params, LS_PG_BOOL, &byte, sizeof byte);
}

void ls_pg_params_int2(ls_pg_params *params, int16_t value) {
  uint16_t big_endian = htobe16((uint16_t)value);
  add_value(params, LS_PG_INT2, &big_endian, sizeof big_endian);
}

void ls_pg_params_int4(ls_pg_params *params, int32_t value) {
  uint32_t big_endian = htobe32((uint32_t)value);
  add_value(params, LS_PG_INT4, &big_endian, sizeof big_endian);
}

static void add_int8(ls_pg_params *params, ls_pg_type type, uint64_t value) {
  uint64_t big_endian = htobe64(value);
  add_value(params, type, &big_endian, sizeof big_endian);
}

void ls_pg_params_int8(ls_pg_params *params, int64_t value) {
  add_int8(params, LS_PG_INT8, (uint64_t)value);
}

void ls_pg_params_xid8(ls_pg_params *params, uint64_t value) {
  add_int8(params, LS_PG_XID8, value);
}

void ls_pg_params_timestamptz(ls_pg_params *params, int64_t unix_us) {
  int64_t value = unix_us;
  bool is_finite = unix_us != INT64_MIN && unix_us != INT64_MAX;
  if (is_finite && __builtin_sub_overflow(unix_us, LS_PG_EPOCH_US, &value)) {
    if (params->error.code == LS_OK)
      ls_error_set(&params->error, LS_OUT_OF_RANGE, false, NULL,
                   "parameter %zu: a time before PostgreSQL's first", params->count + 1);
    return;
  }
  add_int8(params, LS_PG_TIMESTAMPTZ, (uint64_t)value);
}

void ls_pg_params_text_bytes(ls_pg_params *params, const char *value, size_t bytes) {
  add_value(params, LS_PG_TEXT, value ? value : "", bytes);
}

void ls_pg_params_text(ls_pg_params *params, const char *value) {
  add_value(params, LS_PG_TEXT, value, value ? strlen(value) : 0);
}

void ls_pg_params_bytea(ls_pg_params *params, const void *value, size_t bytes) {
  add_value(params, LS_PG_BYTEA, value ? value : "", bytes);
}

void ls_pg_params_null(ls_pg_params *params, ls_pg_type type) {
  add_value(params, type, NULL, 0);
}

void ls_pg_params_array_begin(ls_pg_params *params, ls_pg_type element) {
  if (params->error.code != LS_OK)
    return;
  if (params->element != LS_PG_NONE || ls_pg_type_array_of(element) == LS_PG_NONE) {
    ls_error_set(&params->error, LS_INTERNAL, false, NULL,
                 "parameter %zu: no array of %s can begin here", params->count + 1,
                 ls_pg_type_name(element));
    return;
  }
  size_t offset = params->bytes;
  if (!extend(params, ARRAY_HEADER_BYTES))
    return;
  params->element = element;
  params->array_offset = offset;
  params->array_count = 0;
  params->array_has_null = false;
}

void ls_pg_params_array_end(ls_pg_params *params) {
  if (params->error.code != LS_OK)
    return;
  if (params->element == LS_PG_NONE) {
    ls_error_set(&params->error, LS_INTERNAL, false, NULL,
                 "parameter %zu: the end of an array that never began", params->count + 1);
    return;
  }
  unsigned char *header = params->data + params->array_offset;
  bool is_empty = params->array_count == 0;
  put_int4(header, is_empty ? 0 : 1);
  put_int4(header + 4, params->array_has_null ? 1 : 0);
  put_int4(header + 8, (uint32_t)params->element);
  put_int4(header + 12, (uint32_t)params->array_count);
  put_int4(header + 16, 1);
  if (is_empty)
    params->bytes = params->array_offset + ARRAY_EMPTY_BYTES;
  ls_pg_type type = ls_pg_type_array_of(params->element);
  params->element = LS_PG_NONE;
  add_param(params, type, params->array_offset, params->bytes - params->array_offset, false);
}

void ls_pg_params_int8_array(ls_pg_params *params, const int64_t *values, size_t count) {
  ls_pg_params_array_begin(params, LS_PG_INT8);
  for (size_t i = 0; i < count && params->error.code == LS_OK; i++)
    ls_pg_params_int8(params, values[i]);
  ls_pg_params_array_end(params);
}

static const char *param_data(const ls_pg_params *params, size_t index) {
  if (params->params[index].is_null)
    return NULL;
  return params->data ? (const char *)params->data + params->params[index].offset : "";
}

ls_pg_param ls_pg_params_at(const ls_pg_params *params, size_t index) {
  if (index >= params->count)
    return (ls_pg_param){.type = LS_PG_NONE};
  return (ls_pg_param){.type = (ls_pg_type)params->types[index],
                       .data = param_data(params, index),
                       .bytes = (size_t)params->lengths[index]};
}

ls_pg_bound_params ls_pg_params_bind(const ls_pg_params *params) {
  if (!params || params->count == 0)
    return (ls_pg_bound_params){0};
  for (size_t i = 0; i < params->count; i++)
    params->values[i] = param_data(params, i);
  return (ls_pg_bound_params){.count = (int)params->count,
                              .types = params->types,
                              .values = params->values,
                              .lengths = params->lengths,
                              .formats = params->formats};
}
