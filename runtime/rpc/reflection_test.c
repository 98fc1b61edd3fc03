/* The reflection service, in both versions, as its clients see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "grpc/reflection/v1/reflection.grpc-c.h"
#include "grpc/reflection/v1alpha/reflection.grpc-c.h"
#include "lockstep/test/v1/echo.grpc-c.h"
#include "runtime/rpc/reflection.h"
#include "runtime/rpc/rpc_test_support.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest request_type;
typedef Grpc__Reflection__V1__ServerReflectionResponse response_type;

#define REQUEST_INIT GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT
#define REQUEST(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define RESPONSE(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name
#define INFO(name) grpc_reflection_v1_server_reflection_server_reflection_info_##name
#define ALPHA_INFO(name) grpc_reflection_v1alpha_server_reflection_server_reflection_info_##name

/* A service whose file imports two files, which both import a fourth. */
#define FILE_OF(letter)                                                                            \
  .name = letter ".proto", .descriptor = (const uint8_t *)letter, .descriptor_bytes = 1
static const char *const bottom_symbols[] = {"diamond.Bottom", "diamond.Bottom.field", NULL};
static const char *const no_symbols[] = {NULL};
static const ls_rpc_file *const no_files[] = {NULL};
static const ls_rpc_file bottom = {FILE_OF("b"), .dependencies = no_files,
                                   .symbols = bottom_symbols};
static const ls_rpc_file *const only_bottom[] = {&bottom, NULL};
static const ls_rpc_file left = {FILE_OF("l"), .dependencies = only_bottom, .symbols = no_symbols};
static const ls_rpc_file right = {FILE_OF("r"), .dependencies = only_bottom, .symbols = no_symbols};
static const ls_rpc_file *const sides[] = {&left, &right, NULL};
static const char *const top_symbols[] = {"diamond.Service", NULL};
static const ls_rpc_file top = {FILE_OF("t"), .dependencies = sides, .symbols = top_symbols};
static const ls_rpc_service diamond = {.name = "diamond.Service", .file = &top};

typedef struct fixture {
  ls_rpc_reflection *reflection;
  ls_rpc_server *server;
  ls_rpc_channel *channel;
} fixture;

static int set_up(void **state) {
  static const lockstep_test_v1_echo_service_handlers no_handlers;
  fixture *f = calloc(1, sizeof *f);
  ls_error error;
  const ls_rpc_server_options options = {.send_buffer_bytes = 1};
  f->server = test_server_new(&options);
  f->reflection = ls_rpc_reflection_new(&error);
  assert_non_null(f->reflection);
  assert_true(lockstep_test_v1_echo_service_register(f->server, &no_handlers, NULL, &error));
  assert_true(ls_rpc_server_add_service(f->server, &diamond, NULL, NULL, NULL, &error));
  assert_true(ls_rpc_reflection_register(f->reflection, f->server, &error));
  f->channel = test_channel_new(test_server_start(f->server), NULL);
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  test_stop(f->channel, f->server);
  ls_rpc_reflection_destroy(f->reflection);
  free(f);
  return 0;
}

/* Asks one question; the answer is to be freed with …__free_unpacked. */
static response_type *ask(ls_rpc_stream *stream, const request_type *request) {
  assert_true(INFO(write)(stream, request));
  response_type *response = INFO(read)(stream);
  assert_non_null(response);
  assert_non_null(response->original_request);
  assert_int_equal(response->original_request->message_request_case, request->message_request_case);
  assert_string_equal(response->valid_host, request->host);
  return response;
}

static void free_response(response_type *response) {
  grpc__reflection__v1__server_reflection_response__free_unpacked(response, NULL);
}

static void end_well(ls_rpc_stream *stream) {
  ls_rpc_stream_half_close(stream);
  assert_null(INFO(read)(stream));
  assert_true(ls_rpc_stream_finish(stream, NULL));
}

static void assert_error(ls_rpc_stream *stream, const request_type *request, ls_code code) {
  response_type *response = ask(stream, request);
  assert_int_equal(response->message_response_case, RESPONSE(ERROR_RESPONSE));
  assert_int_equal(response->error_response->error_code, code);
  assert_string_not_equal(response->error_response->error_message, "");
  free_response(response);
}

/* The first letters of the files that are the answer. */
static void assert_files(ls_rpc_stream *stream, const request_type *request, const char *expected) {
  response_type *response = ask(stream, request);
  assert_int_equal(response->message_response_case, RESPONSE(FILE_DESCRIPTOR_RESPONSE));
  const Grpc__Reflection__V1__FileDescriptorResponse *files = response->file_descriptor_response;
  char found[16] = "";
  assert_true(files->n_file_descriptor_proto < sizeof found);
  for (size_t i = 0; i < files->n_file_descriptor_proto; i++)
    found[i] = (char)files->file_descriptor_proto[i].data[0];
  assert_string_equal(found, expected);
  free_response(response);
}

