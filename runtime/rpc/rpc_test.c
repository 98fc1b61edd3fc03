/* The server and the client runtime against each other, over real connections. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lockstep/test/v1/echo.grpc-c.h"
#include "runtime/base/clock.h"
#include "runtime/base/thread.h"
#include "runtime/rpc/client.h"
#include "runtime/rpc/server.h"

typedef Lockstep__Test__V1__Note Note;
#define NOTE_INIT LOCKSTEP__TEST__V1__NOTE__INIT
#define ECHO(name) lockstep_test_v1_echo_service_##name

enum { WAIT_MS = 20000 };

/* What handlers tell the tests, and what tests let handlers wait for. */
typedef struct fixture {
  ls_rpc_server *server;
  ls_rpc_channel *channel;
  char target[64];
  atomic_int cancelled;     /* on_cancel callbacks */
  atomic_int done;          /* on_done callbacks */
  atomic_int held;          /* calls held by "hold" */
  atomic_long sent;         /* messages that Count could hand over */
  atomic_bool release_held; /* lets held calls be answered by their thread */
  pthread_t holder;
  atomic_bool holder_started;
  ls_rpc_call *held_call;
} fixture;

static bool eventually(bool (*condition)(void *arg), void *arg) {
  int64_t deadline_us = ls_clock_monotonic_us() + (int64_t)WAIT_MS * 1000;
  while (!condition(arg)) {
    if (ls_clock_monotonic_us() > deadline_us)
      return false;
    struct timespec pause = {0, 1000000};
    nanosleep(&pause, NULL);
  }
  return true;
}

/* --- Handlers --- */

static void count_cancel(ls_rpc_call *call, void *arg) {
  (void)call;
  atomic_fetch_add(&((fixture *)arg)->cancelled, 1);
}

static void count_done(ls_rpc_call *call, void *arg) {
  (void)call;
  atomic_fetch_add(&((fixture *)arg)->done, 1);
}

/* Answers a held call from a thread of its own, once it is released or cancelled. */
static void *answer_held(void *arg) {
  fixture *f = arg;
  ls_rpc_call *call = f->held_call;
  while (!atomic_load(&f->release_held) && atomic_load(&f->cancelled) == 0) {
    struct timespec pause = {0, 1000000};
    nanosleep(&pause, NULL);
  }
  if (atomic_load(&f->cancelled) > 0)
    assert_true(ls_rpc_call_is_cancelled(call));
  Note answer = NOTE_INIT;
  answer.text = (char *)"held";
  ECHO(echo_reply)(call, &answer);
  return NULL;
}

static void handle_echo(ls_rpc_call *call, const Note *request, void *user_data) {
  fixture *f = user_data;
  ls_rpc_call_on_cancel(call, count_cancel, f);
  ls_rpc_call_on_done(call, count_done, f);
  if (strcmp(request->text, "fail") == 0) {
    ls_rpc_status status = LS_RPC_STATUS_INIT;
    ls_rpc_status_set(&status, LS_ABORTED, "as told: 100%% \xc3\xa9");
    ls_rpc_field_violation violation = {"text", "must not be fail"};
    ls_rpc_status_add_bad_request(&status, &violation, 1);
    ls_rpc_status_add_error_info(&status, "AS_TOLD", "test.lockstep", "current", "7", NULL);
    ls_rpc_call_finish(call, &status);
    ls_rpc_status_clear(&status);
    return;
  }
  if (strcmp(request->text, "hold") == 0) {
    f->held_call = call;
    f->holder_started = true;
    ls_error error;
    assert_true(ls_thread_start(&f->holder, "holder", answer_held, f, &error));
    atomic_fetch_add(&f->held, 1);
    return;
  }
  if (strcmp(request->text, "metadata") == 0) {
    const char *value;
    size_t bytes;
    if (ls_rpc_call_metadata(call, "x-word-bin", &value, &bytes))
      ls_rpc_call_add_trailing_metadata(call, "x-back-bin", value, bytes);
    ls_rpc_call_add_initial_metadata(call, "x-first", "yes", 3);
    Note answer = NOTE_INIT;
    answer.text = (char *)(uintptr_t)ls_rpc_call_trace_parent(call);
    answer.number = ls_rpc_call_metadata(call, "x-word-bin", &value, &bytes) ? (int32_t)bytes : -1;
    ECHO(echo_reply)(call, &answer);
    return;
  }
  if (strcmp(request->text, "compressed?") == 0) {
    Note answer = *request;
    answer.number = ls_rpc_call_message_compressed(call);
    ls_rpc_call_compress(call, answer.number != 0);
    ECHO(echo_reply)(call, &answer);
    return;
  }
  if (strcmp(request->text, "flaky") == 0 && atomic_fetch_add(&f->held, 1) < 2) {
    ls_rpc_call_fail(call, LS_UNAVAILABLE, "not yet");
    return;
  }
  if (strcmp(request->text, "deadline") == 0) {
    Note answer = NOTE_INIT;
    int64_t left_ms = ls_rpc_call_time_left_ms(call);
    answer.number = left_ms > INT32_MAX ? -1 : (int32_t)left_ms;
    ECHO(echo_reply)(call, &answer);
    return;
  }
  ECHO(echo_reply)(call, request);
}

