/* bench-rpc-server: a trivial unary method on lockstep's generated stubs and runtime, with the
 * runtime's defaults, as the services have them. Prints {"port": N} when it serves, and on SIGTERM
 * {"calls": N}, the calls that its handler has answered. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/rpc/bench.grpc-c.h"
#include "runtime/base/shutdown.h"
#include "runtime/rpc/server.h"

static _Noreturn void fail(const ls_error *error) {
  fprintf(stderr, "bench-rpc-server: %s\n", error->message);
  exit(EXIT_FAILURE);
}

/* On the one polling thread: its counter needs no lock. */
static void echo(ls_rpc_call *call, const Lockstep__Bench__V1__EchoRequest *request,
                 void *user_data) {
  uint64_t *calls = user_data;
  ++*calls;
  Lockstep__Bench__V1__EchoResponse response = LOCKSTEP__BENCH__V1__ECHO_RESPONSE__INIT;
  response.text = request->text;
  response.number = request->number;
  lockstep_bench_v1_echo_service_echo_reply(call, &response);
}

int main(void) {
  static const lockstep_bench_v1_echo_service_handlers handlers = {.echo = echo};
  uint64_t calls = 0;
  int port = 0;
  ls_error error = {0};
  if (!ls_shutdown_init(&error))
    fail(&error);
  ls_rpc_server *server = ls_rpc_server_new(NULL, &error);
  if (server == NULL ||
      !lockstep_bench_v1_echo_service_register(server, &handlers, &calls, &error) ||
      !ls_rpc_server_listen(server, "127.0.0.1:0", &port, &error) ||
      !ls_rpc_server_start(server, &error))
    fail(&error);
  printf("{\"port\": %d}\n", port);
  (void)fflush(stdout);
  ls_shutdown_wait(-1);
  ls_rpc_server_shutdown(server, 2000);
  ls_rpc_server_destroy(server);
  printf("{\"calls\": %" PRIu64 "}\n", calls);
  return EXIT_SUCCESS;
}
