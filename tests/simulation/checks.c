/* What must hold: see checks.h. */
#include "tests/simulation/checks.h"

#include "tests/simulation/deliveries.h"
#include "tests/simulation/kafka.h"

/* --- The relay --- */

bool checkpoint_is_done(const checkpoint *at, int64_t sequence) {
  for (size_t i = 0; i < at->gap_count; i++)
    if (at->gaps[i].first <= sequence && sequence <= at->gaps[i].last)
      return false;
  return sequence <= at->highest;
}

void check_checkpoint(world *w) {
  const checkpoint *at = &w->order.stored;
  for (int64_t i = 1; i <= at->highest && i <= w->order.last_sequence; i++) {
    const outbox_row *row = &w->order.rows[i];
    if (row->state == ROW_COMMITTED && !row->in_kafka && checkpoint_is_done(at, i))
      world_fail(w, P4, "the checkpoint calls row %lld done, which is not in Kafka", (long long)i);
    if (row->state == ROW_RUNNING && checkpoint_is_done(at, i))
      world_fail(w, P6, "the checkpoint does not wait for row %lld, whose transaction runs",
                 (long long)i);
  }
}

/* --- Single decisions --- */

void check_version_applied(world *w, const sim_work *work, int64_t content) {
  const delivery_row *row = &w->delivery.deliveries[work->order];
  int64_t version = work->decision.version;
  char name = order_name(work->order);
  if (version <= row->standing.order_version)
    world_fail(w, P9, "delivery %c goes from version %lld to %lld", name,
               (long long)row->standing.order_version, (long long)version);
  if (row->applied & version_bit(version))
    world_fail(w, P9, "delivery %c is given version %lld twice", name, (long long)version);
  if (version != content)
    world_fail(w, P10, "delivery %c is given the state of version %lld as version %lld", name,
               (long long)content, (long long)version);
}

static bool has_ended(Delivery__V1__DeliveryState state) {
  return state == DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_CANCELLED ||
         state == DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_RETURNING;
}

/* What the rules make of one more version, on a copy. */
static void check_version_on_top(world *w, int order, int64_t version,
                                 Order__V1__OrderStatus status) {
  const delivery_standing *standing = &w->delivery.deliveries[order].standing;
  delivery_standing copy = *standing;
  bool is_newer = version > standing->order_version;
  bool is_changed = delivery_apply_order(&copy, version, status) == DELIVERY_CHANGED;
  if (is_changed != is_newer ||
      copy.order_version != (is_newer ? version : standing->order_version))
    world_fail(w, P9, "version %lld would be applied to delivery %c, which is at %lld",
               (long long)version, order_name(order), (long long)standing->order_version);
  if (has_ended(standing->state) && copy.state != standing->state)
    world_fail(w, P11, "delivery %c is %s, and version %lld would make it %s", order_name(order),
               delivery_state_name(standing->state), (long long)version,
               delivery_state_name(copy.state));
}

void check_standing(world *w, int order) {
  const delivery_row *row = &w->delivery.deliveries[order];
  if (row->standing.state != row->expected)
    world_fail(w, P11, "delivery %c is %s, and should be %s", order_name(order),
               delivery_state_name(row->standing.state), delivery_state_name(row->expected));
  for (int64_t version = row->standing.order_version - 1;
       version <= row->standing.order_version + 1; version++) {
    check_version_on_top(w, order, version, ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED);
    check_version_on_top(w, order, version, ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED);
  }
}

/* The version up to which the events of a work have their effect. */
static int64_t reach_of(const world *w, const sim_work *work) {
  int64_t reach = w->delivery.deliveries[work->order].standing.order_version;
  if (work->decision.pending && work->decision.min_version > reach)
    reach = work->decision.min_version;
  return reach;
}

static void check_fate(world *w, const sim_work *work, size_t index) {
  const delivery_event *event = &work->events[index];
  const delivery_decision *decision = &work->decision;
  bool is_applied = decision->source != DELIVERY_FROM_NOWHERE && decision->applied_event == index;
  bool is_pending = decision->pending && decision->pending_event == index;
  delivery_fate fate = work->verdicts[index].fate;
  delivery_fate due = is_applied   ? DELIVERY_FATE_APPLIED
                      : is_pending ? DELIVERY_FATE_PENDING
                                   : DELIVERY_FATE_STALE;
  if (fate != due)
    world_fail(w, P13,
               "an event of order %c, version %lld, is counted as another fate than its own",
               order_name(work->order), (long long)event->version);
  bool has_effect = event->version > 0
                        ? event->version <= reach_of(w, work)
                        : work->lookup.kind == DELIVERY_LOOKUP_FOUND || decision->pending;
  if (!has_effect)
    world_fail(w, work->lookup.kind > DELIVERY_LOOKUP_FOUND ? P12 : P14,
               "the event of order %c, version %lld, is lost", order_name(work->order),
               (long long)event->version);
}

static void check_lookup(world *w, const sim_work *work) {
  if (work->decision.source != DELIVERY_FROM_LOOKUP)
    return;
  for (size_t i = 0; i < work->count; i++)
    if (work->events[i].version > work->decision.version)
      world_fail(w, P12, "order %c was asked for at version %lld, and %lld was applied",
                 order_name(work->order), (long long)work->events[i].version,
                 (long long)work->decision.version);
}

