/* The rules for requests, checked at the door: every rule that a request breaks is named, with the
 * path of the field (https://google.aip.dev/193). No I/O; any thread. */
#ifndef LOCKSTEP_ORDER_ORDER_CHECK_H
#define LOCKSTEP_ORDER_ORDER_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "order/v1/order_operations.pb-c.h"
#include "order/v1/order_service.pb-c.h"

/* More than these are not reported. */
#define ORDER_MAX_VIOLATIONS 20

#define ORDER_MAX_ITEMS 200
#define ORDER_MAX_BATCH_IDS 1000
#define ORDER_MAX_WATCH_IDS 1000
#define ORDER_MAX_PAGE_SIZE 1000
#define ORDER_DEFAULT_PAGE_SIZE 50
#define ORDER_MAX_VERSIONS_PAGE_SIZE 10000
#define ORDER_DEFAULT_VERSIONS_PAGE_SIZE 1000

typedef struct order_violation {
  char field[48];   /* path from the request's root: "order.items[3].quantity" */
  const char *rule; /* what holds for the field; static storage */
} order_violation;

/* Start with {.count = 0}. */
typedef struct order_violations {
  size_t count;
  order_violation list[ORDER_MAX_VIOLATIONS];
} order_violations;

/* Adds one, unless there are as many as are reported. */
void order_violations_add(order_violations *violations, const char *field, const char *rule);

/* Each adds what the request breaks and returns true if that is nothing. */
bool order_check_create(const Order__V1__CreateOrderRequest *request, order_violations *violations);
bool order_check_update(const Order__V1__UpdateOrderRequest *request, order_violations *violations);
bool order_check_cancel(const Order__V1__CancelOrderRequest *request, order_violations *violations);
bool order_check_get(const Order__V1__GetOrderRequest *request, order_violations *violations);
bool order_check_batch_get(const Order__V1__BatchGetOrdersRequest *request,
                           order_violations *violations);
/* The page token is not looked at. */
bool order_check_list(const Order__V1__ListOrdersRequest *request, order_violations *violations);
bool order_check_watch(const Order__V1__WatchOrdersRequest *request, order_violations *violations);
bool order_check_list_versions(const Order__V1__ListOrderVersionsRequest *request,
                               order_violations *violations);
bool order_check_republish(const Order__V1__RepublishOrdersRequest *request,
                           order_violations *violations);
bool order_check_set_event_mode(const Order__V1__SetEventModeRequest *request,
                                order_violations *violations);

/* Ids that a request names, ascending and each once, into `sorted`, which has room for all. Gives
 * how many. */
size_t order_sort_ids(const int64_t *ids, size_t count, int64_t *sorted);

#endif