typedef struct counting {
  fixture *f;
  int left;
  size_t body;
} counting;

static void count_on(ls_rpc_call *call, void *arg) {
  counting *c = arg;
  uint8_t *body = calloc(1, c->body + 1);
  while (c->left > 0) {
    Note note = NOTE_INIT;
    note.number = c->left;
    note.body.data = body;
    note.body.len = c->body;
    ls_rpc_send_result result = ECHO(count_send)(call, &note);
    if (result == LS_RPC_WOULD_BLOCK)
      break;
    if (result == LS_RPC_CLOSED)
      c->left = 0;
    else
      c->left--;
    atomic_fetch_add(&c->f->sent, 1);
    if (result == LS_RPC_SENT_FULL)
      break;
  }
  free(body);
  if (c->left == 0)
    ls_rpc_call_finish(call, NULL);
}

static void count_ended(ls_rpc_call *call, void *arg) {
  counting *c = arg;
  count_done(call, c->f);
  free(c);
}

static void count_cancelled(ls_rpc_call *call, void *arg) {
  counting *c = arg;
  atomic_fetch_add(&c->f->cancelled, 1);
  c->left = 0;
  ls_rpc_call_finish(call, NULL);
}

static void handle_count(ls_rpc_call *call, const Note *request, void *user_data) {
  counting *c = malloc(sizeof *c);
  assert_non_null(c);
  *c = (counting){user_data, request->number, request->body.len};
  ls_rpc_call_on_writable(call, count_on, c);
  ls_rpc_call_on_cancel(call, count_cancelled, c);
  ls_rpc_call_on_done(call, count_ended, c);
  count_on(call, c);
}

static void sum_start(ls_rpc_call *call, void *user_data) {
  ls_rpc_call_on_done(call, count_done, user_data);
  ls_rpc_call_set_state(call, ls_rpc_call_alloc(call, 2 * sizeof(int)));
  memset(ls_rpc_call_state(call), 0, 2 * sizeof(int));
  ls_rpc_call_read_next(call);
}

static void sum_message(ls_rpc_call *call, const Note *message, void *user_data) {
  atomic_fetch_add(&((fixture *)user_data)->held, 1);
  int *state = ls_rpc_call_state(call);
  state[0] += message->number;
  state[1]++;
  ls_rpc_call_read_next(call);
}

static void sum_half_close(ls_rpc_call *call, void *user_data) {
  fixture *f = user_data;
  int *state = ls_rpc_call_state(call);
  if (ls_rpc_call_is_cancelled(call))
    atomic_fetch_add(&f->cancelled, 1);
  char text[16];
  snprintf(text, sizeof text, "%d", state[1]);
  Note answer = NOTE_INIT;
  answer.number = state[0];
  answer.text = text;
  ECHO(sum_reply)(call, &answer);
}

static void chat_start(ls_rpc_call *call, void *user_data) {
  (void)user_data;
  ls_rpc_call_read_next(call);
}

static void chat_message(ls_rpc_call *call, const Note *message, void *user_data) {
  (void)user_data;
  ECHO(chat_send)(call, message);
  ls_rpc_call_read_next(call);
}

static void chat_half_close(ls_rpc_call *call, void *user_data) {
  (void)user_data;
  ls_rpc_call_finish(call, NULL);
}

