/* The order service's transactions, as order_store_write.c makes them: an id, then the row's lock,
 * then a sequence number, then the end. */
#ifndef LOCKSTEP_TESTS_SIMULATION_ORDERS_H
#define LOCKSTEP_TESTS_SIMULATION_ORDERS_H

#include "tests/simulation/world.h"

/* Each false if it cannot be done now; nothing has happened then. */
bool orders_begin(world *w, int transaction);
bool orders_lock(world *w, int transaction, int order, change_kind change, bool large);
bool orders_insert(world *w, int transaction);
bool orders_end(world *w, int transaction, bool commit);

/* A whole transaction. */
bool orders_write(world *w, int order, change_kind change, bool large);

/* What may be done to an order next; `wish` chooses among several. */
change_kind orders_choose_change(const world *w, int order, unsigned wish);

/* The id of the oldest transaction that runs, or else the next one to be given out. */
uint64_t orders_oldest_running(const world *w);

/* The database loses its memory: transactions are rolled back, the newest checkpoints may be gone,
 * `skipped` numbers are not given out. */
void orders_crash(world *w, bool forgets, int skipped);

/* What was not waited for comes to the disk. */
void orders_flush(world *w);

#endif
