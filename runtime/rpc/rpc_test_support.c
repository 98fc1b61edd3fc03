/* Servers, channels and waiting for the tests of this folder. */
#include "runtime/rpc/rpc_test_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "runtime/base/clock.h"

ls_rpc_server *test_server_new(const ls_rpc_server_options *options) {
  ls_error error;
  ls_rpc_server *server = ls_rpc_server_new(options, &error);
  assert_non_null(server);
  return server;
}

test_target test_server_start(ls_rpc_server *server) {
  ls_error error;
  int port = 0;
  if (!ls_rpc_server_listen(server, "127.0.0.1:0", &port, &error) ||
      !ls_rpc_server_start(server, &error))
    fail_msg("%s", error.message);
  test_target target;
  snprintf(target.address, sizeof target.address, "127.0.0.1:%d", port);
  return target;
}

ls_rpc_channel *test_channel_new(test_target target, const ls_rpc_channel_options *options) {
  ls_error error;
  ls_rpc_channel *channel = ls_rpc_channel_new(target.address, options, &error);
  if (channel == NULL)
    fail_msg("%s", error.message);
  return channel;
}

void test_stop(ls_rpc_channel *channel, ls_rpc_server *server) {
  ls_rpc_channel_destroy(channel);
  assert_true(ls_rpc_server_shutdown(server, TEST_WAIT_MS));
  ls_rpc_server_destroy(server);
}

bool test_eventually(bool (*condition)(void *arg), void *arg) {
  int64_t deadline_ms = ls_clock_monotonic_ms() + TEST_WAIT_MS;
  while (!condition(arg)) {
    if (ls_clock_monotonic_ms() > deadline_ms)
      return false;
    const struct timespec pause = {0, 1000000};
    nanosleep(&pause, NULL);
  }
  return true;
}

bool test_server_is_idle(void *server) {
  return ls_rpc_server_active_calls(server) == 0;
}
