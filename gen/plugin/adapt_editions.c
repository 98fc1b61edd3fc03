/* Files in editions. What a syntax decided before, features decide now: for a file, a message, a
 * field. All that edition 2023 can say can be said in proto2 or proto3 for protobuf-c, but for
 * delimited messages, and a few mixtures in one file. A file in which a field does without presence
 * becomes one in proto3, where a field with presence is `optional`; all others become proto2. */
#include <stdlib.h>
#include <string.h>

#include "gen/plugin/adapt.h"

/* Field numbers of descriptor.proto that protobuf 3.21 does not know, and values of its features.
 */
enum {
  FILE_EDITION = 14,
  FILE_OPTIONS_FEATURES = 50,
  MESSAGE_OPTIONS_FEATURES = 12,
  FIELD_OPTIONS_FEATURES = 21,
  FEATURE_FIELD_PRESENCE = 1,
  FEATURE_REPEATED_FIELD_ENCODING = 3,
  FEATURE_MESSAGE_ENCODING = 5,
  PRESENCE_IMPLICIT = 2,
  PRESENCE_LEGACY_REQUIRED = 3,
  ENCODING_PACKED = 1,
  ENCODING_DELIMITED = 2
};

/* The features that change what is on the wire. */
typedef struct edition_features {
  uint64_t presence;
  uint64_t repeated;
  uint64_t message;
} edition_features;

/* Of edition 2023. */
static const edition_features defaults = {.presence = 1, .repeated = ENCODING_PACKED, .message = 1};

typedef struct edition_file {
  adapt_file file;
  bool is_edition;
  bool to_proto3;
} edition_file;

typedef struct edition_enum {
  const char *full_name; /* ".order.v1.State" */
  const Google__Protobuf__EnumDescriptorProto *descriptor;
  edition_file *file;
} edition_enum;

typedef struct edition_request {
  gen_pool *pool;
  edition_file *files;
  size_t file_count;
  edition_enum *enums; /* sorted by name */
  size_t enum_count;
  size_t enum_capacity;
} edition_request;

/* Is called for each field of a file, extensions included. */
typedef void field_visitor(edition_request *request, edition_file *file,
                           message_descriptor *message, field_descriptor *field,
                           const edition_features *features, const gen_path *path);

static void read_feature(wire_bytes features, uint32_t number, uint64_t *value) {
  wire_field field;
  if (wire_find(features, number, PROTOBUF_C_WIRE_TYPE_VARINT, &field))
    *value = field.value;
}

/* `outer`, with what `options` say. */
static edition_features read_features(edition_features outer, const ProtobufCMessage *options,
                                      uint32_t number) {
  wire_field field;
  if (options == NULL ||
      !wire_find_unknown(options, number, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, &field))
    return outer;
  read_feature(field.payload, FEATURE_FIELD_PRESENCE, &outer.presence);
  read_feature(field.payload, FEATURE_REPEATED_FIELD_ENCODING, &outer.repeated);
  read_feature(field.payload, FEATURE_MESSAGE_ENCODING, &outer.message);
  return outer;
}

static bool is_map_entry(const message_descriptor *message) {
  return message->options != NULL && message->options->has_map_entry && message->options->map_entry;
}

static void visit_field(edition_request *request, edition_file *file, message_descriptor *message,
                        field_descriptor *field, edition_features outer, const gen_path *path,
                        field_visitor *visit) {
  const ProtobufCMessage *options = field->options != NULL ? &field->options->base : NULL;
  edition_features features = read_features(outer, options, FIELD_OPTIONS_FEATURES);
  visit(request, file, message, field, &features, path);
}

