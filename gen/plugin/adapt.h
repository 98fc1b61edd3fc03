/* Makes of what protoc sends what protobuf-c's plugin can take, and what compilers take its output
 * of. Nothing of it changes a byte on the wire. See gen/README.md for what it is to users. */
#ifndef LOCKSTEP_GEN_ADAPT_H
#define LOCKSTEP_GEN_ADAPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gen/plugin/name_set.h"
#include "gen/plugin/place.h"
#include "gen/plugin/pool.h"
#include "gen/plugin/text.h"
#include "google/protobuf/compiler/plugin.pb-c.h"
#include "google/protobuf/descriptor.pb-c.h"

/* The editions that the plugins take, as descriptor.proto numbers them. */
enum { EDITION_PROTO2 = 998, EDITION_2023 = 1000 };

/* Fields of CodeGeneratorResponse: proto3 optional, editions from proto2 to 2023. protoc's own last
 * word counts, so this may follow a response that says something else. */
#define ADAPT_FEATURES_BYTES 8
extern const uint8_t adapt_features[ADAPT_FEATURES_BYTES];

typedef Google__Protobuf__Compiler__CodeGeneratorRequest plugin_request;
typedef Google__Protobuf__FileDescriptorProto file_descriptor;
typedef Google__Protobuf__DescriptorProto message_descriptor;
typedef Google__Protobuf__FieldDescriptorProto field_descriptor;

typedef struct gen_adapter {
  gen_pool *pool;
  plugin_request *request;
  /* For each of the request's files: whether it is to be generated. What cannot be done to another
   * is no error. */
  bool *generate;
  const char **literals; /* in C, of the default values that protobuf-c gets wrong */
  size_t literal_count;
  size_t literal_capacity;
  name_set bytes_first; /* oneofs that begin with bytes, as their constants begin in C */
  gen_text errors;      /* one a line: "file:line:column: message" */
} gen_adapter;

/* Unpacks `bytes` and adapts it. False: the errors say why, or, if there are none, the bytes are no
 * request. All memory but the errors' is the pool's, so that strings may be replaced. End with
 * adapt_clear. */
bool adapt_request(gen_adapter *adapter, gen_pool *pool, wire_bytes bytes);
void adapt_clear(gen_adapter *adapter);

/* Adds to `out` a file that protobuf-c wrote of the adapted request, with the right default values.
 */
void adapt_output(const gen_adapter *adapter, gen_text *out, const char *text, size_t bytes);

/* --- Parts --- */

/* A file on its way. */
typedef struct adapt_file {
  gen_adapter *adapter;
  file_descriptor *file;
  bool generate;
} adapt_file;

/* Adds an error at `path`, if the file is to be generated. */
void adapt_fail(const adapt_file *file, const gen_path *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

bool adapt_is_proto3(const file_descriptor *file);
bool adapt_is_repeated(const field_descriptor *field);
bool adapt_is_message(const field_descriptor *field);

/* Files in editions become files in proto2 or proto3 (adapt_editions.c). */
void adapt_editions(gen_adapter *adapter);

/* Makes a oneof with one member of each field that tells absent from empty in proto3
 * (adapt_optional.c). */
void adapt_optional(gen_adapter *adapter, message_descriptor *message);

/* Adds a oneof for the field alone, as protoc does for proto3's optional. */
void adapt_add_optional(gen_adapter *adapter, message_descriptor *message, field_descriptor *field);

/* Gives other names to fields and oneofs whose members in C would have a name that is taken
 * (adapt_names.c). `full_name` is the message's, in adapt_package. */
void adapt_names(const adapt_file *file, message_descriptor *message, const char *full_name);

/* The file's package as names in C have it. */
const char *adapt_package(gen_pool *pool, const file_descriptor *file);

/* The names, in the .proto file's sense, of what is in the message. */
name_set adapt_scope(gen_pool *pool, const message_descriptor *message);

/* Replaces the field's default value, if protobuf-c would get it wrong (adapt_defaults.c). */
void adapt_default(const adapt_file *file, field_descriptor *field, const gen_path *path);

#endif
