/* The delivery service's database: what delivery_store*.c write, without their SQL's guards, so
 * that nothing covers up what the rules get wrong. Each call is a transaction or a part of one. */
#ifndef LOCKSTEP_TESTS_SIMULATION_DELIVERIES_H
#define LOCKSTEP_TESTS_SIMULATION_DELIVERIES_H

#include "tests/simulation/world.h"

/* What is known of an order, as it is now. */
delivery_known deliveries_known(const world *w, int order);

/* Decides with what is known now, and writes it. False: it cannot be decided without a lookup. */
bool deliveries_apply(world *w, sim_work *work);

/* Puts an order in line for a lookup. */
void deliveries_ask(world *w, int order, int64_t min_version, bool poked, place source);

/* DispatchDelivery or CompleteDelivery; `expected` is added to the delivery's revision, or
 * INT64_MIN for any. */
bool deliveries_move(world *w, int order, bool complete, const char *code, int64_t expected);

/* A record is given up on. */
void deliveries_add_letter(world *w, int order, int64_t version, place source);

/* Produces a dead letter to where it came from. */
bool deliveries_replay_letter(world *w, int index);

const char *deliveries_state_name(const world *w, int order);

#endif
