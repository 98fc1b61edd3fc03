/* Streams under pressure: readers that stop, thousands at once, ends and cancellations at every
 * step. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lockstep/test/v1/echo.grpc-c.h"
#include "runtime/base/clock.h"
#include "runtime/base/thread.h"
#include "runtime/rpc/internal.h"
#include "runtime/rpc/rpc_test_support.h"

typedef Lockstep__Test__V1__Note Note;
#define NOTE_INIT LOCKSTEP__TEST__V1__NOTE__INIT
#define ECHO(name) lockstep_test_v1_echo_service_##name

/* Sanitizers keep freed memory, and are slow. */
#if defined(__SANITIZE_ADDRESS__) || defined(LS_RPC_TSAN)
enum { SANITIZED = true };
#else
enum { SANITIZED = false };
#endif

/* --- A server whose calls do as the test says, step by step --- */

typedef struct script {
  ls_rpc_server *server;
  ls_rpc_channel *channel;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  ls_rpc_call *call; /* NULL: not there yet, or over */
  bool gives_in;     /* a cancelled call is ended at once, by nobody else */
  int started, received, half_closed, cancelled, done;
} script;

static void note_down(script *s, int *what) {
  pthread_mutex_lock(&s->lock);
  (*what)++;
  pthread_cond_broadcast(&s->changed);
  pthread_mutex_unlock(&s->lock);
}

/* Until `*what` has reached `count`. */
static void await(script *s, const int *what, int count) {
  int64_t deadline_us = ls_deadline_us(TEST_WAIT_MS);
  pthread_mutex_lock(&s->lock);
  while (*what < count && ls_condition_wait_until(&s->changed, &s->lock, deadline_us))
    continue;
  int reached = *what;
  pthread_mutex_unlock(&s->lock);
  assert_true(reached >= count);
}

static void on_cancel(ls_rpc_call *call, void *arg) {
  script *s = arg;
  note_down(s, &s->cancelled);
  pthread_mutex_lock(&s->lock);
  bool gives_in = s->gives_in;
  pthread_mutex_unlock(&s->lock);
  if (gives_in)
    ls_rpc_call_finish(call, NULL);
}

static void on_done(ls_rpc_call *call, void *arg) {
  (void)call;
  script *s = arg;
  note_down(s, &s->done);
}

static void take_call(ls_rpc_call *call, script *s) {
  ls_rpc_call_on_cancel(call, on_cancel, s);
  ls_rpc_call_on_done(call, on_done, s);
  pthread_mutex_lock(&s->lock);
  s->call = call;
  pthread_mutex_unlock(&s->lock);
  note_down(s, &s->started);
}

static void start_streaming(ls_rpc_call *call, void *user_data) {
  take_call(call, user_data);
  ls_rpc_call_read_next(call);
}

static void start_with_request(ls_rpc_call *call, const Note *request, void *user_data) {
  (void)request;
  take_call(call, user_data);
}

static void take_message(ls_rpc_call *call, const Note *message, void *user_data) {
  script *s = user_data;
  pthread_mutex_lock(&s->lock);
  int expected = s->received;
  pthread_mutex_unlock(&s->lock);
  if (message->number == expected) /* or the test waits for it in vain */
    note_down(s, &s->received);
  ls_rpc_call_read_next(call);
}

static void take_half_close(ls_rpc_call *call, void *user_data) {
  (void)call;
  script *s = user_data;
  note_down(s, &s->half_closed);
}

static const ECHO(handlers) scripted = {
    .echo = start_with_request,
    .count = start_with_request,
    .sum = {start_streaming, take_message, take_half_close},
    .chat = {start_streaming, take_message, take_half_close},
};

static script *script_start(void) {
  script *s = calloc(1, sizeof *s);
  assert_non_null(s);
  pthread_mutex_init(&s->lock, NULL);
  ls_condition_init(&s->changed);
  s->server = test_server_new(NULL);
  ls_error error;
  assert_true(ECHO(register)(s->server, &scripted, s, &error));
  s->channel = test_channel_new(test_server_start(s->server), NULL);
  return s;
}

static void script_stop(script *s) {
  test_stop(s->channel, s->server);
  assert_int_equal(s->done, s->started);
  pthread_cond_destroy(&s->changed);
  pthread_mutex_destroy(&s->lock);
  free(s);
}

