/* Reads a request file by file; finds places and comments; keeps the table of names. */
#include "gen/protoc-gen-grpc-c/schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen/plugin/naming.h"

/* Field numbers of descriptor.proto, protobuf-c.proto and plugin.proto that are read as bytes. */
enum {
  REQUEST_PROTO_FILE = 15,
  FILE_OPTIONS = 8,
  FILE_OPTIONS_PB_C_FILE = 1019,
  PB_C_FILE_NO_GENERATE = 1,
  PB_C_FILE_C_PACKAGE = 6
};

const char *schema_place(const gen_schema *schema, const schema_file *file, const gen_path *path) {
  return place_format(schema->pool, file->descriptor, path);
}

const char *schema_comment(const schema_file *file, const gen_path *path) {
  const Google__Protobuf__SourceCodeInfo__Location *location = place_find(file->descriptor, path);
  return location == NULL ? NULL : location->leading_comments;
}

bool schema_fail(gen_schema *schema, const char *place, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char message[1024];
  (void)vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  text_format(&schema->errors, "%s%s: %s", schema->errors.length > 0 ? "\n" : "", place, message);
  return false;
}

void schema_claim_name(gen_schema *schema, const char *name, const char *owner, const char *place) {
  if (schema->claim_count == schema->claim_capacity) {
    size_t capacity = schema->claim_capacity == 0 ? 64 : 2 * schema->claim_capacity;
    schema_claim *claims = pool_array(schema->pool, capacity, sizeof *claims);
    if (schema->claim_count > 0)
      memcpy(claims, schema->claims, schema->claim_count * sizeof *claims);
    schema->claims = claims;
    schema->claim_capacity = capacity;
  }
  schema->claims[schema->claim_count] = (schema_claim){name, owner, place, schema->claim_count};
  schema->claim_count++;
}

static int compare_claims(const void *one, const void *other) {
  const schema_claim *left = one;
  const schema_claim *right = other;
  int order = strcmp(left->name, right->name);
  return order != 0 ? order : (left->order > right->order) - (left->order < right->order);
}

bool schema_check_claims(gen_schema *schema) {
  bool ok = true;
  if (schema->claim_count > 0)
    qsort(schema->claims, schema->claim_count, sizeof *schema->claims, compare_claims);
  const schema_claim *first = NULL;
  for (size_t i = 0; i < schema->claim_count; i++) {
    const schema_claim *claim = &schema->claims[i];
    if (first == NULL || strcmp(first->name, claim->name) != 0)
      first = claim;
    else
      ok = schema_fail(schema, claim->place, "%s needs the name %s in C, which %s (%s) has already",
                       claim->owner, claim->name, first->owner, first->place);
  }
  return ok;
}

static schema_file *find_file(const gen_schema *schema, const char *name) {
  for (size_t i = 0; i < schema->file_count; i++)
    if (schema->files[i].name != NULL && strcmp(schema->files[i].name, name) == 0)
      return &schema->files[i];
  return NULL;
}

static int compare_messages(const void *one, const void *other) {
  const schema_message *left = one;
  const schema_message *right = other;
  return strcmp(left->full_name, right->full_name);
}

const schema_message *schema_find_message(const gen_schema *schema, const char *type_name) {
  schema_message key = {.full_name = type_name + (*type_name == '.')};
  if (schema->message_count == 0)
    return NULL;
  return bsearch(&key, schema->messages, schema->message_count, sizeof key, compare_messages);
}

/* The options that tell protobuf-c how to name a file's messages, and whether to write them at all.
 */
static bool read_protobuf_c_options(gen_schema *schema, schema_file *file) {
  wire_field field;
  if (!wire_find(file->bytes, FILE_OPTIONS, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, &field) ||
      !wire_find(field.payload, FILE_OPTIONS_PB_C_FILE, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                 &field))
    return true;
  wire_bytes options = field.payload;
  if (wire_find(options, PB_C_FILE_NO_GENERATE, PROTOBUF_C_WIRE_TYPE_VARINT, &field))
    file->has_messages_in_c = field.value == 0;
  if (wire_find(options, PB_C_FILE_C_PACKAGE, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, &field)) {
    file->c_package = pool_copy(schema->pool, (const char *)field.payload.data, field.payload.size);
    if (!name_is_full_name(file->c_package))
      return schema_fail(schema, file->name, "option (pb_c_file).c_package is no package name");
  }
  return true;
}

