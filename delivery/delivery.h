/* The rules of a delivery: what an order's version makes of it, and how it moves on.
 *
 * No I/O, no clock, no allocation but from the arena that is passed in. Any thread. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_H
#define LOCKSTEP_DELIVERY_DELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/v1/delivery.pb-c.h"
#include "delivery/v1/delivery_operations.pb-c.h"
#include "delivery/v1/delivery_service.pb-c.h"
#include "order/v1/order.pb-c.h"
#include "runtime/base/arena.h"
#include "runtime/base/error.h"

/* Bounds of requests. */
#define DELIVERY_TRACKING_CODE_BYTES 64
#define DELIVERY_MAX_IDS 1000
#define DELIVERY_MAX_PAGE 1000
#define DELIVERY_DEFAULT_PAGE 50

/* What delivery keeps of an order at one version. Text is UTF-8, NUL-terminated, never NULL. */
typedef struct delivery_snapshot {
  int64_t order_id;
  int64_t version;
  Order__V1__OrderStatus status; /* PLACED or CANCELLED */
  const char *recipient;
  const char *address_lines; /* joined by '\n' */
  const char *postal_code;
  const char *city;
  const char *country_code;
  const uint8_t *items; /* a packed delivery.v1.Delivery that holds items and nothing else */
  size_t items_bytes;
} delivery_snapshot;

/* Takes from `order` what delivery keeps. The text of the order is not copied, so `order` has to
 * live as long as the snapshot; what has to be made is made in `arena`. LS_INVALID_ARGUMENT when
 * the order breaks its contract, LS_RESOURCE_EXHAUSTED when the arena is at its bound. */
bool delivery_snapshot_from_order(const Order__V1__Order *order, ls_arena *arena,
                                  delivery_snapshot *snapshot, ls_error *error);

/* The same with all text copied into `arena`: `order` may go. */
bool delivery_snapshot_copy_order(const Order__V1__Order *order, ls_arena *arena,
                                  delivery_snapshot *snapshot, ls_error *error);

/* Where a delivery stands, as far as its rules ask. */
typedef struct delivery_standing {
  int64_t revision; /* 0: there is no delivery yet */
  Delivery__V1__DeliveryState state;
  int64_t order_version;
  char tracking_code[DELIVERY_TRACKING_CODE_BYTES + 1];
} delivery_standing;

/* What a rule made of a request. */
typedef enum delivery_outcome {
  DELIVERY_CHANGED,          /* `standing` is what it is now, one revision up */
  DELIVERY_UNCHANGED,        /* done before, or nothing new: `standing` is as it was */
  DELIVERY_NOT_FOUND,        /* there is no delivery */
  DELIVERY_REVISION_DIFFERS, /* it is not at the revision that was expected */
  DELIVERY_STATE_FORBIDS     /* its state does not allow it */
} delivery_outcome;

/* The order is at `version` with `status`: CHANGED, or UNCHANGED when that version or a newer one
 * was applied before. */
delivery_outcome delivery_apply_order(delivery_standing *standing, int64_t version,
                                      Order__V1__OrderStatus status);

/* The goods leave. `expected_revision` 0: any. A repetition with the same tracking code is
 * UNCHANGED, whatever revision it expected: the revision went up by the call that it repeats.
 * `tracking_code` must have been checked. */
delivery_outcome delivery_dispatch(delivery_standing *standing, const char *tracking_code,
                                   int64_t expected_revision);

/* The goods have arrived. Repetitions as above. */
delivery_outcome delivery_complete(delivery_standing *standing, int64_t expected_revision);

/* "PREPARING" and so on; "UNSPECIFIED" for a number that is no state. Static storage. */
const char *delivery_state_name(Delivery__V1__DeliveryState state);

/* --- Requests, checked at the door --- */

#define DELIVERY_MAX_VIOLATIONS 20

typedef struct delivery_violation {
  char field[48]; /* path from the request's root: "order_ids[3]" */
  char description[112];
} delivery_violation;

/* The rules that a request breaks, the first DELIVERY_MAX_VIOLATIONS of them. Start with {0}. */
typedef struct delivery_violations {
  size_t count;
  delivery_violation list[DELIVERY_MAX_VIOLATIONS];
} delivery_violations;

void delivery_violate(delivery_violations *violations, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Each adds what the request breaks; true if it broke nothing. Page tokens are checked where they
 * are read. */
bool delivery_check_get(const Delivery__V1__GetDeliveryRequest *request,
                        delivery_violations *violations);
bool delivery_check_list(const Delivery__V1__ListDeliveriesRequest *request,
                         delivery_violations *violations);
bool delivery_check_dispatch(const Delivery__V1__DispatchDeliveryRequest *request,
                             delivery_violations *violations);
bool delivery_check_complete(const Delivery__V1__CompleteDeliveryRequest *request,
                             delivery_violations *violations);
/* 1 to 1,000 ids of 1 or more (BatchGetDeliveries, WatchDeliveries, ResyncOrders). */
bool delivery_check_ids(const int64_t *ids, size_t count, delivery_violations *violations);
bool delivery_check_page_size(int32_t page_size, delivery_violations *violations);

/* The page size that a valid request means. */
int32_t delivery_page_size(int32_t page_size);

/* Sorts ids and drops repeated ones; the new count. */
size_t delivery_sort_ids(int64_t *ids, size_t count);

#endif
