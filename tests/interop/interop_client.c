/* The client of gRPC's interop tests, on this project's generator and runtime.
 *
 * usage: lockstep-interop-client ADDRESS CASE [AUTHORITY-FILE [SERVER-NAME]]
 *        lockstep-interop-client --list
 *
 * Runs one case against the server at ADDRESS ("host:port"), by TLS if the PEM file of an authority
 * is named. Exit code 0: passed; 1: failed, with what was wrong on stderr. What each case asks for
 * is described with gRPC's sources (doc/interop-test-descriptions.md). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grpc/testing/test.grpc-c.h"
#include "runtime/base/clock.h"
#include "runtime/rpc/client.h"

#define SERVICE(name) grpc_testing_test_service_##name

typedef Grpc__Testing__StreamingOutputCallRequest OutputRequest;
typedef Grpc__Testing__StreamingOutputCallResponse OutputResponse;

enum { LARGE_REQUEST = 271828, LARGE_RESPONSE = 314159, SOAK_CALLS = 10, SOAK_CALL_MS = 5000 };
static const int request_sizes[] = {27182, 8, 1828, 45904};
static const int response_sizes[] = {31415, 9, 2653, 58979};
enum { SIZES = sizeof request_sizes / sizeof request_sizes[0] };

/* Where the server is; a case may make further channels to it. */
static const char *address;
static ls_rpc_channel_options channel_options;
static ls_rpc_channel *channel;

/* --- Expectations: the first that is not met ends the program --- */

static _Noreturn void fail(const char *what, const ls_rpc_status *status) {
  if (status != NULL)
    fprintf(stderr, "%s: %s %s\n", what, ls_code_name(status->code), ls_rpc_status_message(status));
  else
    fprintf(stderr, "%s\n", what);
  exit(EXIT_FAILURE);
}

static void expect(bool condition, const char *what) {
  if (!condition)
    fail(what, NULL);
}

static void expect_code(const ls_rpc_status *status, ls_code code, const char *what) {
  if (status->code != code)
    fail(what, status);
}

static void expect_body(const Grpc__Testing__Payload *payload, size_t bytes, const char *what) {
  expect(payload != NULL && payload->type == GRPC__TESTING__PAYLOAD_TYPE__COMPRESSABLE &&
             payload->body.len == bytes,
         what);
}

/* --- Requests --- */

static uint8_t zeros[LARGE_REQUEST];

static Grpc__Testing__Payload make_payload(size_t bytes) {
  Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
  payload.body.data = zeros;
  payload.body.len = bytes;
  return payload;
}

/* The code of a UnaryCall with `request`; `response` (may be NULL) is the answer, to be freed. */
static ls_code unary(const Grpc__Testing__SimpleRequest *request, ls_rpc_call_options *options,
                     Grpc__Testing__SimpleResponse **response) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  SERVICE(unary_call)(channel, request, options, response, &status);
  ls_code code = status.code;
  if (code != LS_OK && code != LS_INVALID_ARGUMENT)
    fail("UnaryCall", &status);
  ls_rpc_status_clear(&status);
  return code;
}

static void large_unary_on(ls_rpc_channel *to, int64_t timeout_ms) {
  Grpc__Testing__Payload payload = make_payload(LARGE_REQUEST);
  Grpc__Testing__SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
  request.payload = &payload;
  request.response_size = LARGE_RESPONSE;
  ls_rpc_call_options options = {.timeout_ms = timeout_ms};
  Grpc__Testing__SimpleResponse *response;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (!SERVICE(unary_call)(to, &request, &options, &response, &status))
    fail("UnaryCall", &status);
  expect_body(response->payload, LARGE_RESPONSE, "the response is not of the size asked for");
  grpc__testing__simple_response__free_unpacked(response, NULL);
  ls_rpc_status_clear(&status);
}

static void finish_well(ls_rpc_stream *stream, const char *what) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (!ls_rpc_stream_finish(stream, &status))
    fail(what, &status);
}

