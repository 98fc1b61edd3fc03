/* The relay's thread: standing by, leading, and what happens when in a leader's life. */
#include "order/outbox_relay.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "order/relay_core.h"
#include "order/relay_event.h"
#include "order/relay_reader.h"
#include "order/relay_sender.h"
#include "runtime/base/clock.h"
#include "runtime/base/fault.h"
#include "runtime/base/log.h"
#include "runtime/base/retry.h"
#include "runtime/base/shutdown.h"
#include "runtime/base/thread.h"
#include "runtime/base/wake.h"

enum {
  STANDBY_MS = 1000,   /* how often a standby asks for the leadership */
  CHECKPOINT_MS = 200, /* at most so often; what came since is sent twice after a crash */
  HOUSEKEEPING_MS = 10000,
  READ_ROWS = 2048,       /* in one read */
  EVENT_BYTES = 32 << 20, /* of payload in the relay's care, before it reads on */
  RETRY_MS = 100,         /* first pause after a failed send */
  MAX_RETRY_MS = 5000
};

struct outbox_relay {
  const outbox_relay_options *options;
  size_t capacity;
  int64_t poll_interval_ms;
  ls_wake *wake;       /* new rows, or stop */
  ls_wake *kafka_wake; /* delivery reports */
  pthread_t thread;
  bool started;
  atomic_bool leader;
  atomic_bool stopping;
  _Atomic int64_t stop_until_us; /* while stopping: acknowledgements are waited for until then */
  bool drained;                  /* the thread's last word */

  pthread_mutex_t lock; /* of status */
  outbox_relay_status status;
};

/* A leader's term. Lives on the relay's thread. */
typedef struct term {
  outbox_relay *relay;
  relay_reader *reader;
  relay_core *core;
  relay_sender *sender;
  size_t bytes; /* of payload in the core's care */
  bool more;    /* the last read did not get all */
  bool changed; /* since the last checkpoint */
  int64_t next_poll_us, next_checkpoint_us, next_housekeeping_us, retry_us;
  ls_backoff backoff;
  ls_error failure;                                            /* the last failed send */
  int64_t acknowledged, acknowledged_bytes, failed, oversized; /* since last published */
} term;

static int64_t in_ms(int64_t ms) {
  return ls_clock_monotonic_us() + ms * 1000;
}

static void set_problem(outbox_relay *relay, const ls_error *error) {
  pthread_mutex_lock(&relay->lock);
  snprintf(relay->status.problem, sizeof relay->status.problem, "%s",
           error != NULL ? error->message : "");
  pthread_mutex_unlock(&relay->lock);
}

/* --- Sending --- */

static void on_sent(relay_event *event, const ls_error *failure, void *arg) {
  term *t = arg;
  if (failure == NULL) {
    LS_FAULT_POINT("relay.acknowledged");
    t->acknowledged++;
    t->acknowledged_bytes += (int64_t)event->record_bytes;
    t->oversized += event->oversized ? 1 : 0;
    t->bytes -= event->snapshot_bytes;
    t->changed = true;
    relay_core_acknowledged(t->core, event->entry);
    free(event);
    if (relay_core_failed_count(t->core) == 0)
      ls_backoff_reset(&t->backoff);
    return;
  }
  t->failed++;
  t->failure = *failure;
  relay_core_failed(t->core, event->entry);
  /* A record that the broker finds too large goes without its payload, at once. */
  if (failure->code == LS_OUT_OF_RANGE && !event->oversized) {
    event->oversized = true;
    t->retry_us = 0;
  } else if (relay_core_failed_count(t->core) == 1) {
    t->retry_us = in_ms(ls_backoff_next(&t->backoff));
  }
}

static bool open_sender(term *t, ls_error *error) {
  t->sender =
      relay_sender_new(t->relay->options, on_sent, t, ls_wake_fd(t->relay->kafka_wake), error);
  return t->sender != NULL;
}

