/* protoc-gen-c-messages: a plugin of protoc that has protobuf-c write messages, and no services.
 *
 * What protobuf-c writes for a service does not compile when a method has a keyword's name, and
 * nobody needs it beside protoc-gen-grpc-c's. So this plugin takes the services out of the request,
 * adapts the rest to what protobuf-c can do (gen/plugin/adapt.h), and runs protoc-gen-c on it.
 * Errors and exit status are protoc-gen-c's own, but for what is refused; so is the answer, but for
 * default values and the first bytes of oneofs. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gen/plugin/adapt.h"
#include "gen/plugin/plugin.h"
#include "gen/plugin/pool.h"
#include "gen/plugin/text.h"
#include "gen/protoc-gen-c-messages/response.h"

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

/* A file that no directory knows, with `bytes` in it, to be read from its start; -1 on error. */
static int file_of(const void *data, size_t bytes) {
  int file = memfd_create("protoc-gen-c-messages", MFD_CLOEXEC);
  if (file < 0)
    return -1;
  const char *rest = data;
  while (bytes > 0) {
    ssize_t written = write(file, rest, bytes);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      break;
    rest += written;
    bytes -= (size_t)written;
  }
  if (bytes > 0 || lseek(file, 0, SEEK_SET) != 0) {
    (void)close(file);
    return -1;
  }
  return file;
}

static bool read_file(gen_text *out, int file) {
  char buffer[65536];
  if (lseek(file, 0, SEEK_SET) != 0)
    return false;
  for (;;) {
    ssize_t bytes = read(file, buffer, sizeof buffer);
    if (bytes < 0 && errno == EINTR)
      continue;
    if (bytes <= 0)
      return bytes == 0;
    text_bytes(out, buffer, (size_t)bytes);
  }
}

static bool write_all(const gen_text *out) {
  if ((out->length > 0 && fwrite(out->data, 1, out->length, stdout) != out->length) ||
      fflush(stdout) != 0) {
    perror("protoc-gen-c-messages: cannot write the response");
    return false;
  }
  return true;
}

/* In the child. */
static _Noreturn void become_protobuf_c(pid_t parent, int input, int output) {
  const char *program = secure_getenv(PROGRAM_VARIABLE);
  if (program == NULL || *program == '\0')
    program = "protoc-gen-c";
  /* It does not outlive this process. */
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent &&
      dup2(input, STDIN_FILENO) == STDIN_FILENO && dup2(output, STDOUT_FILENO) == STDOUT_FILENO &&
      setenv(RUNNING_VARIABLE, "1", 1) == 0) // NOLINT(concurrency-mt-unsafe): one thread
    execlp(program, program, (char *)NULL);
  fprintf(stderr,
          "protoc-gen-c-messages: cannot run %s: %s\n"
          "It comes with protobuf-c; " PROGRAM_VARIABLE
          " in the environment says where it is, if not on the PATH.\n",
          program, strerrordesc_np(errno));
  _Exit(EXIT_FAILURE);
}

/* Runs protobuf-c's plugin between two files, and gives what waitpid does; -1 on error. */
static int run_protobuf_c(int input, int output) {
  pid_t parent = getpid();
  pid_t child = fork();
  if (child < 0)
    return -1;
  if (child == 0)
    become_protobuf_c(parent, input, output);
  int status;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR)
      return -1;
  return status;
}

/* What protobuf-c's plugin said, made protoc's answer; as it is when it failed or said nothing that
 * is one. */
static bool pass_on(const gen_adapter *adapter, const gen_text *answer, bool ok) {
  gen_text out = {0};
  wire_bytes response = {(const uint8_t *)answer->data, answer->length};
  bool written =
      ok && response_for_protoc(adapter, &out, response) ? write_all(&out) : write_all(answer);
  text_clear(&out);
  return written;
}

/* Ends as the child did. */
static int end_as(int status) {
  if (WIFSIGNALED(status)) {
    (void)signal(WTERMSIG(status), SIG_DFL);
    (void)raise(WTERMSIG(status));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

static int have_protobuf_c_answer(const gen_adapter *adapter, const void *packed, size_t bytes) {
  gen_text answer = {0};
  int result = EXIT_FAILURE;
  int input = file_of(packed, bytes);
  int output = file_of("", 0);
  int status = input >= 0 && output >= 0 ? run_protobuf_c(input, output) : -1;
  if (status < 0 || !read_file(&answer, output))
    perror("protoc-gen-c-messages: cannot pass the request on");
  else if (pass_on(adapter, &answer, status == 0))
    result = end_as(status);
  if (input >= 0)
    (void)close(input);
  if (output >= 0)
    (void)close(output);
  text_clear(&answer);
  return result;
}

static int refuse(const gen_adapter *adapter) {
  gen_text out = {0};
  response_of_error(&out, adapter->errors.data);
  bool written = write_all(&out);
  text_clear(&out);
  return written ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int answer(const gen_adapter *adapter) {
  plugin_request *request = adapter->request;
  for (size_t i = 0; i < request->n_proto_file; i++)
    request->proto_file[i]->n_service = 0;
  size_t bytes = google__protobuf__compiler__code_generator_request__get_packed_size(request);
  uint8_t *packed = pool_alloc(adapter->pool, bytes);
  google__protobuf__compiler__code_generator_request__pack(request, packed);
  return have_protobuf_c_answer(adapter, packed, bytes);
}

static int run(wire_bytes bytes) {
  if (secure_getenv(RUNNING_VARIABLE) != NULL) {
    fputs("protoc-gen-c-messages: what should be protobuf-c's plugin is protoc-gen-c-messages "
          "itself; let " PROGRAM_VARIABLE " name protobuf-c's protoc-gen-c\n",
          stderr);
    return EXIT_FAILURE;
  }
  gen_pool *pool = pool_new();
  gen_adapter adapter;
  int status;
  if (adapt_request(&adapter, pool, bytes))
    status = answer(&adapter);
  else
    status = adapter.errors.length > 0 ? refuse(&adapter) : plugin_no_request();
  adapt_clear(&adapter);
  pool_destroy(pool);
  return status;
}

int main(int argc, char **argv) {
  static const gen_plugin plugin = {.name = "protoc-gen-c-messages", .usage = usage, .run = run};
  return plugin_main(&plugin, argc, argv);
}
