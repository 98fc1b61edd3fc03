/* The PostgreSQL types that statements take and give, all in PostgreSQL's binary format. */
#ifndef LOCKSTEP_RUNTIME_POSTGRES_TYPES_H
#define LOCKSTEP_RUNTIME_POSTGRES_TYPES_H

/* The numbers are the OIDs of pg_type, which are part of PostgreSQL's protocol. */
typedef enum ls_pg_type {
  LS_PG_NONE = 0,
  LS_PG_BOOL = 16,
  LS_PG_BYTEA = 17,
  LS_PG_INT8 = 20,
  LS_PG_INT2 = 21,
  LS_PG_INT4 = 23,
  LS_PG_TEXT = 25,
  LS_PG_TIMESTAMPTZ = 1184,
  LS_PG_XID8 = 5069,
  LS_PG_VOID = 2278, /* a result column only: what pg_notify gives */
  LS_PG_BOOL_ARRAY = 1000,
  LS_PG_BYTEA_ARRAY = 1001,
  LS_PG_INT2_ARRAY = 1005,
  LS_PG_INT4_ARRAY = 1007,
  LS_PG_TEXT_ARRAY = 1009,
  LS_PG_INT8_ARRAY = 1016,
  LS_PG_TIMESTAMPTZ_ARRAY = 1185,
  LS_PG_XID8_ARRAY = 271
} ls_pg_type;

/* "int8", "text[]"; "an unknown type" for any other number. Static storage. */
const char *ls_pg_type_name(ls_pg_type type);

/* The array of `element`; LS_PG_NONE if there is none. */
ls_pg_type ls_pg_type_array_of(ls_pg_type element);

/* The element of an array type; LS_PG_NONE if `array` is none. */
ls_pg_type ls_pg_type_element_of(ls_pg_type array);

#endif
