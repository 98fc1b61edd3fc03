/* The consumers: see consumers.h. */
#include "tests/simulation/consumers.h"

#include "tests/simulation/checks.h"
#include "tests/simulation/deliveries.h"
#include "tests/simulation/kafka.h"

/* --- Lookups --- */

answer consumers_choose_answer(unsigned wish) {
  static const answer answers[8] = {ANSWER_CURRENT, ANSWER_CURRENT, ANSWER_CURRENT,
                                    ANSWER_CURRENT, ANSWER_FAILED,  ANSWER_PREVIOUS,
                                    ANSWER_OLD,     ANSWER_MISSING};
  return answers[wish % 8];
}

static int64_t answered_version(int64_t current, int64_t min_version, answer what) {
  switch (what) {
  case ANSWER_PREVIOUS:
    return current - 1;
  case ANSWER_OLD:
    return current / 2;
  case ANSWER_EXACT:
    return min_version > 0 && min_version < current ? min_version : current;
  case ANSWER_MISSING:
    return 0;
  default:
    return current;
  }
}

delivery_lookup consumers_answer(world *w, int order, int64_t min_version, answer what) {
  int64_t current = w->order.orders[order].version;
  if (what == ANSWER_FAILED) {
    SAY(w, "the lookup of order %c fails", order_name(order));
    world_cover(w, COVER_LOOKUP_FAILED);
    return (delivery_lookup){DELIVERY_LOOKUP_FAILED, 0};
  }
  int64_t version = answered_version(current, min_version, what);
  SAY(w, "the lookup of order %c says version %lld; it is at %lld", order_name(order),
      (long long)version, (long long)current);
  if (version <= 0) {
    world_cover(w, COVER_LOOKUP_MISSING);
    return (delivery_lookup){DELIVERY_LOOKUP_MISSING, 0};
  }
  world_cover(w, version < current ? COVER_LOOKUP_OLD : COVER_LOOKUP_CURRENT);
  return (delivery_lookup){DELIVERY_LOOKUP_FOUND, version};
}

/* --- Taking a batch --- */

static bool is_owner(const world *w, const sim_consumer *c, int consumer, int log) {
  return w->kafka.logs[log].owner == consumer && c->epochs[log] == w->kafka.logs[log].epoch;
}

/* What its rebalance callback does, when it comes to be called. */
static void learn_assignment(world *w, int consumer) {
  sim_consumer *c = &w->consumers[consumer];
  for (int i = 0; i < LOGS; i++) {
    const topic_log *log = &w->kafka.logs[i];
    if (c->assigned[i] && !is_owner(w, c, consumer, i)) {
      c->assigned[i] = false;
      c->done[i] = NOWHERE;
    }
    if (!c->assigned[i] && log->owner == consumer) {
      c->assigned[i] = true;
      c->epochs[i] = log->epoch;
      c->positions[i] = log->committed;
      c->done[i] = NOWHERE;
    }
  }
}

static sim_work *work_of(sim_consumer *c, int order) {
  for (int i = 0; i < c->work_count; i++)
    if (c->works[i].order == order)
      return &c->works[i];
  sim_work *new = &c->works[c->work_count++];
  new->order = order;
  new->count = 0;
  new->looks_up = false;
  new->known_version = 0;
  new->lookup = (delivery_lookup){DELIVERY_LOOKUP_NONE, 0};
  return new;
}

/* As event_batch_take: together by order. */
static void make_works(world *w, sim_consumer *c) {
  c->work_count = 0;
  for (int i = 0; i < c->batch_count; i++) {
    const record *one = &w->kafka.logs[c->batch[i].log].records[c->batch[i].offset];
    if (one->order == 0)
      continue;
    sim_work *to = work_of(c, one->order);
    to->places[to->count] = i;
    to->events[to->count++] = (delivery_event){one->version, one->full};
  }
}

static void take_records(world *w, sim_consumer *c, int log, int count) {
  for (; count > 0 && c->positions[log] < w->kafka.logs[log].length; count--) {
    SAY(w, "takes %s[%d]", kafka_log_name(log), c->positions[log]);
    c->batch[c->batch_count++] = (place){log, c->positions[log]++};
  }
}

