/* From the core's log function to the log of the process. */
#include "runtime/rpc/core_log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/support/log.h>

#include "runtime/base/log.h"

/* What a peer can cause again and again must not flood the log: the places of the core are spread
 * over these by their line. */
enum { PLACES = 64, PLACE_INTERVAL_MS = 1000 };

/* An accept that was waiting when its socket was shut down, which is how a server stops listening.
 */
static const char stopped_listening[] = "Failed accept4: Invalid argument";

static void write_source(const gpr_log_func_args *line, char *out, size_t room) {
  const char *slash = strrchr(line->file, '/');
  snprintf(out, room, "%s:%d", slash != NULL ? slash + 1 : line->file, line->line);
}

static void log_core(gpr_log_func_args *line) {
  static ls_log_limit limits[PLACES];
  char source[128];
  write_source(line, source, sizeof source);
  if (line->severity != GPR_LOG_SEVERITY_ERROR ||
      strstr(line->message, stopped_listening) != NULL) {
    LS_DEBUG("gRPC core", LS_STR("core_message", line->message), LS_STR("source", source));
    return;
  }
  ls_log_limit *limit = &limits[(unsigned)line->line % PLACES];
  if (ls_log_every(limit, PLACE_INTERVAL_MS))
    LS_WARN("gRPC core", LS_STR("core_message", line->message), LS_STR("source", source),
            LS_UINT("suppressed", ls_log_suppressed(limit)));
}

static void install(void) {
  gpr_set_log_function(log_core);
  if (getenv("GRPC_VERBOSITY") == NULL)
    gpr_set_log_verbosity(ls_log_enabled(LS_LOG_DEBUG) ? GPR_LOG_SEVERITY_DEBUG
                                                       : GPR_LOG_SEVERITY_ERROR);
}

void ls_rpc_core_log_install(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, install);
}
