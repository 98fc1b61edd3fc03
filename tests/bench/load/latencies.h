/* How long calls took: counted in buckets that are at most 1/64 wide, in room that does not grow.
 */
#ifndef LOCKSTEP_TESTS_BENCH_LOAD_LATENCIES_H
#define LOCKSTEP_TESTS_BENCH_LOAD_LATENCIES_H

#include <stdint.h>

enum { LATENCY_STEPS = 64, LATENCY_DOUBLINGS = 32 };

/* Of one thread. All zero: empty. */
typedef struct latencies {
  uint64_t counts[LATENCY_DOUBLINGS * LATENCY_STEPS];
  uint64_t count;
  int64_t sum_us, highest_us;
} latencies;

/* Less than 0 counts as 0. */
void latencies_add(latencies *self, int64_t latency_us);
void latencies_merge(latencies *self, const latencies *other);

/* The latency that this share (0 to 1) of the calls did not exceed, in microseconds; 0 if there
 * were none. */
double latencies_quantile(const latencies *self, double share);
double latencies_mean(const latencies *self);

#endif
