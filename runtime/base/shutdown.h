/* The wish to end: SIGTERM, SIGINT or the program itself asks for an orderly stop; a second signal
 * ends the process at once. */
#ifndef LOCKSTEP_RUNTIME_BASE_SHUTDOWN_H
#define LOCKSTEP_RUNTIME_BASE_SHUTDOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/error.h"

/* Takes over SIGTERM and SIGINT and ignores SIGPIPE. Once, in main, before other threads start.
 * LS_RESOURCE_EXHAUSTED when there is no descriptor. The second signal exits with 128 + its number.
 */
bool ls_shutdown_init(ls_error *error);

/* Whether a stop was requested; it is never taken back. Any thread. */
bool ls_shutdown_requested(void);

/* Readable from the request on; for poll(), not to be read or closed. -1 before ls_shutdown_init.
 */
int ls_shutdown_fd(void);

/* Sleeps until a stop is requested or `timeout_ms` (negative: without end) has passed. True if it
 * was requested. Any thread. */
bool ls_shutdown_wait(int64_t timeout_ms);

/* Requests the stop from inside, because a part cannot go on. A signal after it is the first. */
void ls_shutdown_request(void);

#endif