static request_type symbol_request(const char *symbol) {
  request_type request = REQUEST_INIT;
  request.host = (char *)"here";
  request.message_request_case = REQUEST(FILE_CONTAINING_SYMBOL);
  request.file_containing_symbol = (char *)(uintptr_t)symbol;
  return request;
}

static request_type file_request(const char *name) {
  request_type request = REQUEST_INIT;
  request.message_request_case = REQUEST(FILE_BY_FILENAME);
  request.file_by_filename = (char *)(uintptr_t)name;
  return request;
}

static void services_are_listed(void **state) {
  const fixture *f = *state;
  static const char *const expected[] = {"lockstep.test.v1.EchoService", "diamond.Service",
                                         "grpc.reflection.v1.ServerReflection",
                                         "grpc.reflection.v1alpha.ServerReflection"};
  ls_rpc_stream *stream = INFO(open)(f->channel, NULL);
  request_type request = REQUEST_INIT;
  request.message_request_case = REQUEST(LIST_SERVICES);
  request.list_services = (char *)"*";
  response_type *response = ask(stream, &request);
  assert_int_equal(response->message_response_case, RESPONSE(LIST_SERVICES_RESPONSE));
  assert_int_equal(response->list_services_response->n_service, 4);
  for (size_t i = 0; i < 4; i++)
    assert_string_equal(response->list_services_response->service[i]->name, expected[i]);
  free_response(response);
  end_well(stream);
}

static void file_is_found_by_name_and_symbol(void **state) {
  const fixture *f = *state;
  static const char *const symbols[] = {"lockstep.test.v1.EchoService", "lockstep.test.v1.Note",
                                        "lockstep.test.v1.EchoService.Sum",
                                        "lockstep.test.v1.Note.words"};
  ls_rpc_stream *stream = INFO(open)(f->channel, NULL);
  for (size_t i = 0; i <= 4; i++) {
    request_type request =
        i < 4 ? symbol_request(symbols[i]) : file_request("lockstep/test/v1/echo.proto");
    response_type *response = ask(stream, &request);
    assert_int_equal(response->message_response_case, RESPONSE(FILE_DESCRIPTOR_RESPONSE));
    assert_int_equal(response->file_descriptor_response->n_file_descriptor_proto, 1);
    const ProtobufCBinaryData *file = &response->file_descriptor_response->file_descriptor_proto[0];
    assert_int_equal(file->len, lockstep_test_v1_echo_proto_file.descriptor_bytes);
    assert_memory_equal(file->data, lockstep_test_v1_echo_proto_file.descriptor, file->len);
    free_response(response);
  }
  end_well(stream);
}

static void details_of_a_status_can_be_shown(void **state) {
  const fixture *f = *state;
  ls_rpc_stream *stream = INFO(open)(f->channel, NULL);
  const request_type request = symbol_request("google.rpc.ErrorInfo");
  response_type *response = ask(stream, &request);
  assert_int_equal(response->message_response_case, RESPONSE(FILE_DESCRIPTOR_RESPONSE));
  assert_int_equal(response->file_descriptor_response->n_file_descriptor_proto, 2); /* + Duration */
  free_response(response);
  end_well(stream);
}

static void imports_come_along_once_in_a_stream(void **state) {
  const fixture *f = *state;
  const request_type whole = symbol_request("diamond.Service");
  const request_type part = symbol_request("diamond.Bottom.field");
  ls_rpc_stream *stream = INFO(open)(f->channel, NULL);
  assert_files(stream, &whole, "tlbr");
  assert_files(stream, &part, "b"); /* asked for by itself */
  assert_files(stream, &whole, "t");
  end_well(stream);
  stream = INFO(open)(f->channel, NULL);
  assert_files(stream, &part, "b");
  assert_files(stream, &whole, "tlr");
  end_well(stream);
}

static void what_there_is_not_is_told(void **state) {
  const fixture *f = *state;
  ls_rpc_stream *stream = INFO(open)(f->channel, NULL);
  request_type request = symbol_request("lockstep.test.v1.Not");
  assert_error(stream, &request, LS_NOT_FOUND);
  request = symbol_request("");
  assert_error(stream, &request, LS_NOT_FOUND);
  request = file_request("no/such.proto");
  assert_error(stream, &request, LS_NOT_FOUND);

  Grpc__Reflection__V1__ExtensionRequest extension = GRPC__REFLECTION__V1__EXTENSION_REQUEST__INIT;
  extension.containing_type = (char *)"lockstep.test.v1.Note";
  extension.extension_number = 1000;
  request.message_request_case = REQUEST(FILE_CONTAINING_EXTENSION);
  request.file_containing_extension = &extension;
  assert_error(stream, &request, LS_NOT_FOUND);

  request.message_request_case = REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE);
  request.all_extension_numbers_of_type = (char *)"lockstep.test.v1.Not";
  assert_error(stream, &request, LS_NOT_FOUND);
  request.all_extension_numbers_of_type = (char *)"lockstep.test.v1.Note";
  response_type *response = ask(stream, &request);
  assert_int_equal(response->message_response_case, RESPONSE(ALL_EXTENSION_NUMBERS_RESPONSE));
  assert_string_equal(response->all_extension_numbers_response->base_type_name,
                      "lockstep.test.v1.Note");
  assert_int_equal(response->all_extension_numbers_response->n_extension_number, 0);
  free_response(response);

  const request_type empty = REQUEST_INIT;
  assert_error(stream, &empty, LS_INVALID_ARGUMENT);
  end_well(stream);
}

