/* The delivery service's database: see deliveries.h. */
#include "tests/simulation/deliveries.h"

#include <string.h>

#include "tests/simulation/checks.h"
#include "tests/simulation/kafka.h"

#define PREPARING DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_PREPARING
#define DISPATCHED DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DISPATCHED
#define DELIVERED DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DELIVERED
#define CANCELLED DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_CANCELLED
#define RETURNING DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_RETURNING

const char *deliveries_state_name(const world *w, int order) {
  return delivery_state_name(w->delivery.deliveries[order].standing.state);
}

delivery_known deliveries_known(const world *w, int order) {
  const delivery_row *row = &w->delivery.deliveries[order];
  if (row->standing.revision == 0)
    return (delivery_known){0};
  return (delivery_known){.applied_version = row->standing.order_version, .tracker = row->tracker};
}

/* --- Applying --- */

/* The rules once more, in other words than delivery.c's. */
static Delivery__V1__DeliveryState expected_state(const delivery_row *row, bool cancelled) {
  bool is_new = row->standing.revision == 0;
  if (!cancelled)
    return is_new ? PREPARING : row->expected;
  return is_new || row->expected == PREPARING || row->expected == CANCELLED ? CANCELLED : RETURNING;
}

static void cover_apply(world *w, const delivery_row *row, bool from_lookup, bool cancelled) {
  world_cover(w, from_lookup ? COVER_APPLIED_LOOKUP : COVER_APPLIED_SNAPSHOT);
  if (!cancelled)
    return;
  world_cover(w, row->expected == CANCELLED ? COVER_CANCELLED : COVER_RETURNING);
  if (row->standing.revision == 0)
    world_cover(w, COVER_CANCELLED_FIRST);
}

static void write_delivery(world *w, const sim_work *work) {
  delivery_row *row = &w->delivery.deliveries[work->order];
  const delivery_decision *decision = &work->decision;
  bool from_lookup = decision->source == DELIVERY_FROM_LOOKUP;
  int64_t content =
      from_lookup ? work->lookup.version : work->events[decision->snapshot_event].version;
  bool cancelled = order_is_cancelled(w, work->order, content);
  row->expected = expected_state(row, cancelled);
  cover_apply(w, row, from_lookup, cancelled);
  check_version_applied(w, work, content);
  delivery_apply_order(&row->standing, decision->version,
                       cancelled ? ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED
                                 : ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED);
  row->content = content;
  row->content_cancelled = cancelled;
  row->tracker = decision->tracker;
  row->applied |= version_bit(decision->version);
  SAY(w, "delivery %c is at version %lld, %s", order_name(work->order),
      (long long)row->standing.order_version, deliveries_state_name(w, work->order));
  check_standing(w, work->order);
}

bool deliveries_apply(world *w, sim_work *work) {
  delivery_row *row = &w->delivery.deliveries[work->order];
  delivery_known known = deliveries_known(w, work->order);
  if (known.applied_version != work->known_version)
    world_cover(w, COVER_KNOWN_MOVED);
  delivery_decide(&known, work->events, work->count, &work->lookup, &work->decision,
                  work->verdicts);
  if (work->decision.look_up)
    return world_fail(w, P12, "order %c is to be applied without the lookup that it needs",
                      order_name(work->order));
  if (work->decision.source != DELIVERY_FROM_NOWHERE)
    write_delivery(w, work);
  else if (row->standing.revision > 0 && work->decision.tracker_changed)
    row->tracker = work->decision.tracker;
  check_decision(w, work, known.applied_version);
  return true;
}

/* --- Pending orders --- */