bool consumers_poll(world *w, int consumer, int count, int first, int run) {
  sim_consumer *c = &w->consumers[consumer];
  if (c->stage != CONSUMER_IDLE)
    return false;
  learn_assignment(w, consumer);
  c->batch_count = 0;
  for (int before = -1; c->batch_count < count && before != c->batch_count;) {
    before = c->batch_count;
    for (int i = 0; i < LOGS && c->batch_count < count; i++) {
      int log = (first + i) % LOGS;
      int room = count - c->batch_count;
      if (c->assigned[log])
        take_records(w, c, log, room < run ? room : run);
    }
  }
  if (c->batch_count == 0)
    return false;
  SAY(w, "consumer %d has a batch of %d", consumer, c->batch_count);
  world_cover(w, COVER_POLLED);
  if (c->batch[0].log != c->batch[c->batch_count - 1].log)
    world_cover(w, COVER_POLLED_MIXED);
  make_works(w, c);
  c->stage = CONSUMER_TAKEN;
  c->has_committed = false;
  return true;
}

/* --- Looking up --- */

static void ask_whether_to_look_up(world *w, sim_work *work) {
  static const delivery_lookup none = {DELIVERY_LOOKUP_NONE, 0};
  delivery_known known = deliveries_known(w, work->order);
  work->known_version = known.applied_version;
  work->lookup = none;
  delivery_decide(&known, work->events, work->count, &none, &work->decision, work->verdicts);
  work->looks_up = work->decision.look_up;
}

bool consumers_read_known(world *w, int consumer) {
  sim_consumer *c = &w->consumers[consumer];
  if (c->stage != CONSUMER_TAKEN)
    return false;
  for (int i = 0; i < c->work_count; i++)
    ask_whether_to_look_up(w, &c->works[i]);
  SAY(w, "consumer %d reads what is known", consumer);
  c->stage = CONSUMER_KNOWS;
  return true;
}

static void look_up_work(world *w, sim_work *work, answer what) {
  if (!work->looks_up)
    return;
  work->lookup = consumers_answer(w, work->order, work->decision.min_version, what);
  work->answers_poke = w->delivery.poke_owed[work->order];
}

bool consumers_look_up(world *w, int consumer, unsigned wish) {
  sim_consumer *c = &w->consumers[consumer];
  if (c->stage != CONSUMER_KNOWS)
    return false;
  for (int i = 0; i < c->work_count; i++)
    look_up_work(w, &c->works[i], consumers_choose_answer(wish + 3 * (unsigned)i));
  c->stage = CONSUMER_LOOKED_UP;
  return true;
}

bool consumers_look_up_all(world *w, int consumer, answer what) {
  sim_consumer *c = &w->consumers[consumer];
  if (c->stage != CONSUMER_KNOWS)
    return false;
  for (int i = 0; i < c->work_count; i++)
    look_up_work(w, &c->works[i], what);
  c->stage = CONSUMER_LOOKED_UP;
  return true;
}

bool consumers_find_service_down(world *w, int consumer) {
  sim_consumer *c = &w->consumers[consumer];
  if (c->stage != CONSUMER_KNOWS)
    return false;
  for (int i = 0; i < c->work_count; i++) {
    if (!c->works[i].looks_up)
      continue;
    world_cover(w, COVER_LOOKUP_DOWN);
    SAY(w, "consumer %d finds the order service down", consumer);
    c->stage = CONSUMER_TAKEN;
    return true;
  }
  return false;
}

/* --- Applying --- */

static bool has_poke(const sim_work *work) {
  for (size_t i = 0; i < work->count; i++)
    if (work->events[i].version == 0)
      return true;
  return false;
}

