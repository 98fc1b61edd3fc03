/* Requests, calls and their callbacks. */
#include "deploy/local/demo_calls.h"

#include <stdio.h>
#include <stdlib.h>

#include "delivery/v1/delivery_service.grpc-c.h"
#include "deploy/local/demo_orders.h"
#include "order/v1/order_service.grpc-c.h"
#include "runtime/base/clock.h"
#include "runtime/base/random.h"
#include "runtime/base/thread.h"

enum { VISIBLE_TIMEOUT_MS = 30000, FIRST_WAIT_MS = 20, LONGEST_WAIT_MS = 1000 };

static const ls_rpc_call_options call_options = {.timeout_ms = 5000};
static const ls_rpc_call_options sample_options = {.timeout_ms = VISIBLE_TIMEOUT_MS};

bool demo_calls_open(demo_calls *calls, const demo_options *options, ls_error *error) {
  *calls = (demo_calls){.seed = (uint64_t)options->seed};
  calls->last = &calls->first;
  calls->services = demo_services_open(options->addresses, error);
  if (calls->services == NULL)
    return false;
  if (!ls_condition_init(&calls->changed)) {
    demo_services_close(calls->services);
    calls->services = NULL;
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "no condition variable");
  }
  pthread_mutex_init(&calls->lock, NULL);
  return true;
}

void demo_calls_close(demo_calls *calls) {
  if (calls->services == NULL)
    return;
  demo_services_close(calls->services);
  calls->services = NULL;
  pthread_mutex_destroy(&calls->lock);
  pthread_cond_destroy(&calls->changed);
}

/* A driver that has no memory for a call has nothing left to tell. */
static void expect_started(bool started) {
  if (started)
    return;
  fputs("lockstep-demo: out of memory\n", stderr);
  exit(EXIT_FAILURE);
}

static void hand_back(demo_calls *calls, demo_ended *call) {
  pthread_mutex_lock(&calls->lock);
  call->next = NULL;
  *calls->last = call;
  calls->last = &call->next;
  pthread_cond_signal(&calls->changed);
  pthread_mutex_unlock(&calls->lock);
}

demo_ended *demo_calls_wait(demo_calls *calls, int64_t until_ms) {
  pthread_mutex_lock(&calls->lock);
  while (calls->first == NULL &&
         ls_condition_wait_until(&calls->changed, &calls->lock, until_ms * 1000)) {
  }
  demo_ended *list = calls->first;
  calls->first = NULL;
  calls->last = &calls->first;
  pthread_mutex_unlock(&calls->lock);
  return list;
}

/* --- Callbacks, on the channels' threads --- */

static void on_delivery(const ls_rpc_status *status,
                        const Delivery__V1__GetDeliveryResponse *response, void *arg) {
  (void)response; /* that it came is the news */
  demo_sample *sample = arg;
  sample->visible_us = ls_clock_monotonic_us();
  sample->seen = status->code == LS_OK;
  hand_back(sample->calls, &sample->ended);
}

/* Waits at a delivery service until it shows the version that was just written. */
static void time_delivery(demo_sample *sample, const demo_order *written) {
  Delivery__V1__GetDeliveryRequest request = DELIVERY__V1__GET_DELIVERY_REQUEST__INIT;
  request.order_id = written->order_id;
  request.min_order_version = written->version;
  sample->ended.is_sample = true;
  sample->answered_us = ls_clock_monotonic_us();
  expect_started(delivery_v1_delivery_service_get_delivery_async(
      sample->delivery, &request, &sample_options, on_delivery, sample));
}

static void take_refusal(demo_write *self, const ls_rpc_status *status) {
  snprintf(self->message, sizeof self->message, "%s", ls_rpc_status_message(status));
  self->reason[0] = '\0';
  Google__Rpc__ErrorInfo *info = ls_rpc_status_error_info(status);
  if (info != NULL) {
    snprintf(self->reason, sizeof self->reason, "%s", info->reason);
    google__rpc__error_info__free_unpacked(info, NULL);
  }
}

