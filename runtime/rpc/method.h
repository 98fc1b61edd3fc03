/* What generated code tells the runtime about a schema: its files, services and methods.
 *
 * These are the only structs of the runtime with public members: protoc-gen-grpc-c writes constants
 * of them. LS_RPC_GENERATED_VERSION says which shape they have; generated code refuses to compile
 * against another one. */
#ifndef LOCKSTEP_RUNTIME_RPC_METHOD_H
#define LOCKSTEP_RUNTIME_RPC_METHOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Major version of the contract between generated code and this runtime. */
#define LS_RPC_GENERATED_VERSION 2

typedef enum ls_rpc_kind {
  LS_RPC_UNARY,
  LS_RPC_SERVER_STREAMING,
  LS_RPC_CLIENT_STREAMING,
  LS_RPC_BIDIRECTIONAL
} ls_rpc_kind;

typedef struct ls_rpc_method {
  const char *name; /* "CreateOrder" */
  const char *path; /* "/order.v1.OrderService/CreateOrder" */
  ls_rpc_kind kind;
  bool idempotent; /* idempotency_level is NO_SIDE_EFFECTS or IDEMPOTENT */
  const ProtobufCMessageDescriptor *request;
  const ProtobufCMessageDescriptor *response;
} ls_rpc_method;

/* One .proto file: its FileDescriptorProto, serialized, and what reflection needs to find it. */
typedef struct ls_rpc_file {
  const char *name; /* "order/v1/order_service.proto" */
  const uint8_t *descriptor;
  size_t descriptor_bytes;
  const struct ls_rpc_file *const *dependencies; /* NULL-terminated */
  const char *const
      *symbols; /* NULL-terminated full names of what the file defines: messages, enums,
                   enum values, fields, services, methods, extensions, oneofs */
} ls_rpc_file;

typedef struct ls_rpc_service {
  const char *name; /* "order.v1.OrderService" */
  const ls_rpc_method *methods;
  size_t method_count; /* 0 for an empty service */
  const ls_rpc_file *file;
} ls_rpc_service;

/* A function pointer of any type; generated code casts it back to its own before calling it. */
typedef void (*ls_rpc_function)(void);

#ifdef __cplusplus
}
#endif

#endif
