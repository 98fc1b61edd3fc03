/* The health service as its clients see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "grpc/health/v1/health.grpc-c.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/rpc/health.h"
#include "runtime/rpc/rpc_test_support.h"

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name
enum { NO_STATUS = -1 }; /* the stream has come to its end */

typedef struct fixture {
  ls_rpc_health *health;
  ls_rpc_server *server;
  ls_rpc_channel *channel;
  test_target target;
} fixture;

static int set_up_with(void **state, const ls_rpc_server_options *options) {
  fixture *f = calloc(1, sizeof *f);
  ls_error error;
  f->health = ls_rpc_health_new(&error);
  assert_non_null(f->health);
  f->server = test_server_new(options);
  assert_true(ls_rpc_health_register(f->health, f->server, &error));
  f->target = test_server_start(f->server);
  f->channel = test_channel_new(f->target, NULL);
  *state = f;
  return 0;
}

static int set_up(void **state) {
  return set_up_with(state, NULL);
}

static int set_up_small_buffer(void **state) {
  const ls_rpc_server_options options = {.send_buffer_bytes = 1};
  return set_up_with(state, &options);
}

static int tear_down(void **state) {
  fixture *f = *state;
  test_stop(f->channel, f->server);
  ls_rpc_health_destroy(f->health);
  free(f);
  return 0;
}

static ls_code check(const fixture *f, const char *service, int *status) {
  Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  request.service = (char *)(uintptr_t)service;
  Grpc__Health__V1__HealthCheckResponse *response = NULL;
  ls_rpc_status result = LS_RPC_STATUS_INIT;
  *status = NO_STATUS;
  if (grpc_health_v1_health_check(f->channel, &request, NULL, &response, &result)) {
    *status = (int)response->status;
    grpc__health__v1__health_check_response__free_unpacked(response, NULL);
  }
  ls_code code = result.code;
  ls_rpc_status_clear(&result);
  return code;
}

static void assert_check(const fixture *f, const char *service, int expected) {
  int status;
  assert_int_equal(check(f, service, &status), LS_OK);
  assert_int_equal(status, expected);
}

static ls_rpc_stream *watch(const fixture *f, const char *service) {
  Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  request.service = (char *)(uintptr_t)service;
  return grpc_health_v1_health_watch_open(f->channel, &request, NULL);
}

static int read_status(ls_rpc_stream *stream) {
  Grpc__Health__V1__HealthCheckResponse *response = grpc_health_v1_health_watch_read(stream);
  if (response == NULL)
    return NO_STATUS;
  int status = (int)response->status;
  grpc__health__v1__health_check_response__free_unpacked(response, NULL);
  return status;
}

static void check_answers_what_was_set(void **state) {
  const fixture *f = *state;
  assert_check(f, "", STATUS(NOT_SERVING));
  ls_rpc_health_set(f->health, "", true);
  ls_rpc_health_set(f->health, "test.v1.Part", false);
  assert_check(f, "", STATUS(SERVING));
  assert_check(f, "test.v1.Part", STATUS(NOT_SERVING));
  int status;
  assert_int_equal(check(f, "test.v1.Other", &status), LS_NOT_FOUND);
}

static void list_answers_all(void **state) {
  const fixture *f = *state;
  ls_rpc_health_set(f->health, "test.v1.Part", true);
  Grpc__Health__V1__HealthListRequest request = GRPC__HEALTH__V1__HEALTH_LIST_REQUEST__INIT;
  Grpc__Health__V1__HealthListResponse *response = NULL;
  assert_true(grpc_health_v1_health_list(f->channel, &request, NULL, &response, NULL));
  assert_int_equal(response->n_statuses, 2);
  assert_string_equal(response->statuses[0]->key, "");
  assert_int_equal(response->statuses[0]->value->status, STATUS(NOT_SERVING));
  assert_string_equal(response->statuses[1]->key, "test.v1.Part");
  assert_int_equal(response->statuses[1]->value->status, STATUS(SERVING));
  grpc__health__v1__health_list_response__free_unpacked(response, NULL);
}

