/* Page tokens: base64url of the query's digest and the last id, 8 bytes each. */
#include "order/order_page_token.h"

#include <string.h>

#include <openssl/sha.h>

#define QUERY_BYTES 8
#define TOKEN_BYTES (QUERY_BYTES + 8)
#define TOKEN_CHARACTERS (ORDER_PAGE_TOKEN_BYTES - 1)

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* The status, a byte; the customer, at most 64 bytes, which the request was checked for. */
static void digest_query(const Order__V1__ListOrdersRequest *request, uint8_t digest[QUERY_BYTES]) {
  uint8_t query[1 + 64] = {(uint8_t)request->status};
  uint8_t sum[SHA256_DIGEST_LENGTH];
  size_t bytes = strnlen(request->customer_id, sizeof query - 1);
  memcpy(query + 1, request->customer_id, bytes);
  SHA256(query, 1 + bytes, sum);
  memcpy(digest, sum, QUERY_BYTES);
}

void order_page_token_make(const Order__V1__ListOrdersRequest *request, int64_t last_order_id,
                           char token[ORDER_PAGE_TOKEN_BYTES]) {
  uint8_t bytes[TOKEN_BYTES];
  digest_query(request, bytes);
  for (unsigned i = 0; i < 8; i++)
    bytes[QUERY_BYTES + i] = (uint8_t)((uint64_t)last_order_id >> (56 - 8 * i));
  uint32_t pending = 0;
  unsigned bits = 0;
  char *out = token;
  for (unsigned i = 0; i < TOKEN_BYTES; i++) {
    pending = pending << 8 | bytes[i];
    for (bits += 8; bits >= 6; bits -= 6)
      *out++ = alphabet[pending >> (bits - 6) & 63];
  }
  *out++ = alphabet[pending << (6 - bits) & 63];
  *out = '\0';
}

static bool decode(const char *token, uint8_t bytes[TOKEN_BYTES]) {
  if (strnlen(token, TOKEN_CHARACTERS + 1) != TOKEN_CHARACTERS)
    return false;
  uint32_t pending = 0;
  unsigned bits = 0;
  for (const char *c = token; *c != '\0'; c++) {
    const char *digit = strchr(alphabet, *c);
    if (digit == NULL)
      return false;
    pending = pending << 6 | (uint32_t)(digit - alphabet);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      *bytes++ = (uint8_t)(pending >> bits);
    }
  }
  return (pending & ((1u << bits) - 1)) == 0;
}

bool order_page_token_read(const Order__V1__ListOrdersRequest *request, int64_t *last_order_id) {
  *last_order_id = 0;
  if (request->page_token[0] == '\0')
    return true;
  uint8_t bytes[TOKEN_BYTES] = {0};
  uint8_t digest[QUERY_BYTES];
  if (!decode(request->page_token, bytes))
    return false;
  digest_query(request, digest);
  if (memcmp(bytes, digest, QUERY_BYTES) != 0)
    return false;
  uint64_t id = 0;
  for (unsigned i = 0; i < 8; i++)
    id = id << 8 | bytes[QUERY_BYTES + i];
  if (id < 1 || id > INT64_MAX)
    return false;
  *last_order_id = (int64_t)id;
  return true;
}