void deliveries_ask(world *w, int order, int64_t min_version, bool poked, place source) {
  pending_row *row = &w->delivery.pending[order];
  world_cover(w, row->exists ? COVER_PENDING_AGAIN : COVER_PENDING_NEW);
  SAY(w, "order %c is pending for version %lld%s", order_name(order), (long long)min_version,
      poked ? ", poked" : "");
  if (!row->exists) {
    *row = (pending_row){.exists = true,
                         .poked = poked,
                         .min_version = min_version,
                         .generation = ++w->delivery.generation,
                         .lease = NOBODY,
                         .source_log = source.log,
                         .source_offset = source.offset};
    return;
  }
  if (min_version > row->min_version) {
    row->min_version = min_version;
    row->source_log = source.log;
    row->source_offset = source.offset;
  }
  row->poked = row->poked || poked;
  row->generation = ++w->delivery.generation;
}

/* --- Moves --- */

static bool is_move_due(const delivery_row *row, bool complete) {
  return row->standing.revision > 0 && row->expected == (complete ? DISPATCHED : PREPARING);
}

bool deliveries_move(world *w, int order, bool complete, const char *code, int64_t expected) {
  delivery_row *row = &w->delivery.deliveries[order];
  int64_t revision = expected == INT64_MIN ? 0 : row->standing.revision + expected;
  bool is_due = is_move_due(row, complete) && (revision == 0 || revision == row->standing.revision);
  delivery_outcome outcome = complete ? delivery_complete(&row->standing, revision)
                                      : delivery_dispatch(&row->standing, code, revision);
  if (outcome == DELIVERY_CHANGED)
    row->expected = complete ? DELIVERED : DISPATCHED;
  world_cover(w, outcome != DELIVERY_CHANGED ? COVER_MOVE_REFUSED
                 : complete                  ? COVER_COMPLETED
                                             : COVER_DISPATCHED);
  SAY(w, "delivery %c is to be %s: it is %s", order_name(order),
      complete ? "completed" : "dispatched", deliveries_state_name(w, order));
  if ((outcome == DELIVERY_CHANGED) != is_due)
    world_fail(w, P11, "delivery %c was %s, although its state forbids it", order_name(order),
               complete ? "completed" : "dispatched");
  if (row->standing.revision > 0)
    check_standing(w, order);
  return outcome == DELIVERY_CHANGED;
}

/* --- Dead letters --- */

static letter *find_letter(world *w, place source, int order) {
  for (int i = 0; i < w->delivery.letter_count; i++) {
    letter *one = &w->letters[i];
    if (one->log == source.log && one->offset == source.offset && one->order == order)
      return one;
  }
  return NULL;
}

void deliveries_add_letter(world *w, int order, int64_t version, place source) {
  letter *known = find_letter(w, source, order);
  SAY(w, "a dead letter: order %c, version %lld", order_name(order), (long long)version);
  if (w->delivery.lettered[order] < version)
    w->delivery.lettered[order] = version;
  if (known != NULL) {
    world_cover(w, COVER_LETTER_AGAIN);
    /* What never stood in Kafka has no offset of its own: it is to be replayed again. */
    known->replayed = known->replayed && source.offset != NOWHERE;
    return;
  }
  world_cover(w, COVER_LETTER);
  if (w->delivery.letter_count == MAX_LETTERS) {
    world_fail(w, P13, "dead letters have no end");
    return;
  }
  w->letters[w->delivery.letter_count++] =
      (letter){.order = order, .version = version, .log = source.log, .offset = source.offset};
}

bool deliveries_replay_letter(world *w, int index) {
  letter *one = &w->letters[index];
  place to = {one->log, one->offset};
  if (to.log == NOWHERE)
    to.log = kafka_log_of(w, TOPIC_DOMAIN, one->order);
  if (!kafka_may_feed(w, to.log))
    return false;
  world_cover(w, COVER_LETTER_REPLAYED);
  SAY(w, "the dead letter of order %c, version %lld, is replayed", order_name(one->order),
      (long long)one->version);
  record copy = to.offset == NOWHERE ? (record){.order = (int8_t)one->order}
                                     : w->kafka.logs[to.log].records[to.offset];
  kafka_append(w, to.log, copy.order, copy.version, copy.full);
  one->replayed = true;
  return true;
}
