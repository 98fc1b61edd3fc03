/* A list of blocks from malloc, newest first. */
#include "gen/plugin/pool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct pool_block {
  struct pool_block *older;
  max_align_t data[];
} pool_block;

struct gen_pool {
  pool_block *newest;
};

void out_of_memory(void) {
  fprintf(stderr, "%s: out of memory\n", program_invocation_short_name);
  _Exit(71);
}

gen_pool *pool_new(void) {
  gen_pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL)
    out_of_memory();
  return pool;
}

void pool_destroy(gen_pool *pool) {
  if (pool == NULL)
    return;
  for (pool_block *block = pool->newest; block != NULL;) {
    pool_block *older = block->older;
    free(block);
    block = older;
  }
  free(pool);
}

void *pool_alloc(gen_pool *pool, size_t bytes) {
  if (bytes > SIZE_MAX - sizeof(pool_block))
    out_of_memory();
  pool_block *block = calloc(1, sizeof *block + bytes);
  if (block == NULL)
    out_of_memory();
  block->older = pool->newest;
  pool->newest = block;
  return block->data;
}

void *pool_array(gen_pool *pool, size_t count, size_t element_bytes) {
  if (element_bytes != 0 && count > SIZE_MAX / element_bytes)
    out_of_memory();
  return pool_alloc(pool, count * element_bytes);
}

char *pool_copy(gen_pool *pool, const char *data, size_t bytes) {
  if (bytes == SIZE_MAX)
    out_of_memory();
  char *copy = pool_alloc(pool, bytes + 1);
  memcpy(copy, data, bytes);
  return copy;
}

char *pool_format(gen_pool *pool, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  va_list again;
  va_copy(again, arguments);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (length < 0)
    out_of_memory();
  char *out = pool_alloc(pool, (size_t)length + 1);
  (void)vsnprintf(out, (size_t)length + 1, format, again);
  va_end(again);
  return out;
}