static void cover_verdict(world *w, const delivery_verdict *verdict) {
  if (verdict->fate == DELIVERY_FATE_STALE)
    world_cover(w, COVER_STALE);
  if (verdict->overtaken)
    world_cover(w, COVER_OVERTAKEN);
  if (verdict->duplicate)
    world_cover(w, COVER_DUPLICATE);
  if (verdict->coalesced)
    world_cover(w, COVER_COALESCED);
}

void check_decision(world *w, const sim_work *work, int64_t applied_before) {
  check_lookup(w, work);
  for (size_t i = 0; i < work->count; i++) {
    check_fate(w, work, i);
    cover_verdict(w, &work->verdicts[i]);
  }
  if (applied_before > 0 && order_is_cancelled(w, work->order, applied_before))
    world_cover(w, COVER_APPLIED_AFTER_END);
}

/* --- Offsets --- */

void check_offsets(world *w, int log, int from, int to) {
  for (int i = from; i < to; i++) {
    const record *one = &w->kafka.logs[log].records[i];
    if (!one->is_handled)
      world_fail(w, P14, "the offset of %s passes record %d, which nobody has handled",
                 kafka_log_name(log), i);
    if (one->order > 0 && w->delivery.owed[one->order] < one->version)
      w->delivery.owed[one->order] = one->version;
  }
}

/* --- After every step --- */

static void check_owed(world *w, int order) {
  const delivery_tables *tables = &w->delivery;
  const pending_row *pending = &tables->pending[order];
  int64_t owed = tables->owed[order];
  if (tables->deliveries[order].standing.order_version < owed &&
      !(pending->exists && pending->min_version >= owed) && tables->lettered[order] < owed)
    world_fail(w, P14, "version %lld of order %c is behind the offsets, and without effect",
               (long long)owed, order_name(order));
  if (tables->poke_owed[order] && !pending->exists)
    world_fail(w, P12, "a poke of order %c is forgotten: its lookup failed, and none is to follow",
               order_name(order));
}

void check_step(world *w) {
  for (int i = 1; i <= ORDERS; i++)
    check_owed(w, i);
  const delivery_tables *tables = &w->delivery;
  int64_t counted = tables->fates[DELIVERY_FATE_APPLIED] + tables->fates[DELIVERY_FATE_STALE] +
                    tables->fates[DELIVERY_FATE_PENDING] + tables->dead_lettered;
  if (counted != tables->consumed)
    world_fail(w, P13, "%lld events were consumed, and %lld have a fate",
               (long long)tables->consumed, (long long)counted);
}

/* --- At rest --- */

static void check_sent(world *w, int cursed) {
  for (int64_t i = 1; i <= w->order.last_sequence; i++) {
    const outbox_row *row = &w->order.rows[i];
    if (row->state == ROW_COMMITTED && !row->in_kafka && row->order != cursed)
      world_fail(w,
                 row->was_overtaken ? P6
                 : cursed != 0      ? P8
                                    : P4,
                 "row %lld never came to Kafka", (long long)i);
  }
}

static void check_delivery(world *w, int order) {
  const delivery_row *row = &w->delivery.deliveries[order];
  int64_t version = w->order.orders[order].version;
  bool cancelled = version > 0 && order_is_cancelled(w, order, version);
  if (row->standing.order_version != version || (version > 0 && row->content != version))
    world_fail(w, P10, "delivery %c is at version %lld, its order at %lld", order_name(order),
               (long long)row->standing.order_version, (long long)version);
  if (version > 0 && row->content_cancelled != cancelled)
    world_fail(w, P10, "delivery %c and its order do not agree whether it is cancelled",
               order_name(order));
  if (w->delivery.pending[order].exists)
    world_fail(w, P10, "order %c is pending for ever", order_name(order));
}

static void check_letters(world *w) {
  for (int i = 0; i < w->delivery.letter_count; i++) {
    const letter *one = &w->letters[i];
    if (one->order > 0 && w->order.orders[one->order].version > 0 && !one->replayed)
      world_fail(w, P13, "a dead letter of order %c was not replayed", order_name(one->order));
  }
}

/* Its offset may stay behind: a commit that fails is made up for by the next one. */
static void check_consumed(world *w) {
  for (int log = 0; log < LOGS; log++)
    for (int i = 0; i < w->kafka.logs[log].length; i++)
      if (!w->kafka.logs[log].records[i].is_handled)
        world_fail(w, P14, "nobody has handled %s[%d]", kafka_log_name(log), i);
}

void check_rest(world *w, int cursed) {
  check_sent(w, cursed);
  for (int i = 1; i <= ORDERS; i++)
    if (i != cursed)
      check_delivery(w, i);
  check_letters(w);
  check_consumed(w);
}

void check_relay_end(world *w) {
  check_sent(w, 0);
  const relay_core *core = w->leader != NOBODY ? w->relays[w->leader].core : NULL;
  if (core == NULL)
    return;
  if (relay_core_size(core) != 0 || relay_core_in_flight(core) != 0 ||
      relay_core_failed_count(core) != 0)
    world_fail(w, P4, "%zu events stay in the relay's care", relay_core_size(core));
  if (relay_core_missing(core) != 0 || w->order.stored.gap_count != 0)
    world_fail(w, P6, "a gap stays, although nobody can fill it");
}
