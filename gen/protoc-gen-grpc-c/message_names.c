/* Claims the names that protobuf-c gives to messages, enums and oneofs, so that two of them that
 * are one in C are an error that says where. */
#include "gen/plugin/naming.h"
#include "gen/plugin/words.h"
#include "gen/protoc-gen-grpc-c/schema.h"

#include <string.h>

/* Characters in a string literal that every compiler must take. */
enum { LITERAL_MAX = 4095 };

typedef struct names_reader {
  gen_schema *schema;
  const schema_file *file;
  bool ok;
} names_reader;

/* A message, an enum or a oneof. */
typedef struct named_type {
  const char *full_name;
  const char *type;
  const char *prefix;
  const char *constants; /* the prefix, in capitals */
  const char *owner;
  const char *place;
} named_type;

static void claim(const names_reader *reader, const named_type *type, const char *name) {
  schema_claim_name(reader->schema, name, type->owner, type->place);
}

static void claim_after(const names_reader *reader, const named_type *type, const char *stem,
                        const char *suffix) {
  claim(reader, type, pool_format(reader->schema->pool, "%s%s", stem, suffix));
}

static named_type name_one(const names_reader *reader, const char *kind, const char *scope,
                           const char *name, const gen_path *path) {
  gen_pool *pool = reader->schema->pool;
  const schema_file *file = reader->file;
  const char *full_name = pool_format(pool, "%s%s%s", scope, *scope == '\0' ? "" : ".", name);
  const char *c_name =
      pool_format(pool, "%s.%s", file->c_package, full_name + strlen(file->package));
  named_type type = {
      .full_name = full_name,
      .type = name_type(pool, c_name),
      .prefix = name_type_prefix(pool, c_name),
      .owner = pool_format(pool, "%s \"%s\"", kind, name),
      .place = schema_place(reader->schema, file, path),
  };
  type.constants = name_upper(pool, type.prefix);
  return type;
}

/* Claims the type's own name, if it can be one. */
static void claim_type(names_reader *reader, const named_type *type, bool is_enum) {
  gen_schema *schema = reader->schema;
  if (strlen(type->full_name) > LITERAL_MAX)
    reader->ok = schema_fail(schema, type->place,
                             "%.100s…\" has a full name longer than %d bytes, "
                             "which is too long for C",
                             type->owner, LITERAL_MAX);
  else if (!name_is_identifier(type->type))
    reader->ok = schema_fail(schema, type->place, "%s would be \"%s\" in C, which is no name",
                             type->owner, type->type);
  else if (word_is_reserved_type(type->type) || (is_enum && word_is_reserved_tag(type->type)))
    reader->ok = schema_fail(schema, type->place,
                             "%s would be %s in C, which is something else there; in a package, it "
                             "would have that in front",
                             type->owner, type->type);
  else
    claim(reader, type, type->type);
}

static void claim_enum(names_reader *reader, const char *scope,
                       const Google__Protobuf__EnumDescriptorProto *enumeration,
                       const gen_path *path) {
  named_type type = name_one(reader, "enum", scope, enumeration->name, path);
  claim_type(reader, &type, true);
  claim_after(reader, &type, type.prefix, "__descriptor");
  claim(reader, &type, pool_format(reader->schema->pool, "_%s", type.constants));
  for (size_t i = 0; i < enumeration->n_value; i++)
    claim(reader, &type,
          pool_format(reader->schema->pool, "%s__%s", type.constants, enumeration->value[i]->name));
}

static void claim_oneof(names_reader *reader, const named_type *message,
                        const message_descriptor *descriptor, size_t index, const gen_path *path) {
  gen_pool *pool = reader->schema->pool;
  named_type type =
      name_one(reader, "oneof", message->full_name, descriptor->oneof_decl[index]->name, path);
  claim_after(reader, &type, type.type, "Case");
  claim_after(reader, &type, type.constants, "__NOT_SET");
  claim(reader, &type, pool_format(pool, "_%s__CASE", type.constants));
  for (size_t i = 0; i < descriptor->n_field; i++) {
    const field_descriptor *field = descriptor->field[i];
    if (field->has_oneof_index && (size_t)field->oneof_index == index)
      claim(reader, &type,
            pool_format(pool, "%s_%s", type.constants,
                        name_upper(pool, name_snake(pool, field->name))));
  }
}

static void claim_message(names_reader *reader, const char *scope,
                          const message_descriptor *message, const gen_path *path) {
  static const char *const functions[] = {
      "__init", "__get_packed_size", "__pack", "__pack_to_buffer", "__unpack", "__free_unpacked",
  };
  named_type type = name_one(reader, "message", scope, message->name, path);
  claim_type(reader, &type, false);
  claim_after(reader, &type, type.prefix, "__descriptor");
  claim_after(reader, &type, type.constants, "__INIT");
  bool nested = path->count > 2;
  for (size_t i = 0; i < (nested ? 1 : sizeof functions / sizeof *functions); i++)
    claim_after(reader, &type, type.prefix, functions[i]);
  gen_path inner;
  for (size_t i = 0; i < message->n_oneof_decl; i++) {
    inner = path_to(*path, MESSAGE_ONEOF, i);
    claim_oneof(reader, &type, message, i, &inner);
  }
  for (size_t i = 0; i < message->n_nested_type; i++) {
    inner = path_to(*path, MESSAGE_NESTED, i);
    claim_message(reader, type.full_name, message->nested_type[i], &inner);
  }
  for (size_t i = 0; i < message->n_enum_type; i++) {
    inner = path_to(*path, MESSAGE_ENUM, i);
    claim_enum(reader, type.full_name, message->enum_type[i], &inner);
  }
}

bool schema_claim_messages(gen_schema *schema, const schema_file *file,
                           const file_descriptor *adapted) {
  names_reader reader = {.schema = schema, .file = file, .ok = true};
  const gen_path root = {.count = 0};
  gen_path path;
  for (size_t i = 0; i < adapted->n_message_type; i++) {
    path = path_to(root, FILE_MESSAGE, i);
    claim_message(&reader, file->package, adapted->message_type[i], &path);
  }
  for (size_t i = 0; i < adapted->n_enum_type; i++) {
    path = path_to(root, FILE_ENUM, i);
    claim_enum(&reader, file->package, adapted->enum_type[i], &path);
  }
  return reader.ok;
}
