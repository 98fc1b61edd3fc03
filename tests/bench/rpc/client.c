/* bench-rpc-client ADDRESS IN_FLIGHT WARM CALLS: keeps IN_FLIGHT calls under way by lockstep's
 * generated stubs, WARM of them unmeasured, then CALLS, each started by the answer of another, and
 * checks each answer. Prints {"calls": N, "seconds": S, "cpu_seconds": C}. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/rpc/bench.grpc-c.h"
#include "runtime/base/clock.h"
#include "runtime/rpc/client.h"

static char text[] = "5e1c2a9e-9b7c-4c5e-8f6a-2f0f3d1b7a44";

/* A run of calls. The first are started by main, all others by the answer of
 * another. */
typedef struct run {
  ls_rpc_channel *channel;
  int64_t calls;
  _Atomic int64_t started, answered;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool done;
} run;

/* One of the calls under way. */
typedef struct slot {
  run *run;
  int64_t number;
} slot;

static _Noreturn void fail(const char *what, const char *why) {
  fprintf(stderr, "bench-rpc-client: %s: %s\n", what, why);
  exit(EXIT_FAILURE);
}

static void on_answer(const ls_rpc_status *status,
                      const Lockstep__Bench__V1__EchoResponse *response, void *arg);

static void call_next(slot *self) {
  self->number = atomic_fetch_add(&self->run->started, 1);
  if (self->number >= self->run->calls)
    return;
  Lockstep__Bench__V1__EchoRequest request = LOCKSTEP__BENCH__V1__ECHO_REQUEST__INIT;
  request.text = text;
  request.number = self->number;
  if (!lockstep_bench_v1_echo_service_echo_async(self->run->channel, &request, NULL, on_answer,
                                                 self))
    fail("start a call", "out of memory");
}

static void on_answer(const ls_rpc_status *status,
                      const Lockstep__Bench__V1__EchoResponse *response, void *arg) {
  slot *self = arg;
  run *all = self->run;
  if (status->code != LS_OK)
    fail("Echo", ls_rpc_status_message(status));
  if (response->number != self->number || strcmp(response->text, text) != 0)
    fail("Echo", "the answer is not what was asked");
  call_next(self);
  if (atomic_fetch_add(&all->answered, 1) + 1 < all->calls) /* from here on `all` may be gone */
    return;
  pthread_mutex_lock(&all->lock);
  all->done = true;
  pthread_cond_signal(&all->changed);
  pthread_mutex_unlock(&all->lock);
}

static void call_all(ls_rpc_channel *channel, slot *slots, size_t in_flight, int64_t calls) {
  run all = {.channel = channel,
             .calls = calls,
             .lock = PTHREAD_MUTEX_INITIALIZER,
             .changed = PTHREAD_COND_INITIALIZER};
  for (size_t i = 0; i < in_flight; i++) {
    slots[i].run = &all;
    call_next(&slots[i]);
  }
  pthread_mutex_lock(&all.lock);
  while (!all.done)
    pthread_cond_wait(&all.changed, &all.lock);
  pthread_mutex_unlock(&all.lock);
}

static double cpu_seconds(void) {
  struct timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  if (argc != 5)
    fail("usage", "bench-rpc-client ADDRESS IN_FLIGHT WARM CALLS");
  size_t in_flight = strtoull(argv[2], NULL, 10);
  int64_t warm = strtoll(argv[3], NULL, 10);
  int64_t calls = strtoll(argv[4], NULL, 10);
  if (in_flight == 0 || warm <= 0 || calls <= 0)
    fail("usage", "IN_FLIGHT, WARM and CALLS are at least 1");
  ls_error error = {0};
  slot *slots = calloc(in_flight, sizeof *slots);
  ls_rpc_channel *channel = ls_rpc_channel_new(argv[1], NULL, &error);
  if (slots == NULL || channel == NULL)
    fail(argv[1], error.message);
  call_all(channel, slots, in_flight, warm);
  double cpu_before = cpu_seconds();
  int64_t begin_us = ls_clock_monotonic_us();
  call_all(channel, slots, in_flight, calls);
  int64_t used_us = ls_clock_monotonic_us() - begin_us;
  printf("{\"calls\": %" PRId64 ", \"seconds\": %.6f, \"cpu_seconds\": %.3f}\n", calls,
         (double)used_us / 1e6, cpu_seconds() - cpu_before);
  ls_rpc_channel_destroy(channel);
  free(slots);
  return EXIT_SUCCESS;
}