static const ECHO(handlers) handlers = {
    .echo = handle_echo,
    .count = handle_count,
    .sum = {sum_start, sum_message, sum_half_close},
    .chat = {chat_start, chat_message, chat_half_close},
};

/* --- Set-up --- */

static fixture *start(const ls_rpc_server_options *server_options,
                      const ls_rpc_channel_options *channel_options) {
  fixture *f = calloc(1, sizeof *f);
  ls_error error;
  ls_error_clear(&error);
  f->server = ls_rpc_server_new(server_options, &error);
  assert_non_null(f->server);
  assert_true(ECHO(register)(f->server, &handlers, f, &error));
  int port = 0;
  if (!ls_rpc_server_listen(f->server, "127.0.0.1:0", &port, &error))
    fail_msg("%s", error.message);
  assert_true(ls_rpc_server_start(f->server, &error));
  snprintf(f->target, sizeof f->target, "127.0.0.1:%d", port);
  f->channel = ls_rpc_channel_new(f->target, channel_options, &error);
  assert_non_null(f->channel);
  return f;
}

static void stop(fixture *f) {
  ls_rpc_channel_destroy(f->channel);
  atomic_store(&f->release_held, true);
  if (f->holder_started)
    pthread_join(f->holder, NULL);
  assert_true(ls_rpc_server_shutdown(f->server, WAIT_MS));
  assert_int_equal(ls_rpc_server_active_calls(f->server), 0);
  ls_rpc_server_destroy(f->server);
  free(f);
}

/* --- Unary --- */

static void unary_call_is_answered(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  Note request = NOTE_INIT;
  request.text = (char *)"hello";
  request.number = -5;
  Note *response = NULL;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  for (int i = 0; i < 100; i++) { /* more than are posted ahead */
    assert_true(ECHO(echo)(f->channel, &request, NULL, &response, &status));
    assert_int_equal(status.code, LS_OK);
    assert_string_equal(response->text, "hello");
    assert_int_equal(response->number, -5);
    lockstep__test__v1__note__free_unpacked(response, NULL);
  }
  stop(f);
}

typedef struct tally {
  atomic_int ok, failed;
} tally;

static void tally_done(const ls_rpc_status *status, const Note *response, void *arg) {
  tally *t = arg;
  bool ok = status->code == LS_OK && response != NULL;
  atomic_fetch_add(ok ? &t->ok : &t->failed, 1);
}

static bool tally_is_500(void *arg) {
  return atomic_load(&((tally *)arg)->ok) + atomic_load(&((tally *)arg)->failed) == 500;
}

static void asynchronous_calls_are_answered(void **state) {
  (void)state;
  ls_rpc_server_options options = {.threads = 3};
  fixture *f = start(&options, NULL);
  tally t = {0, 0};
  Note request = NOTE_INIT;
  request.text = (char *)"many";
  for (int i = 0; i < 500; i++)
    ECHO(echo_async)(f->channel, &request, NULL, tally_done, &t);
  assert_true(eventually(tally_is_500, &t));
  assert_int_equal(atomic_load(&t.ok), 500);
  stop(f);
}

static void status_details_reach_the_client(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  Note request = NOTE_INIT;
  request.text = (char *)"fail";
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  Note *response = NULL;
  assert_false(ECHO(echo)(f->channel, &request, NULL, &response, &status));
  assert_null(response);
  assert_int_equal(status.code, LS_ABORTED);
  assert_string_equal(ls_rpc_status_message(&status), "as told: 100% \xc3\xa9");
  Google__Rpc__ErrorInfo *info = ls_rpc_status_error_info(&status);
  assert_non_null(info);
  assert_string_equal(info->reason, "AS_TOLD");
  assert_string_equal(info->domain, "test.lockstep");
  assert_int_equal(info->n_metadata, 1);
  assert_string_equal(info->metadata[0]->value, "7");
  google__rpc__error_info__free_unpacked(info, NULL);
  ls_rpc_status_clear(&status);
  stop(f);
}

