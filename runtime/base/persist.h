/* What a program does once and then ends (--migrate, --create-topics), while what it needs may not
 * be there yet. */
#ifndef LOCKSTEP_RUNTIME_BASE_PERSIST_H
#define LOCKSTEP_RUNTIME_BASE_PERSIST_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/error.h"

/* One attempt. */
typedef bool (*ls_attempt)(void *arg, ls_error *error);

/* Lets SIGTERM and SIGINT end the process at once, with 128 + the signal's number: as the first
 * process of a container it would otherwise ignore them. For programs that leave nothing half done
 * behind, whenever they end. Once, in main. */
void ls_persist_init(void);

/* Makes attempts, at least one, until one succeeds, fails with what waiting does not mend (all but
 * retriable LS_UNAVAILABLE and LS_DEADLINE_EXCEEDED), or has failed `timeout_ms` after the first
 * one began. Between two it pauses, the longer the more have failed. Says once in the log that it
 * waits for `what`. False: the last attempt's error. */
bool ls_persist(const char *what, int64_t timeout_ms, ls_attempt attempt, void *arg,
                ls_error *error);

#endif
