/* Threads that are named and never handle signals, and waits with a monotonic deadline. */
#ifndef LOCKSTEP_RUNTIME_BASE_THREAD_H
#define LOCKSTEP_RUNTIME_BASE_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/error.h"

/* Starts `run(arg)` on a thread with this name (its first 15 bytes are used; the log shows it) and
 * every signal blocked but those of faults, so that signals arrive where main expects them. To be
 * joined. LS_RESOURCE_EXHAUSTED when no thread can be had. Any thread. */
bool ls_thread_start(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg,
                     ls_error *error);

/* Blocks in the calling thread what ls_thread_start blocks, and says in `previous` what was blocked
 * before, for pthread_sigmask(SIG_SETMASK, previous, NULL) afterwards. For the time in which a
 * foreign library starts threads, which inherit the mask. */
void ls_thread_block_signals(sigset_t *previous);

/* The condition for ls_condition_wait_until; false when out of resources. End with
 * pthread_cond_destroy. */
bool ls_condition_init(pthread_cond_t *condition);

/* Waits, with `mutex` held, until signalled or until ls_clock_monotonic_us() reaches `deadline_us`
 * (negative: without end). False once the deadline has passed. May wake without cause: the caller
 * checks what it waits for. */
bool ls_condition_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex,
                             int64_t deadline_us);

/* The deadline `timeout_ms` from now, for ls_condition_wait_until; -1 when `timeout_ms` is
 * negative. */
int64_t ls_deadline_us(int64_t timeout_ms);

#endif
