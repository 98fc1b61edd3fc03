/* Places, changes, follows and cancels orders, and looks at their deliveries and events.
 *
 * Every call blocks, ends within its timeout, and says what came of it in a status. What a call
 * answers belongs to the caller. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "delivery/v1/delivery_service.grpc-c.h"
#include "draft.h"
#include "order/v1/order_service.grpc-c.h"
#include "order_events.h"
#include "patient_orders.h"
#include "system.h"

enum { MORE_ORDERS = 7, PAGE_SIZE = 3, WATCH_TIMEOUT_MS = 30000, EVENTS_TIMEOUT_MS = 30000 };

/* A channel repeats by itself what ends UNAVAILABLE, and here also waits until it is connected. */
static const ls_rpc_call_options call_options = {.timeout_ms = 10000, .wait_for_ready = true};

typedef struct client {
  ls_rpc_channel *orders;
  ls_rpc_channel *deliveries;
  char customer[48];
  Order__V1__Order *order; /* which most steps are about, as the service said last */
  known_order known[1 + MORE_ORDERS];
  size_t known_count;
} client;

/* Keeps an order that was answered as the one in hand. */
static bool keep(client *self, Order__V1__Order **answered, ls_error *error) {
  if (*answered == NULL)
    return wrong(error, "an answer without an order");
  if (self->order != NULL)
    order__v1__order__free_unpacked(self->order, NULL);
  self->order = *answered;
  *answered = NULL; /* so that freeing the answer leaves it */
  self->known[0].order_id = self->order->order_id;
  self->known[0].version = self->order->version;
  return true;
}

/* --- create, read --- */

/* Creates an order, which is done once, however often it is sent under the same request_id. NULL:
 * failed. */
static Order__V1__Order *place(client *self, char *request_id, ls_error *error) {
  order_draft draft;
  order_draft_make(&draft, self->customer);
  Order__V1__CreateOrderRequest request = ORDER__V1__CREATE_ORDER_REQUEST__INIT;
  request.request_id = request_id;
  request.order = &draft.order;
  Order__V1__CreateOrderResponse *response = NULL;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (!order_v1_order_service_create_order(self->orders, &request, &call_options, &response,
                                           &status)) {
    call_failed(error, "CreateOrder", &status);
    return NULL;
  }
  Order__V1__Order *order = response->order;
  response->order = NULL; /* so that freeing the answer leaves it */
  order__v1__create_order_response__free_unpacked(response, NULL);
  if (order == NULL)
    wrong(error, "an answer without an order");
  return order;
}

static bool create(client *self, ls_error *error) {
  char request_id[UUID_BYTES];
  new_uuid(request_id);
  Order__V1__Order *order = place(self, request_id, error);
  if (order == NULL || !keep(self, &order, error))
    return false;
  self->known_count = 1;

  /* As one does who does not know whether it was done. */
  order = place(self, request_id, error);
  if (order == NULL)
    return false;
  bool same = same_order(order, self->order);
  order__v1__order__free_unpacked(order, NULL);
  return same || wrong(error, "repeated, the request gave another order");
}

static bool read_back(client *self, ls_error *error) {
  Order__V1__GetOrderRequest request = ORDER__V1__GET_ORDER_REQUEST__INIT;
  request.order_id = self->order->order_id;
  Order__V1__GetOrderResponse *response = NULL;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (!order_v1_order_service_get_order(self->orders, &request, &call_options, &response, &status))
    return call_failed(error, "GetOrder", &status);
  bool fine = response->order != NULL && same_order(response->order, self->order);
  order__v1__get_order_response__free_unpacked(response, NULL);
  if (!fine)
    return wrong(error, "read, it is not the order that was created");

  /* What was sent, and what the service has set. */
  order_draft draft;
  order_draft_make(&draft, self->customer);
  Order__V1__Order expected = draft.order;
  expected.order_id = self->order->order_id;
  expected.version = 1;
  expected.status = ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED;
  expected.total_minor_units = DRAFT_TOTAL_MINOR_UNITS;
  expected.create_time = self->order->create_time;
  expected.update_time = self->order->update_time;
  return same_order(self->order, &expected) || wrong(error, "it is not the order that was sent");
}

/* --- update, lose-race --- */

/* Updates the order in hand if it is at that version, and keeps the new state. `refusal` gets the
 * status of a call that failed, to be cleared; NULL: `error` says what came of it. */