/* Sends what is ready, until the producer takes no more. */
static bool send_ready(term *t, ls_error *error) {
  for (relay_entry *entry; (entry = relay_core_next(t->core)) != NULL;) {
    relay_event *event = relay_entry_event(entry);
    event->entry = entry;
    ls_error failure;
    ls_error_clear(&failure);
    if (relay_sender_send(t->sender, event, &failure)) {
      LS_FAULT_POINT("relay.sent");
      continue;
    }
    on_sent(event, &failure, t);
    if (failure.code == LS_RESOURCE_EXHAUSTED || failure.code == LS_FAILED_PRECONDITION)
      break;
  }
  if (!relay_sender_is_broken(t->sender, &t->failure))
    return true;
  LS_WARN("Kafka producer is broken and is made anew", LS_ERR(&t->failure));
  relay_sender_destroy(t->sender); /* which reports what it had as failed */
  t->sender = NULL;
  return open_sender(t, error);
}

/* --- A term --- */

static void publish_status(term *t) {
  outbox_relay *relay = t->relay;
  pthread_mutex_lock(&relay->lock);
  outbox_relay_status *status = &relay->status;
  status->produced_events += t->acknowledged;
  status->produced_bytes += t->acknowledged_bytes;
  status->failed_sends += t->failed;
  status->oversized_events += t->oversized;
  status->in_flight = (int64_t)relay_core_size(t->core);
  if (relay_core_failed_count(t->core) > 0)
    snprintf(status->problem, sizeof status->problem, "%s", t->failure.message);
  else
    status->problem[0] = '\0';
  pthread_mutex_unlock(&relay->lock);
  t->acknowledged = t->acknowledged_bytes = t->failed = t->oversized = 0;
}

static bool checkpoint(term *t, ls_error *error) {
  int64_t highest, gap_count;
  if (!relay_reader_checkpoint(t->reader, t->core, &highest, &gap_count, error))
    return false;
  t->changed = false;
  t->next_checkpoint_us = in_ms(CHECKPOINT_MS);
  pthread_mutex_lock(&t->relay->lock);
  t->relay->status.highest_sequence = highest;
  t->relay->status.gap_count = gap_count;
  pthread_mutex_unlock(&t->relay->lock);
  return true;
}

/* Room enough for a read that is worth its round trip. */
static bool has_room(const term *t) {
  size_t room = t->relay->capacity - relay_core_size(t->core);
  return room * 8 >= t->relay->capacity && t->bytes < EVENT_BYTES;
}

static bool read_rows(term *t, ls_error *error) {
  int64_t highest = relay_core_highest(t->core);
  int64_t missing = relay_core_missing(t->core);
  if (!relay_reader_read(t->reader, t->core, READ_ROWS, &t->bytes, &t->more, error))
    return false;
  t->next_poll_us = in_ms(t->relay->poll_interval_ms);
  if (relay_core_highest(t->core) != highest || relay_core_missing(t->core) != missing)
    t->changed = true;
  return true;
}

static void wait_for_work(const term *t, int64_t now_us) {
  const outbox_relay *relay = t->relay;
  int64_t until_us = now_us + relay_reader_keep_ms() * INT64_C(1000);
  if (t->next_housekeeping_us < until_us)
    until_us = t->next_housekeeping_us;
  if (!atomic_load(&relay->stopping) && t->next_poll_us < until_us)
    until_us = t->next_poll_us;
  if (t->changed && t->next_checkpoint_us < until_us)
    until_us = t->next_checkpoint_us;
  if (relay_core_failed_count(t->core) > 0 && t->retry_us < until_us)
    until_us = t->retry_us;
  if (atomic_load(&relay->stopping) && atomic_load(&relay->stop_until_us) < until_us)
    until_us = atomic_load(&relay->stop_until_us);
  if (until_us <= now_us)
    return;
  struct pollfd descriptors[] = {
      {.fd = ls_wake_fd(relay->wake), .events = POLLIN},
      {.fd = ls_wake_fd(relay->kafka_wake), .events = POLLIN},
      {.fd = relay_reader_socket(t->reader), .events = POLLIN},
  };
  poll(descriptors, 3, (int)((until_us - now_us + 999) / 1000));
}

