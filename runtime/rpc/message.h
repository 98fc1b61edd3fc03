/* Messages from outside: checked against their descriptor before protobuf-c sees them.
 *
 * protobuf-c 1.4 unpacks without a depth limit, without a UTF-8 check, and cuts strings at an
 * embedded NUL; proto3 forbids the last two. Where a message field that is no list is there twice,
 * it loses values in merging the two: such messages, which encoders do not make, are refused. */
#ifndef LOCKSTEP_RUNTIME_RPC_MESSAGE_H
#define LOCKSTEP_RUNTIME_RPC_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "runtime/base/arena.h"
#include "runtime/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Walks the wire format of one message (https://protobuf.dev/programming-guides/encoding/):
 * well-formed tags and lengths, wire types that fit the fields, strings that are UTF-8 without NUL,
 * no message twice in a field that is no list, at most `max_depth` messages in one another.
 * LS_INVALID_ARGUMENT with the field's path if not. Any thread. */
bool ls_rpc_message_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data,
                          size_t bytes, unsigned max_depth, ls_error *error);

/* Checks, then unpacks. With an arena the message lives in it and is not freed by itself; with NULL
 * it is on the heap. NULL: LS_INVALID_ARGUMENT, or LS_RESOURCE_EXHAUSTED when the arena is at its
 * bound or the machine out of memory. Any thread. */
ProtobufCMessage *ls_rpc_message_unpack(const ProtobufCMessageDescriptor *descriptor,
                                        const uint8_t *data, size_t bytes, unsigned max_depth,
                                        ls_arena *arena, ls_error *error);

#ifdef __cplusplus
}
#endif

#endif
