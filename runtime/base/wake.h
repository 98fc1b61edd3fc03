/* Wakes a thread that sleeps in poll(). */
#ifndef LOCKSTEP_RUNTIME_BASE_WAKE_H
#define LOCKSTEP_RUNTIME_BASE_WAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/error.h"

typedef struct ls_wake ls_wake;

/* NULL: LS_RESOURCE_EXHAUSTED, no memory or no descriptor. */
ls_wake *ls_wake_new(ls_error *error);

/* Makes the descriptor readable until it is drained; signals add up to one. Never blocks. Any
 * thread, also a signal handler. */
void ls_wake_signal(ls_wake *wake);

/* Takes the signals back: true if there was one. Drain first, look for work after, or a signal
 * between the two is lost. */
bool ls_wake_drain(ls_wake *wake);

/* For poll() with POLLIN; the wake's own, not to be closed. */
int ls_wake_fd(const ls_wake *wake);

/* Sleeps until signalled or `timeout_ms` (negative: without end) has passed, and drains. True if
 * there was a signal. */
bool ls_wake_wait(ls_wake *wake, int64_t timeout_ms);

/* NULL is fine. */
void ls_wake_destroy(ls_wake *wake);

#endif
