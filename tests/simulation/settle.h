/* The end of a schedule: faults heal, all comes to rest, and what must be so then is checked. */
#ifndef LOCKSTEP_TESTS_SIMULATION_SETTLE_H
#define LOCKSTEP_TESTS_SIMULATION_SETTLE_H

#include "tests/simulation/world.h"

enum { SETTLE_WAYS = 16 };

/* `way`, below SETTLE_WAYS: whether what was begun is finished or dies, whether transactions that
 * are still open commit in the end, and so on. */
void settle(world *w, unsigned way);

/* Deliveries alone: the logs are consumed, pending orders and dead letters done with. */
void settle_deliveries(world *w);

/* The relay alone: everything committed is sent and acknowledged, but for the `cursed` order (0:
 * none) whose sends all fail; then a checkpoint. */
void settle_relay(world *w, int cursed);

#endif