static void metadata_goes_both_ways(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  static const char trace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  ls_rpc_metadata metadata[] = {{"x-word-bin", "a\0b", 3}, {"traceparent", trace, 55}};
  ls_rpc_received *received = ls_rpc_received_new();
  ls_rpc_call_options options = {.metadata = metadata, .metadata_count = 2, .received = received};
  Note request = NOTE_INIT;
  request.text = (char *)"metadata";
  const char *value;
  size_t bytes;
  for (int i = 0; i < 2; i++) { /* the second call's takes the place of the first's */
    Note *response = NULL;
    assert_true(ECHO(echo)(f->channel, &request, &options, &response, NULL));
    assert_int_equal(response->number, 3);
    assert_string_equal(response->text, trace);
    lockstep__test__v1__note__free_unpacked(response, NULL);
    assert_true(ls_rpc_received_initial(received, "x-first", &value, &bytes));
    assert_int_equal(bytes, 3);
    assert_memory_equal(value, "yes", 3);
    assert_true(ls_rpc_received_trailing(received, "x-back-bin", &value, &bytes));
    assert_int_equal(bytes, 3);
    assert_memory_equal(value, "a\0b", 3);
    assert_false(ls_rpc_received_initial(received, "x-back-bin", &value, &bytes));
    assert_false(ls_rpc_received_trailing(received, "x-first", &value, &bytes));
  }

  /* A call that does not get far has its metadata, too: none. */
  options.metadata = NULL;
  options.metadata_count = 0;
  request.text = (char *)"fail";
  assert_false(ECHO(echo)(f->channel, &request, &options, NULL, NULL));
  assert_false(ls_rpc_received_initial(received, "x-first", &value, &bytes));
  assert_true(ls_rpc_received_trailing(received, "grpc-status-details-bin", &value, &bytes));
  ls_rpc_received_destroy(received);
  stop(f);
}

static void metadata_that_grpc_does_not_allow_is_refused(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  static const struct {
    ls_rpc_metadata metadata;
    const char *told;
  } wrong[] = {
      {{"X-Upper", "v", 1}, "X-Upper"},
      {{"with space", "v", 1}, "with space"},
      {{"x-text", "\x01", 1}, "x-text"},
  };
  Note request = NOTE_INIT;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    ls_rpc_call_options options = {.metadata = &wrong[i].metadata, .metadata_count = 1};
    ls_rpc_status status = LS_RPC_STATUS_INIT;
    assert_false(ECHO(echo)(f->channel, &request, &options, NULL, &status));
    assert_int_equal(status.code, LS_INVALID_ARGUMENT);
    assert_non_null(strstr(ls_rpc_status_message(&status), wrong[i].told));
    ls_rpc_stream *stream = ECHO(chat_open)(f->channel, &options);
    assert_null(ECHO(chat_read)(stream));
    assert_false(ls_rpc_stream_finish(stream, &status));
    assert_int_equal(status.code, LS_INVALID_ARGUMENT);
    ls_rpc_status_clear(&status);
  }
  stop(f);
}

static void messages_are_compressed_as_asked(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  ls_rpc_received *received = ls_rpc_received_new();
  Note request = NOTE_INIT;
  request.text = (char *)"compressed?"; /* 1 if this came so; the answer comes as this did */
  request.body.len = 4 << 10;
  request.body.data = calloc(1, request.body.len);
  for (int compressed = 0; compressed < 2; compressed++) {
    ls_rpc_call_options options = {.compress = compressed != 0, .received = received};
    Note *response = NULL;
    assert_true(ECHO(echo)(f->channel, &request, &options, &response, NULL));
    assert_int_equal(response->number, compressed);
    assert_int_equal(response->body.len, request.body.len);
    assert_int_equal(ls_rpc_received_compressed(received), compressed);
    lockstep__test__v1__note__free_unpacked(response, NULL);
  }
  free(request.body.data);
  ls_rpc_received_destroy(received);
  stop(f);
}

static void deadline_is_seen_and_kept(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  Note request = NOTE_INIT;
  request.text = (char *)"deadline";
  Note *response = NULL;
  ls_rpc_call_options options = {.timeout_ms = 5000};
  assert_true(ECHO(echo)(f->channel, &request, &options, &response, NULL));
  assert_in_range(response->number, 1, 6000); /* the wire rounds up */
  lockstep__test__v1__note__free_unpacked(response, NULL);

  request.text = (char *)"hold";
  options.timeout_ms = 50;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  assert_false(ECHO(echo)(f->channel, &request, &options, NULL, &status));
  assert_int_equal(status.code, LS_DEADLINE_EXCEEDED);
  ls_rpc_status_clear(&status);
  stop(f); /* the held call noticed by itself that it is cancelled */
}

