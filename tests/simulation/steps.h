/* The steps of a schedule. A step is a number: its remainder says what is to happen, the rest to
 * whom and how, as far as the world allows; what cannot be done has no effect. */
#ifndef LOCKSTEP_TESTS_SIMULATION_STEPS_H
#define LOCKSTEP_TESTS_SIMULATION_STEPS_H

#include "tests/simulation/world.h"

enum { STEP_PARAMETERS = 64 };

/* Numbers below it are steps. */
unsigned steps_bound(void);

/* Does it, and checks the world. */
void steps_do(world *w, unsigned step);

/* What it is about. Static storage. */
const char *steps_name(unsigned step);

/* The same kind of step with another parameter, below STEP_PARAMETERS. */
unsigned steps_parameter(unsigned step);
unsigned steps_with_parameter(unsigned step, unsigned parameter);

#endif