static void on_answer(demo_write *self, const ls_rpc_status *status,
                      const Order__V1__Order *order) {
  self->code = status->code;
  if (status->code != LS_OK) {
    take_refusal(self, status);
  } else if (order == NULL) {
    self->code = LS_INTERNAL;
    self->reason[0] = '\0';
    snprintf(self->message, sizeof self->message, "the answer holds no order");
  } else {
    self->answer = (demo_order){order->order_id, order->version,
                                order->status == ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED};
    if (self->sample != NULL && !self->reading) {
      time_delivery(self->sample, &self->answer);
      self->sample = NULL;
    }
  }
  hand_back(self->calls, &self->ended);
}

static void on_created(const ls_rpc_status *status, const Order__V1__CreateOrderResponse *response,
                       void *arg) {
  on_answer(arg, status, response != NULL ? response->order : NULL);
}

static void on_changed(const ls_rpc_status *status, const Order__V1__UpdateOrderResponse *response,
                       void *arg) {
  on_answer(arg, status, response != NULL ? response->order : NULL);
}

static void on_cancelled(const ls_rpc_status *status,
                         const Order__V1__CancelOrderResponse *response, void *arg) {
  on_answer(arg, status, response != NULL ? response->order : NULL);
}

static void on_read(const ls_rpc_status *status, const Order__V1__GetOrderResponse *response,
                    void *arg) {
  on_answer(arg, status, response != NULL ? response->order : NULL);
}

/* --- Requests --- */

/* Each call goes to the next replica, so that a repeated one finds another. */
static ls_rpc_channel *next_order(demo_calls *calls) {
  return demo_channel(&calls->services->orders, calls->turn++);
}

static void send_create(demo_write *self) {
  demo_draft draft;
  demo_draft_create(self->calls->seed, self->index, &draft);
  Order__V1__CreateOrderRequest request = ORDER__V1__CREATE_ORDER_REQUEST__INIT;
  request.request_id = self->request_id;
  request.order = &draft.order;
  expect_started(order_v1_order_service_create_order_async(next_order(self->calls), &request,
                                                           &call_options, on_created, self));
}

static void send_change(demo_write *self) {
  demo_draft draft;
  demo_draft_change(self->calls->seed, self->index, self->change, &draft);
  draft.order.order_id = self->order.order_id;
  Order__V1__UpdateOrderRequest request = ORDER__V1__UPDATE_ORDER_REQUEST__INIT;
  request.request_id = self->request_id;
  request.order = &draft.order;
  request.update_mask = &draft.mask;
  request.expected_version = self->order.version;
  expect_started(order_v1_order_service_update_order_async(next_order(self->calls), &request,
                                                           &call_options, on_changed, self));
}

static void send_cancel(demo_write *self) {
  char reason[] = "ordered by mistake";
  Order__V1__CancelOrderRequest request = ORDER__V1__CANCEL_ORDER_REQUEST__INIT;
  request.request_id = self->request_id;
  request.order_id = self->order.order_id;
  request.reason = reason; /* whichever version it is at: expected_version stays 0 */
  expect_started(order_v1_order_service_cancel_order_async(next_order(self->calls), &request,
                                                           &call_options, on_cancelled, self));
}

static void send_read(demo_write *self) {
  Order__V1__GetOrderRequest request = ORDER__V1__GET_ORDER_REQUEST__INIT;
  request.order_id = self->order.order_id;
  expect_started(order_v1_order_service_get_order_async(next_order(self->calls), &request,
                                                        &call_options, on_read, self));
}

void demo_write_send_again(demo_write *self) {
  if (self->reading) {
    send_read(self);
    return;
  }
  switch (self->kind) {
  case DEMO_CREATE:
    send_create(self);
    break;
  case DEMO_CHANGE:
    send_change(self);
    break;
  case DEMO_CANCEL:
    send_cancel(self);
    break;
  }
}

static void begin(demo_write *self, bool reading) {
  self->reading = reading;
  self->first_try_ms = ls_clock_monotonic_ms();
  ls_backoff_init(&self->backoff, FIRST_WAIT_MS, LONGEST_WAIT_MS);
  demo_write_send_again(self);
}

void demo_write_send(demo_write *self) {
  ls_uuid_v4(self->request_id);
  begin(self, false);
}

void demo_write_read(demo_write *self) {
  begin(self, true);
}

const char *demo_write_method(const demo_write *self) {
  static const char *const methods[] = {
      [DEMO_CREATE] = "CreateOrder", [DEMO_CHANGE] = "UpdateOrder", [DEMO_CANCEL] = "CancelOrder"};
  return self->reading ? "GetOrder" : methods[self->kind];
}