static bool is_cancelled_once(void *arg) {
  return atomic_load(&((fixture *)arg)->cancelled) == 1;
}

static bool holds_one(void *arg) {
  return atomic_load(&((fixture *)arg)->held) == 1;
}

static void cancellation_reaches_the_handler(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  tally t = {0, 0};
  Note request = NOTE_INIT;
  request.text = (char *)"hold";
  ECHO(echo_async)(f->channel, &request, NULL, tally_done, &t);
  assert_true(eventually(holds_one, f));
  ls_rpc_channel_destroy(f->channel);
  assert_int_equal(atomic_load(&t.failed), 1);
  assert_true(eventually(is_cancelled_once, f));
  f->channel = NULL;
  stop(f);
}

static void unknown_and_unhandled_methods_are_unimplemented(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  ls_rpc_method method = {.name = "Nowhere",
                          .path = "/lockstep.test.v1.EchoService/Nowhere",
                          .kind = LS_RPC_UNARY,
                          .request = &lockstep__test__v1__note__descriptor,
                          .response = &lockstep__test__v1__note__descriptor};
  Note request = NOTE_INIT;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  assert_false(ls_rpc_unary(f->channel, &method, &request.base, NULL, NULL, &status));
  assert_int_equal(status.code, LS_UNIMPLEMENTED);
  assert_false(ECHO(nothing)(f->channel, &request, NULL, NULL, &status));
  assert_int_equal(status.code, LS_UNIMPLEMENTED);
  ls_rpc_status_clear(&status);
  stop(f);
}

/* A "Note" as bytes of the test's own making, to be sent as if it were a message. */
static ls_code call_with_bytes(fixture *f, const uint8_t *data, size_t bytes) {
  ProtobufCMessageUnknownField field = {0};
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  Note request = NOTE_INIT;
  /* One unknown field whose tag and content are the first byte and the rest. */
  assert_true(bytes >= 1);
  field.tag = data[0] >> 3;
  field.wire_type = (ProtobufCWireType)(data[0] & 7);
  field.len = bytes - 1;
  field.data = (uint8_t *)(uintptr_t)(data + 1);
  request.base.n_unknown_fields = 1;
  request.base.unknown_fields = &field;
  ECHO(echo)(f->channel, &request, NULL, NULL, &status);
  ls_code code = status.code;
  ls_rpc_status_clear(&status);
  return code;
}

static void malformed_messages_are_invalid(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  const uint8_t not_utf8[] = {0x0a, 2, 0xc3, 0x28};
  const uint8_t with_nul[] = {0x0a, 3, 'a', 0, 'b'};
  const uint8_t cut_off[] = {0x0a, 9, 'a'};
  const uint8_t group[] = {0x0b};
  const uint8_t wrong_type[] = {0x10 | 1, 0, 0, 0, 0, 0, 0, 0, 0};
  const uint8_t good[] = {0x0a, 2, 0xc3, 0xa9};
  assert_int_equal(call_with_bytes(f, not_utf8, sizeof not_utf8), LS_INVALID_ARGUMENT);
  assert_int_equal(call_with_bytes(f, with_nul, sizeof with_nul), LS_INVALID_ARGUMENT);
  assert_int_equal(call_with_bytes(f, cut_off, sizeof cut_off), LS_INVALID_ARGUMENT);
  assert_int_equal(call_with_bytes(f, group, sizeof group), LS_INVALID_ARGUMENT);
  assert_int_equal(call_with_bytes(f, wrong_type, sizeof wrong_type), LS_INVALID_ARGUMENT);
  assert_int_equal(call_with_bytes(f, good, sizeof good), LS_OK);
  stop(f);
}

