/* Fields one after the other; groups are refused, as protobuf-c does. */
#include "gen/plugin/wire.h"

static bool take_varint(wire_bytes *from, uint64_t *value) {
  *value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (from->size == 0)
      return false;
    uint8_t byte = *from->data++;
    from->size--;
    *value |= (uint64_t)(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0)
      return true;
  }
  return false;
}

static bool skip(wire_bytes *from, uint64_t bytes) {
  if (bytes > from->size)
    return false;
  from->data += bytes;
  from->size -= (size_t)bytes;
  return true;
}

static bool take_value(wire_bytes *from, wire_field *field) {
  switch (field->type) {
  case PROTOBUF_C_WIRE_TYPE_VARINT:
    return take_varint(from, &field->value);
  case PROTOBUF_C_WIRE_TYPE_64BIT:
    return skip(from, 8);
  case PROTOBUF_C_WIRE_TYPE_32BIT:
    return skip(from, 4);
  case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED: {
    uint64_t bytes;
    if (!take_varint(from, &bytes))
      return false;
    field->payload.data = from->data;
    field->payload.size = (size_t)bytes;
    return skip(from, bytes);
  }
  default:
    return false;
  }
}

bool wire_next(wire_bytes *message, wire_field *field) {
  wire_bytes rest = *message;
  uint64_t tag;
  *field = (wire_field){.whole.data = message->data};
  if (!take_varint(&rest, &tag) || tag > UINT32_MAX || tag >> 3 == 0)
    return false;
  field->number = (uint32_t)(tag >> 3);
  field->type = (ProtobufCWireType)(tag & 7);
  if (!take_value(&rest, field))
    return false;
  field->whole.size = message->size - rest.size;
  *message = rest;
  return true;
}

bool wire_check(const ProtobufCMessageDescriptor *descriptor, wire_bytes message, unsigned depth) {
  if (depth == 0)
    return false;
  wire_field field;
  while (wire_next(&message, &field)) {
    const ProtobufCFieldDescriptor *known =
        protobuf_c_message_descriptor_get_field(descriptor, field.number);
    if (known != NULL && known->type == PROTOBUF_C_TYPE_MESSAGE &&
        field.type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED &&
        !wire_check(known->descriptor, field.payload, depth - 1))
      return false;
  }
  return message.size == 0;
}

bool wire_find(wire_bytes message, uint32_t number, ProtobufCWireType type, wire_field *field) {
  bool found = false;
  wire_field next;
  while (wire_next(&message, &next))
    if (next.number == number && next.type == type) {
      *field = next;
      found = true;
    }
  return found;
}

bool wire_find_unknown(const ProtobufCMessage *message, uint32_t number, ProtobufCWireType type,
                       wire_field *field) {
  bool found = false;
  for (unsigned i = 0; i < message->n_unknown_fields; i++) {
    const ProtobufCMessageUnknownField *unknown = &message->unknown_fields[i];
    wire_bytes value = {unknown->data, unknown->len};
    wire_field next = {.number = number, .type = type};
    if (unknown->tag == number && unknown->wire_type == type && take_value(&value, &next)) {
      *field = next;
      found = true;
    }
  }
  return found;
}
