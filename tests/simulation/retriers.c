/* The retriers: see retriers.h. */
#include "tests/simulation/retriers.h"

#include "tests/simulation/deliveries.h"

bool retriers_claim(world *w, int retrier) {
  sim_retrier *r = &w->retriers[retrier];
  if (r->stage != RETRIER_IDLE)
    return false;
  r->claim_count = 0;
  for (int i = 1; i <= ORDERS; i++) {
    pending_row *row = &w->delivery.pending[i];
    if (!row->exists || row->lease != NOBODY)
      continue;
    row->lease = retrier;
    row->claim_number = ++w->delivery.claim_number;
    r->claims[r->claim_count++] = (claim){
        .order = i,
        .number = row->claim_number,
        .waiting = {.min_version = row->min_version,
                    .poked = row->poked,
                    .applied_version = w->delivery.deliveries[i].standing.order_version,
                    .attempts = row->attempts},
        .generation = row->generation,
    };
    SAY(w, "retrier %d claims order %c", retrier, order_name(i));
  }
  if (r->claim_count == 0)
    return false;
  world_cover(w, COVER_CLAIMED);
  r->stage = RETRIER_CLAIMED;
  return true;
}

bool retriers_look_up(world *w, int retrier, unsigned wish) {
  sim_retrier *r = &w->retriers[retrier];
  if (r->stage != RETRIER_CLAIMED)
    return false;
  for (int i = 0; i < r->claim_count; i++) {
    claim *one = &r->claims[i];
    one->lookup = consumers_answer(w, one->order, one->waiting.min_version,
                                   consumers_choose_answer(wish + 3 * (unsigned)i));
  }
  r->stage = RETRIER_LOOKED_UP;
  return true;
}

bool retriers_look_up_all(world *w, int retrier, answer what) {
  sim_retrier *r = &w->retriers[retrier];
  if (r->stage != RETRIER_CLAIMED)
    return false;
  for (int i = 0; i < r->claim_count; i++) {
    claim *one = &r->claims[i];
    one->lookup = consumers_answer(w, one->order, one->waiting.min_version, what);
  }
  r->stage = RETRIER_LOOKED_UP;
  return true;
}

/* --- What has come of an attempt --- */

/* Does nothing if the order was asked for anew or claimed by another meanwhile. */
static bool remove_pending(world *w, const claim *one) {
  pending_row *row = &w->delivery.pending[one->order];
  if (!row->exists || row->generation != one->generation || row->claim_number != one->number)
    return false;
  row->exists = false;
  SAY(w, "order %c is pending no more", order_name(one->order));
  return true;
}

static void release_row(world *w, const claim *one, int32_t attempts) {
  pending_row *row = &w->delivery.pending[one->order];
  bool is_ours = row->lease != NOBODY && row->claim_number == one->number;
  if (!row->exists || !is_ours)
    return;
  row->lease = NOBODY;
  row->attempts = attempts;
}

static void apply_found(world *w, const claim *one) {
  sim_work found = {
      .order = one->order, .lookup = one->lookup, .known_version = one->waiting.applied_version};
  if (one->waiting.min_version > 0)
    found.events[found.count++] = (delivery_event){one->waiting.min_version, false};
  found.events[found.count++] = (delivery_event){0, false};
  deliveries_apply(w, &found);
}

static void finish_done(world *w, const claim *one, delivery_attempt attempt) {
  if (attempt == DELIVERY_ATTEMPT_FOUND)
    apply_found(w, one);
  world_cover(w, attempt == DELIVERY_ATTEMPT_FOUND ? COVER_ATTEMPT_FOUND : COVER_ATTEMPT_REACHED);
  if (!remove_pending(w, one)) {
    world_cover(w, COVER_PENDING_STAYED);
    release_row(w, one, 0);
    return;
  }
  bool is_unanswered = attempt == DELIVERY_ATTEMPT_REACHED && w->delivery.poke_owed[one->order];
  w->delivery.poke_owed[one->order] = false;
  if (is_unanswered)
    world_fail(w, P12, "a poke of order %c is done with, although no lookup was answered",
               order_name(one->order));
}

static void give_up(world *w, const claim *one) {
  const pending_row *row = &w->delivery.pending[one->order];
  world_cover(w, COVER_ATTEMPT_GIVEN_UP);
  if (row->exists)
    deliveries_add_letter(w, one->order, row->min_version,
                          (place){row->source_log, row->source_offset});
  int tries = row->tries;
  if (!remove_pending(w, one)) {
    release_row(w, one, 0);
    return;
  }
  w->delivery.poke_owed[one->order] = false;
  if (tries + 1 < MAX_ATTEMPTS)
    world_fail(w, P12, "order %c is given up on after %d tries", order_name(one->order), tries + 1);
}

static void finish_claim(world *w, const claim *one) {
  delivery_attempt attempt = delivery_decide_attempt(&one->waiting, &one->lookup, MAX_ATTEMPTS);
  if (attempt == DELIVERY_ATTEMPT_FOUND || attempt == DELIVERY_ATTEMPT_REACHED) {
    finish_done(w, one, attempt);
  } else if (attempt == DELIVERY_ATTEMPT_GIVEN_UP) {
    give_up(w, one);
  } else {
    world_cover(w, COVER_ATTEMPT_AGAIN);
    w->delivery.pending[one->order].tries++;
    release_row(w, one, one->waiting.attempts + 1);
  }
}

static bool release_all(world *w, int retrier) {
  sim_retrier *r = &w->retriers[retrier];
  SAY(w, "retrier %d gives back what it has claimed", retrier);
  world_cover(w, COVER_ATTEMPT_RELEASED);
  for (int i = 0; i < r->claim_count; i++)
    release_row(w, &r->claims[i], r->claims[i].waiting.attempts);
  r->stage = RETRIER_IDLE;
  return true;
}

bool retriers_release(world *w, int retrier) {
  return w->retriers[retrier].stage == RETRIER_CLAIMED && release_all(w, retrier);
}

bool retriers_finish(world *w, int retrier, apply_result result) {
  sim_retrier *r = &w->retriers[retrier];
  if (r->stage != RETRIER_LOOKED_UP)
    return false;
  SAY(w, "retrier %d writes what has come of it", retrier);
  for (int i = 0; i < r->claim_count && result != APPLY_FAILED; i++)
    finish_claim(w, &r->claims[i]);
  if (result != APPLY_DONE)
    return release_all(w, retrier);
  r->stage = RETRIER_IDLE;
  return true;
}

bool retriers_crash(world *w, int retrier) {
  sim_retrier *r = &w->retriers[retrier];
  if (r->stage == RETRIER_IDLE)
    return false;
  SAY(w, "retrier %d crashes", retrier);
  world_cover(w, COVER_RETRIER_CRASHED);
  r->stage = RETRIER_IDLE;
  return true;
}

bool retriers_expire_claims(world *w) {
  bool any = false;
  for (int i = 1; i <= ORDERS; i++) {
    pending_row *row = &w->delivery.pending[i];
    if (!row->exists || row->lease == NOBODY)
      continue;
    if (w->retriers[row->lease].stage != RETRIER_IDLE)
      world_cover(w, COVER_CLAIM_EXPIRED);
    row->lease = NOBODY;
    any = true;
  }
  if (any)
    SAY(w, "claims run out");
  return any;
}
