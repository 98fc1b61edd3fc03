/* The map: open addressing with linear probing, a power of two slots, at most three quarters full.
 */
#include "runtime/base/map.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 16 };

typedef struct map_slot {
  int64_t key;
  ls_map_value value;
} map_slot;

struct ls_map {
  size_t slots; /* 0 before the first insert */
  size_t count;
  map_slot *slot;
  unsigned char *used; /* apart from the slots: clearing and visiting touch little memory */
};

/* Ids are often consecutive; all bits of the product depend on all bits of the key. */
static size_t home_of(const ls_map *map, int64_t key) {
  uint64_t hash = (uint64_t)key;
  hash = (hash ^ (hash >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  hash = (hash ^ (hash >> 27)) * UINT64_C(0x94d049bb133111eb);
  return (size_t)(hash ^ (hash >> 31)) & (map->slots - 1);
}

/* The slot that has the key, or the free one where it would go; the map has slots. */
static size_t slot_of(const ls_map *map, int64_t key) {
  size_t at = home_of(map, key);
  while (map->used[at] && map->slot[at].key != key)
    at = (at + 1) & (map->slots - 1);
  return at;
}

static bool grow(ls_map *map) {
  if (map->slots > SIZE_MAX / 4 / sizeof(map_slot))
    return false;
  size_t slots = map->slots ? map->slots * 2 : FIRST_SLOTS;
  ls_map larger = {.slots = slots};
  larger.slot = malloc(slots * sizeof *larger.slot);
  larger.used = calloc(slots, 1);
  if (!larger.slot || !larger.used) {
    free(larger.slot);
    free(larger.used);
    return false;
  }
  for (size_t i = 0; i < map->slots; i++) {
    if (!map->used[i])
      continue;
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): where one is used, there are slots
    size_t at = slot_of(&larger, map->slot[i].key);
    larger.used[at] = 1;
    larger.slot[at] = map->slot[i];
  }
  free(map->slot);
  free(map->used);
  map->slots = slots;
  map->slot = larger.slot;
  map->used = larger.used;
  return true;
}

ls_map *ls_map_new(void) {
  return calloc(1, sizeof(ls_map));
}

ls_map_value *ls_map_find(const ls_map *map, int64_t key) {
  if (map->count == 0)
    return NULL;
  size_t at = slot_of(map, key);
  return map->used[at] ? &map->slot[at].value : NULL;
}

ls_map_value *ls_map_insert(ls_map *map, int64_t key, bool *added) {
  ls_map_value *found = ls_map_find(map, key);
  if (added)
    *added = !found;
  if (found)
    return found;
  if (map->count >= map->slots / 4 * 3 && !grow(map))
    return NULL;
  size_t at = slot_of(map, key);
  map->used[at] = 1;
  map->count++;
  // NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): there are slots, now at the latest
  memset(&map->slot[at], 0, sizeof map->slot[at]);
  map->slot[at].key = key;
  return &map->slot[at].value;
}

bool ls_map_remove(ls_map *map, int64_t key, ls_map_value *value) {
  if (map->count == 0)
    return false;
  size_t hole = slot_of(map, key);
  if (!map->used[hole])
    return false;
  if (value)
    *value = map->slot[hole].value;
  /* Those behind it move up, unless they already are between their home and the hole: no marks of
   * the removed remain to slow later searches. */
  size_t mask = map->slots - 1;
  for (size_t at = (hole + 1) & mask; map->used[at]; at = (at + 1) & mask) {
    size_t home = home_of(map, map->slot[at].key);
    if (((at - home) & mask) >= ((at - hole) & mask)) {
      map->slot[hole] = map->slot[at];
      hole = at;
    }
  }
  map->used[hole] = 0;
  map->count--;
  return true;
}

size_t ls_map_size(const ls_map *map) {
  return map->count;
}

bool ls_map_next(const ls_map *map, size_t *cursor, int64_t *key, ls_map_value *value) {
  for (; *cursor < map->slots; ++*cursor) {
    size_t at = *cursor;
    if (!map->used[at])
      continue;
    *key = map->slot[at].key;
    if (value)
      *value = map->slot[at].value;
    ++*cursor;
    return true;
  }
  return false;
}

void ls_map_clear(ls_map *map) {
  if (map->count > 0)
    memset(map->used, 0, map->slots);
  map->count = 0;
}

void ls_map_destroy(ls_map *map) {
  if (!map)
    return;
  free(map->slot);
  free(map->used);
  free(map);
}
