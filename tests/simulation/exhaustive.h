/* All that can happen, of a little: seven events or rows of two orders. Each case is a number. */
#ifndef LOCKSTEP_TESTS_SIMULATION_EXHAUSTIVE_H
#define LOCKSTEP_TESTS_SIMULATION_EXHAUSTIVE_H

#include "tests/simulation/world.h"

/* Deliveries: one order in which up to `events` (at most 7) events of two orders come, with one way
 * of payloads and lookups. In it, all ways to cut them into batches, a crash at every place, and
 * the events that come again cut in several ways. */
uint64_t exhaustive_deliveries(int events);
promise exhaustive_delivery(uint64_t number, uint64_t *counts, char *problem);

/* The relay: one order in which 7 rows of two orders were written, with one row that may be late or
 * rolled back. In it, all orders in which they can be acknowledged, a crash at every place, with
 * each of the sends in flight written or not, and a checkpoint before it at every place. */
uint64_t exhaustive_relays(void);
promise exhaustive_relay(uint64_t number, uint64_t *counts, char *problem);

/* The case in words, on stdout. */
void exhaustive_describe_delivery(uint64_t number);
void exhaustive_describe_relay(uint64_t number);

#endif