static bool update_order(client *self, Order__V1__Order *change, char **paths, size_t path_count,
                         int64_t expected_version, ls_rpc_status *refusal, ls_error *error) {
  char request_id[UUID_BYTES];
  new_uuid(request_id);
  Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
  mask.n_paths = path_count;
  mask.paths = paths;
  change->order_id = self->order->order_id;
  Order__V1__UpdateOrderRequest request = ORDER__V1__UPDATE_ORDER_REQUEST__INIT;
  request.request_id = request_id;
  request.order = change;
  request.update_mask = &mask;
  request.expected_version = expected_version;
  Order__V1__UpdateOrderResponse *response = NULL;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (!order_v1_order_service_update_order(self->orders, &request, &call_options, &response,
                                           &status)) {
    if (refusal == NULL)
      return call_failed(error, "UpdateOrder", &status);
    *refusal = status;
    return false;
  }
  bool fine = keep(self, &response->order, error);
  order__v1__update_order_response__free_unpacked(response, NULL);
  return fine;
}

static bool update_note(client *self, char *note, int64_t expected_version, ls_rpc_status *refusal,
                        ls_error *error) {
  Order__V1__Order change = ORDER__V1__ORDER__INIT;
  change.note = note;
  char *paths[] = {"note"};
  return update_order(self, &change, paths, 1, expected_version, refusal, error);
}

static bool update(client *self, ls_error *error) {
  order_draft draft;
  order_draft_make(&draft, self->customer);
  draft.address.city = "Basel";
  Order__V1__Order change = ORDER__V1__ORDER__INIT;
  change.delivery_address = &draft.address;
  change.note = "ring twice";
  char *paths[] = {"delivery_address", "note"};
  int64_t before = self->order->version;
  if (!update_order(self, &change, paths, 2, before, NULL, error))
    return false;

  Order__V1__Order expected = draft.order; /* what the mask does not name has stayed */
  expected.order_id = self->order->order_id;
  expected.version = before + 1;
  expected.status = ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED;
  expected.total_minor_units = DRAFT_TOTAL_MINOR_UNITS;
  expected.note = change.note;
  expected.create_time = self->order->create_time;
  expected.update_time = self->order->update_time;
  return same_order(self->order, &expected) || wrong(error, "it is not the order as changed");
}

static bool lose_race(client *self, ls_error *error) {
  ls_rpc_status refusal = LS_RPC_STATUS_INIT;
  int64_t newest = self->order->version;
  if (update_note(self, "ring three times", newest - 1, &refusal, error))
    return wrong(error, "an update of an old version was taken");
  int64_t current = status_current_version(&refusal);
  if (current != newest)
    return call_failed(error, "UpdateOrder", &refusal);
  ls_rpc_status_clear(&refusal);

  /* A note may be written over theirs; who minds reads the order first, and decides again. */
  if (!update_note(self, "ring three times", current, NULL, error))
    return false;
  return self->order->version == newest + 1 ||
         wrong(error, "version %" PRId64 " after %" PRId64, self->order->version, newest);
}

/* --- validation --- */

static bool validation(client *self, ls_error *error) {
  order_draft draft;
  order_draft_make(&draft, "");
  draft.order.currency_code = "euro";
  Order__V1__CreateOrderRequest request = ORDER__V1__CREATE_ORDER_REQUEST__INIT;
  request.order = &draft.order;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (order_v1_order_service_create_order(self->orders, &request, &call_options, NULL, &status))
    return wrong(error, "a broken order was taken");
  bool named = status.code == LS_INVALID_ARGUMENT &&
               status_names_field(&status, "order.customer_id") &&
               status_names_field(&status, "order.currency_code");
  if (!named)
    return call_failed(error, "CreateOrder", &status);
  ls_rpc_status_clear(&status);
  return true;
}

/* --- watch --- */

/* The stream's next state must be the order in hand. */
static bool next_is_order(client *self, ls_rpc_stream *stream, ls_error *error) {
  Order__V1__WatchOrdersResponse *state = order_v1_order_service_watch_orders_read(stream);
  if (state == NULL)
    return wrong(error, "the stream has ended");
  bool fine = state->order != NULL && same_order(state->order, self->order);
  order__v1__watch_orders_response__free_unpacked(state, NULL);
  return fine ||
         wrong(error, "the stream shows another state than version %" PRId64, self->order->version);
}