/* One turn of the leader's loop. False: the session is to be given up. `done`: it was asked to
 * stop, and nothing is in flight any more, or not in time. */
static bool take_turn(term *t, bool *done, ls_error *error) {
  outbox_relay *relay = t->relay;
  bool woken = ls_wake_drain(relay->wake);
  ls_wake_drain(relay->kafka_wake);
  relay_sender_poll(t->sender);

  bool stopping = atomic_load(&relay->stopping);
  int64_t now_us = ls_clock_monotonic_us();
  if (stopping) {
    *done = relay_core_in_flight(t->core) == 0 || now_us >= atomic_load(&relay->stop_until_us);
    LS_FAULT_POINT("relay.drains");
    if (*done)
      return checkpoint(t, error);
  } else {
    size_t notified = 0;
    if (!relay_reader_notifications(t->reader, &notified, error))
      return false;
    t->more = t->more || woken || notified > 0;
    if (relay_core_failed_count(t->core) > 0 && now_us >= t->retry_us)
      relay_core_retry(t->core);
    if ((t->more || now_us >= t->next_poll_us) && has_room(t) && !read_rows(t, error))
      return false;
    if (relay_core_deferred_count(t->core) > 0 && t->bytes < EVENT_BYTES &&
        !relay_reader_read_deferred(t->reader, t->core, &t->bytes, error))
      return false;
    if (!send_ready(t, error))
      return false;
  }
  if ((t->changed && now_us >= t->next_checkpoint_us && !checkpoint(t, error)) ||
      !relay_reader_keep(t->reader, error))
    return false;
  if (now_us >= t->next_housekeeping_us) {
    t->next_housekeeping_us = in_ms(HOUSEKEEPING_MS);
    if (!relay_reader_housekeep(t->reader, error))
      return false;
  }
  publish_status(t);
  if (!(t->more && has_room(t)) || stopping)
    wait_for_work(t, ls_clock_monotonic_us());
  return true;
}

static void free_event(void *event, void *arg) {
  (void)arg;
  free(event);
}

/* Leads until the session is lost or the relay is stopped. */
static bool lead(outbox_relay *relay, relay_reader *reader, ls_error *error) {
  term t = {.relay = relay, .reader = reader, .more = true};
  LS_FAULT_POINT("relay.leads");
  ls_backoff_init(&t.backoff, RETRY_MS, MAX_RETRY_MS);
  t.next_housekeeping_us = in_ms(CHECKPOINT_MS);
  t.core = relay_reader_load(reader, relay->capacity, error);
  if (t.core == NULL)
    return false;
  bool well = open_sender(&t, error);
  if (well) {
    LS_INFO("relay leads", LS_INT("highest_sequence", relay_core_highest(t.core)),
            LS_INT("missing", relay_core_missing(t.core)));
    atomic_store(&relay->leader, true);
    set_problem(relay, NULL);
  }
  for (bool done = false; well && !done;)
    well = take_turn(&t, &done, error);
  relay->drained = well && relay_core_in_flight(t.core) == 0;
  atomic_store(&relay->leader, false);
  relay_sender_destroy(t.sender);
  publish_status(&t);
  relay_core_destroy(t.core, free_event, NULL);
  return well;
}

/* Sleeps, unless the relay is stopped. */
static void pause_for(outbox_relay *relay, int64_t ms) {
  int64_t until_us = in_ms(ms);
  for (int64_t left_us;
       !atomic_load(&relay->stopping) && (left_us = until_us - ls_clock_monotonic_us()) > 0;)
    ls_wake_wait(relay->wake, (left_us + 999) / 1000);
}

