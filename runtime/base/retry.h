/* Waiting longer after each failure: exponential backoff with full jitter, so that many who failed
 * together do not come back together. */
#ifndef LOCKSTEP_RUNTIME_BASE_RETRY_H
#define LOCKSTEP_RUNTIME_BASE_RETRY_H

#include <stdint.h>

/* Set up with ls_backoff_init; one thread at a time. */
typedef struct ls_backoff {
  int64_t initial_ms; /* bound of the first wait */
  int64_t max_ms;     /* bound of all waits */
  unsigned attempts;  /* failures since the last reset */
  uint64_t random;    /* state of its own generator */
} ls_backoff;

/* `initial_ms` and `max_ms` below 1 count as 1, `max_ms` below `initial_ms` as `initial_ms`. */
void ls_backoff_init(ls_backoff *backoff, int64_t initial_ms, int64_t max_ms);

/* After a failure: the milliseconds to wait before the next attempt, evenly spread over
 * 1 … min(max_ms, initial_ms * 2^attempts); counts the attempt. */
int64_t ls_backoff_next(ls_backoff *backoff);

/* After a success. */
void ls_backoff_reset(ls_backoff *backoff);

#endif
