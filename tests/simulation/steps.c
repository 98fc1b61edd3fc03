/* The steps of a schedule: see steps.h. */
#include "tests/simulation/steps.h"

#include "tests/simulation/checks.h"
#include "tests/simulation/consumers.h"
#include "tests/simulation/deliveries.h"
#include "tests/simulation/kafka.h"
#include "tests/simulation/orders.h"
#include "tests/simulation/relays.h"
#include "tests/simulation/retriers.h"

static int order_of(unsigned parameter) {
  return 1 + (int)(parameter % ORDERS);
}

/* --- The order service --- */

static bool is_large(unsigned wish) {
  return wish % 5 == 4;
}

/* The next thing a transaction may do. */
static void advance_transaction(world *w, unsigned parameter) {
  int transaction = (int)(parameter % TRANSACTIONS);
  unsigned wish = parameter / TRANSACTIONS;
  const sim_transaction *t = &w->order.transactions[transaction];
  int order = order_of(wish);
  if (t->id == 0)
    orders_begin(w, transaction);
  else if (t->locked != 0)
    orders_insert(w, transaction);
  else if (t->row_count == 0 || wish % 7 == 0)
    orders_lock(w, transaction, order, orders_choose_change(w, order, wish / ORDERS),
                is_large(wish));
  else
    orders_end(w, transaction, wish % 3 != 0);
}

static void end_transaction(world *w, unsigned parameter) {
  orders_end(w, (int)(parameter % TRANSACTIONS), parameter / TRANSACTIONS % 3 != 0);
}

static void write_order(world *w, unsigned parameter) {
  unsigned wish = parameter / ORDERS;
  int order = order_of(parameter);
  orders_write(w, order, orders_choose_change(w, order, wish), is_large(wish));
}

static void switch_mode(world *w, unsigned parameter) {
  bool domain = (parameter & 2) != 0;
  w->order.full = (parameter & 1) != 0;
  w->order.domain = domain;
  world_cover(w, COVER_MODE_SWITCHED);
  SAY(w, "mode: %s payload, %s", w->order.full ? "full" : "zero",
      domain ? "domain topic" : "a topic per event");
}

static void crash_order_database(world *w, unsigned parameter) {
  relays_lose_session(w);
  orders_crash(w, (parameter & 1) != 0, (int)(parameter >> 1) % 3);
}

static void flush_order_database(world *w, unsigned parameter) {
  (void)parameter;
  orders_flush(w);
}

/* --- Relays --- */

/* The relay that acts: the leader, or by chance the other one. */
static int choose_relay(const world *w, unsigned wish) {
  return w->leader != NOBODY && wish % 4 != 3 ? w->leader : (int)(wish / 4 % RELAYS);
}

static void act_as_relay(world *w, unsigned parameter) {
  int relay = choose_relay(w, parameter);
  unsigned wish = parameter / 8;
  if (w->relays[relay].state == RELAY_IDLE) {
    relays_lead(w, relay);
    return;
  }
  if (relays_end_reading(w, relay))
    return;
  switch (wish % 4) {
  case 0:
    if (!relays_read_deferred(w, relay))
      relays_read(w, relay, 1 + parameter % 8);
    break;
  case 1:
    if (!relays_retry(w, relay))
      relays_send(w, relay, 1);
    break;
  case 2:
    relays_send(w, relay, MAX_FLIGHTS);
    break;
  default:
    relays_checkpoint(w, relay);
    break;
  }
}

static void land(world *w, unsigned parameter) {
  if (w->flight_count > 0)
    relays_land(w, (int)parameter % w->flight_count);
}

static void report(world *w, unsigned parameter) {
  if (w->flight_count > 0)
    relays_report(w, (int)parameter % w->flight_count, true);
}

static void report_failure(world *w, unsigned parameter) {
  if (w->flight_count > 0)
    relays_report(w, (int)parameter % w->flight_count, false);
}

static void end_stray(world *w, unsigned parameter) {
  for (int i = 0; i < w->flight_count; i++) {
    int flight = (i + (int)parameter) % w->flight_count;
    if (w->flights[flight].relay != NOBODY)
      continue;
    if (parameter % 3 == 0 || !relays_land(w, flight))
      relays_vanish(w, flight);
    return;
  }
}

/* All that is in flight of the relay lands and is acknowledged, or is too large. */
static void acknowledge_all(world *w, int relay) {
  for (int i = 0; i < w->flight_count;) {
    const sim_flight *f = &w->flights[i];
    bool is_mine = f->relay == relay;
    if (is_mine)
      relays_land(w, i);
    if (!is_mine || !relays_report(w, i, !f->too_large))
      i++;
  }
}