static bool watch(client *self, ls_error *error) {
  static const ls_rpc_call_options options = {.timeout_ms = WATCH_TIMEOUT_MS,
                                              .wait_for_ready = true};
  Order__V1__WatchOrdersRequest request = ORDER__V1__WATCH_ORDERS_REQUEST__INIT;
  request.n_order_ids = 1;
  request.order_ids = &self->order->order_id;
  ls_rpc_stream *stream =
      order_v1_order_service_watch_orders_open(self->orders, &request, &options);
  bool fine = next_is_order(self, stream, error) &&
              update_note(self, "do not ring", self->order->version, NULL, error) &&
              next_is_order(self, stream, error);
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  /* The stream is not over, so this cancels it. */
  ls_rpc_stream_finish(stream, &status);
  if (fine && status.code != LS_CANCELLED)
    return call_failed(error, "WatchOrders", &status);
  ls_rpc_status_clear(&status);
  return fine;
}

/* --- list --- */

static bool create_more(client *self, ls_error *error) {
  for (int i = 0; i < MORE_ORDERS; i++) {
    char request_id[UUID_BYTES];
    new_uuid(request_id);
    Order__V1__Order *order = place(self, request_id, error);
    if (order == NULL)
      return false;
    self->known[self->known_count++] =
        (known_order){.order_id = order->order_id, .version = order->version};
    order__v1__order__free_unpacked(order, NULL);
  }
  return true;
}

static bool is_known(const client *self, int64_t order_id) {
  for (size_t i = 0; i < self->known_count; i++)
    if (self->known[i].order_id == order_id)
      return true;
  return false;
}

static bool list(client *self, ls_error *error) {
  if (!create_more(self, error))
    return false;
  Order__V1__ListOrdersRequest request = ORDER__V1__LIST_ORDERS_REQUEST__INIT;
  request.page_size = PAGE_SIZE;
  request.customer_id = self->customer;
  Order__V1__ListOrdersResponse *page = NULL;
  int64_t last_id = 0;
  size_t listed = 0;
  bool fine = true;
  do {
    Order__V1__ListOrdersResponse *next = NULL;
    ls_rpc_status status = LS_RPC_STATUS_INIT;
    if (page != NULL)
      request.page_token = page->next_page_token;
    fine =
        order_v1_order_service_list_orders(self->orders, &request, &call_options, &next, &status) ||
        call_failed(error, "ListOrders", &status);
    if (page != NULL)
      order__v1__list_orders_response__free_unpacked(page, NULL);
    page = next;
    if (fine && page->n_orders > PAGE_SIZE)
      fine = wrong(error, "a page of %zu orders", page->n_orders);
    for (size_t i = 0; fine && i < page->n_orders; i++, listed++) {
      int64_t order_id = page->orders[i]->order_id;
      if (order_id <= last_id || !is_known(self, order_id)) /* by ascending id: each once */
        fine = wrong(error, "order %" PRId64 " after %" PRId64, order_id, last_id);
      last_id = order_id;
    }
  } while (fine && page->next_page_token[0] != '\0');
  if (page != NULL)
    order__v1__list_orders_response__free_unpacked(page, NULL);
  if (fine && listed != self->known_count)
    fine = wrong(error, "%zu orders of %zu", listed, self->known_count);
  return fine;
}

/* --- delivery, cancel, deadline --- */

static bool delivery_is(client *self, Delivery__V1__DeliveryState state, ls_error *error) {
  Delivery__V1__GetDeliveryRequest request = DELIVERY__V1__GET_DELIVERY_REQUEST__INIT;
  request.order_id = self->order->order_id;
  request.min_order_version = self->order->version; /* waits for what was just written */
  Delivery__V1__GetDeliveryResponse *response = NULL;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (!delivery_v1_delivery_service_get_delivery(self->deliveries, &request, &call_options,
                                                 &response, &status))
    return call_failed(error, "GetDelivery", &status);
  const Delivery__V1__Delivery *delivery = response->delivery;
  bool fine = delivery != NULL && delivery->order_version == self->order->version &&
              delivery->state == state && delivery->address != NULL &&
              strcmp(delivery->address->city, self->order->delivery_address->city) == 0;
  delivery__v1__get_delivery_response__free_unpacked(response, NULL);
  return fine || wrong(error, "the delivery is not in step with the order");
}

static bool delivery(client *self, ls_error *error) {
  return delivery_is(self, DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_PREPARING, error);
}