static void services_are_bounded(void **state) {
  const fixture *f = *state;
  char name[16];
  ls_log_set_level(LS_LOG_ERROR + 1); /* the one too many is logged */
  for (int i = 1; i <= LS_RPC_HEALTH_MAX_SERVICES; i++) {
    snprintf(name, sizeof name, "s%d", i);
    ls_rpc_health_set(f->health, name, true);
  }
  ls_log_set_level(LS_LOG_INFO);
  int status;
  assert_int_equal(check(f, name, &status), LS_NOT_FOUND);
  snprintf(name, sizeof name, "s%d", LS_RPC_HEALTH_MAX_SERVICES - 1);
  assert_check(f, name, STATUS(SERVING));
}

static void watch_tells_each_change_once(void **state) {
  const fixture *f = *state;
  ls_rpc_stream *whole = watch(f, "");
  ls_rpc_stream *part = watch(f, "test.v1.Part");
  assert_int_equal(read_status(whole), STATUS(NOT_SERVING));
  assert_int_equal(read_status(part), STATUS(SERVICE_UNKNOWN));
  ls_rpc_health_set(f->health, "", true);
  ls_rpc_health_set(f->health, "", true);
  ls_rpc_health_set(f->health, "test.v1.Part", true);
  ls_rpc_health_set(f->health, "", false);
  assert_int_equal(read_status(whole), STATUS(SERVING));
  assert_int_equal(read_status(whole), STATUS(NOT_SERVING));
  assert_int_equal(read_status(part), STATUS(SERVING));
  ls_rpc_stream_finish(whole, NULL);
  ls_rpc_stream_finish(part, NULL);
  assert_true(test_eventually(test_server_is_idle, f->server));
  ls_rpc_health_set(f->health, "", true); /* nobody is left to be told */
}

static void slow_reader_gets_the_newest_status(void **state) {
  enum { FLIPS = 20001 };
  const fixture *f = *state;
  ls_rpc_stream *stream = watch(f, "");
  assert_int_equal(read_status(stream), STATUS(NOT_SERVING));
  for (int i = 0; i < FLIPS; i++)
    ls_rpc_health_set(f->health, "", i % 2 == 0);
  ls_rpc_health_set(f->health, "test.v1.Part", true);
  ls_rpc_health_shutdown(f->health);
  int received = 0, newest = NO_STATUS;
  for (int status; (status = read_status(stream)) != NO_STATUS; received++) {
    assert_int_not_equal(status, newest); /* what did not change is not told */
    newest = status;
  }
  assert_true(received < FLIPS);
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (ls_rpc_stream_finish(stream, &status))
    assert_int_equal(newest, STATUS(NOT_SERVING));
  else /* there was no room for it any more */
    assert_int_equal(status.code, LS_UNAVAILABLE);
  ls_rpc_status_clear(&status);
}

static void shutdown_tells_and_ends_watchers(void **state) {
  const fixture *f = *state;
  ls_rpc_health_set(f->health, "", true);
  ls_rpc_stream *stream = watch(f, "");
  assert_int_equal(read_status(stream), STATUS(SERVING));
  ls_rpc_health_shutdown(f->health);
  assert_int_equal(read_status(stream), STATUS(NOT_SERVING));
  assert_int_equal(read_status(stream), NO_STATUS);
  assert_true(ls_rpc_stream_finish(stream, NULL));

  ls_rpc_health_set(f->health, "", true);
  assert_check(f, "", STATUS(NOT_SERVING));
  stream = watch(f, "");
  assert_int_equal(read_status(stream), STATUS(NOT_SERVING));
  assert_int_equal(read_status(stream), NO_STATUS);
  assert_true(ls_rpc_stream_finish(stream, NULL));
  ls_rpc_health_shutdown(f->health);
}

