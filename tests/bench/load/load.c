/* One loop: send what is due, wait for answers or for the next call to be due, take answers. */
#include "tests/bench/load/load.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/base/clock.h"
#include "tests/bench/load/connection.h"

enum { SILENCE_MS = 35000 }; /* a call's deadline is 30 s */

typedef struct load_lane {
  connection *connection;
  struct load_call *free; /* calls that may be sent */
} load_lane;

typedef struct load_call {
  connection_call base;
  load_lane *lane;
  struct load_call *next;
  int64_t *ids;
  int64_t due_us, sent_us;
} load_call;

typedef struct load {
  const load_options *options;
  load_result *result;
  load_lane lanes[LOAD_MOST_CHANNELS];
  load_call *calls;
  int64_t *ids;
  size_t out, next_lane;
  int64_t begin_us, until_us, now_us, last_sent_us;
  int64_t due; /* open: calls that were due so far */
  bool is_over;
} load;

/* --- Calls --- */

static void send_call(load *self, load_call *call, int64_t due_us) {
  uint8_t request[LOAD_REQUEST_BYTES];
  size_t bytes = load_requests_next(self->options->requests, request, call->ids);
  call->due_us = due_us;
  call->sent_us = self->now_us;
  self->last_sent_us = self->now_us;
  self->result->sent++;
  self->out++;
  connection_start(call->lane->connection, &call->base, request, bytes);
}

static bool may_send(load *self) {
  const load_options *options = self->options;
  if (self->now_us >= self->until_us ||
      (options->calls > 0 && self->result->sent >= options->calls))
    self->is_over = true;
  return !self->is_over;
}

static void on_ended(connection_call *base, int status, const uint8_t *message, size_t bytes,
                     void *arg) {
  load *self = arg;
  load_call *call = base->owner;
  load_result *result = self->result;
  ls_code code = status >= 0 && status < LOAD_CODES ? (ls_code)status : LS_UNKNOWN;
  const char *wrong = NULL;
  if (code == LS_OK) {
    latencies_add(&result->done, self->now_us - call->due_us);
    wrong = message == NULL
                ? "the answer holds no message"
                : load_requests_check(self->options->requests, message, bytes, call->ids);
  } else if (code == LS_RESOURCE_EXHAUSTED) {
    latencies_add(&result->refused, self->now_us - call->sent_us);
  }
  result->answers[code]++;
  if (wrong != NULL && result->wrong++ == 0)
    result->first_wrong = wrong;
  self->out--;
  if (self->options->rate <= 0 && may_send(self)) {
    send_call(self, call, self->now_us);
  } else {
    call->next = call->lane->free;
    call->lane->free = call;
  }
}

/* Closed: sends the first ones. */
static void send_all(load *self) {
  for (size_t i = 0; i < self->options->channels; i++)
    for (load_call *call = self->lanes[i].free; call != NULL && may_send(self); call = call->next)
      send_call(self, call, self->now_us);
}

static int64_t due_us(const load *self, int64_t number) {
  return self->begin_us + (int64_t)((double)number * 1e6 / self->options->rate);
}

/* Open: sends what is due, in turn over the lanes. What finds no call that is free is dropped: it
 * is the load that cannot have more out. */
static void send_due(load *self) {
  while (may_send(self) && due_us(self, self->due) <= self->now_us) {
    load_lane *lane = &self->lanes[self->next_lane];
    self->next_lane = self->next_lane + 1 < self->options->channels ? self->next_lane + 1 : 0;
    load_call *call = lane->free;
    if (call == NULL) {
      self->result->held_back++;
    } else {
      lane->free = call->next;
      send_call(self, call, due_us(self, self->due));
    }
    self->due++;
  }
}

/* --- The loop --- */

static int64_t next_wake_us(const load *self) {
  int64_t silence_us = self->now_us + (int64_t)SILENCE_MS * 1000;
  if (self->options->rate <= 0 || self->is_over)
    return silence_us;
  int64_t wake_us = due_us(self, self->due);
  return wake_us < self->until_us ? wake_us : self->until_us;
}

