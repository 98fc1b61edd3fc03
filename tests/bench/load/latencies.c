/* Buckets: exact below LATENCY_STEPS, then LATENCY_STEPS for each doubling. */
#include "tests/bench/load/latencies.h"

#include <stddef.h>

enum { STEP_BITS = 6 };
_Static_assert(1 << STEP_BITS == LATENCY_STEPS, "the bits of a step's number");

static size_t bucket_of(uint64_t value) {
  if (value < LATENCY_STEPS)
    return (size_t)value;
  unsigned shift = 63U - (unsigned)__builtin_clzll(value) - STEP_BITS;
  size_t bucket = (size_t)(shift + 1) * LATENCY_STEPS + (size_t)((value >> shift) - LATENCY_STEPS);
  size_t last = (size_t)LATENCY_DOUBLINGS * LATENCY_STEPS - 1;
  return bucket < last ? bucket : last;
}

/* The middle of a bucket. */
static double value_of(size_t bucket) {
  if (bucket < LATENCY_STEPS)
    return (double)bucket;
  size_t shift = bucket / LATENCY_STEPS - 1;
  uint64_t lowest = (uint64_t)(LATENCY_STEPS + bucket % LATENCY_STEPS) << shift;
  return (double)lowest + (double)((UINT64_C(1) << shift) - 1) / 2;
}

void latencies_add(latencies *self, int64_t latency_us) {
  if (latency_us < 0)
    latency_us = 0;
  self->counts[bucket_of((uint64_t)latency_us)]++;
  self->count++;
  self->sum_us += latency_us;
  if (latency_us > self->highest_us)
    self->highest_us = latency_us;
}

void latencies_merge(latencies *self, const latencies *other) {
  for (size_t i = 0; i < sizeof self->counts / sizeof self->counts[0]; i++)
    self->counts[i] += other->counts[i];
  self->count += other->count;
  self->sum_us += other->sum_us;
  if (other->highest_us > self->highest_us)
    self->highest_us = other->highest_us;
}

double latencies_quantile(const latencies *self, double share) {
  double wanted = share * (double)self->count;
  uint64_t seen = 0;
  for (size_t i = 0; i < sizeof self->counts / sizeof self->counts[0]; i++) {
    seen += self->counts[i];
    if (seen > 0 && (double)seen >= wanted)
      return value_of(i);
  }
  return 0;
}

double latencies_mean(const latencies *self) {
  return self->count > 0 ? (double)self->sum_us / (double)self->count : 0;
}
