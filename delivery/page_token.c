/* Page tokens: base64url of the list, its filter and the last id. */
#include "delivery/page_token.h"

#include <string.h>

enum { TOKEN_BYTES = 10, TOKEN_CHARACTERS = PAGE_TOKEN_BYTES - 1 };

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void page_token_make(page_query query, int64_t last_id, char token[PAGE_TOKEN_BYTES]) {
  uint8_t bytes[TOKEN_BYTES] = {(uint8_t)query.list, query.filter};
  for (unsigned i = 0; i < 8; i++)
    bytes[2 + i] = (uint8_t)((uint64_t)last_id >> (56 - 8 * i));
  uint32_t pending = 0;
  unsigned bits = 0;
  for (unsigned i = 0; i < TOKEN_BYTES; i++) {
    pending = pending << 8 | bytes[i];
    for (bits += 8; bits >= 6; bits -= 6)
      *token++ = alphabet[pending >> (bits - 6) & 63];
  }
  *token++ = alphabet[pending << (6 - bits) & 63];
  *token = '\0';
}

static bool decode(const char *token, uint8_t bytes[TOKEN_BYTES]) {
  if (strnlen(token, TOKEN_CHARACTERS + 1) != TOKEN_CHARACTERS)
    return false;
  uint32_t pending = 0;
  unsigned bits = 0;
  for (; *token != '\0'; token++) {
    const char *digit = strchr(alphabet, *token);
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

bool page_token_read(page_query query, const char *token, int64_t *last_id) {
  uint8_t bytes[TOKEN_BYTES] = {0};
  *last_id = 0;
  if (token[0] == '\0')
    return true;
  if (!decode(token, bytes) || bytes[0] != (uint8_t)query.list || bytes[1] != query.filter)
    return false;
  uint64_t id = 0;
  for (unsigned i = 0; i < 8; i++)
    id = id << 8 | bytes[2 + i];
  if (id < 1 || id > INT64_MAX)
    return false;
  *last_id = (int64_t)id;
  return true;
}
