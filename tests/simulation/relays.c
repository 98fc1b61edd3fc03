/* The relays: see relays.h. */
#include "tests/simulation/relays.h"

#include <string.h>

#include "tests/simulation/checks.h"
#include "tests/simulation/kafka.h"
#include "tests/simulation/orders.h"

/* --- Leadership --- */

bool relays_lead(world *w, int relay) {
  sim_relay *r = &w->relays[relay];
  const checkpoint *from = &w->order.stored;
  if (w->leader != NOBODY || r->state != RELAY_IDLE)
    return false;
  r->core = relay_core_new(w->capacity, from->highest, from->gaps, from->gap_count);
  if (r->core == NULL)
    return world_fail(w, P4, "out of memory");
  for (int64_t i = 0; i <= MAX_ROWS; i++)
    r->events[i].in_care = false;
  r->state = RELAY_LEADING;
  r->reading.open = false;
  w->leader = relay;
  world_cover(w, from->gap_count > 0 ? COVER_LED_WITH_GAPS : COVER_LED);
  SAY(w, "relay %d leads, from row %lld with %zu gaps", relay, (long long)from->highest,
      from->gap_count);
  return true;
}

bool relays_lose_session(world *w) {
  if (w->leader == NOBODY)
    return false;
  world_cover(w, COVER_SESSION_LOST);
  SAY(w, "relay %d loses its session and does not know", w->leader);
  w->relays[w->leader].state = RELAY_ZOMBIE;
  w->relays[w->leader].reading.open = false;
  w->leader = NOBODY;
  return true;
}

bool relays_crash(world *w, int relay) {
  sim_relay *r = &w->relays[relay];
  if (r->state == RELAY_IDLE)
    return false;
  SAY(w, "relay %d crashes", relay);
  world_cover(w, COVER_RELAY_CRASHED);
  if (r->reading.open)
    world_cover(w, COVER_RELAY_CRASHED_READING);
  if (relay_core_in_flight(r->core) > 0)
    world_cover(w, COVER_RELAY_CRASHED_IN_FLIGHT);
  relay_core_destroy(r->core, NULL, NULL);
  r->core = NULL;
  r->state = RELAY_IDLE;
  r->reading.open = false;
  if (w->leader == relay)
    w->leader = NOBODY;
  for (int i = 0; i < w->flight_count;) {
    sim_flight *f = &w->flights[i];
    if (f->relay == relay && f->landed) {
      w->flights[i] = w->flights[--w->flight_count];
      continue;
    }
    if (f->relay == relay)
      f->relay = NOBODY;
    i++;
  }
  return true;
}

/* --- Reading --- */

/* As relay_reader.c's statements: both lists end at the limit, the one of the gaps counts over all
 * of them. */
static void see_rows(world *w, const relay_gap *gaps, size_t gap_count, relay_reading *reading) {
  const order_side *side = &w->order;
  reading->fresh_count = reading->filled_count = 0;
  for (int64_t i = reading->after + 1;
       i <= side->last_sequence && reading->fresh_count < reading->limit; i++)
    if (side->rows[i].state == ROW_COMMITTED)
      reading->fresh[reading->fresh_count++] = i;
  for (size_t g = 0; g < gap_count; g++)
    for (int64_t i = gaps[g].first; i <= gaps[g].last && reading->filled_count < reading->limit;
         i++)
      if (side->rows[i].state == ROW_COMMITTED)
        reading->filled[reading->filled_count++] = i;
}