static void write_work(world *w, const sim_consumer *c, sim_work *work) {
  if (!deliveries_apply(w, work))
    return;
  const delivery_decision *decision = &work->decision;
  if (decision->pending)
    deliveries_ask(w, work->order, decision->min_version, decision->poked,
                   c->batch[work->places[decision->pending_event]]);
  bool is_found = work->lookup.kind == DELIVERY_LOOKUP_FOUND;
  if (is_found && work->answers_poke)
    w->delivery.poke_owed[work->order] = false;
  if (!is_found && has_poke(work))
    w->delivery.poke_owed[work->order] = true;
}

static void write_batch(world *w, int consumer) {
  sim_consumer *c = &w->consumers[consumer];
  for (int i = 0; i < c->work_count; i++)
    write_work(w, c, &c->works[i]);
  for (int i = 0; i < c->batch_count; i++) {
    place at = c->batch[i];
    record *one = &w->kafka.logs[at.log].records[at.offset];
    one->is_handled = true;
    if (one->order == 0)
      deliveries_add_letter(w, 0, 0, at);
    if (!is_owner(w, c, consumer, at.log))
      world_cover(w, COVER_ZOMBIE_APPLIED);
  }
}

/* As event_batch_count. */
static void count_fates(world *w, const sim_consumer *c) {
  delivery_tables *tables = &w->delivery;
  tables->consumed += c->batch_count;
  tables->dead_lettered += c->batch_count;
  for (int i = 0; i < c->work_count; i++) {
    tables->dead_lettered -= (int64_t)c->works[i].count;
    for (size_t event = 0; event < c->works[i].count; event++)
      tables->fates[c->works[i].verdicts[event].fate]++;
  }
}

static void note_done(sim_consumer *c) {
  for (int i = 0; i < c->batch_count; i++) {
    place at = c->batch[i];
    if (c->done[at.log] < at.offset + 1)
      c->done[at.log] = at.offset + 1;
  }
}

bool consumers_apply(world *w, int consumer, apply_result result) {
  sim_consumer *c = &w->consumers[consumer];
  if (c->stage != CONSUMER_LOOKED_UP)
    return false;
  if (result == APPLY_FAILED) {
    SAY(w, "consumer %d cannot write", consumer);
    world_cover(w, COVER_APPLY_FAILED);
    c->stage = CONSUMER_TAKEN;
    return true;
  }
  write_batch(w, consumer);
  if (result == APPLY_UNKNOWN) {
    SAY(w, "consumer %d does not learn that it has written", consumer);
    world_cover(w, COVER_APPLY_UNKNOWN);
    c->stage = CONSUMER_TAKEN;
    return true;
  }
  count_fates(w, c);
  note_done(c);
  c->batch_count = c->work_count = 0;
  c->stage = CONSUMER_IDLE;
  return true;
}

/* --- Offsets --- */

static void commit_log(world *w, int consumer, int index) {
  sim_consumer *c = &w->consumers[consumer];
  topic_log *log = &w->kafka.logs[index];
  if (!is_owner(w, c, consumer, index)) {
    world_cover(w, COVER_OFFSETS_REFUSED);
    SAY(w, "consumer %d may not commit offsets of %s", consumer, kafka_log_name(index));
    return;
  }
  SAY(w, "consumer %d commits offset %d of %s", consumer, c->done[index], kafka_log_name(index));
  check_offsets(w, index, log->committed, c->done[index]);
  log->committed = c->done[index];
  world_cover(w, COVER_OFFSETS_COMMITTED);
}

bool consumers_commit(world *w, int consumer, bool well) {
  sim_consumer *c = &w->consumers[consumer];
  bool had_any = false;
  for (int i = 0; i < LOGS; i++) {
    if (c->done[i] == NOWHERE)
      continue;
    had_any = true;
    if (well)
      commit_log(w, consumer, i);
    c->done[i] = NOWHERE;
  }
  if (had_any && !well) {
    SAY(w, "consumer %d fails to commit its offsets", consumer);
    world_cover(w, COVER_OFFSETS_UNCOMMITTED);
  }
  c->has_committed = had_any && well;
  return had_any;
}

static void restart(sim_consumer *c) {
  c->stage = CONSUMER_IDLE;
  c->batch_count = c->work_count = 0;
  for (int i = 0; i < LOGS; i++) {
    c->assigned[i] = false;
    c->done[i] = NOWHERE;
  }
}

