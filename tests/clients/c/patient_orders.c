/* Many calls in flight at once: their callbacks run on the channel's thread and only note what came
 * of them; the caller's thread sends, waits and sends again. */
#include "patient_orders.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "answers.h"
#include "draft.h"
#include "order/v1/order_service.grpc-c.h"
#include "system.h"

enum { ATTEMPT_MS = 20000, GIVE_UP_MS = 60000, LONGEST_DELAY_MS = 2000, DEFAULT_DELAY_MS = 100 };

typedef enum attempt_state { WAITS, IN_FLIGHT, CREATED, FAILED } attempt_state;

struct patient_orders;

/* One order. All but the first two under the lock. */
typedef struct attempt {
  struct patient_orders *all;
  char request_id[UUID_BYTES]; /* the same each time: it can be done only once */
  attempt_state state;
  int64_t due_ms;   /* when it WAITS no longer */
  int64_t delay_ms; /* its last wait; 0: none yet */
  ls_code code;     /* why it FAILED */
} attempt;

typedef struct patient_orders {
  ls_rpc_channel *channel;
  order_draft draft;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int refusals;
  int adviceless; /* refusals that did not say when to come back */
  attempt attempts[PATIENT_ORDERS];
} patient_orders;

/* A share more or less than the delay, so that those refused together do not come back together. */
static int64_t scattered(int64_t delay_ms) {
  return delay_ms * 3 / 4 + random_below((unsigned)delay_ms / 2 + 1);
}

static void refused(attempt *self, const ls_rpc_status *status) {
  int64_t advice_ms = status_retry_delay_ms(status);
  self->all->refusals++;
  if (advice_ms < 0)
    self->all->adviceless++;
  if (self->delay_ms == 0)
    self->delay_ms = advice_ms > 0 ? advice_ms : DEFAULT_DELAY_MS;
  else
    self->delay_ms *= 2;
  if (self->delay_ms > LONGEST_DELAY_MS)
    self->delay_ms = LONGEST_DELAY_MS;
  self->due_ms = monotonic_ms() + scattered(self->delay_ms);
  self->state = WAITS;
}

/* On the channel's thread. */
static void on_created(const ls_rpc_status *status, const Order__V1__CreateOrderResponse *response,
                       void *arg) {
  attempt *self = arg;
  pthread_mutex_lock(&self->all->lock);
  if (status->code == LS_RESOURCE_EXHAUSTED) {
    refused(self, status);
  } else if (status->code == LS_OK && response->order != NULL) {
    self->state = CREATED;
  } else {
    self->code = status->code;
    self->state = FAILED;
  }
  pthread_cond_signal(&self->all->changed);
  pthread_mutex_unlock(&self->all->lock);
}

static void send_order(attempt *self) {
  static const ls_rpc_call_options options = {.timeout_ms = ATTEMPT_MS, .wait_for_ready = true};
  Order__V1__CreateOrderRequest request = ORDER__V1__CREATE_ORDER_REQUEST__INIT;
  request.request_id = self->request_id;
  request.order = &self->all->draft.order;
  self->state = IN_FLIGHT;
  if (!order_v1_order_service_create_order_async(self->all->channel, &request, &options, on_created,
                                                 self)) {
    self->code = LS_RESOURCE_EXHAUSTED; /* of memory */
    self->state = FAILED;
  }
}

/* Sends what is due. Says in `next_ms` when the next one is, and returns how many are not yet
 * created. */
static size_t send_due(patient_orders *self, int64_t *next_ms, ls_error *error) {
  size_t left = 0;
  int64_t now_ms = monotonic_ms();
  for (size_t i = 0; i < PATIENT_ORDERS; i++) {
    attempt *each = &self->attempts[i];
    if (each->state == WAITS && each->due_ms <= now_ms)
      send_order(each);
    if (each->state == WAITS && each->due_ms < *next_ms)
      *next_ms = each->due_ms;
    if (each->state == FAILED)
      wrong(error, "CreateOrder: %s", ls_code_name(each->code));
    left += each->state != CREATED;
  }
  return left;
}

/* Until a callback has something to tell, or that time has come. */
static void wait_until(patient_orders *self, int64_t until_ms) {
  struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
  pthread_cond_timedwait(&self->changed, &self->lock, &until);
}

/* The lock, and the condition by the clock of monotonic_ms. */
static void start_waiting(patient_orders *self) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&self->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  pthread_mutex_init(&self->lock, NULL);
}

static bool create_all(patient_orders *self, ls_error *error) {
  int64_t give_up_ms = monotonic_ms() + GIVE_UP_MS;
  pthread_mutex_lock(&self->lock);
  size_t left;
  int64_t next_ms = give_up_ms;
  while ((left = send_due(self, &next_ms, error)) > 0 && error->code == LS_OK &&
         monotonic_ms() < give_up_ms) {
    wait_until(self, next_ms);
    next_ms = give_up_ms;
  }
  int refusals = self->refusals;
  int adviceless = self->adviceless;
  pthread_mutex_unlock(&self->lock);
  if (error->code != LS_OK)
    return false;
  if (left > 0)
    return wrong(error, "%zu orders not created in time", left);
  if (refusals == 0)
    return wrong(error, "nothing was refused");
  if (adviceless > 0)
    return wrong(error, "%d of %d refusals without RetryInfo", adviceless, refusals);
  return true;
}

bool create_patiently(const char *target, char *customer, ls_error *error) {
  bool done = false;
  patient_orders *self = calloc(1, sizeof *self);
  if (self == NULL)
    return wrong(error, "out of memory");
  start_waiting(self);
  order_draft_make(&self->draft, customer);
  for (size_t i = 0; i < PATIENT_ORDERS; i++) {
    self->attempts[i].all = self;
    new_uuid(self->attempts[i].request_id);
  }
  self->channel = ls_rpc_channel_new(target, NULL, error);
  if (self->channel != NULL)
    done = create_all(self, error);
  ls_rpc_channel_destroy(self->channel); /* after this no callback comes */
  pthread_mutex_destroy(&self->lock);
  pthread_cond_destroy(&self->changed);
  free(self);
  return done;
}