bool relays_read(world *w, int relay, size_t limit) {
  sim_relay *r = &w->relays[relay];
  if (r->state != RELAY_LEADING || r->reading.open)
    return false;
  relay_reading *reading = &r->reading;
  size_t room, gap_count;
  const relay_gap *gaps;
  relay_core_plan(r->core, &reading->after, &room, &gaps, &gap_count);
  if (room == 0)
    return false;
  reading->open = true;
  reading->limit = limit < room ? limit : room;
  see_rows(w, gaps, gap_count, reading);
  reading->oldest_running = orders_oldest_running(w);
  reading->next_id = w->order.next_id;
  world_cover(w, COVER_READ);
  SAY(w,
      "relay %d takes a snapshot: %zu rows above %lld, %zu rows in %zu gaps; the oldest "
      "transaction is %llu",
      relay, reading->fresh_count, (long long)reading->after, reading->filled_count, gap_count,
      (unsigned long long)reading->oldest_running);
  return true;
}

static bool leaves_gap(const relay_reading *reading) {
  return reading->fresh_count > 0 &&
         reading->fresh[reading->fresh_count - 1] != reading->after + (int64_t)reading->fresh_count;
}

static void make_rows(const world *w, sim_relay *r, const int64_t *sequences, size_t count,
                      relay_row *rows) {
  for (size_t i = 0; i < count; i++)
    rows[i] = (relay_row){.sequence = sequences[i],
                          .order_id = w->order.rows[sequences[i]].order,
                          .event = &r->events[sequences[i]]};
}

static void take_care(world *w, sim_relay *r, const relay_row *rows, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const outbox_row *row = &w->order.rows[rows[i].sequence];
    sent_event *event = &r->events[rows[i].sequence];
    if (rows[i].left_out) {
      world_cover(w, COVER_DEFERRED);
      continue;
    }
    if (event->in_care)
      world_fail(w, P4, "row %lld was taken twice", (long long)rows[i].sequence);
    *event = (sent_event){
        .sequence = rows[i].sequence, .full = row->full, .domain = row->domain, .in_care = true};
  }
}

static void note_overtaken(world *w, const relay_core *core) {
  for (int i = 0; i < TRANSACTIONS; i++) {
    const sim_transaction *t = &w->order.transactions[i];
    for (int row = 0; t->id != 0 && row < t->row_count; row++)
      if (t->rows[row] < relay_core_highest(core))
        w->order.rows[t->rows[row]].was_overtaken = true;
  }
}

static void cover_reading(world *w, const relay_reading *reading, int64_t missing_before,
                          int64_t missing, size_t filled) {
  if (filled > 0)
    world_cover(w, COVER_GAP_FILLED);
  if (missing > missing_before)
    world_cover(w, COVER_GAP_FOUND);
  if (missing_before - (int64_t)filled > missing)
    world_cover(w, COVER_GAP_ENDED);
  if (reading->filled_count == reading->limit)
    world_cover(w, COVER_READ_FULL_GAPS);
  if (reading->fresh_count == reading->limit)
    world_cover(w, COVER_READ_CUT);
  if (w->order.next_id > reading->next_id + 1)
    world_cover(w, COVER_READ_PARTED);
}

/* In a snapshot of its own. */
bool relays_read_deferred(world *w, int relay) {
  sim_relay *r = &w->relays[relay];
  int64_t order, first, last;
  size_t limit, count = 0;
  relay_row rows[MAX_ROWS];
  int64_t sequences[MAX_ROWS];
  ls_error error;
  if (r->state != RELAY_LEADING || r->reading.open ||
      !relay_core_plan_deferred(r->core, &order, &first, &last, &limit))
    return false;
  for (int64_t i = first; i <= last && count < limit; i++)
    if (w->order.rows[i].state == ROW_COMMITTED && w->order.rows[i].order == order)
      sequences[count++] = i;
  make_rows(w, r, sequences, count, rows);
  if (!relay_core_observe_deferred(r->core, order, rows, count, &error))
    return world_fail(w, P4, "the core refuses what was deferred: %s", error.message);
  take_care(w, r, rows, count);
  world_cover(w, COVER_DEFERRED_READ);
  SAY(w, "relay %d takes %zu rows of order %c that were deferred", relay, count,
      order_name((int)order));
  return true;
}