static const ls_rpc_method *method_of(ls_rpc_kind kind) {
  const ls_rpc_service *service = &ECHO(service);
  for (size_t i = 0; i < service->method_count; i++)
    if (service->methods[i].kind == kind)
      return &service->methods[i];
  fail();
  return NULL;
}

/* One call as it goes on: what the client has written and read. */
typedef struct course {
  script *script;
  ls_rpc_stream *stream;
  int written, sent, read;
  bool is_ended; /* by the server */
  bool is_half_closed;
} course;

static void course_open(course *c, script *s, ls_rpc_kind kind, const ls_rpc_call_options *options,
                        bool gives_in) {
  pthread_mutex_lock(
      &s->lock); /* for ThreadSanitizer, too, which does not see the order otherwise */
  s->call = NULL;
  s->started = s->received = s->half_closed = s->cancelled = s->done = 0;
  s->gives_in = gives_in;
  pthread_mutex_unlock(&s->lock);
  Note request = NOTE_INIT;
  bool with_request = kind == LS_RPC_SERVER_STREAMING;
  *c = (course){.script = s};
  c->stream =
      ls_rpc_stream_open(s->channel, method_of(kind), with_request ? &request.base : NULL, options);
  assert_non_null(c->stream);
}

static bool note_read(course *c) {
  Note *note = (Note *)ls_rpc_stream_read(c->stream);
  if (note == NULL)
    return false;
  assert_int_equal(note->number, c->read++);
  lockstep__test__v1__note__free_unpacked(note, NULL);
  return true;
}

/* Does one step, and waits until the other side has seen it, if it can. */
static void course_step(course *c, char step) {
  script *s = c->script;
  Note note = NOTE_INIT;
  switch (step) {
  case 'w': /* the client writes */
    note.number = c->written;
    bool written = ls_rpc_stream_write(c->stream, &note.base);
    if (c->is_ended)
      return; /* in time or too late */
    assert_true(written);
    await(s, &s->received, ++c->written);
    return;
  case 'h': /* the client has nothing more to write */
    ls_rpc_stream_half_close(c->stream);
    c->is_half_closed = true;
    if (!c->is_ended)
      await(s, &s->half_closed, 1);
    return;
  case 's': /* the server sends */
    await(s, &s->started, 1);
    note.number = c->sent++;
    assert_int_equal(ls_rpc_call_send(s->call, &note.base), LS_RPC_SENT);
    assert_true(note_read(c));
    return;
  case 'f': /* the server ends the call */
    await(s, &s->started, 1);
    ls_rpc_call_finish(s->call, NULL);
    c->is_ended = true;
    return;
  default:
    fail();
  }
}

static void half_close_and_end_come_in_every_order(void **state) {
  (void)state;
  script *s = script_start();
  static const char client[] = "wwh", server[] = "ssf";
  enum { STEPS = 6, HALF = 3 };
  int orders = 0;
  for (unsigned mask = 0; mask < 1U << STEPS; mask++) { /* a set bit: the client's turn */
    if (__builtin_popcount(mask) != HALF)
      continue;
    orders++;
    course c;
    course_open(&c, s, LS_RPC_BIDIRECTIONAL, NULL, false);
    for (unsigned i = 0, of_client = 0, of_server = 0; i < STEPS; i++)
      if ((mask >> i & 1) != 0)
        course_step(&c, client[of_client++]);
      else
        course_step(&c, server[of_server++]);
    assert_false(note_read(&c));
    assert_int_equal(c.read, 2);
    ls_rpc_stream_cancel(c.stream); /* too late, and without effect */
    ls_rpc_status status = LS_RPC_STATUS_INIT;
    if (!ls_rpc_stream_finish(c.stream, &status))
      fail_msg("order %x: %s", mask, ls_rpc_status_message(&status));
    await(s, &s->done, 1);
  }
  assert_int_equal(orders, 20);
  script_stop(s);
}

/* How a call is broken off. */
typedef enum breach { BY_CANCEL, BY_FINISH, BY_DEADLINE, BY_CHANNEL, BY_SERVER, BREACHES } breach;

static void break_off(course *c, breach how, ls_code *expected) {
  script *s = c->script;
  switch (how) {
  case BY_CANCEL:
    ls_rpc_stream_cancel(c->stream);
    *expected = LS_CANCELLED;
    break;
  case BY_FINISH: /* finishing what is not over */
    *expected = LS_CANCELLED;
    break;
  case BY_DEADLINE:
    *expected = LS_DEADLINE_EXCEEDED;
    break;
  case BY_CHANNEL: /* which waits for the call's callbacks, not for whoever holds the stream */
    ls_rpc_channel_destroy(s->channel);
    s->channel = NULL;
    *expected = LS_CANCELLED;
    break;
  case BY_SERVER:
    await(s, &s->started, 1);
    ls_rpc_call_fail(s->call, LS_ABORTED, "as the test wants it");
    c->is_ended = true;
    *expected = LS_ABORTED;
    break;
  case BREACHES:
    break;
  }
}

