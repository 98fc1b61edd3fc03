/* Copies a response field by field. */
#include "gen/protoc-gen-c-messages/response.h"

#include <string.h>

/* Field numbers of plugin.proto. */
enum { RESPONSE_ERROR = 1, RESPONSE_FILE = 15, FILE_CONTENT = 15 };

static void put_varint(gen_text *out, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    text_bytes(out, &(uint8_t){(uint8_t)(value | 0x80)}, 1);
  text_bytes(out, &(uint8_t){(uint8_t)value}, 1);
}

/* Adds a length-delimited field. */
static void put_field(gen_text *out, uint32_t number, const char *payload, size_t bytes) {
  put_varint(out, (uint64_t)number << 3 | PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
  put_varint(out, bytes);
  text_bytes(out, payload, bytes);
}

static bool is_length_delimited(const wire_field *field, uint32_t number) {
  return field->number == number && field->type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
}

static bool put_file(const gen_adapter *adapter, gen_text *out, wire_bytes file) {
  gen_text copy = {0};
  gen_text content = {0};
  wire_field field;
  while (wire_next(&file, &field)) {
    if (!is_length_delimited(&field, FILE_CONTENT)) {
      text_bytes(&copy, field.whole.data, field.whole.size);
      continue;
    }
    content.length = 0;
    adapt_output(adapter, &content, (const char *)field.payload.data, field.payload.size);
    put_field(&copy, FILE_CONTENT, content.data, content.length);
  }
  put_field(out, RESPONSE_FILE, copy.data, copy.length);
  text_clear(&content);
  text_clear(&copy);
  return file.size == 0;
}

bool response_for_protoc(const gen_adapter *adapter, gen_text *out, wire_bytes response) {
  wire_field field;
  bool ok = true;
  while (ok && wire_next(&response, &field))
    if (is_length_delimited(&field, RESPONSE_FILE))
      ok = put_file(adapter, out, field.payload);
    else
      text_bytes(out, field.whole.data, field.whole.size);
  text_bytes(out, adapt_features, sizeof adapt_features);
  return ok && response.size == 0;
}

void response_of_error(gen_text *out, const char *error) {
  put_field(out, RESPONSE_ERROR, error, strlen(error));
  text_bytes(out, adapt_features, sizeof adapt_features);
}