bool relays_end_reading(world *w, int relay) {
  sim_relay *r = &w->relays[relay];
  relay_reading *reading = &r->reading;
  if (!reading->open)
    return false;
  reading->open = false;
  relay_row fresh[MAX_ROWS], filled[MAX_ROWS];
  make_rows(w, r, reading->fresh, reading->fresh_count, fresh);
  make_rows(w, r, reading->filled, reading->filled_count, filled);
  /* Its own transaction, which ends at once. */
  uint64_t next_id = leaves_gap(reading) ? w->order.next_id++ : 0;
  int64_t missing_before = relay_core_missing(r->core);
  /* There may be more in the gaps, which must come before fresh rows. */
  bool is_full = reading->filled_count == reading->limit;
  size_t taken_filled, taken_fresh;
  ls_error error;
  if (!relay_core_observe(r->core, filled, reading->filled_count, fresh,
                          is_full ? 0 : reading->fresh_count, is_full ? 0 : reading->oldest_running,
                          is_full ? 0 : next_id, &taken_filled, &taken_fresh, &error))
    return world_fail(w, P4, "the core refuses what was read: %s", error.message);
  take_care(w, r, filled, taken_filled);
  take_care(w, r, fresh, taken_fresh);
  note_overtaken(w, r->core);
  int64_t missing = relay_core_missing(r->core);
  cover_reading(w, reading, missing_before, missing, taken_filled);
  SAY(w, "relay %d takes %zu rows from gaps and %zu fresh ones; %lld rows are missing", relay,
      taken_filled, taken_fresh, (long long)missing);
  if (!is_full && reading->oldest_running == reading->next_id && next_id <= reading->next_id &&
      taken_filled == reading->filled_count && missing > 0)
    world_fail(w, P6, "%lld rows are waited for, although no transaction runs", (long long)missing);
  return true;
}

/* --- Sending --- */

static int topic_of(const outbox_row *row, bool domain) {
  if (domain)
    return TOPIC_DOMAIN;
  if (row->version == 1)
    return TOPIC_CREATE;
  return row->change == CHANGE_CANCEL ? TOPIC_CANCEL : TOPIC_CHANGE;
}

static void check_fence(world *w, int relay, const outbox_row *row) {
  for (int i = 0; i < w->flight_count; i++) {
    const outbox_row *other = &w->order.rows[w->flights[i].sequence];
    if (w->flights[i].relay == relay && other->order == row->order)
      world_fail(w, P5, "version %lld of order %c is sent before version %lld is acknowledged",
                 (long long)row->version, order_name(row->order), (long long)other->version);
  }
}

static void send_event(world *w, int relay, sent_event *event) {
  const outbox_row *row = &w->order.rows[event->sequence];
  bool full = event->full && !event->oversized;
  check_fence(w, relay, row);
  w->flights[w->flight_count++] = (sim_flight){.relay = relay,
                                               .sequence = event->sequence,
                                               .full = full,
                                               .domain = event->domain,
                                               .too_large = full && row->large};
  world_cover(w, row->in_kafka ? COVER_SENT_AGAIN : COVER_SENT);
  if (w->relays[relay].state == RELAY_ZOMBIE)
    world_cover(w, COVER_ZOMBIE_SENT);
  SAY(w, "relay %d sends row %lld: order %c, version %lld", relay, (long long)event->sequence,
      order_name(row->order), (long long)row->version);
}

bool relays_send(world *w, int relay, int count) {
  sim_relay *r = &w->relays[relay];
  bool sent = false;
  if (r->core == NULL || r->reading.open)
    return false;
  for (; count > 0 && w->flight_count < MAX_FLIGHTS; count--) {
    relay_entry *entry = relay_core_next(r->core);
    if (entry == NULL)
      break;
    sent_event *event = relay_entry_event(entry);
    event->entry = entry;
    send_event(w, relay, event);
    sent = true;
  }
  return sent;
}