/* Writes one request of a FullDuplexCall, for a response of `response_bytes` (-1: none). */
static bool write_request(ls_rpc_stream *stream, size_t request_bytes, int response_bytes) {
  Grpc__Testing__Payload payload = make_payload(request_bytes);
  Grpc__Testing__ResponseParameters parameters = GRPC__TESTING__RESPONSE_PARAMETERS__INIT;
  Grpc__Testing__ResponseParameters *list[] = {&parameters};
  parameters.size = response_bytes;
  OutputRequest request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
  request.payload = &payload;
  if (response_bytes >= 0) {
    request.response_parameters = list;
    request.n_response_parameters = 1;
  }
  return SERVICE(full_duplex_call_write)(stream, &request);
}

static void read_response(ls_rpc_stream *stream, size_t bytes) {
  OutputResponse *response = SERVICE(full_duplex_call_read)(stream);
  expect(response != NULL, "a response is missing");
  expect_body(response->payload, bytes, "a response is not of the size asked for");
  grpc__testing__streaming_output_call_response__free_unpacked(response, NULL);
}

static void expect_end(ls_rpc_stream *stream) {
  expect(ls_rpc_stream_read(stream) == NULL, "there is a response too many");
}

/* --- Cases --- */

static void empty_unary(void) {
  Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT, *response;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (!SERVICE(empty_call)(channel, &request, NULL, &response, &status))
    fail("EmptyCall", &status);
  expect(grpc__testing__empty__get_packed_size(response) == 0, "the response is not empty");
  grpc__testing__empty__free_unpacked(response, NULL);
}

static void large_unary(void) {
  large_unary_on(channel, 0);
}

static void client_streaming(void) {
  ls_rpc_stream *stream = SERVICE(streaming_input_call_open)(channel, NULL);
  int sum = 0;
  for (size_t i = 0; i < SIZES; i++) {
    Grpc__Testing__Payload payload = make_payload((size_t)request_sizes[i]);
    Grpc__Testing__StreamingInputCallRequest request =
        GRPC__TESTING__STREAMING_INPUT_CALL_REQUEST__INIT;
    request.payload = &payload;
    expect(SERVICE(streaming_input_call_write)(stream, &request), "a request was not taken");
    sum += request_sizes[i];
  }
  ls_rpc_stream_half_close(stream);
  Grpc__Testing__StreamingInputCallResponse *response = SERVICE(streaming_input_call_read)(stream);
  expect(response != NULL && response->aggregated_payload_size == sum, "the sum is wrong");
  grpc__testing__streaming_input_call_response__free_unpacked(response, NULL);
  expect_end(stream);
  finish_well(stream, "StreamingInputCall");
}

static void server_streaming(void) {
  Grpc__Testing__ResponseParameters parameters[SIZES], *list[SIZES];
  for (size_t i = 0; i < SIZES; i++) {
    grpc__testing__response_parameters__init(&parameters[i]);
    parameters[i].size = response_sizes[i];
    list[i] = &parameters[i];
  }
  OutputRequest request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
  request.response_parameters = list;
  request.n_response_parameters = SIZES;
  ls_rpc_stream *stream = SERVICE(streaming_output_call_open)(channel, &request, NULL);
  for (size_t i = 0; i < SIZES; i++)
    read_response(stream, (size_t)response_sizes[i]);
  expect_end(stream);
  finish_well(stream, "StreamingOutputCall");
}

static void ping_pong(void) {
  ls_rpc_stream *stream = SERVICE(full_duplex_call_open)(channel, NULL);
  for (size_t i = 0; i < SIZES; i++) {
    expect(write_request(stream, (size_t)request_sizes[i], response_sizes[i]),
           "a request was not taken");
    read_response(stream, (size_t)response_sizes[i]);
  }
  ls_rpc_stream_half_close(stream);
  expect_end(stream);
  finish_well(stream, "FullDuplexCall");
}

static void empty_stream(void) {
  ls_rpc_stream *stream = SERVICE(full_duplex_call_open)(channel, NULL);
  ls_rpc_stream_half_close(stream);
  expect_end(stream);
  finish_well(stream, "FullDuplexCall");
}

static const char initial_key[] = "x-grpc-test-echo-initial";
static const char initial_value[] = "test_initial_metadata_value";
static const char trailing_key[] = "x-grpc-test-echo-trailing-bin";
static const char trailing_value[] = "\xab\xab\xab";

