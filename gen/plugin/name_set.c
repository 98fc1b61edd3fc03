/* A hash table with open addressing. */
#include "gen/plugin/name_set.h"

#include <stdint.h>
#include <string.h>

/* FNV-1a. */
static size_t hash(const char *name) {
  uint64_t value = 14695981039346656037U;
  for (; *name != '\0'; name++)
    value = (value ^ (unsigned char)*name) * 1099511628211U;
  return (size_t)(value ^ value >> 32);
}

/* The slot that has the name, or the empty one where it would be. */
static const char **find_slot(const name_set *set, const char *name) {
  size_t at = hash(name) & (set->capacity - 1);
  while (set->slots[at] != NULL && strcmp(set->slots[at], name) != 0)
    at = (at + 1) & (set->capacity - 1);
  return &set->slots[at];
}

static void grow(name_set *set) {
  name_set larger = {.pool = set->pool, .capacity = set->capacity == 0 ? 32 : 2 * set->capacity};
  larger.slots = pool_array(set->pool, larger.capacity, sizeof *larger.slots);
  for (size_t i = 0; i < set->capacity; i++)
    if (set->slots[i] != NULL)
      name_set_add(&larger, set->slots[i]);
  *set = larger;
}

void name_set_add(name_set *set, const char *name) {
  if (2 * (set->count + 1) > set->capacity)
    grow(set);
  const char **slot = find_slot(set, name);
  if (*slot == NULL)
    set->count++;
  *slot = name;
}

bool name_set_has(const name_set *set, const char *name) {
  return set->capacity > 0 && *find_slot(set, name) != NULL;
}
