/* An order as a client sends it. */
#ifndef CLIENT_DRAFT_H
#define CLIENT_DRAFT_H

#include "order/v1/order.pb-c.h"

/* The messages that the order is made of point at each other: a draft stays where it was made. */
typedef struct order_draft {
  Order__V1__Order order;
  Order__V1__Address address;
  Order__V1__OrderItem items[2];
  Order__V1__OrderItem *item_list[2];
  char *lines[1];
} order_draft;

enum { DRAFT_TOTAL_MINOR_UNITS = 2 * 1990 + 250 };

/* `customer` must live as long as the draft. */
void order_draft_make(order_draft *self, char *customer);

#endif