static void *flip(void *arg) {
  for (int i = 0; i < 2000; i++)
    ls_rpc_health_set(arg, i % 3 == 0 ? "" : "test.v1.Part", i % 2 == 0);
  return NULL;
}

static void watchers_come_and_go_while_statuses_change(void **state) {
  enum { FLIPPERS = 2, WATCHES = 60 };
  const fixture *f = *state;
  pthread_t flippers[FLIPPERS];
  for (int i = 0; i < FLIPPERS; i++)
    assert_int_equal(pthread_create(&flippers[i], NULL, flip, f->health), 0);
  for (int i = 0; i < WATCHES; i++) {
    ls_rpc_stream *stream = watch(f, i % 2 == 0 ? "" : "test.v1.Part");
    assert_int_not_equal(read_status(stream), NO_STATUS);
    ls_rpc_stream_finish(stream, NULL);
  }
  for (int i = 0; i < FLIPPERS; i++)
    pthread_join(flippers[i], NULL);
  assert_true(test_eventually(test_server_is_idle, f->server));
}

static void probe_tells_what_is_wrong(void **state) {
  const fixture *f = *state;
  ls_error error;
  assert_false(ls_rpc_health_probe(f->target.address, NULL, "", TEST_WAIT_MS, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  assert_non_null(strstr(error.message, "not serving"));
  ls_rpc_health_set(f->health, "", true);
  assert_true(ls_rpc_health_probe(f->target.address, NULL, "", TEST_WAIT_MS, &error));
  assert_false(ls_rpc_health_probe(f->target.address, NULL, "no.Such", TEST_WAIT_MS, &error));
  assert_int_equal(error.code, LS_NOT_FOUND);
}

/* Bound to a free port; takes connections when `listens`, but never says a word. */
static int mute_socket(bool listens, test_target *target) {
  int descriptor = socket(AF_INET, SOCK_STREAM, 0);
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
  } address = {.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  assert_int_equal(bind(descriptor, &address.any, sizeof address.v4), 0);
  assert_int_equal(getsockname(descriptor, &address.any, &size), 0);
  if (listens)
    assert_int_equal(listen(descriptor, 8), 0);
  snprintf(target->address, sizeof target->address, "127.0.0.1:%d", ntohs(address.v4.sin_port));
  return descriptor;
}

static void probe_does_not_wait_for_the_dead(void **state) {
  (void)state;
  ls_error error;
  test_target target;
  int64_t started_ms = ls_clock_monotonic_ms();
  int descriptor = mute_socket(false, &target);
  assert_false(ls_rpc_health_probe(target.address, NULL, "", TEST_WAIT_MS, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  close(descriptor);
  descriptor = mute_socket(true, &target);
  assert_false(ls_rpc_health_probe(target.address, NULL, "", 100, &error));
  assert_int_equal(error.code, LS_DEADLINE_EXCEEDED);
  close(descriptor);
  assert_true(ls_clock_monotonic_ms() - started_ms < TEST_WAIT_MS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(check_answers_what_was_set, set_up, tear_down),
      cmocka_unit_test_setup_teardown(list_answers_all, set_up, tear_down),
      cmocka_unit_test_setup_teardown(services_are_bounded, set_up, tear_down),
      cmocka_unit_test_setup_teardown(watch_tells_each_change_once, set_up, tear_down),
      cmocka_unit_test_setup_teardown(slow_reader_gets_the_newest_status, set_up_small_buffer,
                                      tear_down),
      cmocka_unit_test_setup_teardown(shutdown_tells_and_ends_watchers, set_up, tear_down),
      cmocka_unit_test_setup_teardown(watchers_come_and_go_while_statuses_change, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(probe_tells_what_is_wrong, set_up, tear_down),
      cmocka_unit_test(probe_does_not_wait_for_the_dead),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
