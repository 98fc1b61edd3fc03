/* protoc-gen-c-messages: a plugin of protoc that has protobuf-c write messages, and no services.
 *
 * What protobuf-c writes for a service does not compile when a method has a keyword's name, and
 * nobody needs it beside protoc-gen-grpc-c's. So this plugin takes the services out of the request
 * and becomes protoc-gen-c, with the rest on its stdin: answer, errors and exit status are
 * protoc-gen-c's own. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gen/plugin/plugin.h"
#include "gen/plugin/text.h"
#include "gen/protoc-gen-c-messages/request.h"

/* Names protobuf-c's plugin. */
#define PROGRAM_VARIABLE "PROTOC_GEN_C"
/* Set for protobuf-c's plugin, so that this one notices when it runs itself. */
#define RUNNING_VARIABLE "PROTOC_GEN_C_MESSAGES_RUNNING"

static const char usage[] =
    "protoc-gen-c-messages has protobuf-c write messages in C without its own code for services.\n"
    "protoc runs it:\n"
    "\n"
    "  protoc --grpc-c_out=DIR --c-messages_out=DIR -I PROTO_ROOT path/file.proto\n"
    "\n"
    "  --plugin=protoc-gen-c-messages=PATH   protoc's option, when it is not on the PATH\n"
    "  --c-messages_opt=OPTION               as --c_opt; protoc-gen-c has dllexport_decl=NAME\n"
    "  " PROGRAM_VARIABLE "                          in the environment: protobuf-c's plugin, "
    "when it is\n"
    "                                        not protoc-gen-c on the PATH\n"
    "\n"
    "By hand: protoc-gen-c-messages --version | --help\n";

/* Makes `data` what stdin has, in a file that no directory knows. */
static bool become_stdin(const gen_text *data) {
  int file = memfd_create("request", MFD_CLOEXEC);
  if (file < 0)
    return false;
  bool ok = dup2(file, STDIN_FILENO) == STDIN_FILENO;
  FILE *stream = ok ? fdopen(file, "wb") : NULL;
  if (stream == NULL) {
    (void)close(file);
    return false;
  }
  ok = fwrite(data->data, 1, data->length, stream) == data->length;
  ok = fclose(stream) == 0 && ok;
  return ok && lseek(STDIN_FILENO, 0, SEEK_SET) == 0;
}

/* Returns only when it could not. */
static void become_protobuf_c(void) {
  const char *program = secure_getenv(PROGRAM_VARIABLE);
  if (program == NULL || *program == '\0')
    program = "protoc-gen-c";
  if (setenv(RUNNING_VARIABLE, "1", 1) == 0) // NOLINT(concurrency-mt-unsafe): one thread
    execlp(program, program, (char *)NULL);
  fprintf(stderr,
          "protoc-gen-c-messages: cannot run %s: %s\n"
          "It comes with protobuf-c; " PROGRAM_VARIABLE
          " in the environment says where it is, if not on the PATH.\n",
          program, strerrordesc_np(errno));
}

static int run(wire_bytes request) {
  if (secure_getenv(RUNNING_VARIABLE) != NULL) {
    fputs("protoc-gen-c-messages: what should be protobuf-c's plugin is protoc-gen-c-messages "
          "itself; let " PROGRAM_VARIABLE " name protobuf-c's protoc-gen-c\n",
          stderr);
    return EXIT_FAILURE;
  }
  gen_text reduced = {0};
  request_for_messages(&reduced, request);
  if (become_stdin(&reduced))
    become_protobuf_c();
  else
    perror("protoc-gen-c-messages: cannot pass the request on");
  text_clear(&reduced);
  return EXIT_FAILURE;
}

int main(int argc, char **argv) {
  static const gen_plugin plugin = {.name = "protoc-gen-c-messages", .usage = usage, .run = run};
  return plugin_main(&plugin, argc, argv);
}
