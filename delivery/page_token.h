/* Page tokens: opaque to clients, and good only for the query they came from. Any thread. */
#ifndef LOCKSTEP_DELIVERY_PAGE_TOKEN_H
#define LOCKSTEP_DELIVERY_PAGE_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

/* Room for a token and its NUL. */
#define PAGE_TOKEN_BYTES 15

/* Which list, and what is asked of it. The size of its pages may change from one to the next. */
typedef enum page_list { PAGE_DELIVERIES = 1, PAGE_PENDING_ORDERS, PAGE_DEAD_LETTERS } page_list;
typedef struct page_query {
  page_list list;
  uint8_t filter; /* a DeliveryState; include_replayed; 0 */
} page_query;

/* The token of the page after `last_id` (1 or more). */
void page_token_make(page_query query, int64_t last_id, char token[PAGE_TOKEN_BYTES]);

/* Reads a token; `last_id` is 0 when it is empty. False: it is no token, or that of another query.
 */
bool page_token_read(page_query query, const char *token, int64_t *last_id);

#endif
