/* The load shares the machine with what it measures: what can be made once is made once. */
#include "tests/bench/load/requests.h"

#include <stdio.h>
#include <string.h>

#include "grpc/health/v1/health.pb-c.h"
#include "order/v1/order_service.pb-c.h"

enum { CUSTOMERS = 1000, CUSTOMER_DIGITS = 3, UNPACK_EACH = 64 };

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t draw(load_requests *self) {
  uint64_t z = self->random += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static int64_t draw_id(load_requests *self, int64_t first_id, int64_t count) {
  return first_id + (int64_t)(draw(self) % (uint64_t)count);
}

const char *load_requests_path(const load_requests *self) {
  static const char *const paths[] = {[LOAD_CREATE] = "/order.v1.OrderService/CreateOrder",
                                      [LOAD_GET] = "/order.v1.OrderService/GetOrder",
                                      [LOAD_BATCH_GET] = "/order.v1.OrderService/BatchGetOrders",
                                      [LOAD_UPDATE] = "/order.v1.OrderService/UpdateOrder",
                                      [LOAD_HEALTH] = "/grpc.health.v1.Health/Check"};
  return paths[self->method];
}

size_t load_requests_ids(const load_requests *self) {
  return self->method == LOAD_BATCH_GET ? self->batch : 1;
}

/* --- Requests --- */

void load_requests_prepare(load_requests *self) {
  static char customer[] = "customer-000";
  static char *lines[] = {"Mill Lane 7", "door 12"};
  Order__V1__Address address = ORDER__V1__ADDRESS__INIT;
  address.recipient = "Ada Nowak";
  address.lines = lines;
  address.n_lines = sizeof lines / sizeof lines[0];
  address.postal_code = "12345";
  address.city = "Lund";
  address.country_code = "SE";
  Order__V1__OrderItem item = ORDER__V1__ORDER_ITEM__INIT;
  item.sku = "lamp-1";
  item.quantity = 2;
  item.unit_minor_units = 1999;
  Order__V1__OrderItem *items[LOAD_MOST_ITEMS];
  for (unsigned i = 0; i < self->items; i++)
    items[i] = &item;
  Order__V1__Order order = ORDER__V1__ORDER__INIT;
  order.customer_id = customer;
  order.currency_code = "EUR";
  order.delivery_address = &address;
  order.items = items;
  order.n_items = self->items;
  Order__V1__CreateOrderRequest request = ORDER__V1__CREATE_ORDER_REQUEST__INIT;
  request.order = &order;
  self->create_bytes = order__v1__create_order_request__pack(&request, self->create);
  const uint8_t *found = memmem(self->create, self->create_bytes, customer, sizeof customer - 1);
  self->customer_at = (size_t)(found - self->create) + sizeof customer - 1 - CUSTOMER_DIGITS;
}

static size_t next_create(load_requests *self, uint8_t *out) {
  uint64_t number = draw(self) % CUSTOMERS;
  memcpy(out, self->create, self->create_bytes);
  for (size_t i = CUSTOMER_DIGITS; i > 0; i--, number /= 10)
    out[self->customer_at + i - 1] = (uint8_t)('0' + number % 10);
  return self->create_bytes;
}

static size_t next_update(load_requests *self, uint8_t *out, int64_t *ids) {
  char note[32];
  snprintf(note, sizeof note, "note %016llx", (unsigned long long)draw(self));
  Order__V1__Order order = ORDER__V1__ORDER__INIT;
  order.order_id = ids[0];
  order.note = note;
  Order__V1__UpdateOrderRequest request = ORDER__V1__UPDATE_ORDER_REQUEST__INIT;
  request.order = &order; /* without a mask: what is set */
  return order__v1__update_order_request__pack(&request, out);
}

/* One id from each of as many equal parts of the range: all over it, all different, ascending. */
static size_t next_batch(load_requests *self, uint8_t *out, int64_t *ids) {
  int64_t part = (self->last_id - self->first_id + 1) / self->batch;
  for (unsigned i = 0; i < self->batch; i++)
    ids[i] = draw_id(self, self->first_id + (int64_t)i * part, part);
  Order__V1__BatchGetOrdersRequest request = ORDER__V1__BATCH_GET_ORDERS_REQUEST__INIT;
  request.order_ids = ids;
  request.n_order_ids = self->batch;
  return order__v1__batch_get_orders_request__pack(&request, out);
}

size_t load_requests_next(load_requests *self, uint8_t *out, int64_t *ids) {
  switch (self->method) {
  case LOAD_CREATE:
    return next_create(self, out);
  case LOAD_BATCH_GET:
    return next_batch(self, out, ids);
  case LOAD_GET:
  case LOAD_UPDATE:
    break;
  case LOAD_HEALTH:
    return 0;
  }
  ids[0] = draw_id(self, self->first_id, self->last_id - self->first_id + 1);
  if (self->method == LOAD_UPDATE)
    return next_update(self, out, ids);
  Order__V1__GetOrderRequest request = ORDER__V1__GET_ORDER_REQUEST__INIT;
  request.order_id = ids[0];
  return order__v1__get_order_request__pack(&request, out);
}

/* --- Answers, as far as their first fields tell --- */

typedef struct reader {
  const uint8_t *next, *end;
} reader;

static bool read_varint(reader *in, uint64_t *value) {
  *value = 0;
  for (unsigned shift = 0; in->next < in->end && shift < 64; shift += 7) {
    uint8_t byte = *in->next++;
    *value |= (uint64_t)(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0)
      return true;
  }
  return false;
}

/* A field with this number and a varint. */
static bool read_number(reader *in, uint8_t field, uint64_t *value) {
  if (in->next == in->end || *in->next != field << 3)
    return false;
  in->next++;
  return read_varint(in, value);
}

/* Field 1 of every answer is an order. */
static bool read_order(reader *in, reader *order) {
  uint64_t bytes;
  if (in->next == in->end || *in->next != (1 << 3 | 2))
    return false;
  in->next++;
  if (!read_varint(in, &bytes) || bytes > (uint64_t)(in->end - in->next))
    return false;
  *order = (reader){in->next, in->next + bytes};
  in->next += bytes;
  return true;
}

static const char *check_first_fields(const load_requests *self, reader in, const int64_t *ids) {
  reader order;
  uint64_t order_id = 0, version = 0;
  size_t count = 0;
  while (read_order(&in, &order)) {
    if (!read_number(&order, 1, &order_id) || !read_number(&order, 2, &version))
      return "an order has no id or version";
    if (self->method != LOAD_CREATE &&
        (count >= load_requests_ids(self) || (int64_t)order_id != ids[count]))
      return "the answer is not what was asked for";
    if ((self->method == LOAD_CREATE && version != 1) ||
        (self->method == LOAD_UPDATE && version < 2))
      return "the order is at a wrong version";
    count++;
  }
  if (in.next != in.end || count != load_requests_ids(self))
    return "not all that was asked for was found";
  return NULL;
}

/* --- Answers as a whole --- */

static const char *check_order(const load_requests *self, const Order__V1__Order *order) {
  bool is_new = self->method == LOAD_CREATE;
  if (order == NULL || order->n_items == 0 || (is_new && order->n_items != self->items))
    return "an order lacks items";
  int64_t total = 0;
  for (size_t i = 0; i < order->n_items; i++)
    total += order->items[i]->quantity * order->items[i]->unit_minor_units;
  if (total != order->total_minor_units || order->delivery_address == NULL ||
      order->delivery_address->n_lines == 0 || order->customer_id[0] == '\0' ||
      order->create_time == NULL)
    return "an order is not complete";
  return NULL;
}

/* The three answers with one order are the same on the wire. */
static const char *check_one(const load_requests *self, const uint8_t *answer, size_t bytes) {
  Order__V1__GetOrderResponse *response =
      order__v1__get_order_response__unpack(NULL, bytes, answer);
  if (response == NULL)
    return "the answer cannot be unpacked";
  const char *wrong = check_order(self, response->order);
  order__v1__get_order_response__free_unpacked(response, NULL);
  return wrong;
}

static const char *check_batch(const load_requests *self, const uint8_t *answer, size_t bytes) {
  Order__V1__BatchGetOrdersResponse *response =
      order__v1__batch_get_orders_response__unpack(NULL, bytes, answer);
  if (response == NULL)
    return "the answer cannot be unpacked";
  const char *wrong = response->n_missing_order_ids > 0 ? "orders are missing" : NULL;
  for (size_t i = 0; wrong == NULL && i < response->n_orders; i++)
    wrong = check_order(self, response->orders[i]);
  order__v1__batch_get_orders_response__free_unpacked(response, NULL);
  return wrong;
}

static const char *check_health(const uint8_t *answer, size_t bytes) {
  reader in = {answer, answer + bytes};
  uint64_t status;
  bool serves = read_number(&in, 1, &status) &&
                status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
  return serves ? NULL : "the service does not serve";
}

const char *load_requests_check(load_requests *self, const uint8_t *answer, size_t bytes,
                                const int64_t *ids) {
  if (self->method == LOAD_HEALTH)
    return check_health(answer, bytes);
  const char *wrong = check_first_fields(self, (reader){answer, answer + bytes}, ids);
  if (wrong != NULL || self->checked++ % UNPACK_EACH != 0)
    return wrong;
  return self->method == LOAD_BATCH_GET ? check_batch(self, answer, bytes)
                                        : check_one(self, answer, bytes);
}
