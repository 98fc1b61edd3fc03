/* Protobuf's wire format, read where protobuf-c's parser does not help: before it, to keep it from
 * recursing too deep, and beside it, for bytes that must be passed on as they are and for options
 * that are extensions. */
#ifndef LOCKSTEP_GEN_WIRE_H
#define LOCKSTEP_GEN_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

/* Messages in one another, in a request; a schema nests a few. */
#define WIRE_MAX_DEPTH 100

typedef struct wire_bytes {
  const uint8_t *data;
  size_t size;
} wire_bytes;

typedef struct wire_field {
  uint32_t number;
  ProtobufCWireType type;
  uint64_t value;     /* of a varint */
  wire_bytes payload; /* of a length-delimited field: what is in it */
  wire_bytes whole;   /* the field with its tag */
} wire_field;

/* Takes the next field off the front of `message`. False at the end, and when what follows is no
 * field; `message` is empty in the first case only. */
bool wire_next(wire_bytes *message, wire_field *field);

/* True when `message` is well-formed and no deeper than `depth` messages. */
bool wire_check(const ProtobufCMessageDescriptor *descriptor, wire_bytes message, unsigned depth);

/* The last field of this number and type; false if there is none. */
bool wire_find(wire_bytes message, uint32_t number, ProtobufCWireType type, wire_field *field);

/* The last of the fields that protobuf-c did not know when it unpacked `message`, with this number
 * and type; `whole` is not set. */
bool wire_find_unknown(const ProtobufCMessage *message, uint32_t number, ProtobufCWireType type,
                       wire_field *field);

#endif