static void deep_and_large_messages_are_refused(void **state) {
  (void)state;
  ls_rpc_server_options options = {.max_receive_bytes = 256 << 10};
  fixture *f = start(&options, NULL);
  enum { DEPTH = 10000, ROOM = DEPTH * 4 + 16 };
  static uint8_t deep[ROOM];
  size_t at = ROOM, length = 0;
  for (int i = 0; i < DEPTH; i++) { /* from the innermost outwards */
    size_t prefix = length;
    uint8_t varint[5];
    size_t n = 0;
    do {
      varint[n++] = (uint8_t)((prefix & 0x7f) | (prefix > 0x7f ? 0x80 : 0));
      prefix >>= 7;
    } while (prefix > 0);
    at -= n;
    memcpy(deep + at, varint, n);
    deep[--at] = 0x22;
    length += n + 1;
  }
  assert_int_equal(call_with_bytes(f, deep + at, length), LS_INVALID_ARGUMENT);

  Note request = NOTE_INIT;
  request.body.len = 512 << 10;
  request.body.data = calloc(1, request.body.len);
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  assert_false(ECHO(echo)(f->channel, &request, NULL, NULL, &status));
  assert_int_equal(status.code, LS_RESOURCE_EXHAUSTED);
  request.body.len = 128 << 10;
  assert_true(ECHO(echo)(f->channel, &request, NULL, NULL, &status)); /* the server lives on */
  free(request.body.data);
  ls_rpc_status_clear(&status);
  stop(f);
}

static void more_calls_than_the_bound_are_refused(void **state) {
  (void)state;
  ls_rpc_server_options options = {.max_calls = 1};
  fixture *f = start(&options, NULL);
  tally t = {0, 0};
  Note request = NOTE_INIT;
  request.text = (char *)"hold";
  ECHO(echo_async)(f->channel, &request, NULL, tally_done, &t);
  assert_true(eventually(holds_one, f));
  request.text = (char *)"second";
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  assert_false(ECHO(echo)(f->channel, &request, NULL, NULL, &status));
  assert_int_equal(status.code, LS_RESOURCE_EXHAUSTED);
  ls_rpc_status_clear(&status);
  stop(f);
}

/* --- Streams --- */

static void server_stream_arrives_in_order(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  Note request = NOTE_INIT;
  request.number = 1000;
  ls_rpc_stream *stream = ECHO(count_open)(f->channel, &request, NULL);
  for (int expected = 1000; expected > 0; expected--) {
    Note *note = ECHO(count_read)(stream);
    assert_non_null(note);
    assert_int_equal(note->number, expected);
    lockstep__test__v1__note__free_unpacked(note, NULL);
  }
  assert_null(ECHO(count_read)(stream));
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  assert_true(ls_rpc_stream_finish(stream, &status));
  stop(f);
}

static bool sends_nothing_more(void *arg) {
  fixture *f = arg;
  long before = atomic_load(&f->sent);
  struct timespec pause = {0, 200000000};
  nanosleep(&pause, NULL);
  return before > 0 && atomic_load(&f->sent) == before;
}

static void slow_reader_slows_the_writer(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  Note request = NOTE_INIT;
  request.number = 1024; /* of 64 KiB each: 64 MiB */
  request.body.len = 64 << 10;
  request.body.data = calloc(1, request.body.len);
  const ls_rpc_call_options options = {.timeout_ms = -1}; /* sanitizers take their time */
  ls_rpc_stream *stream = ECHO(count_open)(f->channel, &request, &options);
  assert_true(eventually(sends_nothing_more, f));
  assert_in_range(atomic_load(&f->sent), 1, 512);
  for (int left = request.number; left > 0; left--) {
    Note *note = ECHO(count_read)(stream);
    assert_non_null(note);
    assert_int_equal(note->number, left);
    lockstep__test__v1__note__free_unpacked(note, NULL);
  }
  assert_null(ECHO(count_read)(stream));
  assert_true(ls_rpc_stream_finish(stream, NULL));
  free(request.body.data);
  stop(f);
}

static bool is_done_once(void *arg) {
  return atomic_load(&((fixture *)arg)->done) == 1;
}

static void abandoned_server_stream_ends(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  Note request = NOTE_INIT;
  request.number = 1 << 30;
  ls_rpc_stream *stream = ECHO(count_open)(f->channel, &request, NULL);
  lockstep__test__v1__note__free_unpacked(ECHO(count_read)(stream), NULL);
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  assert_false(ls_rpc_stream_finish(stream, &status));
  assert_int_equal(status.code, LS_CANCELLED);
  ls_rpc_status_clear(&status);
  assert_true(eventually(is_done_once, f));
  stop(f);
}