static void broken_off_at_every_step(void **state) {
  (void)state;
  static const struct {
    ls_rpc_kind kind;
    const char *steps;
  } courses[] = {
      {LS_RPC_BIDIRECTIONAL, "wswhs"},
      {LS_RPC_CLIENT_STREAMING, "wwh"},
      {LS_RPC_SERVER_STREAMING, "sss"},
  };
  enum { DEADLINE_MS = SANITIZED ? 2500 : 700 };
  for (breach how = 0; how < BREACHES; how++) {
    for (size_t i = 0; i < sizeof courses / sizeof courses[0]; i++) {
      for (size_t steps = 0; steps <= strlen(courses[i].steps); steps++) {
        script *s = script_start();
        ls_rpc_call_options options = {.timeout_ms =
                                           how == BY_DEADLINE ? DEADLINE_MS : TEST_WAIT_MS};
        course c;
        course_open(&c, s, courses[i].kind, &options, steps == 0);
        for (size_t at = 0; at < steps; at++)
          course_step(&c, courses[i].steps[at]);
        ls_code expected = LS_OK;
        break_off(&c, how, &expected);
        ls_rpc_status status = LS_RPC_STATUS_INIT;
        if (how != BY_FINISH)
          assert_false(note_read(&c));
        assert_false(ls_rpc_stream_finish(c.stream, &status));
        assert_int_equal(status.code, expected);
        ls_rpc_status_clear(&status);
        /* The server may never have heard of a call that was broken off before the first step. */
        if (steps > 0 && !c.is_ended) {
          await(s, &s->cancelled, 1);
          assert_true(ls_rpc_call_is_cancelled(s->call));
          Note note = NOTE_INIT;
          assert_int_equal(ls_rpc_call_send(s->call, &note.base), LS_RPC_CLOSED);
          ls_rpc_call_finish(s->call, NULL);
        }
        if (steps > 0 || c.is_ended)
          await(s, &s->done, 1);
        script_stop(s);
      }
    }
  }
}

static void what_cannot_be_sent_ends_the_call(void **state) {
  (void)state;
  script *s = script_start();
  course c;
  course_open(&c, s, LS_RPC_SERVER_STREAMING, NULL, false);
  await(s, &s->started, 1);
  Note note = NOTE_INIT;
  note.body.len = 17 << 20; /* more than a server sends */
  note.body.data = calloc(1, note.body.len);
  assert_int_equal(ls_rpc_call_send(s->call, &note.base), LS_RPC_CLOSED);
  free(note.body.data);
  await(s, &s->cancelled, 1);
  ls_rpc_call_finish(s->call, NULL);
  assert_false(note_read(&c));
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  assert_false(ls_rpc_stream_finish(c.stream, &status));
  assert_int_equal(status.code, LS_RESOURCE_EXHAUSTED);
  assert_non_null(strstr(ls_rpc_status_message(&status), "larger than"));
  ls_rpc_status_clear(&status);
  await(s, &s->done, 1);
  script_stop(s);
}

/* --- A reader that stops --- */

/* What is offered to a reader that does not read for a while. */
enum { PAUSE_MS = 10000, BODY_BYTES = 64 << 10, BODIES = (1 << 30) / BODY_BYTES };

static long resident_bytes(void) {
  char text[64] = "";
  int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  assert_true(file >= 0 && read(file, text, sizeof text - 1) > 0);
  close(file);
  char *second = strchr(text, ' ');
  assert_non_null(second);
  return strtol(second, NULL, 10) * sysconf(_SC_PAGESIZE);
}

/* The body of a note is filled with its number. */
static void fill(Note *note, uint8_t *body, int number) {
  note->number = number;
  note->body.data = body;
  note->body.len = BODY_BYTES;
  memset(body, number & 0xff, BODY_BYTES);
}

static bool is_whole(const Note *note, int number) {
  return note->number == number && note->body.len == BODY_BYTES &&
         note->body.data[0] == (number & 0xff) &&
         memcmp(note->body.data, note->body.data + 1, BODY_BYTES - 1) == 0;
}

