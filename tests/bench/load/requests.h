/* What the load's calls ask, and whether they are answered right. */
#ifndef LOCKSTEP_TESTS_BENCH_LOAD_REQUESTS_H
#define LOCKSTEP_TESTS_BENCH_LOAD_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum load_method {
  LOAD_CREATE,    /* a new order of one of 1,000 customers */
  LOAD_GET,       /* an order by an id out of the range, uniform */
  LOAD_BATCH_GET, /* `batch` such orders, all different */
  LOAD_UPDATE,    /* the note of such an order */
  LOAD_HEALTH     /* grpc.health.v1.Health/Check: what a call costs that does nothing */
} load_method;

enum { LOAD_MOST_ITEMS = 200, LOAD_MOST_IDS = 1000, LOAD_REQUEST_BYTES = 16 << 10 };

/* What all requests of a run have in common. */
typedef struct load_requests {
  load_method method;
  unsigned items;            /* of a created order, 1 to LOAD_MOST_ITEMS */
  int64_t first_id, last_id; /* orders that exist */
  unsigned batch;            /* ids of a batch_get, 1 to LOAD_MOST_IDS */
  uint64_t random;           /* what requests are drawn from */
  uint64_t checked;          /* answers */
  /* A create is packed once; only the customer's number changes. */
  uint8_t create[LOAD_REQUEST_BYTES];
  size_t create_bytes, customer_at;
} load_requests;

/* To be called once the first members are set. */
void load_requests_prepare(load_requests *self);

/* "/package.Service/Method". */
const char *load_requests_path(const load_requests *self);

/* How many ids one request asks for, which a call has to remember. */
size_t load_requests_ids(const load_requests *self);

/* Writes the next request to `out`, which has room for LOAD_REQUEST_BYTES, and the ids it asks for
 * to `ids`; gives its length. */
size_t load_requests_next(load_requests *self, uint8_t *out, int64_t *ids);

/* NULL, or what is wrong with an answer to a request for `ids`. Each is looked at for the ids and
 * the version; every 64th is unpacked, and looked at whole. */
const char *load_requests_check(load_requests *self, const uint8_t *answer, size_t bytes,
                                const int64_t *ids);

#endif
