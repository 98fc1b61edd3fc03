/* Writes the generated C. The text of one kind of output is in one file: emit_file.c puts a
 * .grpc-c.h and a .grpc-c.c together, emit_server.c and emit_client.c have the two sides of a
 * service, emit_descriptor.c what reflection needs. */
#ifndef LOCKSTEP_GEN_EMIT_H
#define LOCKSTEP_GEN_EMIT_H

#include "gen/plugin/text.h"
#include "gen/protoc-gen-grpc-c/schema.h"

/* The holes that every template about a method has: those of its service, and
 * method    CreateOrder
 * path      /order.v1.OrderService/CreateOrder
 * kind      LS_RPC_UNARY …
 * idempotent  true or false
 * name      order_v1_order_service_create_order
 * member    create_order
 * Request, Response    the messages' C types
 * request, response    the messages' prefixes
 * free      what frees a response, up to its name: "order__v1__order__free_unpacked("
 * index     of the method in its service
 * deprecated  an attribute and a new line, or nothing */
typedef struct emit_method {
  char index[24];
  text_hole holes[16];
} emit_method;

void emit_method_holes(emit_method *out, const schema_service *service, size_t index);

/* Holes of a service: service (order.v1.OrderService), prefix (order_v1_order_service). */
typedef struct emit_service {
  text_hole holes[3];
} emit_service;

void emit_service_holes(emit_service *out, const schema_service *service);

void emit_header(gen_text *out, const schema_file *file);
void emit_source(gen_text *out, const schema_file *file);

void emit_server_header(gen_text *out, const schema_service *service);
void emit_server_source(gen_text *out, const schema_service *service);
void emit_client_header(gen_text *out, const schema_service *service);
void emit_client_source(gen_text *out, const schema_service *service);
void emit_descriptor_source(gen_text *out, const schema_file *file);

#endif
