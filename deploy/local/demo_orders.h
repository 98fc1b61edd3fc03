/* What the demo orders: varied, and the same again for the same seed. Pure: no I/O. */
#ifndef LOCKSTEP_DEPLOY_LOCAL_DEMO_ORDERS_H
#define LOCKSTEP_DEPLOY_LOCAL_DEMO_ORDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "order/v1/order_service.pb-c.h"

/* A generator of its own for each purpose: cheap, and good enough for made-up orders. */
typedef struct demo_random {
  uint64_t state;
} demo_random;

/* Purposes below this one are the orders' own. */
enum { DEMO_PURPOSE_OTHER = 1000 };

demo_random demo_random_from(uint64_t seed, uint64_t index, uint64_t purpose);

/* Evenly from 0 to `below` - 1; `below` is 1 or more. */
unsigned demo_random_below(demo_random *random, unsigned below);

/* What becomes of an order after it was created. */
typedef struct demo_plan {
  unsigned changes; /* 0 for two thirds of the orders, else 1 to 3 */
  bool cancelled;   /* a tenth */
} demo_plan;

demo_plan demo_plan_of(uint64_t seed, uint64_t index);

enum { DEMO_MOST_ITEMS = 5, DEMO_MOST_LINES = 2, DEMO_MOST_PATHS = 1, DEMO_NOTE_BYTES = 512 };

/* A message and all that it points to. Not to be copied or moved once it is filled. */
typedef struct demo_draft {
  Order__V1__Order order;
  Google__Protobuf__FieldMask mask; /* of a change: which of the order's fields are set */

  Order__V1__Address address;
  Order__V1__OrderItem items[DEMO_MOST_ITEMS];
  Order__V1__OrderItem *item_pointers[DEMO_MOST_ITEMS];
  char *line_pointers[DEMO_MOST_LINES];
  char *path_pointers[DEMO_MOST_PATHS];
  char customer_id[32], recipient[64], lines[DEMO_MOST_LINES][64], postal_code[16];
  char skus[DEMO_MOST_ITEMS][32], path[32], note[DEMO_NOTE_BYTES];
} demo_draft;

/* Fills the draft with what order number `index` is created with. */
void demo_draft_create(uint64_t seed, uint64_t index, demo_draft *draft);

/* Fills the draft with the change number `change` (1, 2, …) of order number `index`: another
 * address, other items, another note, or all of them. order_id is left 0. */
void demo_draft_change(uint64_t seed, uint64_t index, unsigned change, demo_draft *draft);

#endif
