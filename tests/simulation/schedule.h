/* A schedule: numbers, of which the first shapes the world and its end, and each other one is a
 * step. What happens follows from the numbers alone, so a schedule may be cut, changed and done
 * again. */
#ifndef LOCKSTEP_TESTS_SIMULATION_SCHEDULE_H
#define LOCKSTEP_TESTS_SIMULATION_SCHEDULE_H

#include "tests/simulation/world.h"

enum { SCHEDULE_STEPS = 120, MAX_STEPS = 400 };

typedef struct schedule {
  unsigned shape;
  int count;
  unsigned steps[MAX_STEPS];
} schedule;

/* The schedule that a seed stands for. */
void schedule_from_seed(schedule *s, uint64_t seed);

/* "3,17,4". False: the text is none. */
bool schedule_parse(schedule *s, const char *text);
void schedule_print(const schedule *s);

/* Does it in a world of its own: what it breaks, and how in `problem` (may be NULL), a buffer as
 * large as the world's. */
promise schedule_run(const schedule *s, uint64_t *counts, bool is_traced, char *problem);

#endif
