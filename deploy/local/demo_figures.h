/* The four cases, and the figures that the demo measures of each. Pure: no I/O. */
#ifndef LOCKSTEP_DEPLOY_LOCAL_DEMO_FIGURES_H
#define LOCKSTEP_DEPLOY_LOCAL_DEMO_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum demo_case {
  DEMO_FULL_DOMAIN,
  DEMO_FULL_PER_EVENT,
  DEMO_ZERO_DOMAIN,
  DEMO_ZERO_PER_EVENT,
  DEMO_CASES
} demo_case;

bool demo_case_is_full(demo_case which);      /* the message carries the whole order */
bool demo_case_is_domain(demo_case which);    /* one topic for all types of event */
const char *demo_case_title(demo_case which); /* "full payload, domain topic" */

/* Of one case that was run. Differences of counters are over the whole case. */
typedef struct demo_figures {
  demo_case which;
  int64_t orders;
  int64_t writes;        /* answered ones that made a version of an order */
  int64_t lost_races;    /* changes that were ABORTED and sent again after reading the order */
  int64_t repeats;       /* calls repeated with the same request_id because of a passing failure */
  int64_t events;        /* acknowledged by Kafka */
  int64_t kafka_bytes;   /* their keys, values and headers */
  int64_t lookups;       /* calls of BatchGetOrders that delivery made */
  int64_t lookup_ids;    /* ids asked for in them */
  int64_t overtaken;     /* events that came after a newer one of their order */
  int64_t duplicates;    /* events that came again */
  int64_t coalesced;     /* events with which a newer one of their order was taken in one batch */
  int64_t stale;         /* events that changed nothing, for these or any other reason */
  int64_t elapsed_us;    /* from the first write until delivery was in step */
  double visible_p50_ms; /* from a write's answer until delivery shows it; negative: not measured */
  double visible_p99_ms;
  bool in_step;       /* delivery was, within the time it was given */
  int64_t mismatches; /* orders whose delivery is not what it should be */
} demo_figures;

/* Over elapsed_us; 0 when no time was measured. */
double demo_events_per_second(const demo_figures *figures);

/* `part` / `whole`; 0 when `whole` is 0. */
double demo_ratio(int64_t part, int64_t whole);

/* The nearest-rank percentile (0 < percent <= 100) of `count` durations, in milliseconds; sorts
 * them. -1 when there are none. */
double demo_percentile_ms(int64_t *durations_us, size_t count, double percent);

#endif
