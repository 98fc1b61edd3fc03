/* bench-end-to-end: writes orders at a steady rate, and follows each write until delivery shows it.
 *
 * usage: bench-end-to-end ORDER-ADDRESS DELIVERY-ADDRESS WRITES-A-SECOND SECONDS
 *
 * Every other write creates an order; the ones between change orders that were created before the
 * clock starts, each once. As soon as a write is answered, GetDelivery asks for what it wrote
 * (min_order_version) and waits until it is shown. Writes begin when they are due, whatever has
 * become of those before (open loop).
 *
 * Prints one JSON object: "writes", an array [order id, version, begun, answered, shown] for each,
 * the times in microseconds since 1970. Exit status 1, and why, if a call fails or shows something
 * else than was written. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "delivery/v1/delivery_service.grpc-c.h"
#include "order/v1/order_service.grpc-c.h"
#include "runtime/base/clock.h"
#include "runtime/base/random.h"
#include "runtime/base/thread.h"
#include "runtime/rpc/client.h"

enum { CALL_TIMEOUT_MS = 30000, PREPARED_AT_ONCE = 32, LAST_WAIT_MS = 60000 };

static const ls_rpc_call_options call_options = {.timeout_ms = CALL_TIMEOUT_MS,
                                                 .wait_for_ready = true};

typedef struct load {
  ls_rpc_channel *order, *delivery;
  pthread_mutex_t mutex; /* for what follows */
  pthread_cond_t changed;
  size_t in_flight;
  bool has_failed;
} load;

/* Its times are set by the channels' threads, one after the other. */
typedef struct timed_write {
  load *load;
  int64_t order_id,
      version; /* as answered; before that, of the order to be changed; 0: a new one */
  char recipient[40];
  int64_t begun_us, answered_us, shown_us;
} timed_write;

static void end_write(timed_write *self, const char *failure) {
  load *all = self->load;
  pthread_mutex_lock(&all->mutex);
  if (failure != NULL && !all->has_failed)
    fprintf(stderr, "order %" PRId64 ": %s\n", self->order_id, failure);
  all->has_failed = all->has_failed || failure != NULL;
  all->in_flight--;
  pthread_cond_signal(&all->changed);
  pthread_mutex_unlock(&all->mutex);
}

/* --- Callbacks, on the channels' threads --- */

static void on_delivery(const ls_rpc_status *status,
                        const Delivery__V1__GetDeliveryResponse *response, void *arg) {
  timed_write *self = arg;
  self->shown_us = ls_clock_monotonic_us();
  if (status->code != LS_OK)
    end_write(self, ls_rpc_status_message(status));
  else if (response->delivery == NULL || response->delivery->order_id != self->order_id ||
           response->delivery->order_version != self->version ||
           strcmp(response->delivery->address->recipient, self->recipient) != 0)
    end_write(self, "delivery shows something else than was written");
  else
    end_write(self, NULL);
}

static void take_answer(timed_write *self, const ls_rpc_status *status,
                        const Order__V1__Order *order) {
  self->answered_us = ls_clock_monotonic_us();
  if (status->code != LS_OK) {
    end_write(self, ls_rpc_status_message(status));
    return;
  }
  if (order == NULL || order->version != self->version + 1) {
    end_write(self, "the answer is not at the next version");
    return;
  }
  self->order_id = order->order_id;
  self->version = order->version;
  Delivery__V1__GetDeliveryRequest request = DELIVERY__V1__GET_DELIVERY_REQUEST__INIT;
  request.order_id = self->order_id;
  request.min_order_version = self->version;
  if (!delivery_v1_delivery_service_get_delivery_async(self->load->delivery, &request,
                                                       &call_options, on_delivery, self))
    end_write(self, "out of memory");
}

static void on_created(const ls_rpc_status *status, const Order__V1__CreateOrderResponse *response,
                       void *arg) {
  take_answer(arg, status, response != NULL ? response->order : NULL);
}

static void on_changed(const ls_rpc_status *status, const Order__V1__UpdateOrderResponse *response,
                       void *arg) {
  take_answer(arg, status, response != NULL ? response->order : NULL);
}

/* --- Writes --- */

static void send_create(timed_write *self, Order__V1__Order *order, char *request_id) {
  char sku_lamp[] = "lamp-1", sku_bulb[] = "bulb-60";
  char customer[] = "customer-1", currency[] = "EUR";
  Order__V1__OrderItem lamp = ORDER__V1__ORDER_ITEM__INIT, bulb = ORDER__V1__ORDER_ITEM__INIT;
  Order__V1__OrderItem *items[] = {&lamp, &bulb};
  lamp.sku = sku_lamp;
  lamp.quantity = 2;
  lamp.unit_minor_units = 1990;
  bulb.sku = sku_bulb;
  bulb.quantity = 4;
  bulb.unit_minor_units = 390;
  order->items = items;
  order->n_items = 2;
  order->customer_id = customer;
  order->currency_code = currency;
  Order__V1__CreateOrderRequest request = ORDER__V1__CREATE_ORDER_REQUEST__INIT;
  request.request_id = request_id;
  request.order = order;
  if (!order_v1_order_service_create_order_async(self->load->order, &request, &call_options,
                                                 on_created, self))
    end_write(self, "out of memory");
}

