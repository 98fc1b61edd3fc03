/* The relays, around the product's core of one: what outbox_relay.c and relay_reader.c do, cut into
 * steps between which others may act. */
#ifndef LOCKSTEP_TESTS_SIMULATION_RELAYS_H
#define LOCKSTEP_TESTS_SIMULATION_RELAYS_H

#include "tests/simulation/world.h"

/* Each false if it cannot be done now; nothing has happened then. */

/* Takes the leadership, if nobody has it, and goes on where the checkpoint is. */
bool relays_lead(world *w, int relay);

/* A snapshot: at most `limit` fresh rows, and as many from the gaps. Until it is given to the core
 * the relay does nothing else. */
bool relays_read(world *w, int relay, size_t limit);
bool relays_end_reading(world *w, int relay);

/* Takes some rows of an order that was deferred. */
bool relays_read_deferred(world *w, int relay);

/* Sends what may be sent, at most `count` events. */
bool relays_send(world *w, int relay, int count);
bool relays_retry(world *w, int relay);
bool relays_checkpoint(world *w, int relay);

/* Its process ends; what it has sent may still land. */
bool relays_crash(world *w, int relay);

/* The leader's session ends and it does not know: it sends on what it has. */
bool relays_lose_session(world *w);

/* Kafka writes a send to its log. */
bool relays_land(world *w, int flight);
/* The relay learns what has become of it: an acknowledgement if `well`, which must have landed. A
 * failure says nothing about that. */
bool relays_report(world *w, int flight, bool well);
/* A send that its relay has given up never lands. */
bool relays_vanish(world *w, int flight);

#endif