static void visit_message(edition_request *request, edition_file *file, message_descriptor *message,
                          edition_features outer, const gen_path *path, field_visitor *visit) {
  const ProtobufCMessage *options = message->options != NULL ? &message->options->base : NULL;
  edition_features features = read_features(outer, options, MESSAGE_OPTIONS_FEATURES);
  gen_path inner;
  for (size_t i = 0; i < message->n_field; i++) {
    inner = path_to(*path, MESSAGE_FIELD, i);
    visit_field(request, file, message, message->field[i], features, &inner, visit);
  }
  for (size_t i = 0; i < message->n_extension; i++) {
    inner = path_to(*path, MESSAGE_EXTENSION, i);
    visit_field(request, file, NULL, message->extension[i], features, &inner, visit);
  }
  for (size_t i = 0; i < message->n_nested_type; i++) {
    inner = path_to(*path, MESSAGE_NESTED, i);
    visit_message(request, file, message->nested_type[i], features, &inner, visit);
  }
}

static void visit_file(edition_request *request, edition_file *file, field_visitor *visit) {
  const file_descriptor *descriptor = file->file.file;
  const ProtobufCMessage *options = descriptor->options != NULL ? &descriptor->options->base : NULL;
  edition_features features = read_features(defaults, options, FILE_OPTIONS_FEATURES);
  const gen_path root = {.count = 0};
  gen_path path;
  for (size_t i = 0; i < descriptor->n_message_type; i++) {
    path = path_to(root, FILE_MESSAGE, i);
    visit_message(request, file, descriptor->message_type[i], features, &path, visit);
  }
  for (size_t i = 0; i < descriptor->n_extension; i++) {
    path = path_to(root, FILE_EXTENSION, i);
    visit_field(request, file, NULL, descriptor->extension[i], features, &path, visit);
  }
}

/* --- Enums, by name --- */

static void note_enum(edition_request *request, edition_file *file, const char *scope,
                      const Google__Protobuf__EnumDescriptorProto *descriptor) {
  if (request->enum_count == request->enum_capacity) {
    size_t capacity = request->enum_capacity == 0 ? 64 : 2 * request->enum_capacity;
    edition_enum *enums = pool_array(request->pool, capacity, sizeof *enums);
    if (request->enum_count > 0)
      memcpy(enums, request->enums, request->enum_count * sizeof *enums);
    request->enums = enums;
    request->enum_capacity = capacity;
  }
  request->enums[request->enum_count++] = (edition_enum){
      .full_name = pool_format(request->pool, "%s.%s", scope,
                               descriptor->name != NULL ? descriptor->name : ""),
      .descriptor = descriptor,
      .file = file,
  };
}

static void note_enums_of_message(edition_request *request, edition_file *file, const char *scope,
                                  const message_descriptor *message) {
  const char *full_name = pool_format(request->pool, "%s.%s", scope, message->name);
  for (size_t i = 0; i < message->n_enum_type; i++)
    note_enum(request, file, full_name, message->enum_type[i]);
  for (size_t i = 0; i < message->n_nested_type; i++)
    note_enums_of_message(request, file, full_name, message->nested_type[i]);
}

static void note_enums(edition_request *request, edition_file *file) {
  const file_descriptor *descriptor = file->file.file;
  bool has_package = descriptor->package != NULL && *descriptor->package != '\0';
  const char *scope = has_package ? pool_format(request->pool, ".%s", descriptor->package) : "";
  for (size_t i = 0; i < descriptor->n_enum_type; i++)
    note_enum(request, file, scope, descriptor->enum_type[i]);
  for (size_t i = 0; i < descriptor->n_message_type; i++)
    note_enums_of_message(request, file, scope, descriptor->message_type[i]);
}

static int compare_enums(const void *one, const void *other) {
  const edition_enum *left = one;
  const edition_enum *right = other;
  return strcmp(left->full_name, right->full_name);
}

/* The enum that the field is of; NULL if it is of none. */
static const edition_enum *find_enum(const edition_request *request,
                                     const field_descriptor *field) {
  if (!field->has_type ||
      field->type != GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_ENUM ||
      field->type_name == NULL || request->enum_count == 0)
    return NULL;
  edition_enum key = {.full_name = field->type_name};
  return bsearch(&key, request->enums, request->enum_count, sizeof key, compare_enums);
}

