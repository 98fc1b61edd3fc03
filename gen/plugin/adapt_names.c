/* Members of structs, and constants of oneofs. protobuf-c takes them from the names of fields as
 * they are, and does not look whether two are the same in C. */
#include <string.h>

#include "gen/plugin/adapt.h"
#include "gen/plugin/naming.h"
#include "gen/plugin/words.h"

/* Field numbers of protobuf-c.proto. */
enum {
  OPTIONS_PB_C = 1019,
  PB_C_FILE_C_PACKAGE = 6,
  PB_C_MSG_BASE_FIELD_NAME = 3,
  PB_C_FIELD_STRING_AS_BYTES = 1
};

/* What has been given out in a message. */
typedef struct names_of_message {
  const adapt_file *file;
  gen_pool *pool;
  message_descriptor *message;
  name_set scope;   /* in the .proto file's sense */
  name_set members; /* of the struct in C */
  name_set constants;
} names_of_message;

name_set adapt_scope(gen_pool *pool, const message_descriptor *message) {
  name_set scope = {.pool = pool};
  for (size_t i = 0; i < message->n_field; i++)
    name_set_add(&scope, message->field[i]->name);
  for (size_t i = 0; i < message->n_extension; i++)
    name_set_add(&scope, message->extension[i]->name);
  for (size_t i = 0; i < message->n_oneof_decl; i++)
    name_set_add(&scope, message->oneof_decl[i]->name);
  for (size_t i = 0; i < message->n_nested_type; i++)
    name_set_add(&scope, message->nested_type[i]->name);
  for (size_t i = 0; i < message->n_enum_type; i++) {
    name_set_add(&scope, message->enum_type[i]->name);
    for (size_t j = 0; j < message->enum_type[i]->n_value; j++)
      name_set_add(&scope, message->enum_type[i]->value[j]->name);
  }
  return scope;
}

const char *adapt_package(gen_pool *pool, const file_descriptor *file) {
  wire_field options;
  wire_field name;
  if (file->options == NULL ||
      !wire_find_unknown(&file->options->base, OPTIONS_PB_C, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                         &options) ||
      !wire_find(options.payload, PB_C_FILE_C_PACKAGE, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, &name))
    return file->package != NULL ? file->package : "";
  return pool_copy(pool, (const char *)name.payload.data, name.payload.size);
}

/* What the struct's first member is called. */
static const char *base_name(gen_pool *pool, const message_descriptor *message) {
  wire_field options;
  wire_field name;
  if (message->options == NULL ||
      !wire_find_unknown(&message->options->base, OPTIONS_PB_C,
                         PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, &options) ||
      !wire_find(options.payload, PB_C_MSG_BASE_FIELD_NAME, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                 &name))
    return "base";
  return pool_copy(pool, (const char *)name.payload.data, name.payload.size);
}

static bool is_string(const field_descriptor *field) {
  wire_field options;
  wire_field as_bytes;
  if (!field->has_type ||
      field->type != GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_STRING)
    return false;
  return field->options == NULL ||
         !wire_find_unknown(&field->options->base, OPTIONS_PB_C,
                            PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, &options) ||
         !wire_find(options.payload, PB_C_FIELD_STRING_AS_BYTES, PROTOBUF_C_WIRE_TYPE_VARINT,
                    &as_bytes) ||
         as_bytes.value == 0;
}

/* What goes before the name of the member that stands beside the field's own; NULL if none does. */
static const char *beside(const adapt_file *file, const field_descriptor *field) {
  if (adapt_is_repeated(field))
    return "n_";
  bool required = field->has_label &&
                  field->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REQUIRED;
  if (adapt_is_proto3(file->file) || required || field->has_oneof_index ||
      adapt_is_message(field) || is_string(field))
    return NULL;
  return "has_";
}

/* The name of a oneof's constant for a field. */
static const char *case_constant(const names_of_message *names, const field_descriptor *field,
                                 const char *name) {
  size_t index = (size_t)field->oneof_index;
  if (!field->has_oneof_index || field->oneof_index < 0 || index >= names->message->n_oneof_decl)
    return NULL;
  gen_pool *pool = names->pool;
  const char *oneof = names->message->oneof_decl[index]->name;
  return pool_format(pool, "%s_%s", name_upper(pool, name_snake(pool, oneof)),
                     name_upper(pool, name_snake(pool, name)));
}

/* True for a name with two underscores in front that may be a compiler's own: all that a .proto
 * file has, and what has two at the end as well, whichever way it came by them. */
