/* Page tokens: opaque to clients, and good only for the query they came from. Any thread. */
#ifndef LOCKSTEP_ORDER_ORDER_PAGE_TOKEN_H
#define LOCKSTEP_ORDER_ORDER_PAGE_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "order/v1/order_service.pb-c.h"

/* Room for a token and its NUL. */
#define ORDER_PAGE_TOKEN_BYTES 23

/* The token of the page after the order `last_order_id`. */
void order_page_token_make(const Order__V1__ListOrdersRequest *request, int64_t last_order_id,
                           char token[ORDER_PAGE_TOKEN_BYTES]);

/* Reads the token of `request`; 0 when it has none. False: it is no token, or that of another query
 * (another page size is the same query). */
bool order_page_token_read(const Order__V1__ListOrdersRequest *request, int64_t *last_order_id);

#endif
