/* Copies a request field by field, down to the fields of messages. */
#include "gen/protoc-gen-c-messages/request.h"

#include <string.h>
#include <strings.h>

#include "gen/plugin/words.h"

/* Field numbers of plugin.proto and descriptor.proto. */
enum {
  REQUEST_PROTO_FILE = 15,
  FILE_MESSAGE = 4,
  FILE_SERVICE = 6,
  MESSAGE_FIELD = 2,
  MESSAGE_NESTED = 3,
  NAME = 1 /* of a message, field, enum or oneof */
};

static void put_varint(gen_text *out, uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    text_bytes(out, &(uint8_t){(uint8_t)(value | 0x80)}, 1);
  text_bytes(out, &(uint8_t){(uint8_t)value}, 1);
}

/* Adds a length-delimited field. */
static void put_field(gen_text *out, uint32_t number, const gen_text *payload) {
  put_varint(out, (uint64_t)number << 3 | PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
  put_varint(out, payload->length);
  text_bytes(out, payload->data, payload->length);
}

static bool is_length_delimited(const wire_field *field, uint32_t number) {
  return field->number == number && field->type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
}

/* The name of a message, field, enum or oneof, with a NUL; empty if it has none. */
static void read_name(gen_text *name, wire_bytes named) {
  wire_field field;
  name->length = 0;
  if (wire_find(named, NAME, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, &field))
    text_bytes(name, field.payload.data, field.payload.size);
  else
    text_string(name, "");
}

/* True when something in the message has this name, be it in other capitals: members are in lower
 * case. */
static bool is_taken(wire_bytes message, const char *name) {
  gen_text other = {0};
  wire_field field;
  bool taken = false;
  while (!taken && wire_next(&message, &field)) {
    if (field.type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
      continue;
    read_name(&other, field.payload);
    taken = strcasecmp(other.data, name) == 0;
  }
  text_clear(&other);
  return taken;
}

static bool needs_another_name(const char *name) {
  gen_text lower = {0};
  text_string(&lower, name);
  for (size_t i = 0; i < lower.length; i++)
    if (lower.data[i] >= 'A' && lower.data[i] <= 'Z')
      lower.data[i] = (char)(lower.data[i] - 'A' + 'a');
  bool needs = word_is_reserved(lower.data) && !word_is_renamed(lower.data);
  text_clear(&lower);
  return needs;
}

/* Adds the field `field` of a message; `message` is all of it. */
static void put_message_field(gen_text *out, wire_bytes message, const wire_field *field) {
  gen_text name = {0};
  gen_text renamed = {0};
  read_name(&name, field->payload);
  if (!needs_another_name(name.data)) {
    text_bytes(out, field->whole.data, field->whole.size);
    goto cleanup;
  }
  do
    text_string(&name, "_");
  while (is_taken(message, name.data));
  put_field(&renamed, NAME, &name);
  wire_bytes rest = field->payload;
  wire_field part;
  while (wire_next(&rest, &part))
    if (!is_length_delimited(&part, NAME))
      text_bytes(&renamed, part.whole.data, part.whole.size);
  put_field(out, MESSAGE_FIELD, &renamed);

cleanup:
  text_clear(&renamed);
  text_clear(&name);
}

static void put_message(gen_text *out, uint32_t number, wire_bytes message) {
  gen_text copy = {0};
  wire_bytes rest = message;
  wire_field field;
  while (wire_next(&rest, &field))
    if (is_length_delimited(&field, MESSAGE_FIELD))
      put_message_field(&copy, message, &field);
    else if (is_length_delimited(&field, MESSAGE_NESTED))
      put_message(&copy, MESSAGE_NESTED, field.payload);
    else
      text_bytes(&copy, field.whole.data, field.whole.size);
  put_field(out, number, &copy);
  text_clear(&copy);
}

static void put_file(gen_text *out, wire_bytes file) {
  gen_text copy = {0};
  wire_field field;
  while (wire_next(&file, &field))
    if (is_length_delimited(&field, FILE_MESSAGE))
      put_message(&copy, FILE_MESSAGE, field.payload);
    else if (!is_length_delimited(&field, FILE_SERVICE))
      text_bytes(&copy, field.whole.data, field.whole.size);
  put_field(out, REQUEST_PROTO_FILE, &copy);
  text_clear(&copy);
}

void request_for_messages(gen_text *out, wire_bytes request) {
  wire_field field;
  while (wire_next(&request, &field))
    if (is_length_delimited(&field, REQUEST_PROTO_FILE))
      put_file(out, field.payload);
    else
      text_bytes(out, field.whole.data, field.whole.size);
}