static bool has_done(const sim_consumer *c) {
  for (int i = 0; i < LOGS; i++)
    if (c->done[i] != NOWHERE)
      return true;
  return false;
}

bool consumers_crash(world *w, int consumer) {
  sim_consumer *c = &w->consumers[consumer];
  world_cover(w, c->stage == CONSUMER_LOOKED_UP ? COVER_CRASHED_LOOKED_UP
                 : c->stage != CONSUMER_IDLE    ? COVER_CRASHED_TAKEN
                 : has_done(c)                  ? COVER_CRASHED_APPLIED
                                                : COVER_CRASHED_COMMITTED);
  SAY(w, "consumer %d crashes", consumer);
  restart(c);
  return true;
}

void consumers_rewind(world *w, int log, int offset) {
  SAY(w, "the group's offset of %s is set back to %d", kafka_log_name(log), offset);
  world_cover(w, COVER_OFFSETS_REWOUND);
  for (int i = 0; i < CONSUMERS; i++)
    restart(&w->consumers[i]);
  w->kafka.logs[log].committed = offset;
  w->kafka.logs[log].epoch++;
}

void consumers_delete_group(world *w) {
  SAY(w, "the group is deleted");
  world_cover(w, COVER_OFFSETS_DELETED);
  for (int i = 0; i < CONSUMERS; i++)
    restart(&w->consumers[i]);
  for (int i = 0; i < LOGS; i++) {
    w->kafka.logs[i].committed = 0;
    w->kafka.logs[i].epoch++;
  }
}

/* --- Rebalances --- */

/* A batch that waits for a service loses what is somebody else's now. */
static void drop_from_batch(world *w, sim_consumer *c, const bool *gone) {
  int kept = 0;
  for (int i = 0; i < c->batch_count; i++)
    if (!gone[c->batch[i].log])
      c->batch[kept++] = c->batch[i];
  if (kept < c->batch_count)
    world_cover(w, COVER_REBALANCED_BATCH);
  c->batch_count = kept;
  make_works(w, c);
  if (kept == 0)
    c->stage = CONSUMER_IDLE;
}

static void revoke(world *w, int consumer, const bool *gone) {
  sim_consumer *c = &w->consumers[consumer];
  SAY(w, "consumer %d gives partitions back", consumer);
  world_cover(w, COVER_REBALANCED);
  consumers_commit(w, consumer, true);
  if (c->stage == CONSUMER_TAKEN)
    drop_from_batch(w, c, gone);
  for (int i = 0; i < LOGS; i++) {
    if (!gone[i])
      continue;
    c->assigned[i] = false;
    c->done[i] = NOWHERE;
  }
}

static int next_owner(unsigned owners, int log) {
  return (int)(owners >> log & 1);
}

static bool loses_any(const world *w, int consumer, unsigned owners, bool all, bool *gone) {
  bool any = false;
  for (int i = 0; i < LOGS; i++) {
    gone[i] = w->consumers[consumer].assigned[i] && (all || next_owner(owners, i) != consumer);
    any = any || gone[i];
  }
  return any;
}

void consumers_rebalance(world *w, unsigned owners, bool all, bool unnoticed) {
  bool gone[LOGS];
  SAY(w, "a rebalance");
  for (int i = 0; i < CONSUMERS; i++) {
    consumer_stage stage = w->consumers[i].stage;
    if (!loses_any(w, i, owners, all, gone))
      continue;
    /* In the middle of a batch it does not poll, and only a poll tells it. */
    if (unnoticed || stage == CONSUMER_KNOWS || stage == CONSUMER_LOOKED_UP)
      world_cover(w, COVER_PARTITIONS_LOST);
    else
      revoke(w, i, gone);
  }
  for (int i = 0; i < LOGS; i++) {
    topic_log *log = &w->kafka.logs[i];
    if (!all && log->owner == next_owner(owners, i))
      continue;
    log->owner = next_owner(owners, i);
    log->epoch++;
  }
}
