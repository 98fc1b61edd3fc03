/* Names of the supported types, and which array belongs to which element. */
#include "runtime/postgres/types.h"

#include <stddef.h>

typedef struct type_entry {
  ls_pg_type type;
  ls_pg_type array;
  const char *name;
  const char *array_name;
} type_entry;

static const type_entry type_entries[] = {
    {LS_PG_BOOL, LS_PG_BOOL_ARRAY, "bool", "bool[]"},
    {LS_PG_BYTEA, LS_PG_BYTEA_ARRAY, "bytea", "bytea[]"},
    {LS_PG_INT2, LS_PG_INT2_ARRAY, "int2", "int2[]"},
    {LS_PG_INT4, LS_PG_INT4_ARRAY, "int4", "int4[]"},
    {LS_PG_INT8, LS_PG_INT8_ARRAY, "int8", "int8[]"},
    {LS_PG_TEXT, LS_PG_TEXT_ARRAY, "text", "text[]"},
    {LS_PG_TIMESTAMPTZ, LS_PG_TIMESTAMPTZ_ARRAY, "timestamptz", "timestamptz[]"},
    {LS_PG_XID8, LS_PG_XID8_ARRAY, "xid8", "xid8[]"},
    {LS_PG_VOID, LS_PG_NONE, "void", NULL},
};

#define TYPE_ENTRIES (sizeof type_entries / sizeof type_entries[0])

const char *ls_pg_type_name(ls_pg_type type) {
  for (size_t i = 0; i < TYPE_ENTRIES; i++) {
    if (type_entries[i].type == type)
      return type_entries[i].name;
    if (type != LS_PG_NONE && type_entries[i].array == type)
      return type_entries[i].array_name;
  }
  return "an unknown type";
}

ls_pg_type ls_pg_type_array_of(ls_pg_type element) {
  for (size_t i = 0; i < TYPE_ENTRIES; i++) {
    if (type_entries[i].type == element)
      return type_entries[i].array;
  }
  return LS_PG_NONE;
}

ls_pg_type ls_pg_type_element_of(ls_pg_type array) {
  for (size_t i = 0; array != LS_PG_NONE && i < TYPE_ENTRIES; i++) {
    if (type_entries[i].array == array)
      return type_entries[i].type;
  }
  return LS_PG_NONE;
}