bool relays_land(world *w, int flight) {
  sim_flight *f = &w->flights[flight];
  outbox_row *row = &w->order.rows[f->sequence];
  bool given_up = f->relay == NOBODY;
  int log = kafka_log_of(w, topic_of(row, f->domain), row->order);
  if (f->landed || f->too_large || w->kafka.logs[log].length >= MAX_RECORDS - 1)
    return false;
  f->landed = true;
  row->in_kafka = true;
  kafka_append(w, log, row->order, row->version, f->full);
  if (given_up) {
    world_cover(w, COVER_LANDED_LATE);
    *f = w->flights[--w->flight_count];
  }
  return true;
}

bool relays_vanish(world *w, int flight) {
  if (w->flights[flight].relay != NOBODY)
    return false;
  SAY(w, "a send of row %lld never lands", (long long)w->flights[flight].sequence);
  world_cover(w, COVER_VANISHED);
  w->flights[flight] = w->flights[--w->flight_count];
  return true;
}

static void acknowledge(world *w, sim_relay *r, sent_event *event) {
  world_cover(w, COVER_ACKNOWLEDGED);
  if (relay_core_acknowledged(r->core, event->entry) != event)
    world_fail(w, P4, "another event than row %lld was acknowledged", (long long)event->sequence);
  event->in_care = false;
}

bool relays_report(world *w, int flight, bool well) {
  sim_flight *f = &w->flights[flight];
  if (f->relay == NOBODY || w->relays[f->relay].reading.open || (well && !f->landed))
    return false;
  sim_relay *r = &w->relays[f->relay];
  sent_event *event = &r->events[f->sequence];
  SAY(w, "relay %d learns that row %lld %s", f->relay, (long long)f->sequence,
      well           ? "is in Kafka"
      : f->too_large ? "is too large"
                     : "has failed");
  if (well) {
    acknowledge(w, r, event);
  } else {
    world_cover(w, f->too_large ? COVER_FAILED_LARGE
                   : f->landed  ? COVER_FAILED_WRITTEN
                                : COVER_FAILED_UNWRITTEN);
    relay_core_failed(r->core, event->entry);
    event->oversized = event->oversized || f->too_large;
  }
  if (f->landed || f->too_large)
    *f = w->flights[--w->flight_count];
  else
    f->relay = NOBODY;
  return true;
}

bool relays_retry(world *w, int relay) {
  sim_relay *r = &w->relays[relay];
  if (r->core == NULL || r->reading.open || relay_core_retry(r->core) == 0)
    return false;
  world_cover(w, COVER_RETRIED);
  SAY(w, "relay %d is to send again what has failed", relay);
  return true;
}

/* --- Checkpoints --- */

bool relays_checkpoint(world *w, int relay) {
  sim_relay *r = &w->relays[relay];
  if (r->state != RELAY_LEADING || r->reading.open)
    return false;
  checkpoint *to = &w->order.stored;
  const relay_gap *gaps;
  int64_t highest;
  ls_error error;
  if (!relay_core_checkpoint(r->core, &highest, &gaps, &to->gap_count, &error))
    return world_fail(w, P4, "no checkpoint: %s", error.message);
  if (highest < to->highest)
    world_fail(w, P4, "a checkpoint goes back from %lld to %lld", (long long)to->highest,
               (long long)highest);
  if (to->gap_count > MAX_ROWS)
    return world_fail(w, P6, "a checkpoint has %zu gaps", to->gap_count);
  to->id = w->order.next_id++;
  to->highest = highest;
  if (to->gap_count > 0)
    memcpy(to->gaps, gaps, to->gap_count * sizeof *gaps);
  world_cover(w, to->gap_count > 0 ? COVER_CHECKPOINTED_GAPS : COVER_CHECKPOINTED);
  SAY(w, "relay %d writes a checkpoint: up to %lld but %zu gaps", relay, (long long)highest,
      to->gap_count);
  check_checkpoint(w);
  return true;
}