/* A session: stands by until it leads, leads until it ends. */
static bool serve_session(outbox_relay *relay, ls_error *error) {
  relay_reader *reader = relay_reader_new(&relay->options->database, error);
  if (reader == NULL)
    return false;
  bool well = true;
  bool leads = false;
  while (well && !leads && !atomic_load(&relay->stopping)) {
    well = relay_reader_lead(reader, &leads, error);
    if (well && !leads) {
      set_problem(relay, NULL);
      pause_for(relay, STANDBY_MS);
    }
  }
  if (well && leads)
    well = lead(relay, reader, error);
  relay_reader_destroy(reader);
  return well;
}

static void *run(void *arg) {
  outbox_relay *relay = arg;
  ls_backoff backoff;
  ls_backoff_init(&backoff, RETRY_MS, MAX_RETRY_MS / 2);
  relay->drained = true;
  while (!atomic_load(&relay->stopping)) {
    if (ls_shutdown_requested()) { /* no new session: it might be waited for, and not answer */
      pause_for(relay, MAX_RETRY_MS);
      continue;
    }
    ls_error error;
    ls_error_clear(&error);
    int64_t started_us = ls_clock_monotonic_us();
    if (serve_session(relay, &error))
      continue;
    set_problem(relay, &error);
    LS_WARN("relay has lost its session and begins again", LS_ERR(&error));
    if (ls_clock_monotonic_us() - started_us > (int64_t)MAX_RETRY_MS * 1000)
      ls_backoff_reset(&backoff);
    pause_for(relay, ls_backoff_next(&backoff));
  }
  return NULL;
}

/* --- For the other threads --- */

outbox_relay *outbox_relay_new(const outbox_relay_options *options, ls_error *error) {
  outbox_relay *relay = calloc(1, sizeof *relay);
  if (relay == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
    return NULL;
  }
  relay->options = options;
  relay->capacity = options->max_in_flight > 0 ? options->max_in_flight : 4096;
  relay->poll_interval_ms = options->poll_interval_ms > 0 ? options->poll_interval_ms : 1000;
  pthread_mutex_init(&relay->lock, NULL);
  relay->wake = ls_wake_new(error);
  relay->kafka_wake = relay->wake != NULL ? ls_wake_new(error) : NULL;
  if (relay->kafka_wake == NULL) {
    outbox_relay_destroy(relay);
    return NULL;
  }
  return relay;
}

bool outbox_relay_start(outbox_relay *relay, ls_error *error) {
  relay->started = ls_thread_start(&relay->thread, "relay", run, relay, error);
  return relay->started;
}

void outbox_relay_wake(outbox_relay *relay) {
  ls_wake_signal(relay->wake);
}

bool outbox_relay_is_leader(const outbox_relay *relay) {
  return atomic_load(&relay->leader);
}

void outbox_relay_get_status(const outbox_relay *relay, outbox_relay_status *status) {
  pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&relay->lock;
  pthread_mutex_lock(lock);
  *status = relay->status;
  pthread_mutex_unlock(lock);
  status->leader = atomic_load(&relay->leader);
}

bool outbox_relay_stop(outbox_relay *relay, int64_t grace_ms) {
  if (!relay->started)
    return true;
  atomic_store(&relay->stop_until_us, in_ms(grace_ms));
  atomic_store(&relay->stopping, true);
  ls_wake_signal(relay->wake);
  pthread_join(relay->thread, NULL);
  relay->started = false;
  return relay->drained;
}

void outbox_relay_destroy(outbox_relay *relay) {
  if (relay == NULL)
    return;
  outbox_relay_stop(relay, 0);
  ls_wake_destroy(relay->wake);
  ls_wake_destroy(relay->kafka_wake);
  pthread_mutex_destroy(&relay->lock);
  free(relay);
}
