/* Memory that lives as long as the plugin needs it: taken piece by piece, freed at once.
 *
 * The plugin runs for milliseconds and then ends, so nothing is freed alone. When the machine has
 * no memory left, whatever needed it says so on stderr and ends the process with status 71
 * (sysexits' EX_OSERR); no function here returns NULL. */
#ifndef LOCKSTEP_GEN_POOL_H
#define LOCKSTEP_GEN_POOL_H

#include <stddef.h>

typedef struct gen_pool gen_pool;

gen_pool *pool_new(void);
void pool_destroy(gen_pool *pool);

/* Zeroed, aligned for any type. */
void *pool_alloc(gen_pool *pool, size_t bytes);

/* An array of `count` zeroed elements. */
void *pool_array(gen_pool *pool, size_t count, size_t element_bytes);

/* A NUL-terminated copy of `bytes` bytes. */
char *pool_copy(gen_pool *pool, const char *data, size_t bytes);
char *pool_format(gen_pool *pool, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The one way out when memory is short. */
_Noreturn void out_of_memory(void);

#endif
