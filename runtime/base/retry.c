/* Backoff: see retry.h. */
#include "runtime/base/retry.h"

#include <limits.h>

#include "runtime/base/random.h"

/* SplitMix64: enough to spread waits, and needs no lock. */
static uint64_t next_random(uint64_t *state) {
  *state += UINT64_C(0x9e3779b97f4a7c15);
  uint64_t value = *state;
  value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
  return value ^ (value >> 31);
}

void ls_backoff_init(ls_backoff *backoff, int64_t initial_ms, int64_t max_ms) {
  backoff->initial_ms = initial_ms < 1 ? 1 : initial_ms;
  backoff->max_ms = max_ms < backoff->initial_ms ? backoff->initial_ms : max_ms;
  backoff->attempts = 0;
  ls_random_bytes(&backoff->random, sizeof backoff->random);
}

int64_t ls_backoff_next(ls_backoff *backoff) {
  int64_t bound = backoff->max_ms;
  if (backoff->attempts < 62 && backoff->initial_ms <= backoff->max_ms >> backoff->attempts)
    bound = backoff->initial_ms << backoff->attempts;
  if (backoff->attempts < UINT_MAX)
    backoff->attempts++;
  /* The remainder's bias is below 2^-30 for every wait that anybody would configure. */
  return 1 + (int64_t)(next_random(&backoff->random) % (uint64_t)bound);
}

void ls_backoff_reset(ls_backoff *backoff) {
  backoff->attempts = 0;
}
