/* The consumers of the events, as order_event_consumer.c works: a batch is taken, looked up,
 * applied in one transaction, and its offsets are committed later. */
#ifndef LOCKSTEP_TESTS_SIMULATION_CONSUMERS_H
#define LOCKSTEP_TESTS_SIMULATION_CONSUMERS_H

#include "tests/simulation/world.h"

/* What a lookup answers. */
typedef enum answer {
  ANSWER_CURRENT,
  ANSWER_PREVIOUS, /* a replica that lags: the version before */
  ANSWER_OLD,      /* or an older one */
  ANSWER_EXACT,    /* just what is asked for */
  ANSWER_MISSING,
  ANSWER_FAILED
} answer;

typedef enum apply_result {
  APPLY_DONE,
  APPLY_FAILED, /* nothing was written */
  APPLY_UNKNOWN /* it was, but the answer is lost */
} apply_result;

/* An answer for each of 8 numbers; most are current. */
answer consumers_choose_answer(unsigned wish);

/* Answers, and says so. */
delivery_lookup consumers_answer(world *w, int order, int64_t min_version, answer what);

/* Each false if it cannot be done now; nothing has happened then. */

/* Learns of its partitions, then takes at most `count` records, beginning with the log `first`, at
 * most `run` of one log in a row. */
bool consumers_poll(world *w, int consumer, int count, int first, int run);
/* Reads what is known of the orders. */
bool consumers_read_known(world *w, int consumer);
/* The n-th order looked up gets consumers_choose_answer(wish + 3 * n). */
bool consumers_look_up(world *w, int consumer, unsigned wish);
/* All orders get the same answer. */
bool consumers_look_up_all(world *w, int consumer, answer what);
/* The order service does not answer: the batch begins anew. */
bool consumers_find_service_down(world *w, int consumer);
bool consumers_apply(world *w, int consumer, apply_result result);
bool consumers_commit(world *w, int consumer, bool well);
bool consumers_crash(world *w, int consumer);

/* Gives each log to the consumer that its bit in `owners` names. Who can be told gives back what it
 * has (all of it, or only what it loses); the others go on with their batch as if nothing had
 * happened. */
void consumers_rebalance(world *w, unsigned owners, bool all, bool unnoticed);

/* The group's offsets are set back, which needs all consumers to be down for a moment. */
void consumers_rewind(world *w, int log, int offset);
void consumers_delete_group(world *w);

#endif
