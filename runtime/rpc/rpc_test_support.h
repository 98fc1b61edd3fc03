/* What the tests of this folder share: servers and channels that must come up, and waiting. */
#ifndef LOCKSTEP_RUNTIME_RPC_RPC_TEST_SUPPORT_H
#define LOCKSTEP_RUNTIME_RPC_RPC_TEST_SUPPORT_H

#include <stdbool.h>

#include "runtime/rpc/client.h"
#include "runtime/rpc/server.h"

enum { TEST_WAIT_MS = 20000 };

typedef struct test_target {
  char address[64]; /* "127.0.0.1:40123" */
} test_target;

ls_rpc_server *test_server_new(const ls_rpc_server_options *options);

/* Listens on a free port of the loopback interface and starts. */
test_target test_server_start(ls_rpc_server *server);

ls_rpc_channel *test_channel_new(test_target target, const ls_rpc_channel_options *options);

/* Closes the channel (may be NULL), then shuts the server down, which must not need to cancel
 * calls. */
void test_stop(ls_rpc_channel *channel, ls_rpc_server *server);

/* True once the condition holds; false when it does not within TEST_WAIT_MS. */
bool test_eventually(bool (*condition)(void *arg), void *arg);

/* Of an ls_rpc_server: no call is in flight. */
bool test_server_is_idle(void *server);

#endif
