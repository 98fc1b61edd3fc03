/* Runs many independent cases in several processes. */
#ifndef LOCKSTEP_TESTS_SIMULATION_PARALLEL_H
#define LOCKSTEP_TESTS_SIMULATION_PARALLEL_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/simulation/world.h"

typedef struct parallel_work {
  const char *name; /* for the progress line */
  uint64_t first, count;
  /* A case: what it breaks, with the reason in `problem` (as large as the world's). */
  promise (*run)(uint64_t number, uint64_t *counts, char *problem);
} parallel_work;

typedef enum parallel_end {
  PARALLEL_DONE,
  PARALLEL_BROKEN,
  PARALLEL_CRASHED,
  PARALLEL_INTERRUPTED,
  PARALLEL_FAILED /* no processes or no memory to be had; said on stderr */
} parallel_end;

typedef struct parallel_result {
  parallel_end end;
  uint64_t number; /* of the case that was broken or has crashed */
  promise what;
  char problem[sizeof((world *)0)->problem];
  uint64_t done;
} parallel_result;

/* Adds what was covered to `counts`. A case that is broken ends all processes; SIGINT and SIGTERM
 * do, too. */
parallel_result parallel_run(const parallel_work *work, int processes, uint64_t *counts);

#endif
