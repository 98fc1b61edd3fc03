/* A set of names. */
#ifndef LOCKSTEP_GEN_NAME_SET_H
#define LOCKSTEP_GEN_NAME_SET_H

#include <stdbool.h>
#include <stddef.h>

#include "gen/plugin/pool.h"

/* Start with {.pool = …}; all memory is the pool's. */
typedef struct name_set {
  gen_pool *pool;
  const char **slots;
  size_t capacity; /* a power of two */
  size_t count;
} name_set;

/* `name` must outlive the set. */
void name_set_add(name_set *set, const char *name);
bool name_set_has(const name_set *set, const char *name);

#endif