static bool cancel(client *self, ls_error *error) {
  char request_id[UUID_BYTES];
  new_uuid(request_id);
  Order__V1__CancelOrderRequest request = ORDER__V1__CANCEL_ORDER_REQUEST__INIT;
  request.request_id = request_id;
  request.order_id = self->order->order_id;
  request.reason = "ordered by mistake";
  Order__V1__CancelOrderResponse *response = NULL;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (!order_v1_order_service_cancel_order(self->orders, &request, &call_options, &response,
                                           &status))
    return call_failed(error, "CancelOrder", &status);
  bool fine = keep(self, &response->order, error);
  order__v1__cancel_order_response__free_unpacked(response, NULL);
  if (!fine)
    return false;
  self->known[0].cancelled = true;
  if (self->order->status != ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED ||
      strcmp(self->order->cancel_reason, request.reason) != 0)
    return wrong(error, "the order is not cancelled for the reason given");
  return delivery_is(self, DELIVERY__V1__DELIVERY_STATE__DELIVERY_STATE_CANCELLED, error);
}

static bool deadline(client *self, ls_error *error) {
  static const ls_rpc_call_options options = {.timeout_ms = 200};
  Delivery__V1__GetDeliveryRequest request = DELIVERY__V1__GET_DELIVERY_REQUEST__INIT;
  request.order_id = self->order->order_id;
  request.min_order_version = self->order->version + 1000000;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  int64_t begin_ms = monotonic_ms();
  bool answered = delivery_v1_delivery_service_get_delivery(self->deliveries, &request, &options,
                                                            NULL, &status);
  int64_t took_ms = monotonic_ms() - begin_ms;
  if (answered || status.code != LS_DEADLINE_EXCEEDED)
    return call_failed(error, "GetDelivery", &status);
  ls_rpc_status_clear(&status);
  return (took_ms >= 150 && took_ms < 5000) || wrong(error, "it took %" PRId64 " ms", took_ms);
}

/* --- busy, events --- */

static const char *environment(const char *name) {
  const char *value = getenv(name);
  return value != NULL ? value : "";
}

static bool busy(client *self, ls_error *error) {
  return create_patiently(environment("BUSY_TARGET"), self->customer, error);
}

static bool events(client *self, ls_error *error) {
  order_events_options options = {.bootstrap_servers = environment("KAFKA_BOOTSTRAP_SERVERS"),
                                  .topic = environment("ORDER_EVENTS_TOPIC"),
                                  .group = self->customer,
                                  .timeout_ms = EVENTS_TIMEOUT_MS};
  return order_events_follow(&options, self->known, self->known_count, error);
}

/* --- The program --- */

static const struct {
  const char *name;
  bool (*run)(client *self, ls_error *error);
} steps[] = {
    {"create", create},
    {"read", read_back},
    {"update", update},
    {"lose-race", lose_race},
    {"validation", validation},
    {"watch", watch},
    {"list", list},
    {"delivery", delivery},
    {"cancel", cancel},
    {"deadline", deadline},
    {"busy", busy},
    {"events", events},
};

/* One channel for each service, for the life of the program: it connects, and connects again, by
 * itself. */
static bool open_client(client *self, ls_error *error) {
  char id[UUID_BYTES];
  new_uuid(id);
  snprintf(self->customer, sizeof self->customer, "c-%s", id);
  self->orders = ls_rpc_channel_new(environment("ORDER_TARGET"), NULL, error);
  if (self->orders == NULL)
    return false;
  self->deliveries = ls_rpc_channel_new(environment("DELIVERY_TARGET"), NULL, error);
  return self->deliveries != NULL;
}

static void close_client(client *self) {
  ls_rpc_channel_destroy(self->deliveries);
  ls_rpc_channel_destroy(self->orders);
  if (self->order != NULL)
    order__v1__order__free_unpacked(self->order, NULL);
}

int main(void) {
  client self = {0};
  int passed = 0;
  int failed = 0;
  ls_error error = {0};
  bool usable = open_client(&self, &error);
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    if (usable)
      ls_error_clear(&error);
    if (usable && i > 0 && self.order == NULL)
      wrong(&error, "there is no order");
    if (error.code == LS_OK && steps[i].run(&self, &error)) {
      passed++;
      printf("ok %s\n", steps[i].name);
    } else {
      failed++;
      printf("not ok %s: %s\n", steps[i].name, error.message);
    }
    (void)fflush(stdout);
  }
  close_client(&self);
  printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