static bool wait_for_answers(load *self, struct pollfd *sockets, ls_error *error) {
  size_t count = self->options->channels;
  for (size_t i = 0; i < count; i++) {
    bool is_writing = connection_wants_to_write(self->lanes[i].connection);
    sockets[i].events = (short)(is_writing ? POLLIN | POLLOUT : POLLIN);
  }
  int64_t wait_us = next_wake_us(self) - ls_clock_monotonic_us();
  bool is_silent = wait_us > (int64_t)SILENCE_MS * 500;
  if (wait_us < 0)
    wait_us = 0;
  struct timespec timeout = {.tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000};
  int ready = ppoll(sockets, count, &timeout, NULL);
  self->now_us = ls_clock_monotonic_us();
  if (ready < 0 && errno != EINTR)
    return ls_error_set(error, LS_INTERNAL, false, NULL, "poll: %s", strerror(errno));
  if (ready == 0 && is_silent)
    return ls_error_set(error, LS_DEADLINE_EXCEEDED, false, NULL, "%zu calls are not answered",
                        self->out);
  return true;
}

static bool loop(load *self, ls_error *error) {
  struct pollfd sockets[LOAD_MOST_CHANNELS];
  size_t count = self->options->channels;
  for (size_t i = 0; i < count; i++)
    sockets[i] = (struct pollfd){.fd = connection_socket(self->lanes[i].connection)};
  if (self->options->rate <= 0)
    send_all(self);
  for (;;) {
    if (self->options->rate > 0)
      send_due(self);
    for (size_t i = 0; i < count; i++)
      if (!connection_flush(self->lanes[i].connection, error))
        return false;
    if (self->is_over && self->out == 0)
      return true;
    if (!wait_for_answers(self, sockets, error))
      return false;
    for (size_t i = 0; i < count; i++)
      if ((sockets[i].revents & ~POLLOUT) != 0 &&
          !connection_receive(self->lanes[i].connection, error))
        return false;
  }
}

bool load_run(const load_options *options, load_result *result, ls_error *error) {
  static load self; /* too large for a stack */
  size_t ids = load_requests_ids(options->requests);
  bool done = false;
  self = (load){.options = options, .result = result};
  *result = (load_result){0};
  if (options->channels == 0 || options->channels > LOAD_MOST_CHANNELS)
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "%zu connections",
                        options->channels);
  self.calls = calloc(options->in_flight, sizeof *self.calls);
  self.ids = calloc(options->in_flight * ids, sizeof *self.ids);
  if (self.calls == NULL || self.ids == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory");
    goto cleanup;
  }
  for (size_t i = 0; i < options->channels; i++) {
    self.lanes[i].connection =
        connection_open(options->address, load_requests_path(options->requests),
                        options->in_flight / options->channels + 1, on_ended, &self, error);
    if (self.lanes[i].connection == NULL)
      goto cleanup;
  }
  for (size_t i = 0; i < options->in_flight; i++) {
    load_call *call = &self.calls[i];
    load_lane *lane = &self.lanes[i % options->channels];
    *call = (load_call){
        .base = {.owner = call}, .lane = lane, .next = lane->free, .ids = self.ids + i * ids};
    lane->free = call;
  }

  self.begin_us = self.now_us = ls_clock_monotonic_us();
  self.until_us =
      options->duration_ms > 0 ? self.begin_us + options->duration_ms * 1000 : INT64_MAX;
  done = loop(&self, error);
  result->seconds = (double)(ls_clock_monotonic_us() - self.begin_us) / 1e6;
  result->send_seconds = (double)(self.last_sent_us - self.begin_us) / 1e6;

cleanup:
  for (size_t i = 0; i < options->channels; i++)
    connection_close(self.lanes[i].connection);
  for (size_t i = 0; self.calls != NULL && i < options->in_flight; i++)
    free(self.calls[i].base.answer);
  free(self.calls);
  free(self.ids);
  return done;
}
