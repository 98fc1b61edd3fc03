/* protoc-gen-grpc-c: a plugin of protoc that writes gRPC servers and clients in C.
 *
 * protoc runs it with a CodeGeneratorRequest on stdin and takes a CodeGeneratorResponse from
 * stdout. What is wrong in a .proto file is an error in the response; a request that cannot be read
 * is a message on stderr and status 1. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "gen/plugin/adapt.h"
#include "gen/plugin/plugin.h"
#include "gen/plugin/pool.h"
#include "gen/plugin/text.h"
#include "gen/plugin/wire.h"
#include "gen/protoc-gen-grpc-c/emit.h"
#include "gen/protoc-gen-grpc-c/schema.h"

static const char usage[] =
    "protoc-gen-grpc-c writes gRPC servers and clients in C, beside protobuf-c's messages.\n"
    "protoc runs it:\n"
    "\n"
    "  protoc --grpc-c_out=DIR --c-messages_out=DIR -I PROTO_ROOT path/file.proto\n"
    "\n"
    "  --plugin=protoc-gen-grpc-c=PATH   protoc's option, when it is not on the PATH\n"
    "  --grpc-c_opt=OPTION               there are none yet\n"
    "\n"
    "By hand: protoc-gen-grpc-c --version | --help\n";

typedef Google__Protobuf__Compiler__CodeGeneratorResponse plugin_response;
typedef Google__Protobuf__Compiler__CodeGeneratorResponse__File plugin_file;

static bool write_response(const plugin_response *response) {
  size_t bytes = google__protobuf__compiler__code_generator_response__get_packed_size(response);
  uint8_t *packed = malloc(bytes > 0 ? bytes : 1);
  if (packed == NULL)
    out_of_memory();
  google__protobuf__compiler__code_generator_response__pack(response, packed);
  bool ok = fwrite(packed, 1, bytes, stdout) == bytes &&
            fwrite(adapt_features, 1, sizeof adapt_features, stdout) == sizeof adapt_features &&
            fflush(stdout) == 0;
  if (!ok)
    perror("protoc-gen-grpc-c: cannot write the response");
  free(packed);
  return ok;
}

static plugin_file *new_file(gen_pool *pool, const schema_file *file, const char *suffix,
                             void (*emit)(gen_text *out, const schema_file *file)) {
  plugin_file *out = pool_alloc(pool, sizeof *out);
  google__protobuf__compiler__code_generator_response__file__init(out);
  gen_text content = {0};
  emit(&content, file);
  out->name = pool_format(pool, "%s%s", file->base, suffix);
  out->content = pool_copy(pool, content.data, content.length);
  text_clear(&content);
  return out;
}

static void generate(const gen_schema *schema, plugin_response *response) {
  response->file = pool_array(schema->pool, 2 * schema->file_count, sizeof(plugin_file *));
  for (size_t i = 0; i < schema->file_count; i++) {
    const schema_file *file = &schema->files[i];
    if (!file->generate)
      continue;
    response->file[response->n_file++] = new_file(schema->pool, file, ".grpc-c.h", emit_header);
    response->file[response->n_file++] = new_file(schema->pool, file, ".grpc-c.c", emit_source);
  }
}

static bool answer(const plugin_request *request, wire_bytes bytes) {
  plugin_response response = GOOGLE__PROTOBUF__COMPILER__CODE_GENERATOR_RESPONSE__INIT;
  gen_pool *pool = pool_new();
  gen_schema schema;
  if (schema_read(&schema, pool, request, bytes))
    generate(&schema, &response);
  else
    response.error = schema.errors.data;
  bool ok = write_response(&response);
  schema_clear(&schema);
  pool_destroy(pool);
  return ok;
}

static int run(wire_bytes bytes) {
  plugin_request *request =
      google__protobuf__compiler__code_generator_request__unpack(NULL, bytes.size, bytes.data);
  if (request == NULL)
    return plugin_no_request();
  int status = answer(request, bytes) ? EXIT_SUCCESS : EXIT_FAILURE;
  google__protobuf__compiler__code_generator_request__free_unpacked(request, NULL);
  return status;
}

int main(int argc, char **argv) {
  static const gen_plugin plugin = {.name = "protoc-gen-grpc-c", .usage = usage, .run = run};
  return plugin_main(&plugin, argc, argv);
}
