/* The end of a schedule: see settle.h. */
#include "tests/simulation/settle.h"

#include "tests/simulation/checks.h"
#include "tests/simulation/consumers.h"
#include "tests/simulation/deliveries.h"
#include "tests/simulation/kafka.h"
#include "tests/simulation/orders.h"
#include "tests/simulation/relays.h"
#include "tests/simulation/retriers.h"

enum { MOST_ROUNDS = 400 };

/* --- The relay --- */

/* What strays and zombies still do: land and be acknowledged, or end. */
static void end_strays(world *w, bool land) {
  for (int i = 0; i < RELAYS; i++) {
    if (w->relays[i].state != RELAY_ZOMBIE)
      continue;
    if (land)
      relays_send(w, i, MAX_FLIGHTS);
    relays_crash(w, i);
  }
  for (int i = 0; i < w->flight_count;)
    if (w->flights[i].relay != NOBODY || !(land ? relays_land(w, i) : relays_vanish(w, i)))
      i++;
  for (int i = 0; i < w->flight_count;)
    if (!relays_vanish(w, i))
      i++;
}

static bool end_flights(world *w, int cursed) {
  bool moved = false;
  for (int i = 0; i < w->flight_count;) {
    const sim_flight *f = &w->flights[i];
    bool fails = f->too_large || w->order.rows[f->sequence].order == cursed;
    if (!fails)
      relays_land(w, i);
    moved = moved || !fails || f->too_large;
    if (!relays_report(w, i, !fails))
      i++;
  }
  return moved;
}

static bool take_turn(world *w, int cursed) {
  relay_core *core = w->relays[w->leader].core;
  int64_t highest = relay_core_highest(core), missing = relay_core_missing(core);
  relays_end_reading(w, w->leader);
  relays_retry(w, w->leader);
  bool read = relays_read(w, w->leader, MAX_ROWS);
  relays_end_reading(w, w->leader);
  bool refilled = relays_read_deferred(w, w->leader);
  relays_send(w, w->leader, MAX_FLIGHTS);
  bool moved = end_flights(w, cursed) || refilled;
  return moved ||
         (read && (relay_core_highest(core) != highest || relay_core_missing(core) != missing));
}

void settle_relay(world *w, int cursed) {
  if (w->leader == NOBODY)
    relays_lead(w, w->relays[0].state == RELAY_IDLE ? 0 : 1);
  if (w->leader == NOBODY)
    return;
  int rounds = 0;
  while (w->broken == KEPT && take_turn(w, cursed) && rounds < MOST_ROUNDS)
    rounds++;
  if (rounds == MOST_ROUNDS)
    world_fail(w, P4, "the relay does not come to rest");
  relays_checkpoint(w, w->leader);
}

/* --- Deliveries --- */

static bool consume_all(world *w, int consumer) {
  bool any = w->consumers[consumer].stage != CONSUMER_IDLE;
  while (w->broken == KEPT && (w->consumers[consumer].stage != CONSUMER_IDLE ||
                               consumers_poll(w, consumer, MAX_BATCH, 0, MAX_BATCH))) {
    consumers_read_known(w, consumer);
    consumers_look_up_all(w, consumer, ANSWER_CURRENT);
    consumers_apply(w, consumer, APPLY_DONE);
    any = true;
  }
  consumers_commit(w, consumer, true);
  return any;
}

static bool retry_all(world *w) {
  retriers_expire_claims(w);
  bool any = false;
  for (int i = 0; i < RETRIERS; i++) {
    any = retriers_claim(w, i) || any;
    any = retriers_look_up_all(w, i, ANSWER_CURRENT) || any;
    retriers_finish(w, i, APPLY_DONE);
  }
  return any;
}

/* Those of orders that are not there would only come again. */
static bool replay_letters(world *w) {
  bool any = false;
  for (int i = 0; i < w->delivery.letter_count; i++) {
    const letter *one = &w->letters[i];
    if (one->replayed || one->order == 0 || w->order.orders[one->order].version == 0)
      continue;
    int log = one->log == NOWHERE ? kafka_log_of(w, TOPIC_DOMAIN, one->order) : one->log;
    if (kafka_may_feed(w, log))
      any = deliveries_replay_letter(w, i) || any;
  }
  return any;
}

void settle_deliveries(world *w) {
  int rounds = 0;
  bool any = true;
  for (; any && w->broken == KEPT && rounds < MOST_ROUNDS; rounds++) {
    any = false;
    for (int i = 0; i < CONSUMERS; i++)
      any = consume_all(w, i) || any;
    any = retry_all(w) || any;
    any = replay_letters(w) || any;
    check_step(w);
  }
  if (rounds == MOST_ROUNDS)
    world_fail(w, P10, "deliveries do not come to rest");
}

/* Whoever is in the middle of something finishes it with what it knows, or dies. */
static void end_batches(world *w, bool finish) {
  for (int i = 0; i < CONSUMERS; i++) {
    if (w->consumers[i].stage == CONSUMER_LOOKED_UP && finish)
      consumers_apply(w, i, APPLY_DONE);
    else if (w->consumers[i].stage != CONSUMER_IDLE)
      consumers_crash(w, i);
  }
  for (int i = 0; i < RETRIERS; i++)
    if (!finish || !retriers_finish(w, i, APPLY_DONE))
      retriers_crash(w, i);
  check_step(w);
}

/* --- All --- */

/* An order whose sends fail, if the others need not wait for its place in the relay. */
static int choose_cursed(const world *w, unsigned way) {
  bool has_room = (int64_t)w->capacity > w->order.last_sequence;
  return has_room && w->leader == NOBODY ? 1 + (int)(way % ORDERS) : 0;
}

static bool is_anything_running(const world *w) {
  for (int i = 0; i < TRANSACTIONS; i++)
    if (w->order.transactions[i].id != 0)
      return true;
  return false;
}

static void settle_beside(world *w, int cursed, coverage what) {
  settle_relay(w, cursed);
  settle_deliveries(w);
  if (w->broken != KEPT)
    return;
  check_rest(w, cursed);
  world_cover(w, what);
}

void settle(world *w, unsigned way) {
  bool finish = (way & 1) != 0, commit = (way & 2) != 0;
  SAY(w, "all heals, and is to come to rest");
  end_strays(w, finish);
  end_batches(w, finish);
  int cursed = (way & 4) != 0 ? choose_cursed(w, way) : 0;
  if (w->broken == KEPT && (cursed != 0 || is_anything_running(w)))
    settle_beside(w, cursed, cursed != 0 ? COVER_SETTLED_CURSED : COVER_SETTLED_HELD);
  for (int i = 0; i < TRANSACTIONS; i++)
    orders_end(w, i, commit);
  if (w->broken != KEPT)
    return;
  settle_relay(w, 0);
  settle_deliveries(w);
  if (w->broken != KEPT)
    return;
  check_rest(w, 0);
  check_relay_end(w);
  world_cover(w, COVER_SETTLED);
}
