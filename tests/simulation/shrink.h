/* Makes a failing schedule short. */
#ifndef LOCKSTEP_TESTS_SIMULATION_SHRINK_H
#define LOCKSTEP_TESTS_SIMULATION_SHRINK_H

#include "tests/simulation/schedule.h"

/* What a run ends with that does not end by itself: a signal, or no end in time. */
#define SHRINK_CRASHED ((promise)-1)

/* What a schedule breaks. It is run in a process of its own, which may crash or hang. */
promise shrink_try(const schedule *s);

/* The same, saying each step. */
void shrink_show(const schedule *s);

/* The shortest form found that breaks the same promise, or crashes like it. */
void shrink(schedule *s, promise what);

#endif
