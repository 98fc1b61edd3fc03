/* Messages and enums of a file, and all names that it defines. */
#include <string.h>

#include "gen/plugin/naming.h"
#include "gen/protoc-gen-grpc-c/schema.h"

typedef struct types_reader {
  gen_schema *schema;
  schema_file *file;
  size_t symbol_capacity;
  bool ok;
} types_reader;

static void fail(types_reader *reader, const gen_path *path, const char *message) {
  reader->ok =
      schema_fail(reader->schema, schema_place(reader->schema, reader->file, path), "%s", message);
}

/* Notes the full name of something in `scope` and returns it; NULL, after an error, if the name is
 * none. */
static const char *add_symbol(types_reader *reader, const char *scope, const char *name,
                              const gen_path *path) {
  schema_file *file = reader->file;
  if (name == NULL || !name_is_identifier(name)) {
    fail(reader, path,
         pool_format(reader->schema->pool, "\"%s\" is no name", name != NULL ? name : ""));
    return NULL;
  }
  if (file->symbol_count == reader->symbol_capacity) {
    size_t capacity = reader->symbol_capacity == 0 ? 64 : 2 * reader->symbol_capacity;
    const char **symbols = pool_array(reader->schema->pool, capacity, sizeof *symbols);
    if (file->symbol_count > 0)
      memcpy(symbols, file->symbols, file->symbol_count * sizeof *symbols);
    file->symbols = symbols;
    reader->symbol_capacity = capacity;
  }
  const char *full_name =
      pool_format(reader->schema->pool, "%s%s%s", scope, *scope == '\0' ? "" : ".", name);
  file->symbols[file->symbol_count++] = full_name;
  return full_name;
}

/* protobuf-c writes functions for messages of the file, not for those nested in others. */
static void add_message(types_reader *reader, const char *full_name, bool nested) {
  gen_schema *schema = reader->schema;
  const schema_file *file = reader->file;
  if (schema->message_count == schema->message_capacity) {
    size_t capacity = schema->message_capacity == 0 ? 64 : 2 * schema->message_capacity;
    schema_message *messages = pool_array(schema->pool, capacity, sizeof *messages);
    if (schema->message_count > 0)
      memcpy(messages, schema->messages, schema->message_count * sizeof *messages);
    schema->messages = messages;
    schema->message_capacity = capacity;
  }
  const char *in_package = full_name + strlen(file->package);
  const char *c_name = pool_format(schema->pool, "%s.%s", file->c_package, in_package);
  const char *prefix = name_type_prefix(schema->pool, c_name);
  schema->messages[schema->message_count++] = (schema_message){
      .full_name = full_name,
      .type = name_type(schema->pool, c_name),
      .prefix = prefix,
      .free = nested ? "protobuf_c_message_free_unpacked((ProtobufCMessage *)"
                     : pool_format(schema->pool, "%s__free_unpacked(", prefix),
      .file = file,
  };
}

static void read_enum(types_reader *reader, const char *scope,
                      const Google__Protobuf__EnumDescriptorProto *enumeration,
                      const gen_path *path) {
  add_symbol(reader, scope, enumeration->name, path);
  for (size_t i = 0; i < enumeration->n_value; i++) { /* beside the enum, not in it, as in C++ */
    gen_path value = path_to(*path, ENUM_VALUE, i);
    add_symbol(reader, scope, enumeration->value[i]->name, &value);
  }
}

static void read_message(types_reader *reader, const char *scope,
                         const Google__Protobuf__DescriptorProto *message, const gen_path *path) {
  const char *full_name = add_symbol(reader, scope, message->name, path);
  if (full_name == NULL)
    return;
  add_message(reader, full_name, path->count > 2);
  gen_path inner;
  for (size_t i = 0; i < message->n_field; i++) {
    inner = path_to(*path, MESSAGE_FIELD, i);
    add_symbol(reader, full_name, message->field[i]->name, &inner);
  }
  for (size_t i = 0; i < message->n_oneof_decl; i++) {
    inner = path_to(*path, MESSAGE_ONEOF, i);
    add_symbol(reader, full_name, message->oneof_decl[i]->name, &inner);
  }
  for (size_t i = 0; i < message->n_nested_type; i++) {
    inner = path_to(*path, MESSAGE_NESTED, i);
    read_message(reader, full_name, message->nested_type[i], &inner);
  }
  for (size_t i = 0; i < message->n_enum_type; i++) {
    inner = path_to(*path, MESSAGE_ENUM, i);
    read_enum(reader, full_name, message->enum_type[i], &inner);
  }
  for (size_t i = 0; i < message->n_extension; i++) {
    inner = path_to(*path, MESSAGE_EXTENSION, i);
    add_symbol(reader, full_name, message->extension[i]->name, &inner);
  }
}

static void read_service_names(types_reader *reader,
                               const Google__Protobuf__ServiceDescriptorProto *service,
                               const gen_path *path) {
  const char *full_name = add_symbol(reader, reader->file->package, service->name, path);
  if (full_name == NULL)
    return;
  for (size_t i = 0; i < service->n_method; i++) {
    gen_path method = path_to(*path, SERVICE_METHOD, i);
    add_symbol(reader, full_name, service->method[i]->name, &method);
  }
}

bool schema_read_types(gen_schema *schema, schema_file *file) {
  types_reader reader = {.schema = schema, .file = file, .ok = true};
  const Google__Protobuf__FileDescriptorProto *descriptor = file->descriptor;
  const gen_path root = {.count = 0};
  gen_path path;
  for (size_t i = 0; i < descriptor->n_message_type; i++) {
    path = path_to(root, FILE_MESSAGE, i);
    read_message(&reader, file->package, descriptor->message_type[i], &path);
  }
  for (size_t i = 0; i < descriptor->n_enum_type; i++) {
    path = path_to(root, FILE_ENUM, i);
    read_enum(&reader, file->package, descriptor->enum_type[i], &path);
  }
  for (size_t i = 0; i < descriptor->n_extension; i++) {
    path = path_to(root, FILE_EXTENSION, i);
    add_symbol(&reader, file->package, descriptor->extension[i]->name, &path);
  }
  for (size_t i = 0; i < descriptor->n_service; i++) {
    path = path_to(root, FILE_SERVICE, i);
    read_service_names(&reader, descriptor->service[i], &path);
  }
  return reader.ok;
}
