/* The server's side of a service: handlers, registration, typed answers, and the functions through
 * which the runtime calls handlers. */
#include "gen/protoc-gen-grpc-c/emit.h"

static bool has_one_request(schema_kind kind) {
  return kind == SCHEMA_UNARY || kind == SCHEMA_SERVER_STREAMING;
}

static bool has_one_response(schema_kind kind) {
  return kind == SCHEMA_UNARY || kind == SCHEMA_CLIENT_STREAMING;
}

static const char handlers_start[] =
    "/* $service$ at the server: what handles its calls, on the server's polling threads\n"
    " * (runtime/rpc/call.h has the rules). A call without a handler, or a stream that lacks one "
    "of its\n"
    " * three, is answered UNIMPLEMENTED. */\n"
    "typedef struct $prefix$_handlers {\n";

static const char handler_of_one_request[] =
    "  void (*$member$)(ls_rpc_call *call, const $Request$ *request,\n"
    "      void *user_data);\n";

static const char handler_of_request_stream[] =
    "  struct {\n"
    "    void (*start)(ls_rpc_call *call, void *user_data);\n"
    "    void (*message)(ls_rpc_call *call, const $Request$ *message,\n"
    "        void *user_data);\n"
    "    void (*half_close)(ls_rpc_call *call, void *user_data);\n"
    "  } $member$;\n";

static const char handlers_end[] = "} $prefix$_handlers;\n"
                                   "\n"
                                   "/* Adds the service to a server that has not started. "
                                   "`handlers` and `user_data` must outlive the\n"
                                   " * server. */\n"
                                   "bool $prefix$_register(\n"
                                   "    ls_rpc_server *server, const $prefix$_handlers *handlers,\n"
                                   "    void *user_data, ls_error *error);\n"
                                   "\n";

static const char reply_function[] =
    "/* Ends a call of $method$ with OK and this response. */\n"
    "static inline void $name$_reply(\n"
    "    ls_rpc_call *call, const $Response$ *response) {\n"
    "  ls_rpc_call_reply(call, (const ProtobufCMessage *)response);\n"
    "}\n"
    "\n";

static const char send_function[] =
    "/* Queues one message of a call of $method$; ls_rpc_call_finish ends it. */\n"
    "static inline ls_rpc_send_result $name$_send(\n"
    "    ls_rpc_call *call, const $Response$ *message) {\n"
    "  return ls_rpc_call_send(call, (const ProtobufCMessage *)message);\n"
    "}\n"
    "\n";

void emit_server_header(gen_text *out, const schema_service *service) {
  emit_service of_service;
  emit_method of_method;
  emit_service_holes(&of_service, service);
  text_fill(out, handlers_start, of_service.holes);
  for (size_t i = 0; i < service->method_count; i++) {
    const schema_method *method = &service->methods[i];
    emit_method_holes(&of_method, service, i);
    text_string(out, i > 0 && method->comment != NULL ? "\n" : "");
    text_comment(out, "  ", method->comment);
    text_fill(out,
              has_one_request(method->kind) ? handler_of_one_request : handler_of_request_stream,
              of_method.holes);
  }
  if (service->method_count == 0)
    text_string(out, "  char no_methods; /* C has no empty structs */\n");
  text_fill(out, handlers_end, of_service.holes);
  for (size_t i = 0; i < service->method_count; i++) {
    emit_method_holes(&of_method, service, i);
    text_fill(out, has_one_response(service->methods[i].kind) ? reply_function : send_function,
              of_method.holes);
  }
}

static const char serve_one_request[] =
    "static void serve_$name$_start(\n"
    "    ls_rpc_call *call, const ProtobufCMessage *request, const void *handlers, void "
    "*user_data) {\n"
    "  const $prefix$_handlers *typed = handlers;\n"
    "  if (typed->$member$ == NULL)\n"
    "    ls_rpc_call_fail(call, LS_UNIMPLEMENTED, \"%s is not implemented\",\n"
    "                     \"$path$\");\n"
    "  else\n"
    "    typed->$member$(call, (const $Request$ *)request, user_data);\n"
    "}\n"
    "\n";

static const char serve_request_stream[] =
    "static void serve_$name$_start(\n"
    "    ls_rpc_call *call, const ProtobufCMessage *request, const void *handlers, void "
    "*user_data) {\n"
    "  const $prefix$_handlers *typed = handlers;\n"
    "  (void)request;\n"
    "  if (typed->$member$.start == NULL ||\n"
    "      typed->$member$.message == NULL ||\n"
    "      typed->$member$.half_close == NULL)\n"
    "    ls_rpc_call_fail(call, LS_UNIMPLEMENTED, \"%s is not implemented\",\n"
    "                     \"$path$\");\n"
    "  else\n"
    "    typed->$member$.start(call, user_data);\n"
    "}\n"
    "\n"
    "static void serve_$name$_message(\n"
    "    ls_rpc_call *call, const ProtobufCMessage *message, const void *handlers, void "
    "*user_data) {\n"
    "  const $prefix$_handlers *typed = handlers;\n"
    "  typed->$member$.message(\n"
    "      call, (const $Request$ *)message, user_data);\n"
    "}\n"
    "\n"
    "static void serve_$name$_half_close(\n"
    "    ls_rpc_call *call, const void *handlers, void *user_data) {\n"
    "  const $prefix$_handlers *typed = handlers;\n"
    "  typed->$member$.half_close(call, user_data);\n"
    "}\n"
    "\n";

static const char dispatch_one_request[] = "    {.start = serve_$name$_start},\n";

static const char dispatch_request_stream[] = "    {\n"
                                              "        .start = serve_$name$_start,\n"
                                              "        .message = serve_$name$_message,\n"
                                              "        .half_close = serve_$name$_half_close,\n"
                                              "    },\n";

static const char register_function[] =
    "bool $prefix$_register(\n"
    "    ls_rpc_server *server, const $prefix$_handlers *handlers,\n"
    "    void *user_data, ls_error *error) {\n"
    "  return ls_rpc_server_add_service(\n"
    "      server, &$prefix$_service, $dispatch$,\n"
    "      handlers, user_data, error);\n"
    "}\n"
    "\n";

static void emit_dispatch(gen_text *out, const schema_service *service) {
  emit_method of_method;
  for (size_t i = 0; i < service->method_count; i++) {
    emit_method_holes(&of_method, service, i);
    text_fill(out,
              has_one_request(service->methods[i].kind) ? serve_one_request : serve_request_stream,
              of_method.holes);
  }
  text_format(out, "static const ls_rpc_dispatch dispatch_%s[] = {\n", service->prefix);
  for (size_t i = 0; i < service->method_count; i++) {
    emit_method_holes(&of_method, service, i);
    text_fill(out,
              has_one_request(service->methods[i].kind) ? dispatch_one_request
                                                        : dispatch_request_stream,
              of_method.holes);
  }
  text_string(out, "};\n\n");
}

void emit_server_source(gen_text *out, const schema_service *service) {
  gen_text dispatch = {0};
  if (service->method_count > 0) {
    emit_dispatch(out, service);
    text_format(&dispatch, "dispatch_%s", service->prefix);
  } else {
    text_string(&dispatch, "NULL");
  }
  const text_hole holes[] = {
      {"prefix", service->prefix}, {"dispatch", dispatch.data}, {NULL, NULL}};
  text_fill(out, register_function, holes);
  text_clear(&dispatch);
}