/* --- Which syntax --- */

/* True for a field whose features say whether it has presence. */
static bool has_choice(const message_descriptor *message, const field_descriptor *field) {
  return message != NULL && !is_map_entry(message) && !adapt_is_repeated(field) &&
         !field->has_oneof_index;
}

static void find_implicit(edition_request *request, edition_file *file, message_descriptor *message,
                          field_descriptor *field, const edition_features *features,
                          const gen_path *path) {
  (void)request;
  (void)path;
  if (has_choice(message, field) && !adapt_is_message(field) &&
      features->presence == PRESENCE_IMPLICIT)
    file->to_proto3 = true;
}

/* Messages in proto3 have no enums of proto2. */
static void find_used_enum(edition_request *request, edition_file *file,
                           message_descriptor *message, field_descriptor *field,
                           const edition_features *features, const gen_path *path) {
  (void)file;
  (void)features;
  (void)path;
  const edition_enum *used = message != NULL ? find_enum(request, field) : NULL;
  if (used != NULL && used->file->is_edition)
    used->file->to_proto3 = true;
}

static size_t count_proto3(const edition_request *request) {
  size_t count = 0;
  for (size_t i = 0; i < request->file_count; i++)
    count += request->files[i].to_proto3;
  return count;
}

static void choose_syntax(edition_request *request) {
  for (size_t i = 0; i < request->file_count; i++)
    if (request->files[i].is_edition)
      visit_file(request, &request->files[i], find_implicit);
  size_t before;
  do {
    before = count_proto3(request);
    for (size_t i = 0; i < request->file_count; i++)
      if (request->files[i].to_proto3 || adapt_is_proto3(request->files[i].file.file))
        visit_file(request, &request->files[i], find_used_enum);
  } while (count_proto3(request) > before);
}

/* --- The change itself --- */

/* Maps are never delimited. */
static bool is_map(const message_descriptor *message, const field_descriptor *field) {
  if (message == NULL || field->type_name == NULL)
    return false;
  const char *dot = strrchr(field->type_name, '.');
  for (size_t i = 0; dot != NULL && i < message->n_nested_type; i++)
    if (is_map_entry(message->nested_type[i]) &&
        strcmp(message->nested_type[i]->name, dot + 1) == 0)
      return true;
  return false;
}

static bool is_packable(const field_descriptor *field) {
  return field->has_type &&
         field->type != GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_STRING &&
         field->type != GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_BYTES &&
         !adapt_is_message(field);
}

static void set_packed(edition_request *request, field_descriptor *field, bool packed) {
  if (field->options == NULL) {
    field->options = pool_alloc(request->pool, sizeof *field->options);
    google__protobuf__field_options__init(field->options);
  }
  field->options->has_packed = true;
  field->options->packed = packed;
}

static const char proto3_reason[] = "which cannot be beside fields without presence "
                                    "(features.field_presence = IMPLICIT), here or in "
                                    "a file that uses this one's enums";

static void change_to_proto3(edition_request *request, const edition_file *file,
                             message_descriptor *message, field_descriptor *field,
                             const edition_features *features, const gen_path *path) {
  if (message == NULL)
    return;
  const edition_enum *used = find_enum(request, field);
  if (used != NULL && !used->file->to_proto3 && !adapt_is_proto3(used->file->file.file))
    adapt_fail(&file->file, path,
               "field \"%s\" is of an enum of a proto2 file, which cannot be beside fields without "
               "presence (features.field_presence = IMPLICIT)",
               field->name);
  if (field->default_value != NULL)
    adapt_fail(&file->file, path, "field \"%s\" has a default value, %s", field->name,
               proto3_reason);
  if (!has_choice(message, field))
    return;
  if (features->presence == PRESENCE_LEGACY_REQUIRED)
    adapt_fail(&file->file, path, "field \"%s\" is required, %s", field->name, proto3_reason);
  else if (features->presence != PRESENCE_IMPLICIT && !adapt_is_message(field))
    adapt_add_optional(file->file.adapter, message, field);
}

