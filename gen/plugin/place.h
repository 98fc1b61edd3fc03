/* Places in .proto files, as SourceCodeInfo has them. */
#ifndef LOCKSTEP_GEN_PLACE_H
#define LOCKSTEP_GEN_PLACE_H

#include <stddef.h>
#include <stdint.h>

#include "gen/plugin/pool.h"
#include "gen/plugin/wire.h"
#include "google/protobuf/descriptor.pb-c.h"

/* Field numbers of descriptor.proto, for paths. */
enum {
  FILE_DEPENDENCY = 3,
  FILE_MESSAGE = 4,
  FILE_ENUM = 5,
  FILE_SERVICE = 6,
  FILE_EXTENSION = 7,
  MESSAGE_FIELD = 2,
  MESSAGE_NESTED = 3,
  MESSAGE_ENUM = 4,
  MESSAGE_EXTENSION = 6,
  MESSAGE_ONEOF = 8,
  ENUM_VALUE = 2,
  SERVICE_METHOD = 2
};

/* The way from a FileDescriptorProto to something in it, as SourceCodeInfo has it: field number,
 * index, field number, index … */
typedef struct gen_path {
  int32_t at[2 * WIRE_MAX_DEPTH + 8];
  size_t count;
} gen_path;

gen_path path_to(gen_path path, int32_t field, size_t index);

/* What protoc says of the place, or NULL. `path` may be NULL. */
const Google__Protobuf__SourceCodeInfo__Location *
place_find(const Google__Protobuf__FileDescriptorProto *file, const gen_path *path);

/* "order/v1/order.proto:12:3", or the file alone when protoc did not say where. */
const char *place_format(gen_pool *pool, const Google__Protobuf__FileDescriptorProto *file,
                         const gen_path *path);

#endif
