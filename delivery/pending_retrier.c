/* The retrier's thread. */
#include "delivery/pending_retrier.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "delivery/dead_letter_producer.h"
#include "delivery/delivery_store.h"
#include "delivery/order_lookup.h"
#include "runtime/base/log.h"
#include "runtime/base/retry.h"
#include "runtime/base/thread.h"
#include "runtime/base/wake.h"

enum {
  CLAIM = 256,         /* orders in one attempt */
  PAGE = 1000,         /* orders in a page of the walk */
  DOWN_DELAY_MS = 1000 /* before the next attempt when the order service is down */
};

#define ARENA_BYTES ((size_t)256 << 20)

/* One order of an attempt or a page, with the memory that its work points to. */
typedef struct attempt {
  const delivery_pending *pending; /* NULL in the walk */
  order_lookup_result result;
  delivery_event events[2];
  const delivery_snapshot *snapshots[2];
  const order_record *records[2];
  delivery_verdict verdicts[2];
  delivery_attempt fate;
  const char *reason; /* of one that is not done */
} attempt;

struct pending_retrier {
  pending_retrier_options options;
  pthread_t thread;
  bool is_running;
  atomic_bool is_stopping;
  ls_wake *wake;

  /* The thread's own. */
  delivery_store *store;
  order_lookup *lookup;
  dead_letter_producer *dead_letters;
  ls_arena *arena;
  attempt *attempts; /* PAGE of each */
  int64_t *order_ids;
  order_lookup_result *results;
  delivery_work *works;
  delivery_pending_end *ends;
  delivery_letter *letters;
  ls_backoff jitter;
  ls_log_limit failure_limit;
};

pending_retrier *pending_retrier_new(const pending_retrier_options *options, ls_error *error) {
  pending_retrier *retrier = calloc(1, sizeof *retrier);
  if (retrier == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for the retrier");
    return NULL;
  }
  retrier->options = *options;
  order_lookup_options lookup = {options->orders, options->lookup_batch, options->lookup_calls,
                                 options->lookup_timeout_ms, options->counters};
  dead_letter_producer_options letters = {options->kafka, options->dead_letter_topic, 10000};
  ls_backoff_init(&retrier->jitter, options->initial_delay_ms, options->max_delay_ms);
  retrier->wake = ls_wake_new(error);
  retrier->store = delivery_store_new(options->database, error);
  retrier->lookup = order_lookup_new(&lookup, error);
  retrier->dead_letters = dead_letter_producer_new(&letters, error);
  retrier->arena = ls_arena_new(ARENA_BYTES);
  retrier->attempts = calloc(PAGE, sizeof *retrier->attempts);
  retrier->order_ids = calloc(PAGE, sizeof *retrier->order_ids);
  retrier->results = calloc(PAGE, sizeof *retrier->results);
  retrier->works = calloc(PAGE, sizeof *retrier->works);
  retrier->ends = calloc(PAGE, sizeof *retrier->ends);
  retrier->letters = calloc(PAGE, sizeof *retrier->letters);
  if (retrier->arena == NULL || retrier->attempts == NULL || retrier->order_ids == NULL ||
      retrier->results == NULL || retrier->works == NULL || retrier->ends == NULL ||
      retrier->letters == NULL)
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for the retrier");
  else if (retrier->wake != NULL && retrier->store != NULL && retrier->lookup != NULL &&
           retrier->dead_letters != NULL)
    return retrier;
  pending_retrier_destroy(retrier);
  return NULL;
}

void pending_retrier_destroy(pending_retrier *retrier) {
  if (retrier == NULL)
    return;
  ls_wake_destroy(retrier->wake);
  delivery_store_destroy(retrier->store);
  order_lookup_destroy(retrier->lookup);
  dead_letter_producer_destroy(retrier->dead_letters);
  ls_arena_destroy(retrier->arena);
  free(retrier->attempts);
  free(retrier->order_ids);
  free(retrier->results);
  free(retrier->works);
  free(retrier->ends);
  free(retrier->letters);
  free(retrier);
}

void pending_retrier_wake(pending_retrier *retrier) {
  ls_wake_signal(retrier->wake);
}

static void report(pending_retrier *retrier, const char *what, const ls_error *error) {
  if (ls_log_every(&retrier->failure_limit, 1000))
    LS_WARN("pending orders wait", LS_STR("step", what), LS_ERR(error),
            LS_UINT("not_logged", ls_log_suppressed(&retrier->failure_limit)));
}

/* About what an attempt may take. Two at the same orders do no harm; a claim whose holder has died
 * delays them. */
static int64_t lease_ms(const pending_retrier *retrier) {
  return 2 * retrier->options.lookup_timeout_ms;
}

/* --- What to do with an order --- */

/* As if the events had come that asked for it: one that says which version, one that says just
 * look. */
static void fill_work(attempt *one, delivery_work *work, int64_t order_id) {
  size_t count = 0;
  if (one->pending != NULL && one->pending->min_version > 0)
    one->events[count++] = (delivery_event){one->pending->min_version, false};
  one->events[count++] = (delivery_event){0, false};
  *work = (delivery_work){.order_id = order_id,
                          .events = one->events,
                          .event_count = count,
                          .snapshots = one->snapshots,
                          .records = one->records,
                          .lookup = one->result.lookup,
                          .found = one->result.snapshot,
                          .verdicts = one->verdicts};
}

