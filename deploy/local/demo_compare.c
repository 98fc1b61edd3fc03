/* Compares orders with deliveries through the two gRPC APIs, some hundred at a time. */
#include "deploy/local/demo_compare.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "delivery/v1/delivery_service.grpc-c.h"
#include "order/v1/order_service.grpc-c.h"
#include "runtime/base/clock.h"
#include "runtime/base/shutdown.h"

enum { BATCH = 500, POLL_MS = 5, MOST_DESCRIBED = 5 };

static const ls_rpc_call_options call_options = {.timeout_ms = 10000, .wait_for_ready = true};

/* --- One order and its delivery --- */

/* False, with what differs. */
__attribute__((format(printf, 3, 4))) static bool differ(char *why, size_t why_bytes,
                                                         const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(why, why_bytes, format, arguments);
  va_end(arguments);
  return false;
}

static bool state_fits(Order__V1__OrderStatus status, Delivery__V1__DeliveryState state) {
  switch (status) {
  case ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED:
    return state == DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_PREPARING ||
           state == DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DISPATCHED ||
           state == DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_DELIVERED;
  case ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED:
    return state == DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_CANCELLED ||
           state == DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_RETURNING;
  default:
    return false;
  }
}

static bool addresses_match(const Order__V1__Address *ordered,
                            const Delivery__V1__DeliveryAddress *delivered) {
  if (ordered == NULL || delivered == NULL)
    return ordered == NULL && delivered == NULL;
  if (strcmp(ordered->recipient, delivered->recipient) != 0 ||
      strcmp(ordered->postal_code, delivered->postal_code) != 0 ||
      strcmp(ordered->city, delivered->city) != 0 ||
      strcmp(ordered->country_code, delivered->country_code) != 0 ||
      ordered->n_lines != delivered->n_lines)
    return false;
  for (size_t i = 0; i < ordered->n_lines; i++)
    if (strcmp(ordered->lines[i], delivered->lines[i]) != 0)
      return false;
  return true;
}

bool demo_delivery_matches(const Order__V1__Order *order, const Delivery__V1__Delivery *delivery,
                           char *why, size_t why_bytes) {
  if (order == NULL || delivery == NULL)
    return differ(why, why_bytes, "there is no %s", order == NULL ? "order" : "delivery");
  if (order->order_id != delivery->order_id)
    return differ(why, why_bytes, "the delivery is of order %" PRId64, delivery->order_id);
  if (order->version != delivery->order_version)
    return differ(why, why_bytes, "the order is at version %" PRId64 ", the delivery at %" PRId64,
                  order->version, delivery->order_version);
  if (!state_fits(order->status, delivery->state))
    return differ(why, why_bytes, "the order's status is %d, the delivery's state is %d",
                  (int)order->status, (int)delivery->state);
  if (!addresses_match(order->delivery_address, delivery->address))
    return differ(why, why_bytes, "the addresses differ");
  if (order->n_items != delivery->n_items)
    return differ(why, why_bytes, "the order has %zu items, the delivery %zu", order->n_items,
                  delivery->n_items);
  for (size_t i = 0; i < order->n_items; i++)
    if (strcmp(order->items[i]->sku, delivery->items[i]->sku) != 0 ||
        order->items[i]->quantity != delivery->items[i]->quantity)
      return differ(why, why_bytes, "item %zu differs", i + 1);
  return true;
}

/* --- Reading --- */

/* Of the delivery services, which share a database, one after another is asked. NULL on failure;
 * else to be freed. */
static Delivery__V1__BatchGetDeliveriesResponse *
read_deliveries(demo_services *services, size_t turn, int64_t *ids, size_t count, ls_error *error) {
  Delivery__V1__BatchGetDeliveriesRequest request =
      DELIVERY__V1__BATCH_GET_DELIVERIES_REQUEST__INIT;
  request.order_ids = ids;
  request.n_order_ids = count;
  Delivery__V1__BatchGetDeliveriesResponse *response = NULL;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (!delivery_v1_delivery_service_batch_get_deliveries(
          demo_channel(&services->deliveries, turn), &request, &call_options, &response, &status))
    demo_call_failed("BatchGetDeliveries", &status, error);
  ls_rpc_status_clear(&status);
  return response;
}

static Order__V1__BatchGetOrdersResponse *read_orders(demo_services *services, size_t turn,
                                                      int64_t *ids, size_t count, ls_error *error) {
  Order__V1__BatchGetOrdersRequest request = ORDER__V1__BATCH_GET_ORDERS_REQUEST__INIT;
  request.order_ids = ids;
  request.n_order_ids = count;
  Order__V1__BatchGetOrdersResponse *response = NULL;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (!order_v1_order_service_batch_get_orders(demo_channel(&services->orders, turn), &request,
                                               &call_options, &response, &status))
    demo_call_failed("BatchGetOrders", &status, error);
  ls_rpc_status_clear(&status);
  return response;
}

/* --- All of them --- */

static int compare_ids(const void *left, const void *right) {
  int64_t a = ((const demo_order *)left)->order_id, b = ((const demo_order *)right)->order_id;
  return (a > b) - (a < b);
}

/* Asks for up to BATCH orders that are `waiting`, by ascending id, and moves those that are still
 * behind to the front. `*kept`: how many. */
