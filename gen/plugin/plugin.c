/* The frame that the plugins run in. */
#include "gen/plugin/plugin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gen/plugin/text.h"
#include "google/protobuf/compiler/plugin.pb-c.h"

static bool read_all(gen_text *input) {
  char buffer[65536];
  size_t bytes;
  while ((bytes = fread(buffer, 1, sizeof buffer, stdin)) > 0)
    text_bytes(input, buffer, bytes);
  return !ferror(stdin);
}

int plugin_no_request(void) {
  fprintf(stderr,
          "%s: stdin holds no CodeGeneratorRequest; this is a plugin of protoc, see --help\n",
          program_invocation_short_name);
  return EXIT_FAILURE;
}

static int run(const gen_plugin *plugin) {
  gen_text input = {0};
  int status = EXIT_FAILURE;
  if (!read_all(&input)) {
    fprintf(stderr, "%s: cannot read the request: %s\n", plugin->name, strerrordesc_np(errno));
    goto cleanup;
  }
  wire_bytes request = {(const uint8_t *)input.data, input.length};
  if (request.size == 0 ||
      !wire_check(&google__protobuf__compiler__code_generator_request__descriptor, request,
                  WIRE_MAX_DEPTH))
    status = plugin_no_request();
  else
    status = plugin->run(request);

cleanup:
  text_clear(&input);
  return status;
}

int plugin_main(const gen_plugin *plugin, int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    printf("%s %s\n", plugin->name, PLUGIN_VERSION);
    return EXIT_SUCCESS;
  }
  if (argc == 2 && strcmp(argv[1], "--help") == 0) {
    fputs(plugin->usage, stdout);
    return EXIT_SUCCESS;
  }
  if (argc > 1 || isatty(STDIN_FILENO)) {
    fputs(plugin->usage, stderr);
    return 64; /* EX_USAGE */
  }
  return run(plugin);
}
