/* What must hold: after every step, at single acts, and when all has come to rest. Each failure
 * names the promise that it breaks. */
#ifndef LOCKSTEP_TESTS_SIMULATION_CHECKS_H
#define LOCKSTEP_TESTS_SIMULATION_CHECKS_H

#include "tests/simulation/world.h"

/* Whether a checkpoint calls a row done. */
bool checkpoint_is_done(const checkpoint *at, int64_t sequence);

/* The checkpoint that is stored: what it calls done is in Kafka, or never will be a row. */
void check_checkpoint(world *w);

/* Before a version is written to a delivery: `content` is the version whose state it is. */
void check_version_applied(world *w, const sim_work *work, int64_t content);

/* A delivery's state is what the rules make of it, and neither older nor newer versions would do it
 * any harm. */
void check_standing(world *w, int order);

/* After a decision was written: every event has its effect, and only what is due was done. */
void check_decision(world *w, const sim_work *work, int64_t applied_before);

/* Committed offsets move from `from` to `to`. */
void check_offsets(world *w, int log, int from, int to);

/* After every step. */
void check_step(world *w);

/* All has come to rest. `cursed`: the order that cannot be sent, or 0. */
void check_rest(world *w, int cursed);

/* The relay's part of it, when no transaction runs any more. */
void check_relay_end(world *w);

#endif