typedef struct flood {
  atomic_int offered, arrived;
  atomic_bool reading; /* the server reads on */
  atomic_bool wrong;
  ls_rpc_call *held; /* waits for `reading` */
  uint8_t body[BODY_BYTES];
} flood;

/* Sends until the buffer is full, or all is sent. */
static void flood_on(ls_rpc_call *call, void *arg) {
  flood *f = arg;
  for (int number; (number = atomic_load(&f->offered)) < BODIES;) {
    Note note = NOTE_INIT;
    fill(&note, f->body, number);
    ls_rpc_send_result result = ECHO(count_send)(call, &note);
    if (result == LS_RPC_WOULD_BLOCK || result == LS_RPC_CLOSED)
      return;
    atomic_fetch_add(&f->offered, 1);
    if (result == LS_RPC_SENT_FULL && number + 1 < BODIES)
      return;
  }
  ls_rpc_call_finish(call, NULL);
}

static void flood_start(ls_rpc_call *call, const Note *request, void *user_data) {
  (void)request;
  ls_rpc_call_on_writable(call, flood_on, user_data);
  flood_on(call, user_data);
}

static void dam_start(ls_rpc_call *call, void *user_data) {
  flood *f = user_data;
  f->held = call;
  ls_rpc_call_read_next(call);
}

static void dam_message(ls_rpc_call *call, const Note *message, void *user_data) {
  flood *f = user_data;
  if (!is_whole(message, atomic_fetch_add(&f->arrived, 1)))
    atomic_store(&f->wrong, true);
  if (atomic_load(&f->reading))
    ls_rpc_call_read_next(call);
}

static void dam_half_close(ls_rpc_call *call, void *user_data) {
  flood *f = user_data;
  Note answer = NOTE_INIT;
  answer.number = atomic_load(&f->arrived);
  ECHO(sum_reply)(call, &answer);
}

static const ECHO(handlers) floods = {
    .count = flood_start,
    .sum = {dam_start, dam_message, dam_half_close},
};

typedef struct writer {
  flood *flood;
  ls_rpc_stream *stream;
  pthread_t thread;
} writer;

static void *write_all(void *arg) {
  writer *w = arg;
  uint8_t *body = malloc(BODY_BYTES);
  for (int number = 0; body != NULL && number < BODIES; number++) {
    Note note = NOTE_INIT;
    fill(&note, body, number);
    if (!ECHO(sum_write)(w->stream, &note))
      break;
    atomic_fetch_add(&w->flood->offered, 1);
  }
  free(body);
  ls_rpc_stream_half_close(w->stream);
  return NULL;
}

static void read_flood(ls_rpc_stream *stream) {
  for (int number = 0; number < BODIES; number++) {
    Note *note = ECHO(count_read)(stream);
    assert_non_null(note);
    assert_true(is_whole(note, number));
    lockstep__test__v1__note__free_unpacked(note, NULL);
  }
  assert_null(ECHO(count_read)(stream));
  assert_true(ls_rpc_stream_finish(stream, NULL));
}

static void open_dam(writer *w) {
  flood *f = w->flood;
  assert_int_equal(atomic_load(&f->arrived), 1);
  atomic_store(&f->reading, true);
  ls_rpc_call_read_next(f->held);
  Note *sum = ECHO(sum_read)(w->stream);
  pthread_join(w->thread, NULL);
  assert_non_null(sum);
  assert_int_equal(sum->number, BODIES);
  lockstep__test__v1__note__free_unpacked(sum, NULL);
  assert_null(ECHO(sum_read)(w->stream));
  assert_true(ls_rpc_stream_finish(w->stream, NULL));
  assert_false(atomic_load(&f->wrong));
}

/* A client that reads nothing of what a server sends, and a server that reads one message of what a
 * client sends, at the same time. */
