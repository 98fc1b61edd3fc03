/* Memory for one piece of work (a call, a batch): many small allocations, one free. */
#ifndef LOCKSTEP_RUNTIME_BASE_ARENA_H
#define LOCKSTEP_RUNTIME_BASE_ARENA_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ls_arena ls_arena;

/* An arena that hands out at most `max_bytes` between resets. NULL when out of memory. One thread
 * at a time. */
ls_arena *ls_arena_new(size_t max_bytes);

/* Aligned for any type, not zeroed; NULL at the bound or out of memory. Lives until reset or
 * destroy. */
void *ls_arena_alloc(ls_arena *arena, size_t bytes);

/* Copies; NUL-terminated. NULL as above. */
char *ls_arena_strdup(ls_arena *arena, const char *text);
void *ls_arena_memdup(ls_arena *arena, const void *data, size_t bytes);

/* Frees what was handed out; keeps one block for the next use. */
void ls_arena_reset(ls_arena *arena);

/* Bytes handed out since the last reset. */
size_t ls_arena_used(const ls_arena *arena);

/* NULL is fine. */
void ls_arena_destroy(ls_arena *arena);

#ifdef __cplusplus
}
#endif

#endif
