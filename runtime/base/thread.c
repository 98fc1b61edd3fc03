/* Threads and timed waits: see thread.h. */
#include "runtime/base/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/base/clock.h"

typedef struct start_arguments {
  void *(*run)(void *arg);
  void *arg;
  char name[16]; /* the kernel's limit */
} start_arguments;

static void *run_named(void *arg) {
  start_arguments start = *(start_arguments *)arg;
  free(arg);
  pthread_setname_np(pthread_self(), start.name);
  return start.run(start.arg);
}

void ls_thread_block_signals(sigset_t *previous) {
  /* A fault is its thread's own, and sanitizers and debuggers handle it there. */
  static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
  sigset_t blocked;
  sigfillset(&blocked);
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
    sigdelset(&blocked, faults[i]);
  pthread_sigmask(SIG_SETMASK, &blocked, previous);
}

bool ls_thread_start(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg,
                     ls_error *error) {
  start_arguments *start = malloc(sizeof *start);
  if (!start)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "thread %s: out of memory", name);
  start->run = run;
  start->arg = arg;
  snprintf(start->name, sizeof start->name, "%s", name);
  sigset_t previous;
  ls_thread_block_signals(&previous); /* inherited, so that there is no moment without it */
  int failure = pthread_create(thread, NULL, run_named, start);
  pthread_sigmask(SIG_SETMASK, &previous, NULL);
  if (failure != 0) {
    free(start);
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "thread %s: %s", name,
                        strerror(failure));
  }
  return true;
}

bool ls_condition_init(pthread_cond_t *condition) {
  pthread_condattr_t attributes;
  if (pthread_condattr_init(&attributes) != 0)
    return false;
  bool done = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(condition, &attributes) == 0;
  pthread_condattr_destroy(&attributes);
  return done;
}

bool ls_condition_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex,
                             int64_t deadline_us) {
  if (deadline_us < 0) {
    pthread_cond_wait(condition, mutex);
    return true;
  }
  struct timespec deadline = {.tv_sec = (time_t)(deadline_us / 1000000),
                              .tv_nsec = (long)(deadline_us % 1000000) * 1000};
  return pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &deadline) != ETIMEDOUT;
}

int64_t ls_deadline_us(int64_t timeout_ms) {
  if (timeout_ms < 0)
    return -1;
  int64_t now = ls_clock_monotonic_us();
  return timeout_ms > (INT64_MAX - now) / 1000 ? -1 : now + timeout_ms * 1000;
}
