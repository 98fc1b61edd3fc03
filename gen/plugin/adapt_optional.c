/* proto3's optional fields. protoc describes one as the only member of a oneof, and that it
 * becomes; a message needs none, since its pointer says whether it is there. */
#include <string.h>

#include "gen/plugin/adapt.h"
#include "gen/plugin/naming.h"

static bool is_lower(char character) {
  return character >= 'a' && character <= 'z';
}

/* A name for the oneof of field `quantity`, such that protobuf-c calls its case `quantity_case`:
 * names of a oneof and a field must differ, and protobuf-c does not tell `Quantity` from
 * `quantity`, nor `QUantity`. */
static char *oneof_name(gen_adapter *adapter, const name_set *scope,
                        const field_descriptor *field) {
  char *name = name_snake(adapter->pool, field->name);
  for (char *letter = name; name_set_has(scope, name) && is_lower(*letter); letter++)
    *letter = (char)(*letter - 'a' + 'A');
  while (name_set_has(scope, name))
    name = pool_format(adapter->pool, "%s_", name);
  return name;
}

static void remove_oneof(message_descriptor *message, int32_t index) {
  message->n_oneof_decl--;
  memmove(&message->oneof_decl[index], &message->oneof_decl[index + 1],
          (message->n_oneof_decl - (size_t)index) * sizeof *message->oneof_decl);
  for (size_t i = 0; i < message->n_field; i++) {
    field_descriptor *field = message->field[i];
    if (field->has_oneof_index && field->oneof_index > index)
      field->oneof_index--;
  }
}

void adapt_optional(gen_adapter *adapter, message_descriptor *message) {
  name_set scope = {.pool = NULL};
  for (size_t i = 0; i < message->n_field; i++) {
    field_descriptor *field = message->field[i];
    if (!field->has_proto3_optional || !field->proto3_optional || !field->has_oneof_index ||
        field->oneof_index < 0 || (size_t)field->oneof_index >= message->n_oneof_decl)
      continue;
    field->has_proto3_optional = false;
    if (adapt_is_message(field)) {
      field->has_oneof_index = false;
      remove_oneof(message, field->oneof_index);
      continue;
    }
    if (scope.pool == NULL)
      scope = adapt_scope(adapter->pool, message);
    char *name = oneof_name(adapter, &scope, field);
    message->oneof_decl[field->oneof_index]->name = name;
    name_set_add(&scope, name);
  }
}

void adapt_add_optional(gen_adapter *adapter, message_descriptor *message,
                        field_descriptor *field) {
  Google__Protobuf__OneofDescriptorProto *oneof = pool_alloc(adapter->pool, sizeof *oneof);
  google__protobuf__oneof_descriptor_proto__init(oneof);
  oneof->name = pool_format(adapter->pool, "_%s", field->name);
  Google__Protobuf__OneofDescriptorProto **oneofs =
      pool_array(adapter->pool, message->n_oneof_decl + 1, sizeof *oneofs);
  if (message->n_oneof_decl > 0)
    memcpy(oneofs, message->oneof_decl, message->n_oneof_decl * sizeof *oneofs);
  oneofs[message->n_oneof_decl] = oneof;
  message->oneof_decl = oneofs;
  field->has_oneof_index = true;
  field->oneof_index = (int32_t)message->n_oneof_decl++;
  field->has_proto3_optional = true;
  field->proto3_optional = true;
}
