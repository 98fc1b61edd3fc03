/* bench-paced-orders ADDRESS RATE COUNT: creates COUNT orders, RATE a second by the clock and not
 * by the answers, and prints each one's id and when its answer was there, in microseconds of the
 * monotonic clock, a line each. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "order/v1/order_service.grpc-c.h"
#include "runtime/base/clock.h"
#include "runtime/base/thread.h"

typedef struct answer {
  int64_t order_id, time_us;
} answer;

/* Callbacks all run on the channel's thread; main reads after the last one. */
static answer *answers;
static size_t answer_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;

static _Noreturn void fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

static void on_created(const ls_rpc_status *status, const Order__V1__CreateOrderResponse *response,
                       void *arg) {
  (void)arg;
  int64_t now_us = ls_clock_monotonic_us();
  if (status->code != LS_OK || response->order == NULL)
    fail("CreateOrder", ls_rpc_status_message(status));
  pthread_mutex_lock(&lock);
  answers[answer_count++] = (answer){response->order->order_id, now_us};
  pthread_cond_signal(&changed);
  pthread_mutex_unlock(&lock);
}

/* One that takes about 256 bytes as a snapshot. */
static void create(ls_rpc_channel *channel) {
  static char *lines[] = {"Mill Lane 7, second house on the left"};
  Order__V1__Address address = ORDER__V1__ADDRESS__INIT;
  address.recipient = "Ada Nowak";
  address.n_lines = 1;
  address.lines = lines;
  address.postal_code = "12345";
  address.city = "Lund";
  address.country_code = "SE";
  Order__V1__OrderItem item = ORDER__V1__ORDER_ITEM__INIT;
  item.sku = "lamp-with-a-long-name";
  item.quantity = 2;
  item.unit_minor_units = 1999;
  Order__V1__OrderItem *items[] = {&item, &item};
  Order__V1__Order order = ORDER__V1__ORDER__INIT;
  order.customer_id = "customer-1";
  order.currency_code = "EUR";
  order.delivery_address = &address;
  order.n_items = 2;
  order.items = items;
  order.note = "Please ring twice, and leave it with the neighbours if nobody is in.";
  Order__V1__CreateOrderRequest request = ORDER__V1__CREATE_ORDER_REQUEST__INIT;
  request.order = &order;
  if (!order_v1_order_service_create_order_async(channel, &request, NULL, on_created, NULL))
    fail("start a call", "out of memory");
}

int main(int argc, char **argv) {
  if (argc != 4)
    fail("usage", "bench-paced-orders ADDRESS RATE COUNT");
  int64_t interval_us = 1000000 / strtoll(argv[2], NULL, 10);
  size_t count = (size_t)strtoull(argv[3], NULL, 10);
  ls_error error = {0};
  answers = calloc(count + 1, sizeof *answers);
  ls_rpc_channel *channel = ls_rpc_channel_new(argv[1], NULL, &error);
  if (answers == NULL || channel == NULL || !ls_condition_init(&changed))
    fail(argv[1], error.message);

  create(channel); /* connects */
  pthread_mutex_lock(&lock);
  while (answer_count < 1)
    pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
  int64_t begin_us = ls_clock_monotonic_us();
  for (size_t i = 0; i < count; i++) {
    int64_t due_us = begin_us + (int64_t)i * interval_us;
    struct timespec due = {due_us / 1000000, due_us % 1000000 * 1000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    create(channel);
  }
  pthread_mutex_lock(&lock);
  while (answer_count < count + 1)
    pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
  ls_rpc_channel_destroy(channel);
  for (size_t i = 0; i < answer_count; i++)
    printf("%" PRId64 " %" PRId64 "\n", answers[i].order_id, answers[i].time_us);
  free(answers);
  return 0;
}
