/* A hash map from a 64-bit number (an order's id) to a number or a pointer. One thread at a time.
 */
#ifndef LOCKSTEP_RUNTIME_BASE_MAP_H
#define LOCKSTEP_RUNTIME_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ls_map ls_map;

typedef union ls_map_value {
  int64_t number;
  void *pointer; /* what it points to is the caller's */
} ls_map_value;

/* Empty; takes memory as it grows. NULL when out of memory. */
ls_map *ls_map_new(void);

/* The key's value, made zero if the key is new; `added` (may be NULL) says which. The pointer is
 * good until the next insert, remove or clear. NULL, and nothing changed, when out of memory. */
ls_map_value *ls_map_insert(ls_map *map, int64_t key, bool *added);

/* NULL when the key is not there; good until the next insert, remove or clear. */
ls_map_value *ls_map_find(const ls_map *map, int64_t key);

/* False when the key is not there. `value` (may be NULL) gets what it had. */
bool ls_map_remove(ls_map *map, int64_t key, ls_map_value *value);

size_t ls_map_size(const ls_map *map);

/* Visits all keys in no order: start with `*cursor` 0, call until false. `value` may be NULL.
 * Values may be changed meanwhile (ls_map_find), keys not. */
bool ls_map_next(const ls_map *map, size_t *cursor, int64_t *key, ls_map_value *value);

/* Removes all keys; keeps the memory for the next use. */
void ls_map_clear(ls_map *map);

/* NULL is fine. */
void ls_map_destroy(ls_map *map);

#endif