static int64_t next_delay_ms(pending_retrier *retrier, int32_t attempts) {
  retrier->jitter.attempts = attempts > 0 ? (unsigned)attempts : 0;
  return ls_backoff_next(&retrier->jitter);
}

static const char *problem_of(const attempt *one) {
  return one->result.problem != NULL ? one->result.problem
                                     : "the order service's answer is older than the event";
}

static bool is_done(const attempt *one) {
  return one->fate == DELIVERY_ATTEMPT_FOUND || one->fate == DELIVERY_ATTEMPT_REACHED;
}

static delivery_pending_end end_of(pending_retrier *retrier, attempt *one) {
  const delivery_pending *pending = one->pending;
  delivery_pending_end end = {
      .order_id = pending->order_id, .generation = pending->generation, .claim = pending->claim};
  if (one->fate != DELIVERY_ATTEMPT_AGAIN) {
    end.done = true;
    return end;
  }
  end.attempts = pending->attempts + 1;
  end.delay_ms = next_delay_ms(retrier, pending->attempts);
  end.reason = one->reason;
  return end;
}

/* A pending order that is given up on becomes a dead letter. */
static bool add_letter(pending_retrier *retrier, const attempt *one, size_t *count,
                       ls_error *error) {
  delivery_letter *letter = &retrier->letters[*count];
  bool found;
  if (!delivery_store_pending_record(retrier->store, one->pending->order_id, retrier->arena,
                                     &letter->record, &found, error))
    return false;
  if (!found)
    return true;
  letter->reason = one->reason;
  (*count)++;
  LS_WARN("pending order goes to the dead letters", LS_INT("order_id", one->pending->order_id),
          LS_INT("attempts", one->pending->attempts + 1), LS_STR("reason", one->reason));
  return true;
}

/* --- Writing --- */

static void count_done(pending_retrier *retrier, const attempt *one) {
  const delivery_counters *counters = retrier->options.counters;
  ls_counter_add(counters->pending_resolved, 1);
  /* Otherwise the event was on its way. */
  if (one->pending->reconciling && one->fate == DELIVERY_ATTEMPT_FOUND &&
      one->pending->applied_version < one->pending->min_version)
    ls_counter_add(counters->reconciled, 1);
}

/* Writes what has come of some attempts, those of one claim or one page, in one transaction. */
static bool finish(pending_retrier *retrier, attempt *attempts, const int64_t *order_ids,
                   size_t count, ls_error *error) {
  delivery_batch batch = {
      .works = retrier->works, .ends = retrier->ends, .letters = retrier->letters};
  size_t applied, given_up = 0;
  for (size_t i = 0; i < count; i++) {
    attempt *one = &attempts[i];
    bool is_given_up = one->fate == DELIVERY_ATTEMPT_GIVEN_UP;
    if (is_given_up && !add_letter(retrier, one, &batch.letter_count, error))
      return false;
    if (one->fate == DELIVERY_ATTEMPT_FOUND)
      fill_work(one, &retrier->works[batch.work_count++], order_ids[i]);
    if (one->pending != NULL)
      retrier->ends[batch.end_count++] = end_of(retrier, one);
    given_up += is_given_up;
  }
  if (!dead_letter_producer_send(retrier->dead_letters, batch.letters, batch.letter_count, error) ||
      !delivery_store_apply(retrier->store, &batch, &applied, error))
    return false;
  for (size_t i = 0; i < count; i++)
    if (attempts[i].pending != NULL && is_done(&attempts[i]))
      count_done(retrier, &attempts[i]);
  ls_counter_add(retrier->options.counters->pending_given_up, given_up);
  if (applied > 0)
    retrier->options.changed(retrier->options.arg);
  return true;
}

/* The same for an order of the walk or a claim that cannot be written. */
static bool refuse(pending_retrier *retrier, attempt *one, int64_t order_id, const ls_error *cause,
                   ls_error *error) {
  if (one->pending == NULL) {
    LS_ERROR("order left out of the resync", LS_INT("order_id", order_id), LS_ERR(cause));
    return true;
  }
  one->fate = DELIVERY_ATTEMPT_GIVEN_UP;
  one->reason = cause->message;
  return finish(retrier, one, &order_id, 1, error);
}

/* Together; if something among them cannot be written, one by one. */
static bool finish_all(pending_retrier *retrier, size_t count, ls_error *error) {
  if (finish(retrier, retrier->attempts, retrier->order_ids, count, error))
    return true;
  if (!delivery_store_is_about_data(error))
    return false;
  for (size_t i = 0; i < count; i++) {
    attempt *one = &retrier->attempts[i];
    ls_error cause = {0};
    if (finish(retrier, one, &retrier->order_ids[i], 1, &cause))
      continue;
    if (!delivery_store_is_about_data(&cause)) {
      *error = cause;
      return false;
    }
    if (!refuse(retrier, one, retrier->order_ids[i], &cause, error))
      return false;
  }
  return true;
}

