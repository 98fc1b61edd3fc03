/* The retriers of pending orders, as pending_retrier.c works: some are claimed, looked up, and what
 * has come of it is written in one transaction. */
#ifndef LOCKSTEP_TESTS_SIMULATION_RETRIERS_H
#define LOCKSTEP_TESTS_SIMULATION_RETRIERS_H

#include "tests/simulation/consumers.h"
#include "tests/simulation/world.h"

/* Each false if it cannot be done now; nothing has happened then. */

/* Claims what is pending and at no other retrier. */
bool retriers_claim(world *w, int retrier);
/* The n-th order gets consumers_choose_answer(wish + 3 * n). */
bool retriers_look_up(world *w, int retrier, unsigned wish);
/* All orders get the same answer. */
bool retriers_look_up_all(world *w, int retrier, answer what);
/* A service is down: what was claimed is given back, and no attempt is counted. */
bool retriers_release(world *w, int retrier);
bool retriers_finish(world *w, int retrier, apply_result result);
bool retriers_crash(world *w, int retrier);

/* All claims run out; who is at it does not know. */
bool retriers_expire_claims(world *w);

#endif
