/* What a client needs of the system: time, chance, and names for requests. */
#ifndef CLIENT_SYSTEM_H
#define CLIENT_SYSTEM_H

#include <stdint.h>

enum { UUID_BYTES = 37 };

/* Since an arbitrary moment; never goes back. */
int64_t monotonic_ms(void);

/* Evenly from 0 up to, but not including, `limit`, which is at most 65,536. */
unsigned random_below(unsigned limit);

/* A random UUID (version 4), as text that ends with a NUL. */
void new_uuid(char out[UUID_BYTES]);

#endif