static void expect_metadata(const ls_rpc_received *received) {
  const char *value;
  size_t bytes;
  expect(ls_rpc_received_initial(received, initial_key, &value, &bytes) &&
             bytes == sizeof initial_value - 1 && memcmp(value, initial_value, bytes) == 0,
         "the initial metadata did not come back");
  expect(ls_rpc_received_trailing(received, trailing_key, &value, &bytes) &&
             bytes == sizeof trailing_value - 1 && memcmp(value, trailing_value, bytes) == 0,
         "the trailing metadata did not come back");
}

static void custom_metadata(void) {
  const ls_rpc_metadata metadata[] = {{initial_key, initial_value, sizeof initial_value - 1},
                                      {trailing_key, trailing_value, sizeof trailing_value - 1}};
  ls_rpc_received *received = ls_rpc_received_new();
  ls_rpc_call_options options = {.metadata = metadata, .metadata_count = 2, .received = received};
  Grpc__Testing__Payload payload = make_payload(LARGE_REQUEST);
  Grpc__Testing__SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
  request.payload = &payload;
  request.response_size = LARGE_RESPONSE;
  expect(unary(&request, &options, NULL) == LS_OK, "UnaryCall was refused");
  expect_metadata(received);
  ls_rpc_received_destroy(received);

  options.received = received = ls_rpc_received_new();
  ls_rpc_stream *stream = SERVICE(full_duplex_call_open)(channel, &options);
  expect(write_request(stream, LARGE_REQUEST, LARGE_RESPONSE), "the request was not taken");
  read_response(stream, LARGE_RESPONSE);
  ls_rpc_stream_half_close(stream);
  expect_end(stream);
  finish_well(stream, "FullDuplexCall");
  expect_metadata(received);
  ls_rpc_received_destroy(received);
}

static void expect_status(ls_rpc_status *status, const char *message, const char *what) {
  expect_code(status, LS_UNKNOWN, what);
  expect(strcmp(ls_rpc_status_message(status), message) == 0, "the message is another");
  ls_rpc_status_clear(status);
}

static void unary_with_status(const char *message) {
  Grpc__Testing__EchoStatus echo = GRPC__TESTING__ECHO_STATUS__INIT;
  echo.code = LS_UNKNOWN;
  echo.message = (char *)(uintptr_t)message;
  Grpc__Testing__SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
  request.response_status = &echo;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  SERVICE(unary_call)(channel, &request, NULL, NULL, &status);
  expect_status(&status, message, "UnaryCall");
}

static void status_code_and_message(void) {
  char message[] = "test status message";
  unary_with_status(message);
  Grpc__Testing__EchoStatus echo = GRPC__TESTING__ECHO_STATUS__INIT;
  echo.code = LS_UNKNOWN;
  echo.message = message;
  OutputRequest request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
  request.response_status = &echo;
  ls_rpc_stream *stream = SERVICE(full_duplex_call_open)(channel, NULL);
  expect(SERVICE(full_duplex_call_write)(stream, &request), "the request was not taken");
  ls_rpc_stream_half_close(stream);
  expect_end(stream);
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_stream_finish(stream, &status);
  expect_status(&status, message, "FullDuplexCall");
}

static void special_status_message(void) {
  unary_with_status(
      "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n");
}

static void expect_unimplemented(bool (*call)(ls_rpc_channel *, const Grpc__Testing__Empty *,
                                              const ls_rpc_call_options *, Grpc__Testing__Empty **,
                                              ls_rpc_status *)) {
  Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  call(channel, &request, NULL, NULL, &status);
  expect_code(&status, LS_UNIMPLEMENTED, "UnimplementedCall");
  ls_rpc_status_clear(&status);
}

static void unimplemented_method(void) {
  expect_unimplemented(SERVICE(unimplemented_call));
}

static void unimplemented_service(void) {
  expect_unimplemented(grpc_testing_unimplemented_service_unimplemented_call);
}

static void expect_ended_with(ls_rpc_stream *stream, ls_code code, const char *what) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_stream_finish(stream, &status);
  expect_code(&status, code, what);
  ls_rpc_status_clear(&status);
}

static void cancel_after_begin(void) {
  ls_rpc_stream *stream = SERVICE(streaming_input_call_open)(channel, NULL);
  ls_rpc_stream_cancel(stream);
  expect_end(stream);
  expect_ended_with(stream, LS_CANCELLED, "StreamingInputCall");
}