static void client_stream_is_summed(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  ls_rpc_stream *stream = ECHO(sum_open)(f->channel, NULL);
  Note note = NOTE_INIT;
  note.body.len = 1000;
  note.body.data = calloc(1, note.body.len);
  for (int i = 1; i <= 1000; i++) {
    note.number = i;
    assert_true(ECHO(sum_write)(stream, &note));
  }
  free(note.body.data);
  ls_rpc_stream_half_close(stream);
  Note *sum = ECHO(sum_read)(stream);
  assert_non_null(sum);
  assert_int_equal(sum->number, 500500);
  assert_string_equal(sum->text, "1000");
  lockstep__test__v1__note__free_unpacked(sum, NULL);
  assert_null(ECHO(sum_read)(stream));
  assert_true(ls_rpc_stream_finish(stream, NULL));
  stop(f);
}

static void cancelled_client_stream_is_told_from_a_half_close(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  ls_rpc_stream *stream = ECHO(sum_open)(f->channel, NULL);
  Note note = NOTE_INIT;
  assert_true(ECHO(sum_write)(stream, &note));
  assert_true(eventually(holds_one, f));
  assert_false(ls_rpc_stream_finish(stream, NULL));
  assert_true(eventually(is_done_once, f));
  assert_int_equal(atomic_load(&f->cancelled), 1);
  stop(f);
}

static void malformed_message_in_a_stream_is_invalid(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  ls_rpc_stream *stream = ECHO(sum_open)(f->channel, NULL);
  Note note = NOTE_INIT;
  assert_true(ECHO(sum_write)(stream, &note));
  note.text = (char *)"\xff";
  assert_true(ECHO(sum_write)(stream, &note));
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  assert_null(ECHO(sum_read)(stream));
  assert_false(ls_rpc_stream_finish(stream, &status));
  assert_int_equal(status.code, LS_INVALID_ARGUMENT);
  ls_rpc_status_clear(&status);
  stop(f);
}

static void chat_echoes_each_message(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  ls_rpc_stream *stream = ECHO(chat_open)(f->channel, NULL);
  Note note = NOTE_INIT;
  for (int i = 0; i < 200; i++) {
    note.number = i;
    assert_true(ECHO(chat_write)(stream, &note));
    Note *back = ECHO(chat_read)(stream);
    assert_non_null(back);
    assert_int_equal(back->number, i);
    lockstep__test__v1__note__free_unpacked(back, NULL);
  }
  ls_rpc_stream_half_close(stream);
  assert_null(ECHO(chat_read)(stream));
  assert_true(ls_rpc_stream_finish(stream, NULL));
  stop(f);
}

/* --- Connections --- */

static void no_server_is_unavailable(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  ls_error error;
  ls_rpc_server_shutdown(f->server, 0);
  ls_rpc_server_destroy(f->server);
  Note request = NOTE_INIT;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_call_options options = {.timeout_ms = 15000};
  assert_false(ECHO(echo)(f->channel, &request, &options, NULL, &status));
  assert_int_equal(status.code, LS_UNAVAILABLE);
  ls_rpc_status_clear(&status);

  /* The same channel finds a server that comes back. */
  f->server = ls_rpc_server_new(NULL, &error);
  assert_true(ECHO(register)(f->server, &handlers, f, &error));
  assert_true(ls_rpc_server_listen(f->server, f->target, NULL, &error));
  assert_true(ls_rpc_server_start(f->server, &error));
  options.wait_for_ready = true;
  assert_true(ECHO(echo)(f->channel, &request, &options, NULL, &status));
  stop(f);
}

static void unavailable_is_tried_again(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  Note request = NOTE_INIT;
  request.text = (char *)"flaky";
  assert_true(ECHO(echo)(f->channel, &request, NULL, NULL, NULL));
  assert_int_equal(atomic_load(&f->held), 3);
  stop(f);

  ls_rpc_channel_options once = {.retry_attempts = 1};
  f = start(NULL, &once);
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  assert_false(ECHO(echo)(f->channel, &request, NULL, NULL, &status));
  assert_int_equal(status.code, LS_UNAVAILABLE);
  assert_int_equal(atomic_load(&f->held), 1);
  ls_rpc_status_clear(&status);
  stop(f);
}

