/* Services and methods of a file: their messages, and their names in C. */
#include <string.h>

#include "gen/plugin/naming.h"
#include "gen/plugin/words.h"
#include "gen/protoc-gen-grpc-c/schema.h"

/* What the output defines for a service and for a method of each kind: $ stands for the prefix or
 * the method's name in C. The emitters write exactly these. */
static const char *const service_names[] = {
    "$_service", "$_handlers", "$_register", "methods_$", "dispatch_$", NULL,
};
static const char *const unary_names[] = {
    "$", "$_async", "$_done", "$_reply", "finish_$", "serve_$_start", NULL,
};
static const char *const server_streaming_names[] = {
    "$_send",       "$_events",      "$_start",       "$_open",   "$_read", "on_$_done",
    "on_$_message", "on_$_writable", "serve_$_start", "events_$", NULL,
};
static const char *const client_streaming_names[] = {
    "$_reply",
    "$_events",
    "$_start",
    "$_stream_send",
    "$_open",
    "$_write",
    "$_read",
    "on_$_done",
    "on_$_message",
    "on_$_writable",
    "serve_$_start",
    "serve_$_message",
    "serve_$_half_close",
    "events_$",
    NULL,
};
static const char *const bidirectional_names[] = {
    "$_send",
    "$_events",
    "$_start",
    "$_stream_send",
    "$_open",
    "$_write",
    "$_read",
    "on_$_done",
    "on_$_message",
    "on_$_writable",
    "serve_$_start",
    "serve_$_message",
    "serve_$_half_close",
    "events_$",
    NULL,
};
static const char *const *const method_names[] = {
    [SCHEMA_UNARY] = unary_names,
    [SCHEMA_SERVER_STREAMING] = server_streaming_names,
    [SCHEMA_CLIENT_STREAMING] = client_streaming_names,
    [SCHEMA_BIDIRECTIONAL] = bidirectional_names,
};

static void claim_names(gen_schema *schema, const char *const *names, const char *stem,
                        const char *owner, const char *place) {
  for (; *names != NULL; names++) {
    const char *rest = strchr(*names, '$');
    schema_claim_name(
        schema, pool_format(schema->pool, "%.*s%s%s", (int)(rest - *names), *names, stem, rest + 1),
        owner, place);
  }
}

/* The method's name in C. Those of the service's own functions and types are taken. */
static char *method_word(gen_pool *pool, const char *name) {
  static const char *const taken[] = {"handlers", "register", "service"};
  char *word = name_snake(pool, name);
  for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
    if (strcmp(word, taken[i]) == 0)
      return pool_format(pool, "%s_", word);
  return word;
}

static schema_kind method_kind(const Google__Protobuf__MethodDescriptorProto *method) {
  bool from_client = method->has_client_streaming && method->client_streaming;
  bool from_server = method->has_server_streaming && method->server_streaming;
  if (from_client)
    return from_server ? SCHEMA_BIDIRECTIONAL : SCHEMA_CLIENT_STREAMING;
  return from_server ? SCHEMA_SERVER_STREAMING : SCHEMA_UNARY;
}

/* NULL, after an error, if there is no such message in C. */
static const schema_message *find_message(gen_schema *schema, const char *place, const char *method,
                                          const char *type_name) {
  const schema_message *message = type_name == NULL ? NULL : schema_find_message(schema, type_name);
  if (message == NULL)
    schema_fail(schema, place, "method \"%s\" uses message \"%s\", which is not in the request",
                method, type_name == NULL ? "" : type_name + (*type_name == '.'));
  else if (!message->file->has_messages_in_c)
    schema_fail(schema, place,
                "method \"%s\" uses message \"%s\" of %s, which says (pb_c_file).no_generate",
                method, message->full_name, message->file->name);
  else
    return message;
  return NULL;
}

