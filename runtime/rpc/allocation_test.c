/* Every allocation fails in turn, through whole calls, client and server: nothing crashes, hangs or
 * (built with AddressSanitizer) leaks, the call ends well or with RESOURCE_EXHAUSTED, and as soon
 * as there is memory again everything works.
 *
 * The linker sends malloc and its like to the functions here (--wrap), for the runtime, generated
 * code and this test. libgrpc, which ends the process when it has no memory, keeps the real ones,
 * as does what libprotobuf-c allocates by itself. */
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
#include "runtime/rpc/rpc_test_support.h"

typedef Lockstep__Test__V1__Note Note;
#define NOTE_INIT LOCKSTEP__TEST__V1__NOTE__INIT
#define ECHO(name) lockstep_test_v1_echo_service_##name

/* --- The allocator --- */

static atomic_long countdown = -1; /* the allocation that fails is the one at 0; below: none */
static atomic_long allocations;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
char *__wrap_strdup(const char *text);

static bool fails_now(void) {
  atomic_fetch_add(&allocations, 1);
  return atomic_load(&countdown) >= 0 && atomic_fetch_sub(&countdown, 1) == 0;
}

void *__wrap_malloc(size_t bytes) {
  return fails_now() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes) {
  return fails_now() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes) {
  return fails_now() ? NULL : __real_realloc(old, bytes);
}

char *__wrap_strdup(const char *text) {
  return fails_now() ? NULL : __real_strdup(text);
}

/* --- The server --- */

static void echo(ls_rpc_call *call, const Note *request, void *user_data) {
  (void)user_data;
  ls_rpc_call_add_initial_metadata(call, "x-first", "1", 1);
  ls_rpc_call_add_trailing_metadata(call, "x-last-bin", "2", 1);
  ECHO(echo_reply)(call, request);
}

static void give_in(ls_rpc_call *call, void *arg) {
  (void)arg;
  ls_rpc_call_finish(call, NULL);
}

static void chat_start(ls_rpc_call *call, void *user_data) {
  (void)user_data;
  ls_rpc_call_on_cancel(call, give_in, NULL);
  ls_rpc_call_read_next(call);
}

static void chat_message(ls_rpc_call *call, const Note *message, void *user_data) {
  (void)user_data;
  if (ECHO(chat_send)(call, message) != LS_RPC_CLOSED) /* or the cancellation comes */
    ls_rpc_call_read_next(call);
}

static void chat_half_close(ls_rpc_call *call, void *user_data) {
  (void)user_data;
  ls_rpc_call_finish(call, NULL);
}

static const ECHO(handlers) handlers = {
    .echo = echo,
    .chat = {chat_start, chat_message, chat_half_close},
};

/* --- The calls: their status --- */

enum { CALL_MS = 15000, MESSAGES = 2 };

static uint8_t body[8 << 10]; /* more than an arena begins with */

static Note make_note(void) {
  Note note = NOTE_INIT;
  note.text = (char *)"text";
  note.body.data = body;
  note.body.len = sizeof body;
  return note;
}

static bool is_right(const Note *note) {
  return strcmp(note->text, "text") == 0 && note->body.len == sizeof body;
}

static ls_code call_unary(ls_rpc_channel *channel, const ls_rpc_call_options *options) {
  Note request = make_note(), *response = NULL;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (ECHO(echo)(channel, &request, options, &response, &status)) {
    assert_true(is_right(response));
    lockstep__test__v1__note__free_unpacked(response, NULL);
  }
  ls_code code = status.code;
  ls_rpc_status_clear(&status);
  return code;
}

static ls_code call_streaming(ls_rpc_channel *channel, const ls_rpc_call_options *options) {
  ls_rpc_stream *stream = ECHO(chat_open)(channel, options);
  int arrived = 0;
  for (int i = 0; i < MESSAGES; i++) {
    Note note = make_note();
    if (!ECHO(chat_write)(stream, &note))
      break;
    Note *back = ECHO(chat_read)(stream);
    if (back == NULL)
      break;
    assert_true(is_right(back));
    lockstep__test__v1__note__free_unpacked(back, NULL);
    arrived++;
  }
  ls_rpc_stream_half_close(stream);
  Note *more = ECHO(chat_read)(stream);
  assert_null(more);
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_stream_finish(stream, &status);
  ls_code code = status.code;
  ls_rpc_status_clear(&status);
  assert_true(code != LS_OK || arrived == MESSAGES);
  return code;
}

typedef ls_code (*one_call)(ls_rpc_channel *channel, const ls_rpc_call_options *options);

static void expect_well_or_short(ls_code code) {
  if (code != LS_OK && code != LS_RESOURCE_EXHAUSTED)
    fail_msg("the call ended with %s", ls_code_name(code));
}

/* A server, a channel, the call, the end; allocation number `failing` of it all fails. */
static void run(one_call call, long failing) {
  atomic_store(&allocations, 0);
  atomic_store(&countdown, failing);
  ls_error error;
  ls_error_clear(&error);
  /* One request posted ahead: a slot that got lost is missed at once. TLS is off, but its settings
   * are kept. */
  const ls_rpc_server_options options = {
      .threads = 2, .posted_requests = 1, .tls = {.certificate_file = "a", .key_file = "b"}};
  ls_rpc_server *server = ls_rpc_server_new(&options, &error);
  int port = 0;
  ls_rpc_channel *channel = NULL;
  if (server != NULL && ECHO(register)(server, &handlers, NULL, &error) &&
      ls_rpc_server_listen(server, "127.0.0.1:0", &port, &error) &&
      ls_rpc_server_start(server, &error)) {
    char target[32];
    snprintf(target, sizeof target, "127.0.0.1:%d", port);
    channel = ls_rpc_channel_new(target, NULL, &error);
  }
  if (channel == NULL) {
    assert_int_equal(error.code, LS_RESOURCE_EXHAUSTED);
  } else {
    const ls_rpc_metadata metadata = {"x-asked", "yes", 3};
    ls_rpc_received *received = ls_rpc_received_new(); /* may be NULL: not wanted, then */
    const ls_rpc_call_options call_options = {
        .timeout_ms = CALL_MS, .metadata = &metadata, .metadata_count = 1, .received = received};
    expect_well_or_short(call(channel, &call_options));
    atomic_store(&countdown, -1);
    for (int i = 0; i < 3; i++)
      assert_int_equal(call(channel, &call_options), LS_OK);
    ls_rpc_received_destroy(received);
  }
  atomic_store(&countdown, -1);
  ls_rpc_channel_destroy(channel);
  ls_rpc_server_destroy(server);
}

static void fail_each(one_call call) {
  run(call, -1); /* what is made once only */
  long failing = 0;
  do
    run(call, failing);
  while (failing++ < atomic_load(&allocations));
  print_message("%ld allocations failed\n", failing - 1);
  assert_true(failing > 20);
}

static void through_a_unary_call(void **state) {
  (void)state;
  fail_each(call_unary);
}

static void through_a_streaming_call(void **state) {
  (void)state;
  fail_each(call_streaming);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(through_a_unary_call),
      cmocka_unit_test(through_a_streaming_call),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
