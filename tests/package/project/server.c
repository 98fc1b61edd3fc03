/* greeter-server ADDRESS: serves greet.v1.Greeter, says its port on stdout, and ends well by
 * SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "greet/v1/greeter.grpc-c.h"
#include "runtime/rpc/health.h"
#include "runtime/rpc/reflection.h"

static void say_hello(ls_rpc_call *call, const Greet__V1__SayHelloRequest *request,
                      void *user_data) {
  (void)user_data;
  if (request->name[0] == '\0') {
    ls_rpc_call_fail(call, LS_INVALID_ARGUMENT, "a name is needed");
    return;
  }
  char text[200];
  snprintf(text, sizeof text, "Hello, %.100s", request->name);
  Google__Protobuf__Timestamp now = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  now.seconds = time(NULL);
  Greet__V1__SayHelloResponse response = GREET__V1__SAY_HELLO_RESPONSE__INIT;
  response.text = text;
  response.said_at = &now;
  greet_v1_greeter_say_hello_reply(call, &response);
}

static void count_down(ls_rpc_call *call, const Greet__V1__CountDownRequest *request,
                       void *user_data) {
  (void)user_data;
  if (request->start > 1000) {
    ls_rpc_call_fail(call, LS_INVALID_ARGUMENT, "start is above 1000");
    return;
  }
  Greet__V1__CountDownResponse message = GREET__V1__COUNT_DOWN_RESPONSE__INIT;
  for (message.left = request->start; message.left > 0; message.left--)
    greet_v1_greeter_count_down_send(call, &message); /* all of them fit into the call's buffer */
  ls_rpc_call_finish(call, NULL);
}

static const greet_v1_greeter_handlers handlers = {.say_hello = say_hello,
                                                   .count_down = count_down};

int main(int argc, char **argv) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, NULL);

  ls_error error = {0};
  int port = 0, signal_number = 0;
  ls_rpc_server *server = ls_rpc_server_new(NULL, &error);
  ls_rpc_health *health = ls_rpc_health_new(&error);
  ls_rpc_reflection *reflection = ls_rpc_reflection_new(&error);
  bool done = server != NULL && health != NULL && reflection != NULL &&
              greet_v1_greeter_register(server, &handlers, NULL, &error) &&
              ls_rpc_health_register(health, server, &error) &&
              ls_rpc_reflection_register(reflection, server, &error) &&
              ls_rpc_server_listen(server, argc > 1 ? argv[1] : "127.0.0.1:0", &port, &error) &&
              ls_rpc_server_start(server, &error);
  if (done) {
    ls_rpc_health_set(health, "", true);
    printf("port %d\n", port);
    fflush(stdout);
    sigwait(&signals, &signal_number);
    ls_rpc_health_shutdown(health);
    ls_rpc_server_shutdown(server, 5000);
  } else {
    fprintf(stderr, "greeter-server: %s\n", error.message);
  }
  ls_rpc_server_destroy(server);
  ls_rpc_reflection_destroy(reflection);
  ls_rpc_health_destroy(health);
  return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