/* Names in C that the runtime has for itself. */
static bool check_prefix(gen_schema *schema, const char *name, const char *owner,
                         const char *place) {
  static const char runtime[] = "ls_rpc_";
  if (strncmp(name, runtime, sizeof runtime - 1) != 0)
    return true;
  return schema_fail(schema, place, "%s needs the name %s in C; those with %s are the runtime's",
                     owner, name, runtime);
}

static bool read_method(gen_schema *schema, const schema_file *file, const schema_service *service,
                        const Google__Protobuf__MethodDescriptorProto *descriptor,
                        bool service_deprecated, const gen_path *path, schema_method *method) {
  const Google__Protobuf__MethodOptions *options = descriptor->options;
  const char *place = schema_place(schema, file, path);
  const char *word = method_word(schema->pool, descriptor->name);
  const char *c_name = pool_format(schema->pool, "%s_%s", service->prefix, word);
  *method = (schema_method){
      .name = descriptor->name,
      .path = pool_format(schema->pool, "/%s/%s", service->full_name, descriptor->name),
      .kind = method_kind(descriptor),
      .idempotent = options != NULL && options->has_idempotency_level &&
                    options->idempotency_level !=
                        GOOGLE__PROTOBUF__METHOD_OPTIONS__IDEMPOTENCY_LEVEL__IDEMPOTENCY_UNKNOWN,
      .deprecated =
          service_deprecated || (options != NULL && options->has_deprecated && options->deprecated),
      .comment = schema_comment(file, path),
      .request = find_message(schema, place, descriptor->name, descriptor->input_type),
      .response = find_message(schema, place, descriptor->name, descriptor->output_type),
      .c_name = word_is_reserved(c_name) ? pool_format(schema->pool, "%s_", c_name) : c_name,
      .member = word_is_reserved(word) ? pool_format(schema->pool, "%s_", word) : word,
  };
  const char *owner = pool_format(schema->pool, "method \"%s\"", method->name);
  claim_names(schema, method_names[method->kind], method->c_name, owner, place);
  schema_claim_name(schema,
                    pool_format(schema->pool, "%s_handlers.%s", service->prefix, method->member),
                    owner, place);
  return method->request != NULL && method->response != NULL &&
         check_prefix(schema, method->c_name, owner, place);
}

static bool read_service(gen_schema *schema, const schema_file *file,
                         const Google__Protobuf__ServiceDescriptorProto *descriptor,
                         const gen_path *path, schema_service *service) {
  const char *dot = *file->package == '\0' ? "" : ".";
  service->full_name = pool_format(schema->pool, "%s%s%s", file->package, dot, descriptor->name);
  service->prefix = name_service(
      schema->pool, pool_format(schema->pool, "%s.%s", file->c_package, descriptor->name));
  service->comment = schema_comment(file, path);
  service->methods = pool_array(schema->pool, descriptor->n_method, sizeof *service->methods);
  service->method_count = descriptor->n_method;
  claim_names(schema, service_names, service->prefix,
              pool_format(schema->pool, "service \"%s\"", descriptor->name),
              schema_place(schema, file, path));
  bool deprecated = descriptor->options != NULL && descriptor->options->has_deprecated &&
                    descriptor->options->deprecated;
  bool ok = true;
  for (size_t i = 0; i < descriptor->n_method; i++) {
    gen_path method = path_to(*path, SERVICE_METHOD, i);
    ok &= read_method(schema, file, service, descriptor->method[i], deprecated, &method,
                      &service->methods[i]);
  }
  return ok;
}

bool schema_read_services(gen_schema *schema, schema_file *file) {
  const Google__Protobuf__FileDescriptorProto *descriptor = file->descriptor;
  bool ok = true;
  file->services = pool_array(schema->pool, descriptor->n_service, sizeof *file->services);
  file->service_count = descriptor->n_service;
  for (size_t i = 0; i < descriptor->n_service; i++) {
    gen_path path = path_to((gen_path){0}, FILE_SERVICE, i);
    ok &= read_service(schema, file, descriptor->service[i], &path, &file->services[i]);
  }
  return ok;
}
