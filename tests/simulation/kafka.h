/* The topics. */
#ifndef LOCKSTEP_TESTS_SIMULATION_KAFKA_H
#define LOCKSTEP_TESTS_SIMULATION_KAFKA_H

#include "tests/simulation/world.h"

enum { TOPIC_DOMAIN, TOPIC_CREATE, TOPIC_CHANGE, TOPIC_CANCEL };

/* Where an order's events of a topic go. */
int kafka_log_of(const world *w, int topic, int order);

/* A log that exists, chosen by `wish`. */
int kafka_choose_log(const world *w, unsigned wish);

/* Whether steps that are not the relay's may write to it. */
bool kafka_may_feed(const world *w, int log);

/* Behind what is there. `version` 0: a poke; `order` 0: garbage. */
void kafka_append(world *w, int log, int order, int64_t version, bool full);

/* "domain/0", in a buffer that the next calls but three overwrite. */
const char *kafka_log_name(int log);

#endif
