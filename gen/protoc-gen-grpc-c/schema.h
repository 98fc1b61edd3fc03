/* What a CodeGeneratorRequest asks for, checked, with every name that the output needs. */
#ifndef LOCKSTEP_GEN_SCHEMA_H
#define LOCKSTEP_GEN_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gen/plugin/adapt.h"
#include "gen/plugin/place.h"
#include "gen/plugin/pool.h"
#include "gen/plugin/text.h"
#include "gen/plugin/wire.h"
#include "google/protobuf/compiler/plugin.pb-c.h"
#include "google/protobuf/descriptor.pb-c.h"

typedef struct schema_file schema_file;

typedef struct schema_message {
  const char *full_name;
  const char *type;   /* its C type */
  const char *prefix; /* of its descriptor and functions in C */
  const char *free;   /* the call that frees one, up to its first argument */
  const schema_file *file;
} schema_message;

typedef enum schema_kind {
  SCHEMA_UNARY,
  SCHEMA_SERVER_STREAMING,
  SCHEMA_CLIENT_STREAMING,
  SCHEMA_BIDIRECTIONAL
} schema_kind;

typedef struct schema_method {
  const char *name;
  const char *path; /* "/order.v1.OrderService/CreateOrder" */
  schema_kind kind;
  bool idempotent;
  bool deprecated;
  const char *comment; /* may be NULL */
  const schema_message *request;
  const schema_message *response;
  const char *c_name; /* order_v1_order_service_create_order: its client function, and a prefix */
  const char *member; /* create_order: its member of the handlers */
} schema_method;

typedef struct schema_service {
  const char *full_name;
  const char *comment; /* may be NULL */
  const char *prefix;  /* order_v1_order_service */
  schema_method *methods;
  size_t method_count;
} schema_service;

struct schema_file {
  const Google__Protobuf__FileDescriptorProto *descriptor;
  wire_bytes bytes;       /* the descriptor as protoc packed it */
  const char *name;       /* order/v1/order_service.proto */
  const char *base;       /* order/v1/order_service */
  const char *identifier; /* order_v1_order_service_proto */
  const char *package;    /* "" if there is none */
  const char
      *c_package; /* the package in names in C: another one if (pb_c_file).c_package says so */
  bool has_messages_in_c; /* false if (pb_c_file).no_generate says so: there is no .pb-c.h */
  bool generate;
  const schema_file **dependencies;
  size_t dependency_count;
  const char **symbols; /* full names of all that the file defines, in its order */
  size_t symbol_count;
  schema_service *services;
  size_t service_count;
};

/* A name that will be in the generated C, and what it is for. */
typedef struct schema_claim {
  const char *name;
  const char *owner;
  const char *place; /* file:line:column */
  size_t order;
} schema_claim;

typedef struct gen_schema {
  gen_pool *pool;
  schema_file *files; /* in the request's order */
  size_t file_count;
  schema_message *messages; /* of all files, sorted by full name */
  size_t message_count;
  size_t message_capacity;
  schema_claim *claims;
  size_t claim_count;
  size_t claim_capacity;
  gen_text errors; /* one a line */
} gen_schema;

/* Reads `request`, whose bytes are `bytes`; both must outlive the schema. False: `errors` says why,
 * for the person who wrote the .proto files. End with schema_clear either way; the pool is the
 * caller's. */
bool schema_read(gen_schema *schema, gen_pool *pool,
                 const Google__Protobuf__Compiler__CodeGeneratorRequest *request, wire_bytes bytes);
void schema_clear(gen_schema *schema);

/* The message of a type name as descriptors have it, ".order.v1.Order"; NULL if there is none. */
const schema_message *schema_find_message(const gen_schema *schema, const char *type_name);

/* --- Parts of reading --- */

/* "order/v1/order.proto:12:3", or the file alone when protoc did not say where. */
const char *schema_place(const gen_schema *schema, const schema_file *file, const gen_path *path);

/* The comment before what `path` leads to, or NULL. */
const char *schema_comment(const schema_file *file, const gen_path *path);

/* Adds "place: message" to the errors. Returns false. */
bool schema_fail(gen_schema *schema, const char *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Checks a file's names and fields, notes its symbols and messages (schema_types.c). */
bool schema_read_types(gen_schema *schema, schema_file *file);

/* Claims what protobuf-c defines for the messages and enums of a file, adapted (message_names.c).
 */
bool schema_claim_messages(gen_schema *schema, const schema_file *file,
                           const file_descriptor *adapted);

/* Reads the services of a file, once all messages are known (schema_services.c). */
bool schema_read_services(gen_schema *schema, schema_file *file);

/* Notes that the output will define `name`. Names claimed twice are errors, found by
 * schema_check_claims. */
void schema_claim_name(gen_schema *schema, const char *name, const char *owner, const char *place);
bool schema_check_claims(gen_schema *schema);

#endif