static void taken_address_is_told(void **state) {
  (void)state;
  fixture *f = start(NULL, NULL);
  ls_error error;
  ls_rpc_server *second = ls_rpc_server_new(NULL, &error);
  assert_false(ls_rpc_server_listen(second, f->target, NULL, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  assert_non_null(strstr(error.message, f->target));
  ls_rpc_server_destroy(second);
  stop(f);
}

typedef struct load {
  fixture *f;
  atomic_bool stop;
  atomic_int ok, unavailable, other;
  int last_other;
} load;

static void *run_load(void *arg) {
  load *l = arg;
  Note request = NOTE_INIT;
  while (!atomic_load(&l->stop)) {
    ls_rpc_status status = LS_RPC_STATUS_INIT;
    if (ECHO(echo)(l->f->channel, &request, NULL, NULL, &status)) {
      atomic_fetch_add(&l->ok, 1);
    } else if (status.code == LS_UNAVAILABLE) {
      atomic_fetch_add(&l->unavailable, 1);
    } else {
      atomic_fetch_add(&l->other, 1);
      l->last_other = (int)status.code;
    }
    ls_rpc_status_clear(&status);
  }
  return NULL;
}

static bool load_runs(void *arg) {
  return atomic_load(&((load *)arg)->ok) > 200;
}

static bool load_is_refused(void *arg) {
  return atomic_load(&((load *)arg)->unavailable) > 0;
}

static void shutdown_under_load_is_unavailable_only(void **state) {
  (void)state;
  ls_rpc_channel_options channel_options = {.retry_attempts = 1};
  for (int round = 0; round < 5; round++) {
    ls_rpc_server_options server_options = {.threads = 2};
    fixture *f = start(&server_options, &channel_options);
    load l = {.f = f};
    pthread_t threads[4];
    ls_error error;
    for (size_t i = 0; i < 4; i++)
      assert_true(ls_thread_start(&threads[i], "load", run_load, &l, &error));
    assert_true(eventually(load_runs, &l));
    assert_true(ls_rpc_server_shutdown(f->server, WAIT_MS));
    ls_rpc_server_destroy(f->server);
    assert_true(eventually(load_is_refused, &l));
    atomic_store(&l.stop, true);
    for (size_t i = 0; i < 4; i++)
      pthread_join(threads[i], NULL);
    if (atomic_load(&l.other) > 0)
      fail_msg("%d calls ended with %s", atomic_load(&l.other),
               ls_code_name((ls_code)l.last_other));
    ls_rpc_channel_destroy(f->channel);
    free(f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(unary_call_is_answered),
      cmocka_unit_test(asynchronous_calls_are_answered),
      cmocka_unit_test(status_details_reach_the_client),
      cmocka_unit_test(metadata_goes_both_ways),
      cmocka_unit_test(metadata_that_grpc_does_not_allow_is_refused),
      cmocka_unit_test(messages_are_compressed_as_asked),
      cmocka_unit_test(deadline_is_seen_and_kept),
      cmocka_unit_test(cancellation_reaches_the_handler),
      cmocka_unit_test(unknown_and_unhandled_methods_are_unimplemented),
      cmocka_unit_test(malformed_messages_are_invalid),
      cmocka_unit_test(deep_and_large_messages_are_refused),
      cmocka_unit_test(more_calls_than_the_bound_are_refused),
      cmocka_unit_test(server_stream_arrives_in_order),
      cmocka_unit_test(slow_reader_slows_the_writer),
      cmocka_unit_test(abandoned_server_stream_ends),
      cmocka_unit_test(client_stream_is_summed),
      cmocka_unit_test(cancelled_client_stream_is_told_from_a_half_close),
      cmocka_unit_test(malformed_message_in_a_stream_is_invalid),
      cmocka_unit_test(chat_echoes_each_message),
      cmocka_unit_test(no_server_is_unavailable),
      cmocka_unit_test(unavailable_is_tried_again),
      cmocka_unit_test(taken_address_is_told),
      cmocka_unit_test(shutdown_under_load_is_unavailable_only),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
