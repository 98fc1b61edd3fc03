/* The check of wire format against a descriptor, and unpacking into an arena. */
#include "runtime/rpc/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/text.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* Where the walk is: a chain on the stack, innermost first, so that an error can name the path. */
typedef struct place {
  const struct place *outer;
  const char *field; /* NULL: an unknown field */
} place;

typedef struct walk {
  unsigned max_depth;
  ls_error *error;
} walk;

static size_t write_path(const place *at, char *out, size_t room) {
  if (at == NULL)
    return 0;
  size_t length = write_path(at->outer, out, room);
  const char *name = at->field != NULL ? at->field : "?";
  int more = snprintf(out + length, room - length, "%s%s", length > 0 ? "." : "", name);
  size_t wanted = more > 0 ? length + (size_t)more : length;
  return wanted < room ? wanted : room - 1;
}

static bool refuse(const walk *w, const place *at, const char *rule) {
  char path[256] = "";
  write_path(at, path, sizeof path);
  if (path[0] == '\0')
    return ls_error_set(w->error, LS_INVALID_ARGUMENT, false, "protobuf", "malformed message: %s",
                        rule);
  return ls_error_set(w->error, LS_INVALID_ARGUMENT, false, "protobuf",
                      "malformed message: field %s: %s", path, rule);
}

/* The most bytes of a varint that is a value, and of one that is a tag or a length. */
enum { VALUE_BYTES = 10, TAG_BYTES = 5 };

/* The most fields a message's schema may have. */
enum { MOST_FIELDS = 256 };

/* Reads a varint of at most `most` bytes; returns its length, 0 if it is cut off or too long. */
static size_t read_varint(const uint8_t *data, size_t bytes, size_t most, uint64_t *value) {
  uint64_t result = 0;
  for (size_t i = 0; i < bytes && i < most; i++) {
    result |= (uint64_t)(data[i] & 0x7f) << (7 * i);
    if ((data[i] & 0x80) == 0) {
      *value = result;
      return i + 1;
    }
  }
  return 0;
}

static int wire_type_of(ProtobufCType type) {
  switch (type) {
  case PROTOBUF_C_TYPE_SFIXED32:
  case PROTOBUF_C_TYPE_FIXED32:
  case PROTOBUF_C_TYPE_FLOAT:
    return WIRE_FIXED32;
  case PROTOBUF_C_TYPE_SFIXED64:
  case PROTOBUF_C_TYPE_FIXED64:
  case PROTOBUF_C_TYPE_DOUBLE:
    return WIRE_FIXED64;
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_BYTES:
  case PROTOBUF_C_TYPE_MESSAGE:
    return WIRE_BYTES;
  default:
    return WIRE_VARINT;
  }
}

/* The packed form of a repeated scalar: only whole elements. */
static bool check_packed(const walk *w, const place *at, ProtobufCType type, const uint8_t *data,
                         size_t bytes) {
  if (type == PROTOBUF_C_TYPE_BOOL) { /* protobuf-c takes no other form of them */
    for (size_t i = 0; i < bytes; i++)
      if (data[i] > 1)
        return refuse(w, at, "packed booleans must be 0 or 1");
    return true;
  }
  int element = wire_type_of(type);
  if (element == WIRE_FIXED32 || element == WIRE_FIXED64) {
    size_t size = element == WIRE_FIXED32 ? 4 : 8;
    return bytes % size == 0 || refuse(w, at, "packed elements are cut off");
  }
  while (bytes > 0) {
    uint64_t ignored;
    size_t length = read_varint(data, bytes, VALUE_BYTES, &ignored);
    if (length == 0)
      return refuse(w, at, "packed elements are cut off");
    data += length;
    bytes -= length;
  }
  return true;
}

static bool check_message(const walk *w, const place *outer, unsigned depth,
                          const ProtobufCMessageDescriptor *descriptor, const uint8_t *data,
                          size_t bytes);

static bool check_bytes(const walk *w, const place *at, unsigned depth,
                        const ProtobufCFieldDescriptor *field, const uint8_t *data, size_t bytes) {
  if (field == NULL || field->type == PROTOBUF_C_TYPE_BYTES)
    return true;
  if (field->type == PROTOBUF_C_TYPE_STRING) {
    if (memchr(data, 0, bytes) != NULL)
      return refuse(w, at, "a string must not contain NUL");
    return ls_text_is_utf8((const char *)data, bytes) || refuse(w, at, "a string must be UTF-8");
  }
  if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
    if (depth >= w->max_depth)
      return refuse(w, at, "messages are nested too deep");
    return check_message(w, at, depth + 1, field->descriptor, data, bytes);
  }
  return check_packed(w, at, field->type, data, bytes);
}

