/* greeter-client ADDRESS NAME: prints a greeting and a count from 3 down. */
#include <stdio.h>
#include <stdlib.h>

#include "greet/v1/greeter.grpc-c.h"

static bool say_hello(ls_rpc_channel *channel, char *name, ls_rpc_status *status) {
  Greet__V1__SayHelloRequest request = GREET__V1__SAY_HELLO_REQUEST__INIT;
  request.name = name;
  Greet__V1__SayHelloResponse *response = NULL;
  if (!greet_v1_greeter_say_hello(channel, &request, NULL, &response, status))
    return false;
  printf("%s\n", response->text);
  greet__v1__say_hello_response__free_unpacked(response, NULL);
  return true;
}

static bool count_down(ls_rpc_channel *channel, ls_rpc_status *status) {
  Greet__V1__CountDownRequest request = GREET__V1__COUNT_DOWN_REQUEST__INIT;
  request.start = 3;
  ls_rpc_stream *stream = greet_v1_greeter_count_down_open(channel, &request, NULL);
  Greet__V1__CountDownResponse *message;
  while ((message = greet_v1_greeter_count_down_read(stream)) != NULL) {
    printf("%u\n", message->left);
    greet__v1__count_down_response__free_unpacked(message, NULL);
  }
  return ls_rpc_stream_finish(stream, status);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: greeter-client ADDRESS NAME\n");
    return EXIT_FAILURE;
  }
  ls_error error = {0};
  ls_rpc_channel *channel = ls_rpc_channel_new(argv[1], NULL, &error);
  if (channel == NULL) {
    fprintf(stderr, "greeter-client: %s\n", error.message);
    return EXIT_FAILURE;
  }
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  bool done = say_hello(channel, argv[2], &status) && count_down(channel, &status);
  if (!done)
    fprintf(stderr, "greeter-client: %s: %s\n", ls_code_name(status.code),
            ls_rpc_status_message(&status));
  ls_rpc_status_clear(&status);
  ls_rpc_channel_destroy(channel);
  return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
