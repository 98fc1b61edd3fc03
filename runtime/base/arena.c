/* The arena: a list of blocks that double in size, the newest in front; a bump pointer in it. */
#include "runtime/base/arena.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISONS 1
#endif
#endif

/* Under ASan, memory that is not handed out may not be touched. */
#ifdef ARENA_POISONS
#include <sanitizer/asan_interface.h>
#define POISON(data, bytes) ASAN_POISON_MEMORY_REGION(data, bytes)
#define UNPOISON(data, bytes) ASAN_UNPOISON_MEMORY_REGION(data, bytes)
#else
#define POISON(data, bytes) ((void)(data), (void)(bytes))
#define UNPOISON(data, bytes) ((void)(data), (void)(bytes))
#endif

enum {
  ALIGNMENT = _Alignof(max_align_t),
  FIRST_BLOCK_BYTES = 4096 - 64, /* with malloc's and our own header still one page */
  LARGEST_BLOCK_BYTES = 1024 * 1024,
  KEPT_BLOCK_BYTES = 32 * 1024 /* idle arenas must not hold what one large use needed */
};

typedef struct arena_block {
  struct arena_block *next;
  size_t capacity;
  size_t offset; /* of the first free byte in data */
  _Alignas(max_align_t) unsigned char data[];
} arena_block;

struct ls_arena {
  size_t max_bytes;
  size_t used; /* bytes handed out and the padding between them */
  size_t next_block_bytes;
  arena_block *blocks;
};

static size_t align_up(size_t bytes) {
  return (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

static void free_block(arena_block *old) {
  UNPOISON(old->data, old->capacity);
  free(old);
}

/* In front of the list, for at least `bytes`. */
static arena_block *add_block(ls_arena *arena, size_t bytes) {
  size_t capacity = arena->next_block_bytes;
  size_t left = arena->max_bytes - arena->used;
  if (capacity > left)
    capacity = left;
  if (capacity < bytes)
    capacity = bytes;
  if (capacity > SIZE_MAX - sizeof(arena_block))
    return NULL;
  arena_block *added = malloc(sizeof(arena_block) + capacity);
  if (!added)
    return NULL;
  added->next = arena->blocks;
  added->capacity = capacity;
  added->offset = 0;
  POISON(added->data, capacity);
  arena->blocks = added;
  if (arena->next_block_bytes < LARGEST_BLOCK_BYTES)
    arena->next_block_bytes *= 2;
  return added;
}

ls_arena *ls_arena_new(size_t max_bytes) {
  ls_arena *arena = malloc(sizeof *arena);
  if (!arena)
    return NULL;
  *arena = (ls_arena){.max_bytes = max_bytes, .next_block_bytes = FIRST_BLOCK_BYTES};
  return arena;
}

void *ls_arena_alloc(ls_arena *arena, size_t bytes) {
  if (bytes == 0)
    bytes = 1; /* a pointer of its own */
  size_t start = align_up(arena->used);
  if (start < arena->used || start > arena->max_bytes || bytes > arena->max_bytes - start)
    return NULL;
  arena_block *current = arena->blocks;
  size_t offset = current ? align_up(current->offset) : 0;
  if (!current || offset > current->capacity || bytes > current->capacity - offset) {
    current = add_block(arena, bytes);
    if (!current)
      return NULL;
    offset = 0;
  }
  current->offset = offset + bytes;
  arena->used = start + bytes;
  UNPOISON(current->data + offset, bytes);
  return current->data + offset;
}

char *ls_arena_strdup(ls_arena *arena, const char *text) {
  return ls_arena_memdup(arena, text, strlen(text));
}

void *ls_arena_memdup(ls_arena *arena, const void *data, size_t bytes) {
  if (bytes == SIZE_MAX)
    return NULL;
  char *copy = ls_arena_alloc(arena, bytes + 1);
  if (!copy)
    return NULL;
  if (bytes > 0)
    memcpy(copy, data, bytes);
  copy[bytes] = '\0';
  return copy;
}

void ls_arena_reset(ls_arena *arena) {
  arena_block *kept = NULL;
  for (arena_block *current = arena->blocks; current;) {
    arena_block *next = current->next;
    bool better =
        current->capacity <= KEPT_BLOCK_BYTES && (!kept || current->capacity > kept->capacity);
    arena_block *dropped = better ? kept : current;
    if (better)
      kept = current;
    if (dropped)
      free_block(dropped);
    current = next;
  }
  if (kept) {
    kept->next = NULL;
    kept->offset = 0;
    POISON(kept->data, kept->capacity);
  }
  arena->blocks = kept;
  arena->used = 0;
  arena->next_block_bytes = kept ? KEPT_BLOCK_BYTES : FIRST_BLOCK_BYTES;
}

size_t ls_arena_used(const ls_arena *arena) {
  return arena->used;
}

void ls_arena_destroy(ls_arena *arena) {
  if (!arena)
    return;
  for (arena_block *current = arena->blocks; current;) {
    arena_block *next = current->next;
    free_block(current);
    current = next;
  }
  free(arena);
}