static bool is_compilers(const field_descriptor *field, const char *name) {
  size_t length = strlen(name);
  if (strncmp(name, "__", 2) != 0)
    return false;
  return name == field->name ||
         (length > 4 && strcmp(name + length - 2, "__") == 0 && name[length - 3] != '_');
}

/* Gives `name` to the field, if all that it leads to in C is free. */
static bool take_field_name(names_of_message *names, const field_descriptor *field,
                            const char *name) {
  gen_pool *pool = names->pool;
  char *member = name_lower(pool, name);
  if (word_is_renamed(member))
    member = pool_format(pool, "%s_", member);
  else if (strncmp(member, "__", 2) == 0 ? is_compilers(field, name) : word_is_reserved(member))
    return false;
  const char *prefix = beside(names->file, field);
  const char *other = prefix != NULL ? pool_format(pool, "%s%s", prefix, member) : NULL;
  const char *constant = case_constant(names, field, name);
  if (name_set_has(&names->members, member) ||
      (other != NULL && name_set_has(&names->members, other)) ||
      (constant != NULL && name_set_has(&names->constants, constant)))
    return false;
  name_set_add(&names->members, member);
  if (other != NULL)
    name_set_add(&names->members, other);
  if (constant != NULL)
    name_set_add(&names->constants, constant);
  return true;
}

static bool take_oneof_name(names_of_message *names, const char *name) {
  gen_pool *pool = names->pool;
  const char *member = pool_format(pool, "%s_case", name_snake(pool, name));
  const char *type = name_type(pool, name);
  const char *constant = pool_format(pool, "%s__NOT_SET", name_upper(pool, name_snake(pool, name)));
  if (name_set_has(&names->members, member) || name_set_has(&names->constants, constant) ||
      name_set_has(&names->constants, type))
    return false;
  name_set_add(&names->members, member);
  name_set_add(&names->constants, constant);
  name_set_add(&names->constants, type);
  return true;
}

static void rename_oneof(names_of_message *names, char **name) {
  while (!take_oneof_name(names, *name)) {
    /* Capitals do not matter to protobuf-c, but a letter more does. */
    do
      *name = pool_format(names->pool, "%sX", *name);
    while (name_set_has(&names->scope, *name));
  }
}

static void rename_field(names_of_message *names, field_descriptor *field) {
  char *name = field->name;
  do {
    do
      name = pool_format(names->pool, "%s_", name);
    while (name_set_has(&names->scope, name));
  } while (!take_field_name(names, field, name));
  field->name = name;
  name_set_add(&names->scope, name);
}

/* protobuf-c starts a union with {0}, which compilers warn of where its first member is a struct.
 */
static void note_unions(gen_adapter *adapter, const message_descriptor *message,
                        const char *full_name) {
  gen_pool *pool = adapter->pool;
  for (size_t i = 0; i < message->n_oneof_decl; i++)
    for (size_t j = 0; j < message->n_field; j++) {
      const field_descriptor *field = message->field[j];
      if (!field->has_oneof_index || field->oneof_index != (int32_t)i)
        continue;
      bool is_bytes =
          field->has_type &&
          (field->type == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_BYTES ||
           (field->type == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_STRING &&
            !is_string(field)));
      const char *oneof = pool_format(pool, "%s.%s", full_name, message->oneof_decl[i]->name);
      if (is_bytes)
        name_set_add(&adapter->bytes_first, name_upper(pool, name_type_prefix(pool, oneof)));
      break;
    }
}

void adapt_names(const adapt_file *file, message_descriptor *message, const char *full_name) {
  gen_pool *pool = file->adapter->pool;
  names_of_message names = {
      .file = file,
      .pool = pool,
      .message = message,
      .scope = adapt_scope(pool, message),
      .members = {.pool = pool},
      .constants = {.pool = pool},
  };
  name_set_add(&names.members, base_name(pool, message));
  for (size_t i = 0; i < message->n_oneof_decl; i++)
    rename_oneof(&names, &message->oneof_decl[i]->name);
  /* Whoever can keep the name keeps it. */
  bool *kept = pool_array(pool, message->n_field, sizeof *kept);
  for (size_t i = 0; i < message->n_field; i++)
    kept[i] = take_field_name(&names, message->field[i], message->field[i]->name);
  for (size_t i = 0; i < message->n_field; i++)
    if (!kept[i])
      rename_field(&names, message->field[i]);
  note_unions(file->adapter, message, full_name);
}