static void send_change(timed_write *self, Order__V1__Order *order, char *request_id) {
  char path[] = "delivery_address";
  char *paths[] = {path};
  Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
  mask.paths = paths;
  mask.n_paths = 1;
  order->order_id = self->order_id;
  Order__V1__UpdateOrderRequest request = ORDER__V1__UPDATE_ORDER_REQUEST__INIT;
  request.request_id = request_id;
  request.order = order;
  request.update_mask = &mask;
  request.expected_version = self->version;
  if (!order_v1_order_service_update_order_async(self->load->order, &request, &call_options,
                                                 on_changed, self))
    end_write(self, "out of memory");
}

static void begin_write(timed_write *self, unsigned number) {
  load *all = self->load;
  char line[] = "Mill Lane 7", postal_code[] = "22100", city[] = "Lund", country[] = "SE";
  char *lines[] = {line};
  char request_id[37];
  Order__V1__Address address = ORDER__V1__ADDRESS__INIT;
  Order__V1__Order order = ORDER__V1__ORDER__INIT;
  snprintf(self->recipient, sizeof self->recipient, "Recipient %u-%" PRId64, number, self->version);
  address.recipient = self->recipient;
  address.lines = lines;
  address.n_lines = 1;
  address.postal_code = postal_code;
  address.city = city;
  address.country_code = country;
  order.delivery_address = &address;
  ls_uuid_v4(request_id);
  pthread_mutex_lock(&all->mutex);
  all->in_flight++;
  pthread_mutex_unlock(&all->mutex);
  self->begun_us = ls_clock_monotonic_us();
  if (self->version == 0)
    send_create(self, &order, request_id);
  else
    send_change(self, &order, request_id);
}

/* Waits until fewer than `most` are in flight. False: a write has failed, or it takes too long. */
static bool wait_for_room(load *all, size_t most) {
  int64_t deadline_us = ls_deadline_us(LAST_WAIT_MS);
  bool in_time = true;
  pthread_mutex_lock(&all->mutex);
  while (in_time && all->in_flight >= most && !all->has_failed)
    in_time = ls_condition_wait_until(&all->changed, &all->mutex, deadline_us);
  bool done = in_time && !all->has_failed;
  pthread_mutex_unlock(&all->mutex);
  if (!in_time)
    fprintf(stderr, "writes are not shown within %d s\n", LAST_WAIT_MS / 1000);
  return done;
}

static void wait_until_us(int64_t due_us) {
  struct timespec due = {.tv_sec = due_us / 1000000, .tv_nsec = due_us % 1000000 * 1000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) != 0)
    continue;
}

/* Creates, and has delivery show, the orders that will be changed: every other one. */
static bool prepare(load *all, timed_write *writes, size_t count) {
  for (size_t i = 1; i < count; i += 2) {
    if (!wait_for_room(all, PREPARED_AT_ONCE))
      return false;
    begin_write(&writes[i], (unsigned)i);
  }
  return wait_for_room(all, 1);
}

static bool run(load *all, timed_write *writes, size_t count, int rate) {
  int64_t begin_us = ls_clock_monotonic_us() + 100000; /* what the preparation left comes to rest */
  for (size_t i = 0; i < count; i++) {
    wait_until_us(begin_us + (int64_t)i * 1000000 / rate);
    begin_write(&writes[i], (unsigned)i);
  }
  return wait_for_room(all, 1);
}

static void print(const timed_write *writes, size_t count) {
  int64_t wall_us = ls_clock_wall_us() - ls_clock_monotonic_us();
  printf("{\"writes\": [");
  for (size_t i = 0; i < count; i++)
    printf("%s[%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 "]", i > 0 ? ", " : "",
           writes[i].order_id, writes[i].version, writes[i].begun_us + wall_us,
           writes[i].answered_us + wall_us, writes[i].shown_us + wall_us);
  printf("]}\n");
}

int main(int argument_count, char **arguments) {
  if (argument_count != 5) {
    fprintf(stderr, "usage: %s ORDER-ADDRESS DELIVERY-ADDRESS WRITES-A-SECOND SECONDS\n",
            arguments[0]);
    return 78;
  }
  int rate = atoi(arguments[3]);
  int seconds = atoi(arguments[4]);
  if (rate < 1 || rate > 100000 || seconds < 1 || seconds > 3600) {
    fprintf(stderr, "the rate or the time is out of range\n");
    return 78;
  }
  size_t count = (size_t)rate * (size_t)seconds;
  ls_error error = {0};
  load all = {0};
  bool done = false;
  timed_write *writes = calloc(count, sizeof *writes);
  pthread_mutex_init(&all.mutex, NULL);
  if (writes == NULL || !ls_condition_init(&all.changed)) {
    fprintf(stderr, "out of memory\n");
    return 1;
  }
  for (size_t i = 0; i < count; i++)
    writes[i].load = &all;
  all.order = ls_rpc_channel_new(arguments[1], NULL, &error);
  if (all.order != NULL)
    all.delivery = ls_rpc_channel_new(arguments[2], NULL, &error);
  if (all.delivery == NULL)
    fprintf(stderr, "%s\n", error.message);
  else
    done = prepare(&all, writes, count) && run(&all, writes, count, rate);
  ls_rpc_channel_destroy(all.order);
  ls_rpc_channel_destroy(all.delivery);
  if (done)
    print(writes, count);
  free(writes);
  pthread_cond_destroy(&all.changed);
  pthread_mutex_destroy(&all.mutex);
  return done ? 0 : 1;
}
