/* The world's beginning and end, and what it says. */
#include "tests/simulation/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define WORDS(name, words) words,
static const char *const words_of_coverage[] = {SIMULATION_COVERAGE(WORDS)};
#undef WORDS

const char *coverage_words(coverage what) {
  return words_of_coverage[what];
}

static void reset_order_side(order_side *side, unsigned mode) {
  for (int i = 0; i <= ORDERS; i++)
    side->orders[i] = (order_row){.holder = NOBODY};
  for (int i = 0; i < TRANSACTIONS; i++)
    side->transactions[i].id = 0;
  side->last_sequence = 0;
  side->next_id = 3;
  side->durable_id = 2;
  side->full = (mode & 1) == 0;
  side->domain = (mode & 2) == 0;
  side->stored.id = side->durable.id = 0;
  side->stored.highest = side->durable.highest = 0;
  side->stored.gap_count = side->durable.gap_count = 0;
}

static void reset_kafka(kafka_side *kafka, unsigned cut) {
  memset(kafka->seen, 0, sizeof kafka->seen);
  memset(kafka->last_seen, 0, sizeof kafka->last_seen);
  for (int i = 0; i < TOPICS; i++)
    kafka->partitions[i] = 1 + (int)((cut >> (i & 1)) & 1);
  for (int i = 0; i < LOGS; i++) {
    topic_log *log = &kafka->logs[i];
    log->length = log->committed = 0;
    log->owner = i % CONSUMERS;
    log->epoch = 1;
  }
}

static void reset_consumer(sim_consumer *c) {
  c->stage = CONSUMER_IDLE;
  c->batch_count = c->work_count = 0;
  c->has_committed = false;
  for (int i = 0; i < LOGS; i++) {
    c->assigned[i] = false;
    c->done[i] = NOWHERE;
  }
}

static void reset_delivery(delivery_tables *tables) {
  memset(tables, 0, sizeof *tables);
  for (int i = 0; i <= ORDERS; i++)
    tables->pending[i].lease = NOBODY;
}

void world_reset(world *w, unsigned shape, uint64_t *counts, bool is_traced) {
  static const size_t capacities[] = {4, 1, 2, 3, 6, 8, 16, 64};
  w->coverage = counts;
  w->is_traced = is_traced;
  w->broken = KEPT;
  w->problem[0] = '\0';
  w->capacity = capacities[shape % 8];
  reset_order_side(&w->order, shape / 8 % 4);
  reset_kafka(&w->kafka, shape / 32 % 4);
  reset_delivery(&w->delivery);
  w->leader = NOBODY;
  w->flight_count = 0;
  for (int i = 0; i < RELAYS; i++) {
    w->relays[i].state = RELAY_IDLE;
    w->relays[i].core = NULL;
    w->relays[i].reading.open = false;
  }
  for (int i = 0; i < CONSUMERS; i++)
    reset_consumer(&w->consumers[i]);
  for (int i = 0; i < RETRIERS; i++)
    w->retriers[i].stage = RETRIER_IDLE;
  SAY(w, "the relays take %zu events at a time; %s payload, %s; %d and %d partitions a topic",
      w->capacity, w->order.full ? "full" : "zero",
      w->order.domain ? "domain topic" : "a topic per event", w->kafka.partitions[0],
      w->kafka.partitions[1]);
}

void world_clear(world *w) {
  for (int i = 0; i < RELAYS; i++) {
    relay_core_destroy(w->relays[i].core, NULL, NULL);
    w->relays[i].core = NULL;
  }
}

bool world_fail(world *w, promise what, const char *format, ...) {
  if (w->broken != KEPT)
    return false;
  w->broken = what;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(w->problem, sizeof w->problem, format, arguments);
  va_end(arguments);
  SAY(w, "P%d IS BROKEN: %s", (int)what, w->problem);
  return false;
}

void world_say(const world *w, const char *format, ...) {
  (void)w;
  va_list arguments;
  va_start(arguments, format);
  fputs("      ", stdout);
  vprintf(format, arguments);
  putchar('\n');
  va_end(arguments);
}