static void cancel_after_first_response(void) {
  ls_rpc_stream *stream = SERVICE(full_duplex_call_open)(channel, NULL);
  expect(write_request(stream, (size_t)request_sizes[0], response_sizes[0]),
         "the request was not taken");
  read_response(stream, (size_t)response_sizes[0]);
  ls_rpc_stream_cancel(stream);
  expect_end(stream);
  expect_ended_with(stream, LS_CANCELLED, "FullDuplexCall");
}

static void timeout_on_sleeping_server(void) {
  ls_rpc_call_options options = {.timeout_ms = 1};
  ls_rpc_stream *stream = SERVICE(full_duplex_call_open)(channel, &options);
  write_request(stream, (size_t)request_sizes[0], -1); /* or it is over already */
  expect_end(stream);
  expect_ended_with(stream, LS_DEADLINE_EXCEEDED, "FullDuplexCall");
}

/* --- Cases with compression --- */

static Grpc__Testing__BoolValue yes = GRPC__TESTING__BOOL_VALUE__INIT;
static Grpc__Testing__BoolValue no = GRPC__TESTING__BOOL_VALUE__INIT;

static void large_with(Grpc__Testing__BoolValue *expect_compressed,
                       Grpc__Testing__BoolValue *response_compressed, ls_rpc_call_options *options,
                       ls_code code) {
  Grpc__Testing__Payload payload = make_payload(LARGE_REQUEST);
  Grpc__Testing__SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
  request.payload = &payload;
  request.response_size = LARGE_RESPONSE;
  request.expect_compressed = expect_compressed;
  request.response_compressed = response_compressed;
  Grpc__Testing__SimpleResponse *response;
  expect(unary(&request, options, &response) == code, "UnaryCall ended otherwise");
  if (response != NULL) {
    expect_body(response->payload, LARGE_RESPONSE, "the response is not of the size asked for");
    grpc__testing__simple_response__free_unpacked(response, NULL);
  }
}

static void client_compressed_unary(void) {
  ls_rpc_call_options plain = {0}, compressed = {.compress = true};
  large_with(&yes, NULL, &plain, LS_INVALID_ARGUMENT); /* whether the server looks at all */
  large_with(&yes, NULL, &compressed, LS_OK);
  large_with(&no, NULL, &plain, LS_OK);
}

static void server_compressed_unary(void) {
  ls_rpc_received *received = ls_rpc_received_new();
  ls_rpc_call_options options = {.received = received};
  large_with(NULL, &yes, &options, LS_OK);
  expect(ls_rpc_received_compressed(received), "the response did not come compressed");
  large_with(NULL, &no, &options, LS_OK);
  expect(!ls_rpc_received_compressed(received), "the response came compressed");
  ls_rpc_received_destroy(received);
}

static bool write_input(ls_rpc_stream *stream, size_t bytes, Grpc__Testing__BoolValue *expected) {
  Grpc__Testing__Payload payload = make_payload(bytes);
  Grpc__Testing__StreamingInputCallRequest request =
      GRPC__TESTING__STREAMING_INPUT_CALL_REQUEST__INIT;
  request.payload = &payload;
  request.expect_compressed = expected;
  return SERVICE(streaming_input_call_write)(stream, &request);
}

static void client_compressed_streaming(void) {
  ls_rpc_stream *stream = SERVICE(streaming_input_call_open)(channel, NULL);
  write_input(stream, (size_t)request_sizes[0], &yes); /* whether the server looks at all */
  ls_rpc_stream_half_close(stream);
  expect_end(stream);
  expect_ended_with(stream, LS_INVALID_ARGUMENT, "StreamingInputCall");

  ls_rpc_call_options options = {.compress = true};
  stream = SERVICE(streaming_input_call_open)(channel, &options);
  expect(write_input(stream, (size_t)request_sizes[0], &yes), "a request was not taken");
  ls_rpc_stream_compress(stream, false);
  expect(write_input(stream, (size_t)request_sizes[3], &no), "a request was not taken");
  ls_rpc_stream_half_close(stream);
  Grpc__Testing__StreamingInputCallResponse *response = SERVICE(streaming_input_call_read)(stream);
  expect(response != NULL &&
             response->aggregated_payload_size == request_sizes[0] + request_sizes[3],
         "the sum is wrong");
  grpc__testing__streaming_input_call_response__free_unpacked(response, NULL);
  expect_end(stream);
  finish_well(stream, "StreamingInputCall");
}

