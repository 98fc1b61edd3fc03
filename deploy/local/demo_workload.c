/* Chooses the writes, starts them, and judges how they ended. All on the caller's thread. */
#include "deploy/local/demo_workload.h"

#include <stdlib.h>
#include <string.h>

#include "deploy/local/demo_orders.h"
#include "runtime/base/clock.h"
#include "runtime/base/shutdown.h"

enum {
  SAMPLE_EVERY = 10,
  LOOK_AROUND_MS = 100,            /* at the latest: for progress and for Ctrl-C */
  PURPOSE_MIX = DEMO_PURPOSE_OTHER /* of the generator that mixes the writes */
};

/* Something to be done to an order that exists. */
typedef struct change {
  size_t index;
  unsigned number; /* 1, 2, …; 0: cancel */
} change;

typedef struct run {
  const demo_options *options;
  demo_workload *workload;
  ls_error *error;
  bool failed;
  demo_random random;
  demo_calls calls;

  demo_write *writes;         /* options->in_flight of them */
  demo_write *idle, *waiting; /* not in use; to be repeated later */
  size_t open;                /* in use */
  size_t planned, done;       /* writes in all, and those that came to an end */
  size_t started_orders;      /* creates that were sent */
  change *changes;            /* to be done */
  size_t change_count;
  demo_sample *samples; /* room for one of each write */
  size_t sample_count, samples_open;
} run;

/* --- Judging calls that have ended --- */

static void judge_sample(run *r, const demo_sample *sample) {
  r->samples_open--;
  if (sample->seen)
    r->workload->visible_us[r->workload->visible_count++] =
        sample->visible_us - sample->answered_us;
  else
    r->workload->unseen++;
}

/* The write has come to an end, this or that. */
static void release(run *r, demo_write *write) {
  if (write->sample != NULL) { /* no version came of it */
    r->samples_open--;
    write->sample = NULL;
  }
  write->next = r->idle;
  r->idle = write;
  r->open--;
  r->done++;
}

static void fail(run *r, demo_write *write) {
  if (!r->failed)
    ls_error_set(r->error, write->code, false, NULL, "%s: %s: %s", demo_write_method(write),
                 ls_code_name(write->code), write->message);
  r->failed = true;
  release(r, write);
}

/* Lines up what is to become of an order that now exists. */
static void plan_changes(run *r, size_t index) {
  demo_plan plan = demo_plan_of((uint64_t)r->options->seed, index);
  for (unsigned number = 1; number <= plan.changes; number++)
    r->changes[r->change_count++] = (change){index, number};
  if (plan.cancelled)
    r->changes[r->change_count++] = (change){index, 0};
}

static void judge_success(run *r, demo_write *write) {
  demo_order *order = &r->workload->orders[write->index];
  if (write->answer.version > order->version) /* answers may overtake each other */
    *order = write->answer;
  if (write->reading && !order->cancelled) { /* a new request, made for the version just read */
    write->order = *order;
    demo_write_send(write);
    return;
  }
  if (write->kind == DEMO_CREATE)
    plan_changes(r, write->index);
  release(r, write);
}

/* It may have happened or not; the request_id keeps it from happening twice. */
static void repeat_later(run *r, demo_write *write) {
  int64_t now_ms = ls_clock_monotonic_ms();
  if (now_ms - write->first_try_ms > r->options->timeout_ms) {
    fail(r, write);
    return;
  }
  r->workload->repeats++;
  write->next_try_ms = now_ms + ls_backoff_next(&write->backoff);
  write->next = r->waiting;
  r->waiting = write;
}

static void judge_write(run *r, demo_write *write) {
  bool is_change = write->kind == DEMO_CHANGE && !write->reading;
  switch (write->code) {
  case LS_OK:
    judge_success(r, write);
    break;
  case LS_UNAVAILABLE:
  case LS_DEADLINE_EXCEEDED:
  case LS_RESOURCE_EXHAUSTED:
    repeat_later(r, write);
    break;
  case LS_ABORTED: /* another change of the same order was quicker */
    if (!is_change) {
      fail(r, write);
      break;
    }
    r->workload->lost_races++;
    demo_write_read(write);
    break;
  case LS_FAILED_PRECONDITION: /* a cancel was quicker: nothing is left to change */
    if (is_change && strcmp(write->reason, "ORDER_CANCELLED") == 0)
      release(r, write);
    else
      fail(r, write);
    break;
  default:
    fail(r, write);
  }
}

static void judge_ended(run *r, int64_t until_ms) {
  demo_ended *call = demo_calls_wait(&r->calls, until_ms);
  while (call != NULL) {
    demo_ended *next = call->next; /* judging may send the call again */
    if (call->is_sample)
      judge_sample(r, (demo_sample *)call);
    else
      judge_write(r, (demo_write *)call);
    call = next;
  }
}

/* --- Choosing and starting writes --- */

