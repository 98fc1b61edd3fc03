/* The rules of an order: how each version follows from the one before. No I/O, no clock, no locks;
 * any thread.
 *
 * Requests must have passed order_check.h. What is returned lives in the arena but refers to
 * nothing of the request's or the older version's except their strings, which must outlive it. NULL
 * or ORDER_OUT_OF_MEMORY: the arena is at its bound. */
#ifndef LOCKSTEP_ORDER_ORDER_H
#define LOCKSTEP_ORDER_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "order/v1/order.pb-c.h"
#include "order/v1/order_event.pb-c.h"
#include "order/v1/order_service.pb-c.h"
#include "runtime/base/arena.h"

#define ORDER_MAX_TOTAL_MINOR_UNITS INT64_C(9000000000000000)

/* SHA-256. */
#define ORDER_FINGERPRINT_BYTES 32

typedef enum order_outcome {
  ORDER_UNDECIDED = 0,
  ORDER_CHANGED,           /* there is a new version */
  ORDER_UNCHANGED,         /* it was so already; answer what is there */
  ORDER_MISSING,           /* no such order */
  ORDER_ALREADY_CANCELLED, /* a cancelled order cannot be changed */
  ORDER_VERSION_MISMATCH,  /* not at the version the request was made for */
  ORDER_REPEATED,          /* the request was done before: the stored answer */
  ORDER_REPUBLISHED,       /* its newest event goes out once more */
  ORDER_REQUEST_ID_REUSED, /* the request id belongs to another request */
  ORDER_DEFERRED,          /* not tried: another write of the batch comes first */
  ORDER_UNAVAILABLE,       /* the store does not answer; what has become of it is unknown */
  ORDER_OUT_OF_MEMORY,     /* nothing was done */
  ORDER_FAILED             /* the store refused it; nothing was done */
} order_outcome;

/* The sum of quantity times unit price. False when it is above ORDER_MAX_TOTAL_MINOR_UNITS or an
 * amount is negative; `total` is then unchanged. */
bool order_total(Order__V1__OrderItem *const *items, size_t count, int64_t *total_minor_units);

/* Version 1. `now_us`: microseconds since the Unix epoch. */
Order__V1__Order *order_create(const Order__V1__CreateOrderRequest *request, int64_t order_id,
                               int64_t now_us, ls_arena *arena);

/* The version after `current` (NULL: there is no such order), in `*next` when ORDER_CHANGED.
 * `*items_changed` (may be NULL) tells whether its items are other ones. */
order_outcome order_update(const Order__V1__Order *current,
                           const Order__V1__UpdateOrderRequest *request, int64_t now_us,
                           ls_arena *arena, Order__V1__Order **next, bool *items_changed);

/* The same for a cancellation. A cancelled order is ORDER_UNCHANGED, whatever version is expected:
 * the client that repeats its call expects the version it saw before the first. */
order_outcome order_cancel(const Order__V1__Order *current,
                           const Order__V1__CancelOrderRequest *request, int64_t now_us,
                           ls_arena *arena, Order__V1__Order **next);

/* The event that tells of this version. */
Order__V1__OrderEventType order_event_type(const Order__V1__Order *order);

/* A digest of everything in the request but its id: two requests have the same digest only if they
 * ask for the same. False: out of memory. */
bool order_fingerprint_create(const Order__V1__CreateOrderRequest *request,
                              uint8_t fingerprint[ORDER_FINGERPRINT_BYTES]);
bool order_fingerprint_update(const Order__V1__UpdateOrderRequest *request,
                              uint8_t fingerprint[ORDER_FINGERPRINT_BYTES]);
bool order_fingerprint_cancel(const Order__V1__CancelOrderRequest *request,
                              uint8_t fingerprint[ORDER_FINGERPRINT_BYTES]);

/* A time as the messages carry it; microseconds since the Unix epoch. NULL: out of memory. */
Google__Protobuf__Timestamp *order_timestamp(int64_t unix_us, ls_arena *arena);
int64_t order_timestamp_us(const Google__Protobuf__Timestamp *timestamp);

#endif