/* --- Pending orders --- */

/* The order service is down: no order's fault, and no attempt. */
static bool release(pending_retrier *retrier, const delivery_pending *pending, size_t count,
                    ls_error *error) {
  delivery_batch batch = {.ends = retrier->ends, .end_count = count};
  size_t applied;
  for (size_t i = 0; i < count; i++)
    retrier->ends[i] = (delivery_pending_end){.order_id = pending[i].order_id,
                                              .generation = pending[i].generation,
                                              .claim = pending[i].claim,
                                              .attempts = pending[i].attempts,
                                              .delay_ms = DOWN_DELAY_MS};
  return delivery_store_apply(retrier->store, &batch, &applied, error);
}

/* True if there may be more to do at once. */
static bool retry_pending(pending_retrier *retrier) {
  ls_error error = {0};
  delivery_pending *pending;
  size_t count;
  ls_arena_reset(retrier->arena);
  if (!delivery_store_claim_pending(retrier->store, CLAIM, lease_ms(retrier), retrier->arena,
                                    &pending, &count, &error)) {
    report(retrier, "claim", &error);
    return false;
  }
  if (count == 0)
    return false;
  for (size_t i = 0; i < count; i++)
    retrier->order_ids[i] = pending[i].order_id;
  if (!order_lookup_run(retrier->lookup, retrier->order_ids, count, retrier->arena,
                        retrier->results, &error)) {
    report(retrier, "lookup", &error);
    if (!release(retrier, pending, count, &error))
      report(retrier, "release", &error);
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    attempt *one = &retrier->attempts[i];
    *one = (attempt){.pending = &pending[i], .result = retrier->results[i]};
    delivery_waiting waiting = {pending[i].min_version, pending[i].poked,
                                pending[i].applied_version, pending[i].attempts};
    one->fate =
        delivery_decide_attempt(&waiting, &one->result.lookup, retrier->options.max_attempts);
    one->reason = problem_of(one);
  }
  if (finish_all(retrier, count, &error))
    return count == CLAIM;
  report(retrier, "apply", &error);
  /* Soon again; if even this cannot be written, when the claim has run out. */
  if (!release(retrier, pending, count, &error))
    report(retrier, "release", &error);
  return false;
}

/* --- All orders --- */

static bool apply_page(pending_retrier *retrier, const delivery_snapshot *snapshots, size_t count,
                       ls_error *error) {
  for (size_t i = 0; i < count; i++) {
    retrier->order_ids[i] = snapshots[i].order_id;
    retrier->attempts[i] =
        (attempt){.result = {{DELIVERY_LOOKUP_FOUND, snapshots[i].version}, &snapshots[i], NULL},
                  .fate = DELIVERY_ATTEMPT_FOUND};
  }
  return count == 0 || finish_all(retrier, count, error);
}

/* One page; true if there may be more to do at once. */
static bool walk(pending_retrier *retrier) {
  ls_error error = {0};
  delivery_resync resync;
  delivery_snapshot *snapshots;
  size_t count;
  const char *next = "";
  ls_arena_reset(retrier->arena);
  if (!delivery_store_claim_resync(retrier->store, lease_ms(retrier), retrier->arena, &resync,
                                   &error)) {
    report(retrier, "claim of the walk", &error);
    return false;
  }
  if (!resync.active)
    return false;
  bool done = order_lookup_list(retrier->lookup, resync.page_token, PAGE, retrier->arena,
                                &snapshots, &count, &next, &error);
  if (!done && error.code == LS_INVALID_ARGUMENT && resync.page_token[0] != '\0') {
    LS_WARN("the resync begins anew: the order service does not know its place", LS_ERR(&error));
    delivery_store_advance_resync(retrier->store, resync.generation, "", false, &error);
    return true;
  }
  done = done && apply_page(retrier, snapshots, count, &error);
  if (!done)
    report(retrier, "walk", &error);
  bool is_last = done && next[0] == '\0';
  if (!delivery_store_advance_resync(retrier->store, resync.generation,
                                     done ? next : resync.page_token, is_last, &error)) {
    report(retrier, "walk", &error);
    return false;
  }
  if (is_last)
    LS_INFO("resync of all orders is done");
  return done && !is_last;
}

/* --- The thread --- */

static void *run(void *arg) {
  pending_retrier *retrier = arg;
  while (!atomic_load(&retrier->is_stopping)) {
    bool more = retry_pending(retrier);
    more = walk(retrier) || more;
    if (!more)
      ls_wake_wait(retrier->wake, retrier->options.poll_interval_ms);
  }
  return NULL;
}

bool pending_retrier_start(pending_retrier *retrier, ls_error *error) {
  retrier->is_running = ls_thread_start(&retrier->thread, "retrier", run, retrier, error);
  return retrier->is_running;
}

void pending_retrier_stop(pending_retrier *retrier) {
  atomic_store(&retrier->is_stopping, true);
  ls_wake_signal(retrier->wake);
  if (retrier->is_running)
    pthread_join(retrier->thread, NULL);
  retrier->is_running = false;
}
