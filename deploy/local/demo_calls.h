/* The asynchronous calls of the demo's workload: requests made, calls started, answers taken.
 *
 * Calls are started and judged by one thread. The callbacks, which run on the channels' threads,
 * copy what they need out of the answer and hand the call back; only a sampled write goes on by
 * itself, to GetDelivery, so that no time is lost in between. Who owns a call: the one thread while
 * it is not in flight, then its callback until that has handed it back. */
#ifndef LOCKSTEP_DEPLOY_LOCAL_DEMO_CALLS_H
#define LOCKSTEP_DEPLOY_LOCAL_DEMO_CALLS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "deploy/local/demo_options.h"
#include "deploy/local/demo_services.h"
#include "runtime/base/error.h"
#include "runtime/base/retry.h"

/* What the writer knows of an order from the answers it got. */
typedef struct demo_order {
  int64_t order_id;
  int64_t version; /* the newest answered; 0: not created yet */
  bool cancelled;
} demo_order;

/* A call that has ended; the first member of those below. */
typedef struct demo_ended {
  struct demo_ended *next;
  bool is_sample;
} demo_ended;

/* What all calls share. Not to be moved. */
typedef struct demo_calls {
  demo_services *services;
  size_t turn; /* of the order services; for the one thread */
  uint64_t seed;
  pthread_mutex_t lock; /* of the list */
  pthread_cond_t changed;
  demo_ended *first, **last;
} demo_calls;

/* A write whose way to delivery is timed. */
typedef struct demo_sample {
  demo_ended ended;
  demo_calls *calls;
  ls_rpc_channel *delivery; /* who is asked */
  int64_t answered_us, visible_us;
  bool seen; /* delivery showed it in time */
} demo_sample;

typedef enum demo_write_kind { DEMO_CREATE, DEMO_CHANGE, DEMO_CANCEL } demo_write_kind;

typedef struct demo_write {
  demo_ended ended;
  struct demo_write *next; /* for the owner */
  demo_calls *calls;
  demo_write_kind kind;
  size_t index;     /* of the order among those of the seed */
  unsigned change;  /* 1, 2, …: which of the order's changes */
  demo_order order; /* as known when the write was begun */
  char request_id[37];
  bool reading;        /* the call reads the order: the change lost a race and is to be made anew */
  demo_sample *sample; /* NULL: not sampled, or gone on by itself */
  int64_t first_try_ms, next_try_ms;
  ls_backoff backoff;
  /* The answer: the order if the code is LS_OK, else why not. */
  ls_code code;
  demo_order answer;
  char message[256], reason[40];
} demo_write;

/* Opens connections. End with demo_calls_close, also after a failure. */
bool demo_calls_open(demo_calls *calls, const demo_options *options, ls_error *error);

/* Cancels what is in flight and waits until no callback runs any more. */
void demo_calls_close(demo_calls *calls);

/* Sends a write as a new request, with a request_id of its own. The sample, if there is one, is
 * handed back by itself, some time after the write was done. */
void demo_write_send(demo_write *self);

/* Sends the same request, or the same reading, again. What a request says follows from the seed,
 * the order's index and the change, so it is the same to the byte. */
void demo_write_send_again(demo_write *self);

/* Reads the order in place of the write. */
void demo_write_read(demo_write *self);

/* Waits until calls have ended or the monotonic clock reaches `until_ms`: a list of them, or NULL.
 */
demo_ended *demo_calls_wait(demo_calls *calls, int64_t until_ms);

/* The name of the method that the write called last. */
const char *demo_write_method(const demo_write *self);

#endif