/* With v1alpha's own messages: what is on the wire has to be the same. */
static void v1alpha_is_served_too(void **state) {
  const fixture *f = *state;
  const ls_rpc_file *file = &grpc_reflection_v1alpha_reflection_proto_file;
  ls_rpc_stream *stream = ALPHA_INFO(open)(f->channel, NULL);
  Grpc__Reflection__V1alpha__ServerReflectionRequest request =
      GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__INIT;
  request.host = (char *)"there";
  request.message_request_case =
      GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES;
  request.list_services = (char *)"";
  assert_true(ALPHA_INFO(write)(stream, &request));
  request.message_request_case =
      GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME;
  request.file_by_filename = (char *)(uintptr_t)file->name;
  assert_true(ALPHA_INFO(write)(stream, &request));
  request.file_by_filename = (char *)"no.proto";
  assert_true(ALPHA_INFO(write)(stream, &request));
  ls_rpc_stream_half_close(stream);

  Grpc__Reflection__V1alpha__ServerReflectionResponse *response = ALPHA_INFO(read)(stream);
  assert_non_null(response);
  assert_string_equal(response->valid_host, "there");
  assert_int_equal(response->list_services_response->n_service, 4);
  grpc__reflection__v1alpha__server_reflection_response__free_unpacked(response, NULL);
  response = ALPHA_INFO(read)(stream);
  assert_non_null(response);
  assert_string_equal(response->original_request->file_by_filename, file->name);
  assert_int_equal(response->file_descriptor_response->n_file_descriptor_proto, 1);
  assert_int_equal(response->file_descriptor_response->file_descriptor_proto[0].len,
                   file->descriptor_bytes);
  assert_memory_equal(response->file_descriptor_response->file_descriptor_proto[0].data,
                      file->descriptor, file->descriptor_bytes);
  grpc__reflection__v1alpha__server_reflection_response__free_unpacked(response, NULL);
  response = ALPHA_INFO(read)(stream);
  assert_non_null(response);
  assert_int_equal(response->error_response->error_code, LS_NOT_FOUND);
  grpc__reflection__v1alpha__server_reflection_response__free_unpacked(response, NULL);
  assert_null(ALPHA_INFO(read)(stream));
  assert_true(ls_rpc_stream_finish(stream, NULL));
}

enum { MANY = 3000 };

static void *ask_many(void *arg) {
  request_type request = file_request("lockstep/test/v1/echo.proto");
  char host[16];
  request.host = host;
  for (int i = 0; i < MANY; i++) {
    snprintf(host, sizeof host, "%d", i);
    if (!INFO(write)(arg, &request))
      break;
  }
  ls_rpc_stream_half_close(arg);
  return NULL;
}

static void many_questions_are_answered_in_order(void **state) {
  const fixture *f = *state;
  ls_rpc_stream *stream = INFO(open)(f->channel, NULL);
  pthread_t asker;
  assert_int_equal(pthread_create(&asker, NULL, ask_many, stream), 0);
  for (int i = 0; i < MANY; i++) {
    response_type *response = INFO(read)(stream);
    assert_non_null(response);
    char *end;
    assert_int_equal(strtol(response->valid_host, &end, 10), i);
    assert_string_equal(end, "");
    free_response(response);
  }
  assert_null(INFO(read)(stream));
  pthread_join(asker, NULL);
  assert_true(ls_rpc_stream_finish(stream, NULL));
}

/* The answers fill all there is between the two until the server reads no more questions. */
static void client_that_goes_without_reading_is_let_go(void **state) {
  fixture *f = *state;
  ls_rpc_stream *stream = INFO(open)(f->channel, NULL);
  const request_type request = file_request("lockstep/test/v1/echo.proto");
  for (int i = 0; i < 1000; i++)
    assert_true(INFO(write)(stream, &request));
  assert_false(ls_rpc_stream_finish(stream, NULL));
  assert_true(test_eventually(test_server_is_idle, f->server));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(services_are_listed, set_up, tear_down),
      cmocka_unit_test_setup_teardown(file_is_found_by_name_and_symbol, set_up, tear_down),
      cmocka_unit_test_setup_teardown(details_of_a_status_can_be_shown, set_up, tear_down),
      cmocka_unit_test_setup_teardown(imports_come_along_once_in_a_stream, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_there_is_not_is_told, set_up, tear_down),
      cmocka_unit_test_setup_teardown(v1alpha_is_served_too, set_up, tear_down),
      cmocka_unit_test_setup_teardown(many_questions_are_answered_in_order, set_up, tear_down),
      cmocka_unit_test_setup_teardown(client_that_goes_without_reading_is_let_go, set_up,
                                      tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
