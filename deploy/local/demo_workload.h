/* The writes of one case: orders are created, changed and cancelled, many calls in flight. */
#ifndef LOCKSTEP_DEPLOY_LOCAL_DEMO_WORKLOAD_H
#define LOCKSTEP_DEPLOY_LOCAL_DEMO_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "deploy/local/demo_calls.h"
#include "deploy/local/demo_options.h"
#include "deploy/local/demo_progress.h"
#include "runtime/base/error.h"

typedef struct demo_workload {
  demo_order *orders;
  size_t order_count;
  int64_t versions;    /* of all orders together: so many writes took effect */
  int64_t lost_races;  /* changes that were ABORTED and made anew after reading the order */
  int64_t repeats;     /* calls repeated with the same request_id because of a passing failure */
  int64_t begin_us;    /* of the first write, on the monotonic clock */
  int64_t *visible_us; /* of a sample of the writes: from the answer until delivery shows it */
  size_t visible_count;
  int64_t unseen; /* of the sample, those that delivery did not show in time */
} demo_workload;

/* Does the writes and waits for all answers, over connections of its own. False: LS_CANCELLED when
 * a stop was requested, else the first failure that no repeating mended; all calls have ended
 * either way. End with demo_workload_clear, also after a failure. */
bool demo_workload_run(const demo_options *options, demo_progress *progress,
                       demo_workload *workload, ls_error *error);

void demo_workload_clear(demo_workload *workload);

#endif