static bool read_dependencies(gen_schema *schema, schema_file *file) {
  const Google__Protobuf__FileDescriptorProto *descriptor = file->descriptor;
  bool ok = true;
  file->dependencies =
      pool_array(schema->pool, descriptor->n_dependency, sizeof(const schema_file *));
  for (size_t i = 0; i < descriptor->n_dependency; i++) {
    const schema_file *dependency = find_file(schema, descriptor->dependency[i]);
    if (dependency != NULL) {
      file->dependencies[file->dependency_count++] = dependency;
      continue;
    }
    gen_path path = path_to((gen_path){0}, FILE_DEPENDENCY, i);
    ok = schema_fail(schema, schema_place(schema, file, &path),
                     "imports \"%s\", which is not in the request", descriptor->dependency[i]);
  }
  return ok;
}

static bool read_file(gen_schema *schema, schema_file *file,
                      const Google__Protobuf__FileDescriptorProto *descriptor, wire_bytes bytes) {
  file->descriptor = descriptor;
  file->bytes = bytes;
  file->name = descriptor->name != NULL ? descriptor->name : "";
  file->package = descriptor->package != NULL ? descriptor->package : "";
  file->c_package = file->package;
  file->has_messages_in_c = true;
  if (!name_is_path(file->name))
    return schema_fail(schema, file->name, "the file's name cannot stand in an #include");
  file->base = name_base(schema->pool, file->name);
  file->identifier = name_file(schema->pool, file->name);
  if (*file->package != '\0' && !name_is_full_name(file->package))
    return schema_fail(schema, file->name, "\"%s\" is no package name", file->package);
  if (descriptor->syntax != NULL && strcmp(descriptor->syntax, "proto2") != 0 &&
      strcmp(descriptor->syntax, "proto3") != 0 && strcmp(descriptor->syntax, "editions") != 0)
    return schema_fail(schema, file->name, "its syntax is \"%s\", which is not supported",
                       descriptor->syntax);
  schema_claim_name(schema, pool_format(schema->pool, "%s_file", file->identifier),
                    pool_format(schema->pool, "file \"%s\"", file->name), file->name);
  return read_protobuf_c_options(schema, file) && schema_read_types(schema, file);
}

static bool read_files(gen_schema *schema,
                       const Google__Protobuf__Compiler__CodeGeneratorRequest *request,
                       wire_bytes bytes) {
  bool ok = true;
  schema->files = pool_array(schema->pool, request->n_proto_file, sizeof *schema->files);
  schema->file_count = request->n_proto_file;
  wire_field field;
  for (size_t i = 0; i < request->n_proto_file && wire_next(&bytes, &field);) {
    if (field.number != REQUEST_PROTO_FILE || field.type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
      continue;
    const Google__Protobuf__FileDescriptorProto *descriptor = request->proto_file[i];
    schema_file *file = &schema->files[i++];
    for (size_t j = 0; j < request->n_file_to_generate; j++)
      file->generate |=
          descriptor->name != NULL && strcmp(descriptor->name, request->file_to_generate[j]) == 0;
    ok &= read_file(schema, file, descriptor, field.payload);
  }
  return ok;
}

/* Has the request adapted for protobuf-c as protoc-gen-c-messages has: what cannot be is an error
 * here as well, and the names are what they will be. */
static bool claim_messages(gen_schema *schema, wire_bytes bytes) {
  gen_adapter adapter;
  bool ok = adapt_request(&adapter, schema->pool, bytes);
  if (adapter.errors.length > 0)
    text_format(&schema->errors, "%s%s", schema->errors.length > 0 ? "\n" : "",
                adapter.errors.data);
  for (size_t i = 0; ok && i < schema->file_count; i++)
    if (schema->files[i].has_messages_in_c)
      ok &= schema_claim_messages(schema, &schema->files[i], adapter.request->proto_file[i]);
  adapt_clear(&adapter);
  return ok;
}

bool schema_read(gen_schema *schema, gen_pool *pool,
                 const Google__Protobuf__Compiler__CodeGeneratorRequest *request,
                 wire_bytes bytes) {
  *schema = (gen_schema){.pool = pool};
  bool ok = true;
  if (request->parameter != NULL && *request->parameter != '\0') {
    text_format(&schema->errors, "unknown option \"%s\": protoc-gen-grpc-c takes none",
                request->parameter);
    return false;
  }
  if (!read_files(schema, request, bytes))
    return false;
  if (schema->message_count > 0)
    qsort(schema->messages, schema->message_count, sizeof *schema->messages, compare_messages);
  for (size_t i = 0; i < request->n_file_to_generate; i++)
    if (find_file(schema, request->file_to_generate[i]) == NULL)
      ok = schema_fail(schema, request->file_to_generate[i],
                       "is to be generated, but is not in the request");
  ok &= claim_messages(schema, bytes);
  for (size_t i = 0; i < schema->file_count; i++)
    if (schema->files[i].generate)
      ok &= read_dependencies(schema, &schema->files[i]) &&
            schema_read_services(schema, &schema->files[i]);
  return ok && schema_check_claims(schema);
}

void schema_clear(gen_schema *schema) {
  text_clear(&schema->errors);
}
