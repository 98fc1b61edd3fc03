/* What the plugins of protoc in this folder have in common: their command line, and a
 * CodeGeneratorRequest on stdin. */
#ifndef LOCKSTEP_GEN_PLUGIN_H
#define LOCKSTEP_GEN_PLUGIN_H

#include "gen/plugin/wire.h"

/* "0.1": the project's version, from the build. */
#ifndef PLUGIN_VERSION
#error "PLUGIN_VERSION is not defined"
#endif

typedef struct gen_plugin {
  const char *name;
  const char *usage; /* for --help */
  /* Handles a request that is well-formed and not nested too deep; returns the exit status. */
  int (*run)(wire_bytes request);
} gen_plugin;

/* The plugin's main. A request that cannot be read is a message on stderr and status 1; arguments
 * other than --version and --help are status 64 (sysexits' EX_USAGE). */
int plugin_main(const gen_plugin *plugin, int argc, char **argv);

/* Says on stderr that stdin holds no request, and returns the exit status. */
int plugin_no_request(void);

#endif