static bool look(demo_services *services, size_t turn, demo_order *waiting, size_t count,
                 size_t *kept, ls_error *error) {
  int64_t ids[BATCH];
  for (size_t i = 0; i < count; i++)
    ids[i] = waiting[i].order_id;
  Delivery__V1__BatchGetDeliveriesResponse *response =
      read_deliveries(services, turn, ids, count, error);
  if (response == NULL)
    return false;
  *kept = 0;
  for (size_t i = 0, next = 0; i < count; i++) {
    int64_t shown = 0;
    if (next < response->n_deliveries && response->deliveries[next]->order_id == ids[i])
      shown = response->deliveries[next++]->order_version;
    if (shown < waiting[i].version)
      waiting[(*kept)++] = waiting[i];
  }
  delivery__v1__batch_get_deliveries_response__free_unpacked(response, NULL);
  return true;
}

/* Looks at all `*behind` orders and keeps those that are still behind. */
static bool look_at_all(demo_services *services, demo_order *waiting, size_t *behind,
                        ls_error *error) {
  size_t still = 0;
  for (size_t i = 0, turn = 0; i < *behind; i += BATCH, turn++) {
    size_t count = *behind - i < BATCH ? *behind - i : BATCH, kept = 0;
    if (!look(services, turn, waiting + i, count, &kept, error))
      return false;
    memmove(waiting + still, waiting + i, kept * sizeof *waiting);
    still += kept;
  }
  *behind = still;
  return true;
}

bool demo_await_in_step(demo_services *services, demo_order *orders, size_t count,
                        int64_t timeout_ms, demo_progress *progress, ls_error *error) {
  qsort(orders, count, sizeof *orders, compare_ids);
  demo_order *waiting = malloc(count * sizeof *waiting);
  if (waiting == NULL)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory");
  memcpy(waiting, orders, count * sizeof *waiting);

  size_t behind = count;
  int64_t deadline_ms = ls_clock_monotonic_ms() + timeout_ms;
  bool done;
  for (;;) {
    size_t before = behind;
    done = look_at_all(services, waiting, &behind, error);
    if (!done || behind == 0)
      break;
    demo_progress_update(progress, "%zu of %zu orders in step", count - behind, count);
    if (behind < before)
      deadline_ms = ls_clock_monotonic_ms() + timeout_ms;
    if (ls_clock_monotonic_ms() >= deadline_ms) {
      done = ls_error_set(error, LS_DEADLINE_EXCEEDED, false, NULL,
                          "%zu of %zu deliveries are not in step, such as that of order %" PRId64,
                          behind, count, waiting[0].order_id);
      break;
    }
    if (ls_shutdown_wait(POLL_MS)) {
      done = ls_error_set(error, LS_CANCELLED, false, NULL, "interrupted");
      break;
    }
  }
  free(waiting);
  return done;
}

/* Describes what differs, as long as there is not much. */
static void describe(int64_t order_id, const char *why, int64_t *mismatches) {
  if (++*mismatches <= MOST_DESCRIBED)
    fprintf(stderr, "order %" PRId64 ": %s\n", order_id, why);
}

static bool compare_batch(demo_services *services, size_t turn, const demo_order *expected,
                          size_t count, int64_t *mismatches, ls_error *error) {
  int64_t ids[BATCH];
  for (size_t i = 0; i < count; i++)
    ids[i] = expected[i].order_id;
  Order__V1__BatchGetOrdersResponse *orders = read_orders(services, turn, ids, count, error);
  if (orders == NULL)
    return false;
  Delivery__V1__BatchGetDeliveriesResponse *deliveries =
      read_deliveries(services, turn, ids, count, error);
  bool done = deliveries != NULL;
  size_t next_order = 0, next_delivery = 0;
  for (size_t i = 0; done && i < count; i++) { /* all three lists ascend by id */
    const Order__V1__Order *order = NULL;
    if (next_order < orders->n_orders && orders->orders[next_order]->order_id == ids[i])
      order = orders->orders[next_order++];
    const Delivery__V1__Delivery *delivery = NULL;
    if (next_delivery < deliveries->n_deliveries &&
        deliveries->deliveries[next_delivery]->order_id == ids[i])
      delivery = deliveries->deliveries[next_delivery++];
    char why[160];
    if (order != NULL && order->version != expected[i].version) {
      differ(why, sizeof why, "version %" PRId64 " was answered, but the order is at %" PRId64,
             expected[i].version, order->version);
      describe(ids[i], why, mismatches);
    } else if (!demo_delivery_matches(order, delivery, why, sizeof why)) {
      describe(ids[i], why, mismatches);
    }
  }
  order__v1__batch_get_orders_response__free_unpacked(orders, NULL);
  if (deliveries != NULL)
    delivery__v1__batch_get_deliveries_response__free_unpacked(deliveries, NULL);
  return done;
}

bool demo_compare_all(demo_services *services, const demo_order *orders, size_t count,
                      int64_t *mismatches, ls_error *error) {
  *mismatches = 0;
  for (size_t i = 0, turn = 0; i < count; i += BATCH, turn++) {
    size_t left = count - i;
    if (ls_shutdown_requested())
      return ls_error_set(error, LS_CANCELLED, false, NULL, "interrupted");
    if (!compare_batch(services, turn, orders + i, left < BATCH ? left : BATCH, mismatches, error))
      return false;
  }
  return true;
}