/* A new order, or a change of one that is there, mixed. False: there is nothing to do now. */
static bool choose(run *r, demo_write *write) {
  bool may_create = r->started_orders < r->workload->order_count;
  while (r->change_count > 0 && (!may_create || demo_random_below(&r->random, 2) == 0)) {
    size_t picked = demo_random_below(&r->random, (unsigned)r->change_count);
    change next = r->changes[picked];
    r->changes[picked] = r->changes[--r->change_count];
    write->index = next.index;
    write->change = next.number;
    write->kind = next.number > 0 ? DEMO_CHANGE : DEMO_CANCEL;
    if (write->kind == DEMO_CANCEL || !r->workload->orders[next.index].cancelled)
      return true;
    r->done++; /* known to be in vain */
  }
  if (!may_create)
    return false;
  write->kind = DEMO_CREATE;
  write->index = r->started_orders++;
  return true;
}

static void give_sample(run *r, demo_write *write) {
  size_t number = r->sample_count++;
  write->sample = &r->samples[number];
  write->sample->calls = &r->calls;
  write->sample->delivery = demo_channel(&r->calls.services->deliveries, number);
  r->samples_open++;
}

static void start_writes(run *r) {
  while (r->idle != NULL && choose(r, r->idle)) {
    demo_write *write = r->idle;
    r->idle = write->next;
    r->open++;
    write->order = r->workload->orders[write->index];
    if ((r->done + r->open) % SAMPLE_EVERY == 0)
      give_sample(r, write);
    demo_write_send(write);
  }
}

/* Repeats what is due. When to look again: at the next one's time, at the latest soon. */
static int64_t repeat_writes(run *r) {
  int64_t now_ms = ls_clock_monotonic_ms(), next_ms = now_ms + LOOK_AROUND_MS;
  for (demo_write **link = &r->waiting; *link != NULL;) {
    demo_write *write = *link;
    if (write->next_try_ms <= now_ms) {
      *link = write->next;
      demo_write_send_again(write);
    } else {
      if (write->next_try_ms < next_ms)
        next_ms = write->next_try_ms;
      link = &write->next;
    }
  }
  return next_ms;
}

/* --- The run --- */

static bool drive(run *r, demo_progress *progress) {
  r->workload->begin_us = ls_clock_monotonic_us();
  while (!r->failed) {
    if (ls_shutdown_requested())
      return ls_error_set(r->error, LS_CANCELLED, false, NULL, "interrupted");
    start_writes(r);
    if (r->open == 0 && r->samples_open == 0)
      return true;
    judge_ended(r, repeat_writes(r));
    demo_progress_update(progress, "%zu of %zu writes, %zu in flight", r->done, r->planned,
                         r->open);
  }
  return false;
}

static bool prepare(run *r) {
  size_t in_flight = (size_t)r->options->in_flight, orders = (size_t)r->options->orders;
  if (in_flight == 0 || orders == 0)
    return ls_error_set(r->error, LS_INVALID_ARGUMENT, false, NULL, "there is nothing to write");
  r->planned = orders;
  for (size_t i = 0; i < orders; i++) {
    demo_plan plan = demo_plan_of((uint64_t)r->options->seed, i);
    r->planned += plan.changes + (plan.cancelled ? 1 : 0);
  }
  r->workload->orders = calloc(orders, sizeof(demo_order));
  r->workload->visible_us = calloc(r->planned, sizeof(int64_t));
  r->writes = calloc(in_flight, sizeof(demo_write));
  r->samples = calloc(r->planned, sizeof(demo_sample));
  r->changes = calloc(r->planned, sizeof(change));
  if (r->workload->orders == NULL || r->workload->visible_us == NULL || r->writes == NULL ||
      r->samples == NULL || r->changes == NULL)
    return ls_error_set(r->error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory");
  r->workload->order_count = orders;
  for (size_t i = 0; i < in_flight; i++) {
    r->writes[i].calls = &r->calls;
    r->writes[i].next = r->idle;
    r->idle = &r->writes[i];
  }
  return true;
}

bool demo_workload_run(const demo_options *options, demo_progress *progress,
                       demo_workload *workload, ls_error *error) {
  *workload = (demo_workload){0};
  run r = {.options = options,
           .workload = workload,
           .error = error,
           .random = demo_random_from((uint64_t)options->seed, 0, PURPOSE_MIX)};
  bool done = prepare(&r) && demo_calls_open(&r.calls, options, error) && drive(&r, progress);
  demo_calls_close(&r.calls);
  for (size_t i = 0; i < workload->order_count; i++)
    workload->versions += workload->orders[i].version;
  free(r.changes);
  free(r.samples);
  free(r.writes);
  return done;
}

void demo_workload_clear(demo_workload *workload) {
  free(workload->orders);
  free(workload->visible_us);
  *workload = (demo_workload){0};
}