/* A turn in which nothing goes wrong. */
static void take_turn(world *w, unsigned parameter) {
  relays_lead(w, (int)(parameter % RELAYS));
  int relay = choose_relay(w, parameter);
  if (w->relays[relay].core == NULL)
    return;
  relays_end_reading(w, relay);
  relays_retry(w, relay);
  relays_read(w, relay, 2 + parameter % 7);
  relays_end_reading(w, relay);
  relays_read_deferred(w, relay);
  relays_send(w, relay, MAX_FLIGHTS);
  acknowledge_all(w, relay);
  relays_send(w, relay, MAX_FLIGHTS);
  if (parameter % 3 == 0)
    relays_checkpoint(w, relay);
}

static void crash_relay(world *w, unsigned parameter) {
  relays_crash(w, choose_relay(w, parameter));
}

static void lose_session(world *w, unsigned parameter) {
  (void)parameter;
  relays_lose_session(w);
}

/* --- Consumers --- */

static void poll_as_consumer(world *w, int consumer, unsigned wish) {
  consumers_poll(w, consumer, 1 + (int)(wish % MAX_BATCH), (int)(wish / 2 % LOGS),
                 1 + (int)(wish % 3));
}

static apply_result choose_result(unsigned wish) {
  return wish % 8 == 6 ? APPLY_FAILED : wish % 8 == 7 ? APPLY_UNKNOWN : APPLY_DONE;
}

/* The next thing in its batch. */
static void act_as_consumer(world *w, unsigned parameter) {
  int consumer = (int)(parameter % CONSUMERS);
  unsigned wish = parameter / CONSUMERS;
  switch (w->consumers[consumer].stage) {
  case CONSUMER_IDLE:
    if (wish % 4 == 3 && consumers_commit(w, consumer, wish != 31))
      return;
    poll_as_consumer(w, consumer, wish);
    break;
  case CONSUMER_TAKEN:
    consumers_read_known(w, consumer);
    break;
  case CONSUMER_KNOWS:
    if (wish % 16 == 15 && consumers_find_service_down(w, consumer))
      return;
    consumers_look_up(w, consumer, wish);
    break;
  case CONSUMER_LOOKED_UP:
    consumers_apply(w, consumer, choose_result(wish));
    break;
  }
}

/* A batch from where it stands to its end. */
static void finish_batch(world *w, int consumer, unsigned wish) {
  consumers_read_known(w, consumer);
  consumers_look_up(w, consumer, wish);
  consumers_apply(w, consumer, APPLY_DONE);
}

static void consume(world *w, unsigned parameter) {
  int consumer = (int)(parameter % CONSUMERS);
  unsigned wish = parameter / CONSUMERS;
  if (w->consumers[consumer].stage == CONSUMER_IDLE)
    poll_as_consumer(w, consumer, wish | 4);
  finish_batch(w, consumer, wish);
  if (wish % 2 == 0)
    consumers_commit(w, consumer, true);
}

static void crash_consumer(world *w, unsigned parameter) {
  consumers_crash(w, (int)(parameter % CONSUMERS));
}

static void rebalance(world *w, unsigned parameter) {
  static const unsigned owners[8] = {0x00, 0xff, 0x55, 0xaa, 0x33, 0xcc, 0x0f, 0xf0};
  consumers_rebalance(w, owners[parameter % 8], (parameter & 8) != 0, (parameter & 16) != 0);
}

static void rewind_offsets(world *w, unsigned parameter) {
  int log = kafka_choose_log(w, parameter);
  int committed = w->kafka.logs[log].committed;
  if (parameter % 5 == 4)
    consumers_delete_group(w);
  else if (committed > 0)
    consumers_rewind(w, log, committed - 1 - (int)(parameter / 8) % committed);
}

/* --- Retriers --- */

static void act_as_retrier(world *w, unsigned parameter) {
  int retrier = (int)(parameter % RETRIERS);
  unsigned wish = parameter / RETRIERS;
  switch (w->retriers[retrier].stage) {
  case RETRIER_IDLE:
    retriers_claim(w, retrier);
    break;
  case RETRIER_CLAIMED:
    if (wish % 16 == 15)
      retriers_release(w, retrier);
    else
      retriers_look_up(w, retrier, wish);
    break;
  case RETRIER_LOOKED_UP:
    retriers_finish(w, retrier, choose_result(wish));
    break;
  }
}

static void retry_pending(world *w, unsigned parameter) {
  int retrier = (int)(parameter % RETRIERS);
  retriers_claim(w, retrier);
  retriers_look_up(w, retrier, parameter / RETRIERS);
  retriers_finish(w, retrier, APPLY_DONE);
}

static void disturb_retriers(world *w, unsigned parameter) {
  if (parameter % 3 == 0)
    retriers_crash(w, (int)(parameter / 3 % RETRIERS));
  else
    retriers_expire_claims(w);
}

/* --- Others --- */

