/* Goes through a request file by file, message by message. */
#include "gen/plugin/adapt.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* supported_features, minimum_edition, maximum_edition. */
const uint8_t adapt_features[ADAPT_FEATURES_BYTES] = {2 << 3,
                                                      3,
                                                      3 << 3,
                                                      0x80 | (EDITION_PROTO2 & 0x7f),
                                                      EDITION_PROTO2 >> 7,
                                                      4 << 3,
                                                      0x80 | (EDITION_2023 & 0x7f),
                                                      EDITION_2023 >> 7};

void adapt_fail(const adapt_file *file, const gen_path *path, const char *format, ...) {
  if (!file->generate)
    return;
  va_list arguments;
  va_start(arguments, format);
  char message[1024];
  (void)vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  gen_text *errors = &file->adapter->errors;
  text_format(errors, "%s%s: %s", errors->length > 0 ? "\n" : "",
              place_format(file->adapter->pool, file->file, path), message);
}

bool adapt_is_proto3(const file_descriptor *file) {
  return file->syntax != NULL && strcmp(file->syntax, "proto3") == 0;
}

bool adapt_is_repeated(const field_descriptor *field) {
  return field->has_label &&
         field->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED;
}

bool adapt_is_message(const field_descriptor *field) {
  return field->has_type &&
         (field->type == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_MESSAGE ||
          field->type == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_GROUP);
}

static void *allocate(void *pool, size_t bytes) {
  return pool_alloc(pool, bytes);
}

static void leave_to_pool(void *pool, void *memory) {
  (void)pool;
  (void)memory;
}

/* Names that are missing are empty, which protobuf-c's plugin refuses as well. */
static char *or_empty(char *name) {
  static char empty[] = "";
  return name != NULL ? name : empty;
}

static void name_all(message_descriptor *message) {
  message->name = or_empty(message->name);
  for (size_t i = 0; i < message->n_field; i++)
    message->field[i]->name = or_empty(message->field[i]->name);
  for (size_t i = 0; i < message->n_extension; i++)
    message->extension[i]->name = or_empty(message->extension[i]->name);
  for (size_t i = 0; i < message->n_oneof_decl; i++)
    message->oneof_decl[i]->name = or_empty(message->oneof_decl[i]->name);
  for (size_t i = 0; i < message->n_enum_type; i++) {
    Google__Protobuf__EnumDescriptorProto *enumeration = message->enum_type[i];
    enumeration->name = or_empty(enumeration->name);
    for (size_t j = 0; j < enumeration->n_value; j++)
      enumeration->value[j]->name = or_empty(enumeration->value[j]->name);
  }
  for (size_t i = 0; i < message->n_nested_type; i++)
    name_all(message->nested_type[i]);
}

static void adapt_field(const adapt_file *file, field_descriptor *field, const gen_path *path) {
  if (field->has_type && field->type == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_GROUP)
    adapt_fail(file, path, "field \"%s\" is a group, which protobuf-c does not support",
               field->name);
  adapt_default(file, field, path);
}

static void adapt_message(const adapt_file *file, message_descriptor *message, const char *scope,
                          const gen_path *path) {
  const char *full_name = pool_format(file->adapter->pool, "%s.%s", scope, message->name);
  gen_path inner;
  for (size_t i = 0; i < message->n_field; i++) {
    inner = path_to(*path, MESSAGE_FIELD, i);
    adapt_field(file, message->field[i], &inner);
  }
  for (size_t i = 0; i < message->n_extension; i++) {
    inner = path_to(*path, MESSAGE_EXTENSION, i);
    adapt_field(file, message->extension[i], &inner);
  }
  adapt_optional(file->adapter, message);
  adapt_names(file, message, full_name);
  for (size_t i = 0; i < message->n_nested_type; i++) {
    inner = path_to(*path, MESSAGE_NESTED, i);
    adapt_message(file, message->nested_type[i], full_name, &inner);
  }
}

/* protobuf-c copies comments. */
static void adapt_comment(gen_adapter *adapter, char **comment) {
  if (*comment == NULL)
    return;
  gen_text clean = {0};
  text_clean_comment(&clean, *comment);
  *comment = pool_copy(adapter->pool, clean.data, clean.length);
  text_clear(&clean);
}

static void adapt_comments(const adapt_file *file) {
  const Google__Protobuf__SourceCodeInfo *source = file->file->source_code_info;
  for (size_t i = 0; source != NULL && i < source->n_location; i++) {
    adapt_comment(file->adapter, &source->location[i]->leading_comments);
    adapt_comment(file->adapter, &source->location[i]->trailing_comments);
  }
}

static void adapt_one_file(const adapt_file *file) {
  const gen_path root = {.count = 0};
  const char *package = adapt_package(file->adapter->pool, file->file);
  gen_path path;
  for (size_t i = 0; i < file->file->n_message_type; i++) {
    path = path_to(root, FILE_MESSAGE, i);
    adapt_message(file, file->file->message_type[i], package, &path);
  }
  for (size_t i = 0; i < file->file->n_extension; i++) {
    path = path_to(root, FILE_EXTENSION, i);
    file->file->extension[i]->name = or_empty(file->file->extension[i]->name);
    adapt_field(file, file->file->extension[i], &path);
  }
  adapt_comments(file);
}

static void prepare(gen_adapter *adapter) {
  const plugin_request *request = adapter->request;
  adapter->generate = pool_array(adapter->pool, request->n_proto_file, sizeof *adapter->generate);
  for (size_t i = 0; i < request->n_proto_file; i++) {
    file_descriptor *file = request->proto_file[i];
    file->name = or_empty(file->name);
    for (size_t j = 0; j < request->n_file_to_generate; j++)
      adapter->generate[i] |= strcmp(request->file_to_generate[j], file->name) == 0;
    for (size_t j = 0; j < file->n_message_type; j++)
      name_all(file->message_type[j]);
  }
}

bool adapt_request(gen_adapter *adapter, gen_pool *pool, wire_bytes bytes) {
  ProtobufCAllocator allocator = {allocate, leave_to_pool, pool};
  *adapter = (gen_adapter){.pool = pool, .bytes_first = {.pool = pool}};
  adapter->request = google__protobuf__compiler__code_generator_request__unpack(
      &allocator, bytes.size, bytes.data);
  if (adapter->request == NULL)
    return false;
  prepare(adapter);
  adapt_editions(adapter);
  for (size_t i = 0; i < adapter->request->n_proto_file; i++) {
    const adapt_file file = {
        .adapter = adapter,
        .file = adapter->request->proto_file[i],
        .generate = adapter->generate[i],
    };
    adapt_one_file(&file);
  }
  return adapter->errors.length == 0;
}

void adapt_clear(gen_adapter *adapter) {
  text_clear(&adapter->errors);
}
