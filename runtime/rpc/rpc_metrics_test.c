/* What calls leave in the metrics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lockstep/test/v1/echo.grpc-c.h"
#include "runtime/base/metrics.h"
#include "runtime/rpc/rpc_metrics.h"
#include "runtime/rpc/rpc_test_support.h"

#define ECHO_LABELS "grpc_service=\"lockstep.test.v1.EchoService\",grpc_method=\"Echo\""
#define HANDLED "grpc_server_handled_total{" ECHO_LABELS ",grpc_code="
#define TIMED "grpc_server_handling_seconds_count{" ECHO_LABELS "} "

typedef struct fixture {
  ls_metrics *registry;
  ls_rpc_metrics *metrics;
  ls_rpc_server *server;
} fixture;

static void echo(ls_rpc_call *call, const Lockstep__Test__V1__Note *request, void *user_data) {
  (void)user_data;
  if (request->number != 0)
    ls_rpc_call_fail(call, (ls_code)request->number, "as told");
  else
    lockstep_test_v1_echo_service_echo_reply(call, request);
}

static int set_up(void **state) {
  static const lockstep_test_v1_echo_service_handlers handlers = {.echo = echo};
  fixture *f = calloc(1, sizeof *f);
  ls_error error;
  f->registry = ls_metrics_new(0);
  f->metrics = ls_rpc_metrics_new(f->registry, &error);
  assert_non_null(f->metrics);
  const ls_rpc_server_options options = {
      .threads = 2, .observer = ls_rpc_metrics_observe, .observer_arg = f->metrics};
  f->server = test_server_new(&options);
  assert_true(lockstep_test_v1_echo_service_register(f->server, &handlers, NULL, &error));
  assert_true(ls_rpc_metrics_add_server(f->metrics, f->server, &error));
  *state = f;
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  ls_rpc_server_destroy(f->server);
  ls_rpc_metrics_destroy(f->metrics);
  ls_metrics_destroy(f->registry);
  free(f);
  return 0;
}

static bool shows(const fixture *f, const char *line) {
  ls_buffer text = LS_BUFFER_INIT;
  assert_true(ls_metrics_write(f->registry, &text));
  bool found = strstr(text.data, line) != NULL;
  ls_buffer_clear(&text);
  return found;
}

/* The observer comes after the answer. */
static bool shows_all_calls(void *arg) {
  return shows(arg, TIMED "7\n");
}

static void calls_are_counted_by_code_and_timed(void **state) {
  fixture *f = *state;
  ls_rpc_channel *channel = test_channel_new(test_server_start(f->server), NULL);
  static const ls_code codes[] = {LS_OK, LS_NOT_FOUND, LS_OK, LS_OK, LS_ABORTED, LS_OK, LS_OK};
  assert_false(shows(f, HANDLED));
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
    Lockstep__Test__V1__Note request = LOCKSTEP__TEST__V1__NOTE__INIT;
    request.number = (int32_t)codes[i];
    lockstep_test_v1_echo_service_echo(channel, &request, NULL, NULL, NULL);
  }
  assert_true(test_eventually(shows_all_calls, f));
  assert_true(shows(f, HANDLED "\"OK\"} 5\n"));
  assert_true(shows(f, HANDLED "\"NOT_FOUND\"} 1\n"));
  assert_true(shows(f, HANDLED "\"ABORTED\"} 1\n"));
  assert_false(shows(f, "grpc_code=\"INTERNAL\""));
  ls_rpc_channel_destroy(channel);
}

static void foreign_methods_and_codes_are_counted_together(void **state) {
  const fixture *f = *state;
  const ls_rpc_method foreign = {.name = "Foreign", .path = "/a.B/Foreign"};
  ls_rpc_metrics_observe(&foreign, LS_OK, 1000, NULL, f->metrics);
  ls_rpc_metrics_observe(&foreign, (ls_code)99, 1000, NULL, f->metrics);
  ls_rpc_metrics_observe(&foreign, (ls_code)-1, 1000, NULL, f->metrics);
  assert_true(shows(f, "{grpc_service=\"unknown\",grpc_method=\"unknown\",grpc_code=\"OK\"} 1\n"));
  assert_true(
      shows(f, "{grpc_service=\"unknown\",grpc_method=\"unknown\",grpc_code=\"UNKNOWN\"} 2\n"));
}

enum { THREADS = 4, EACH = 5000 };

static void *observe_many(void *arg) {
  const fixture *f = arg;
  const ls_rpc_method *method = &ls_rpc_server_service(f->server, 0)->methods[0];
  for (int i = 0; i < EACH; i++)
    ls_rpc_metrics_observe(method, LS_OK, 1500, NULL, f->metrics);
  return NULL;
}

static void no_call_is_lost_between_threads(void **state) {
  fixture *f = *state;
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, observe_many, f), 0);
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  assert_true(shows(f, HANDLED "\"OK\"} 20000\n"));
  assert_true(shows(f, TIMED "20000\n"));
  assert_true(shows(f, "grpc_server_handling_seconds_sum{" ECHO_LABELS "} 30\n") ||
              shows(f, "grpc_server_handling_seconds_sum{" ECHO_LABELS "} 29.9") ||
              shows(f, "grpc_server_handling_seconds_sum{" ECHO_LABELS "} 30.0"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(calls_are_counted_by_code_and_timed, set_up, tear_down),
      cmocka_unit_test_setup_teardown(foreign_methods_and_codes_are_counted_together, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(no_call_is_lost_between_threads, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