static void produce_foreign(world *w, unsigned parameter) {
  int order = order_of(parameter);
  bool is_garbage = parameter / ORDERS % 5 == 4;
  int log = kafka_log_of(w, (int)(parameter / ORDERS % TOPICS), order);
  if (!kafka_may_feed(w, log))
    return;
  world_cover(w, is_garbage                            ? COVER_GARBAGE
                 : w->order.orders[order].version == 0 ? COVER_POKED_UNKNOWN
                                                       : COVER_POKED);
  kafka_append(w, log, is_garbage ? 0 : order, 0, false);
}

static void replay_record(world *w, unsigned parameter) {
  int index = kafka_choose_log(w, parameter);
  const topic_log *log = &w->kafka.logs[index];
  if (log->length == 0 || !kafka_may_feed(w, index))
    return;
  record old = log->records[parameter / 4 % (unsigned)log->length];
  SAY(w, "an old record is replayed");
  world_cover(w, COVER_RECORD_REPLAYED);
  kafka_append(w, index, old.order, old.version, old.full);
}

static void replay_letter(world *w, unsigned parameter) {
  if (w->delivery.letter_count > 0)
    deliveries_replay_letter(w, (int)parameter % w->delivery.letter_count);
}

static void move_delivery(world *w, unsigned parameter) {
  static const int64_t expected[4] = {INT64_MIN, 0, 1, -1};
  unsigned wish = parameter / ORDERS;
  deliveries_move(w, order_of(parameter), wish % 2 == 1, wish % 3 == 0 ? "one" : "other",
                  expected[wish / 2 % 4]);
}

/* An operator asks for one order, or the comparison of both databases finds it behind. */
static void ask_for_order(world *w, unsigned parameter) {
  int order = order_of(parameter);
  place nowhere = {NOWHERE, NOWHERE};
  int64_t version = w->order.orders[order].version;
  bool is_behind = w->delivery.deliveries[order].standing.order_version < version;
  if (parameter / ORDERS % 2 == 0) {
    world_cover(w, COVER_RESYNC);
    deliveries_ask(w, order, 0, true, nowhere);
  } else if (is_behind && !w->delivery.pending[order].exists) {
    world_cover(w, COVER_RECONCILED);
    deliveries_ask(w, order, version, false, nowhere);
  }
}

/* --- All of them --- */

typedef struct step_kind {
  const char *name;
  void (*act)(world *w, unsigned parameter);
  unsigned weight;
} step_kind;

static const step_kind kinds[] = {
    {"a transaction", advance_transaction, 8},
    {"a transaction's end", end_transaction, 2},
    {"a write", write_order, 6},
    {"mode", switch_mode, 1},
    {"order's database", crash_order_database, 1},
    {"order's disk", flush_order_database, 1},
    {"a relay", act_as_relay, 8},
    {"a relay's turn", take_turn, 5},
    {"a send lands", land, 3},
    {"an acknowledgement", report, 3},
    {"a failed send", report_failure, 2},
    {"a stray send", end_stray, 1},
    {"a relay's crash", crash_relay, 2},
    {"a session's loss", lose_session, 1},
    {"a consumer", act_as_consumer, 10},
    {"a consumer's batch", consume, 6},
    {"a consumer's crash", crash_consumer, 1},
    {"a rebalance", rebalance, 2},
    {"offsets", rewind_offsets, 1},
    {"a retrier", act_as_retrier, 4},
    {"a retrier's attempt", retry_pending, 1},
    {"retriers", disturb_retriers, 1},
    {"somebody else's record", produce_foreign, 1},
    {"an old record", replay_record, 1},
    {"a dead letter", replay_letter, 1},
    {"a move", move_delivery, 2},
    {"a request for an order", ask_for_order, 1},
};

enum { KINDS = sizeof kinds / sizeof kinds[0], MOST_SLOTS = 128 };

/* Which kind each remainder stands for: as many of them as its weight says. */
static unsigned char slots[MOST_SLOTS];
static unsigned slot_count;

static void make_slots(void) {
  unsigned count = 0;
  for (unsigned kind = 0; kind < KINDS; kind++)
    for (unsigned i = 0; i < kinds[kind].weight; i++)
      slots[count++] = (unsigned char)kind;
  slot_count = count;
}

unsigned steps_bound(void) {
  if (slot_count == 0)
    make_slots();
  return slot_count * STEP_PARAMETERS;
}

static const step_kind *kind_of(unsigned step) {
  return &kinds[slots[step % slot_count]];
}

const char *steps_name(unsigned step) {
  return kind_of(step)->name;
}

unsigned steps_parameter(unsigned step) {
  return step / slot_count % STEP_PARAMETERS;
}

unsigned steps_with_parameter(unsigned step, unsigned parameter) {
  return step % slot_count + slot_count * parameter;
}

void steps_do(world *w, unsigned step) {
  kind_of(step)->act(w, steps_parameter(step));
  check_step(w);
}