static void change_field(edition_request *request, edition_file *file, message_descriptor *message,
                         field_descriptor *field, const edition_features *features,
                         const gen_path *path) {
  bool of_map = is_map(message, field) || (message != NULL && is_map_entry(message));
  if (features->message == ENCODING_DELIMITED && adapt_is_message(field) && !of_map)
    adapt_fail(&file->file, path,
               "field \"%s\" is delimited (features.message_encoding), which protobuf-c does not "
               "support",
               field->name);
  if (adapt_is_repeated(field) && is_packable(field))
    set_packed(request, field, features->repeated == ENCODING_PACKED);
  if (file->to_proto3)
    change_to_proto3(request, file, message, field, features, path);
  else if (has_choice(message, field) && features->presence == PRESENCE_LEGACY_REQUIRED) {
    field->has_label = true;
    field->label = GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REQUIRED;
  }
}

static void drop_extensions(message_descriptor *message) {
  message->n_extension = 0;
  message->n_extension_range = 0;
  for (size_t i = 0; i < message->n_nested_type; i++)
    drop_extensions(message->nested_type[i]);
}

static void check_enums(const edition_request *request) {
  for (size_t i = 0; i < request->enum_count; i++) {
    const edition_enum *enumeration = &request->enums[i];
    if (enumeration->file->to_proto3 && enumeration->descriptor->n_value > 0 &&
        enumeration->descriptor->value[0]->number != 0)
      adapt_fail(&enumeration->file->file, NULL, "enum \"%s\" does not begin with 0, %s",
                 enumeration->full_name + 1, proto3_reason);
  }
}

static void change_file(edition_request *request, edition_file *file) {
  static char proto2[] = "proto2";
  static char proto3[] = "proto3";
  file_descriptor *descriptor = file->file.file;
  visit_file(request, file, change_field);
  descriptor->syntax = file->to_proto3 ? proto3 : proto2;
  if (!file->to_proto3)
    return;
  descriptor->n_extension = 0; /* protobuf-c writes nothing for them, and proto3 has none */
  for (size_t i = 0; i < descriptor->n_message_type; i++)
    drop_extensions(descriptor->message_type[i]);
}

static bool is_edition(const adapt_file *file) {
  wire_field edition;
  if (file->file->syntax == NULL || strcmp(file->file->syntax, "editions") != 0)
    return false;
  if (wire_find_unknown(&file->file->base, FILE_EDITION, PROTOBUF_C_WIRE_TYPE_VARINT, &edition) &&
      edition.value == EDITION_2023)
    return true;
  adapt_fail(file, NULL, "its edition is not 2023, the only one that is supported");
  return false;
}

void adapt_editions(gen_adapter *adapter) {
  const plugin_request *protoc = adapter->request;
  edition_request request = {.pool = adapter->pool, .file_count = protoc->n_proto_file};
  request.files = pool_array(adapter->pool, request.file_count, sizeof *request.files);
  bool any = false;
  for (size_t i = 0; i < request.file_count; i++) {
    edition_file *file = &request.files[i];
    file->file = (adapt_file){adapter, protoc->proto_file[i], adapter->generate[i]};
    file->is_edition = is_edition(&file->file);
    any |= file->is_edition;
  }
  if (!any)
    return;
  for (size_t i = 0; i < request.file_count; i++)
    note_enums(&request, &request.files[i]);
  if (request.enum_count > 0)
    qsort(request.enums, request.enum_count, sizeof *request.enums, compare_enums);
  choose_syntax(&request);
  check_enums(&request);
  for (size_t i = 0; i < request.file_count; i++)
    if (request.files[i].is_edition)
      change_file(&request, &request.files[i]);
}