/* Notes that a message field that is no list was met; false if it was before in the same message.
 * The format wants the two merged, but protobuf-c loses scalars in doing so. */
static bool check_once(const walk *w, const place *at, const ProtobufCMessageDescriptor *descriptor,
                       const ProtobufCFieldDescriptor *field, uint64_t *met) {
  if (field->type != PROTOBUF_C_TYPE_MESSAGE || field->label == PROTOBUF_C_LABEL_REPEATED)
    return true;
  size_t index = (size_t)(field - descriptor->fields);
  if (index >= MOST_FIELDS)
    return refuse(w, at, "the schema has more fields than can be checked");
  uint64_t bit = UINT64_C(1) << index % 64;
  if ((met[index / 64] & bit) != 0)
    return refuse(w, at, "a message must not be there twice");
  met[index / 64] |= bit;
  return true;
}

static bool fits(const ProtobufCFieldDescriptor *field, int wire) {
  int expected = wire_type_of(field->type);
  if (wire == expected)
    return true;
  return wire == WIRE_BYTES && field->label == PROTOBUF_C_LABEL_REPEATED && expected != WIRE_BYTES;
}

static bool check_message(const walk *w, const place *outer, unsigned depth,
                          const ProtobufCMessageDescriptor *descriptor, const uint8_t *data,
                          size_t bytes) {
  uint64_t met[MOST_FIELDS / 64] = {0};
  while (bytes > 0) {
    uint64_t tag;
    size_t length = read_varint(data, bytes, TAG_BYTES, &tag);
    if (length == 0 || tag > UINT32_MAX || tag >> 3 == 0)
      return refuse(w, outer, "bad tag");
    data += length;
    bytes -= length;

    int wire = (int)(tag & 7);
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(descriptor, (unsigned)(tag >> 3));
    place at = {outer, field != NULL ? field->name : NULL};
    if (field != NULL && !fits(field, wire))
      return refuse(w, &at, "wrong wire type");
    if (field != NULL && !check_once(w, &at, descriptor, field, met))
      return false;

    uint64_t value;
    switch (wire) {
    case WIRE_VARINT:
      length = read_varint(data, bytes, VALUE_BYTES, &value);
      if (length == 0)
        return refuse(w, &at, "value is cut off");
      break;
    case WIRE_FIXED64:
    case WIRE_FIXED32:
      length = wire == WIRE_FIXED64 ? 8 : 4;
      if (length > bytes)
        return refuse(w, &at, "value is cut off");
      break;
    case WIRE_BYTES:
      length = read_varint(data, bytes, TAG_BYTES, &value);
      if (length == 0 || value > bytes - length)
        return refuse(w, &at, "value is cut off");
      data += length;
      bytes -= length;
      length = (size_t)value;
      if (!check_bytes(w, &at, depth, field, data, length))
        return false;
      break;
    default:
      return refuse(w, &at, "groups are not supported");
    }
    data += length;
    bytes -= length;
  }
  return true;
}

bool ls_rpc_message_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data,
                          size_t bytes, unsigned max_depth, ls_error *error) {
  walk w = {max_depth, error};
  return check_message(&w, NULL, 1, descriptor, data, bytes);
}

/* Where unpacking gets its memory: the arena, or the heap without one. */
typedef struct memory {
  ls_arena *arena;
  bool is_short; /* there was not enough */
} memory;

static void *take_memory(void *arg, size_t bytes) {
  memory *from = arg;
  void *taken = from->arena != NULL ? ls_arena_alloc(from->arena, bytes) : malloc(bytes);
  from->is_short = from->is_short || taken == NULL;
  return taken;
}

static void give_back_memory(void *arg, void *taken) {
  const memory *to = arg;
  if (to->arena == NULL)
    free(taken);
}

ProtobufCMessage *ls_rpc_message_unpack(const ProtobufCMessageDescriptor *descriptor,
                                        const uint8_t *data, size_t bytes, unsigned max_depth,
                                        ls_arena *arena, ls_error *error) {
  if (!ls_rpc_message_check(descriptor, data, bytes, max_depth, error))
    return NULL;
  memory from = {arena, false};
  ProtobufCAllocator allocator = {take_memory, give_back_memory, &from};
  ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, &allocator, bytes, data);
  if (message != NULL)
    return message;
  if (from.is_short)
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, "protobuf",
                 "message of %zu bytes does not fit into the memory of one call", bytes);
  else
    ls_error_set(error, LS_INVALID_ARGUMENT, false, "protobuf",
                 "malformed message: a required field is missing");
  return NULL;
}