static void readers_that_stop_lose_nothing(void **state) {
  (void)state;
  flood *from_server = calloc(1, sizeof *from_server),
        *from_client = calloc(1, sizeof *from_client);
  ls_rpc_server *servers[] = {test_server_new(NULL), test_server_new(NULL)};
  ls_error error;
  assert_true(ECHO(register)(servers[0], &floods, from_server, &error));
  assert_true(ECHO(register)(servers[1], &floods, from_client, &error));
  ls_rpc_channel *channels[] = {test_channel_new(test_server_start(servers[0]), NULL),
                                test_channel_new(test_server_start(servers[1]), NULL)};
  long before = resident_bytes();
  Note request = NOTE_INIT;
  const ls_rpc_call_options options = {.timeout_ms = -1};
  ls_rpc_stream *stream = ECHO(count_open)(channels[0], &request, &options);
  writer w = {.flood = from_client, .stream = ECHO(sum_open)(channels[1], &options)};
  assert_true(ls_thread_start(&w.thread, "writer", write_all, &w, &error));

  const struct timespec pause = {PAUSE_MS / 1000, PAUSE_MS % 1000 * 1000000L};
  nanosleep(&pause, NULL);
  /* gRPC's core takes what the connection's windows allow, which grow up to some megabytes. */
  assert_in_range(atomic_load(&from_server->offered), 1, BODIES / 16);
  assert_in_range(atomic_load(&from_client->offered), 1, BODIES / 16);
  if (!SANITIZED)
    assert_true(resident_bytes() - before < 32L << 20);

  read_flood(stream);
  open_dam(&w);
  for (size_t i = 0; i < 2; i++)
    test_stop(channels[i], servers[i]);
  free(from_client);
  free(from_server);
}

/* --- Many at once --- */

enum { CROWD = 10000 };

typedef struct crowd {
  atomic_int answered, done, well;
} crowd;

static void echo_start(ls_rpc_call *call, void *user_data) {
  (void)user_data;
  ls_rpc_call_read_next(call);
}

static void echo_message(ls_rpc_call *call, const Note *message, void *user_data) {
  (void)user_data;
  ECHO(chat_send)(call, message);
  ls_rpc_call_read_next(call);
}

static void echo_half_close(ls_rpc_call *call, void *user_data) {
  (void)user_data;
  ls_rpc_call_finish(call, NULL);
}

static const ECHO(handlers) echoes = {.chat = {echo_start, echo_message, echo_half_close}};

static void count_answer(ls_rpc_stream *stream, const Note *message, void *arg) {
  (void)stream;
  crowd *c = arg;
  if (message->number == 7)
    atomic_fetch_add(&c->answered, 1);
}

static void count_end(ls_rpc_stream *stream, const ls_rpc_status *status, void *arg) {
  (void)stream;
  crowd *c = arg;
  if (status->code == LS_OK)
    atomic_fetch_add(&c->well, 1);
  atomic_fetch_add(&c->done, 1);
}

static const ECHO(chat_events) crowd_events = {.message = count_answer, .done = count_end};

static bool all_answered(void *arg) {
  return atomic_load(&((crowd *)arg)->answered) == CROWD;
}

static bool all_done(void *arg) {
  return atomic_load(&((crowd *)arg)->done) == CROWD;
}

static void ten_thousand_streams_at_once(void **state) {
  (void)state;
  static ls_rpc_stream *streams[CROWD];
  crowd c = {0};
  const ls_rpc_server_options server_options = {.max_streams = CROWD};
  ls_rpc_server *server = test_server_new(&server_options);
  ls_error error;
  assert_true(ECHO(register)(server, &echoes, NULL, &error));
  ls_rpc_channel *channel = test_channel_new(test_server_start(server), NULL);
  const ls_rpc_call_options options = {.timeout_ms = -1};
  Note note = NOTE_INIT;
  note.number = 7;
  for (size_t i = 0; i < CROWD; i++) {
    streams[i] = ECHO(chat_start)(channel, &options, &crowd_events, &c);
    assert_non_null(streams[i]);
    assert_int_equal(ECHO(chat_stream_send)(streams[i], &note), LS_RPC_SENT);
    ls_rpc_stream_read_next(streams[i]);
  }
  assert_true(test_eventually(all_answered, &c));
  assert_int_equal(ls_rpc_server_active_calls(server), CROWD);
  for (size_t i = 0; i < CROWD; i++) {
    ls_rpc_stream_read_next(streams[i]);
    ls_rpc_stream_half_close(streams[i]); /* it may be gone from here on */
  }
  assert_true(test_eventually(all_done, &c));
  assert_int_equal(atomic_load(&c.well), CROWD);
  assert_true(test_eventually(test_server_is_idle, server));
  test_stop(channel, server);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(half_close_and_end_come_in_every_order),
      cmocka_unit_test(broken_off_at_every_step),
      cmocka_unit_test(what_cannot_be_sent_ends_the_call),
      cmocka_unit_test(readers_that_stop_lose_nothing),
      cmocka_unit_test(ten_thousand_streams_at_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