static void server_compressed_streaming(void) {
  Grpc__Testing__ResponseParameters first = GRPC__TESTING__RESPONSE_PARAMETERS__INIT;
  Grpc__Testing__ResponseParameters second = GRPC__TESTING__RESPONSE_PARAMETERS__INIT;
  Grpc__Testing__ResponseParameters *list[] = {&first, &second};
  first.size = response_sizes[0];
  first.compressed = &yes;
  second.size = response_sizes[3];
  second.compressed = &no;
  OutputRequest request = GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
  request.response_parameters = list;
  request.n_response_parameters = 2;
  ls_rpc_received *received = ls_rpc_received_new();
  ls_rpc_call_options options = {.received = received};
  ls_rpc_stream *stream = SERVICE(streaming_output_call_open)(channel, &request, &options);
  read_response(stream, (size_t)response_sizes[0]);
  expect(ls_rpc_received_compressed(received), "the first response did not come compressed");
  read_response(stream, (size_t)response_sizes[3]);
  expect(!ls_rpc_received_compressed(received), "the second response came compressed");
  expect_end(stream);
  finish_well(stream, "StreamingOutputCall");
  ls_rpc_received_destroy(received);
}

/* --- Soak --- */

static ls_rpc_channel *new_channel(void) {
  ls_error error;
  ls_rpc_channel *made = ls_rpc_channel_new(address, &channel_options, &error);
  expect(made != NULL, error.message);
  return made;
}

static void rpc_soak(void) {
  for (int i = 0; i < SOAK_CALLS; i++)
    large_unary_on(channel, SOAK_CALL_MS);
}

static void channel_soak(void) {
  for (int i = 0; i < SOAK_CALLS; i++) {
    ls_rpc_channel *fresh = new_channel();
    large_unary_on(fresh, SOAK_CALL_MS);
    ls_rpc_channel_destroy(fresh);
  }
}

/* --- The program --- */

static const struct {
  const char *name;
  void (*run)(void);
} cases[] = {
    {"empty_unary", empty_unary},
    {"large_unary", large_unary},
    {"client_streaming", client_streaming},
    {"server_streaming", server_streaming},
    {"ping_pong", ping_pong},
    {"empty_stream", empty_stream},
    {"custom_metadata", custom_metadata},
    {"status_code_and_message", status_code_and_message},
    {"special_status_message", special_status_message},
    {"unimplemented_method", unimplemented_method},
    {"unimplemented_service", unimplemented_service},
    {"cancel_after_begin", cancel_after_begin},
    {"cancel_after_first_response", cancel_after_first_response},
    {"timeout_on_sleeping_server", timeout_on_sleeping_server},
    {"client_compressed_unary", client_compressed_unary},
    {"server_compressed_unary", server_compressed_unary},
    {"client_compressed_streaming", client_compressed_streaming},
    {"server_compressed_streaming", server_compressed_streaming},
    {"rpc_soak", rpc_soak},
    {"channel_soak", channel_soak},
};
enum { CASES = sizeof cases / sizeof cases[0] };

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--list") == 0) {
    for (size_t i = 0; i < CASES; i++)
      puts(cases[i].name);
    return EXIT_SUCCESS;
  }
  if (argc < 3 || argc > 5) {
    fprintf(stderr, "usage: %s ADDRESS CASE [AUTHORITY-FILE [SERVER-NAME]]\n       %s --list\n",
            argv[0], argv[0]);
    return EXIT_FAILURE;
  }
  yes.value = 1;
  address = argv[1];
  if (argc > 3)
    channel_options.tls = (ls_rpc_tls){.enabled = true, .authority_file = argv[3]};
  if (argc > 4)
    channel_options.tls_server_name = argv[4];
  for (size_t i = 0; i < CASES; i++) {
    if (strcmp(cases[i].name, argv[2]) == 0) {
      channel = new_channel();
      cases[i].run();
      ls_rpc_channel_destroy(channel);
      return EXIT_SUCCESS;
    }
  }
  fprintf(stderr, "there is no case %s; --list names them\n", argv[2]);
  return EXIT_FAILURE;
}
