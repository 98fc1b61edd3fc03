/* The reflection service, from the files that generated code embeds.
 *
 * v1alpha differs from v1 by nothing but the name of its package: what is on the wire is the same.
 * So both are served by the same functions on the messages of v1. */
#include "runtime/rpc/reflection.h"

#include <stdlib.h>
#include <string.h>

#include "google/rpc/error_details.grpc-c.h"
#include "grpc/reflection/v1/reflection.grpc-c.h"
#include "grpc/reflection/v1alpha/reflection.grpc-c.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest request_type;
typedef Grpc__Reflection__V1__ServerReflectionResponse response_type;

#define REQUEST(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define RESPONSE(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

struct ls_rpc_reflection {
  const ls_rpc_file **files; /* of services and status details, with all they import; each once */
  size_t file_count;
  /* The one answer to list_services. */
  Grpc__Reflection__V1__ServiceResponse *services;
  Grpc__Reflection__V1__ServiceResponse **service_pointers;
  Grpc__Reflection__V1__ListServiceResponse list;
};

/* One stream, in its call's memory. */
typedef struct asker {
  ls_rpc_reflection *reflection;
  bool is_full;               /* the next question is read once there is room for its answer */
  bool *is_sent;              /* by the place in `files`: the client has it */
  ProtobufCBinaryData *found; /* the answer being made; room for all files */
  size_t found_count;
} asker;

/* --- Answers --- */

static size_t place_of(const ls_rpc_reflection *reflection, const char *file_name) {
  size_t place = 0;
  while (place < reflection->file_count && strcmp(reflection->files[place]->name, file_name) != 0)
    place++;
  return place;
}

static const ls_rpc_file *file_named(const ls_rpc_reflection *reflection, const char *name) {
  size_t place = place_of(reflection, name);
  return place < reflection->file_count ? reflection->files[place] : NULL;
}

static const ls_rpc_file *file_defining(const ls_rpc_reflection *reflection, const char *symbol) {
  for (size_t i = 0; i < reflection->file_count; i++)
    for (const char *const *name = reflection->files[i]->symbols; *name != NULL; name++)
      if (strcmp(*name, symbol) == 0)
        return reflection->files[i];
  return NULL;
}

/* The file, and what it imports unless the client has that from an earlier answer. */
static void collect(asker *a, const ls_rpc_file *file, bool is_asked_for) {
  size_t place = place_of(a->reflection, file->name);
  if (a->is_sent[place] && !is_asked_for)
    return;
  a->is_sent[place] = true;
  a->found[a->found_count++] =
      (ProtobufCBinaryData){file->descriptor_bytes, (uint8_t *)(uintptr_t)file->descriptor};
  for (const ls_rpc_file *const *import = file->dependencies; *import != NULL; import++)
    collect(a, *import, false);
}

/* What the parts of an answer are in until it is packed. */
typedef struct answer {
  response_type response;
  Grpc__Reflection__V1__FileDescriptorResponse files;
  Grpc__Reflection__V1__ExtensionNumberResponse extensions;
  Grpc__Reflection__V1__ErrorResponse error;
} answer;

static void answer_error(answer *out, ls_code code, const char *message) {
  grpc__reflection__v1__error_response__init(&out->error);
  out->error.error_code = (int32_t)code;
  out->error.error_message = (char *)(uintptr_t)message;
  out->response.message_response_case = RESPONSE(ERROR_RESPONSE);
  out->response.error_response = &out->error;
}

static void answer_file(asker *a, const ls_rpc_file *file, answer *out) {
  if (file == NULL) {
    answer_error(out, LS_NOT_FOUND, "no service of this server uses a schema with it");
    return;
  }
  a->found_count = 0;
  collect(a, file, true);
  grpc__reflection__v1__file_descriptor_response__init(&out->files);
  out->files.n_file_descriptor_proto = a->found_count;
  out->files.file_descriptor_proto = a->found;
  out->response.message_response_case = RESPONSE(FILE_DESCRIPTOR_RESPONSE);
  out->response.file_descriptor_response = &out->files;
}

/* Schemas in proto3 define none. */
static void answer_extension_numbers(const asker *a, const char *type, answer *out) {
  if (file_defining(a->reflection, type) == NULL) {
    answer_error(out, LS_NOT_FOUND, "no service of this server uses a schema with it");
    return;
  }
  grpc__reflection__v1__extension_number_response__init(&out->extensions);
  out->extensions.base_type_name = (char *)(uintptr_t)type;
  out->response.message_response_case = RESPONSE(ALL_EXTENSION_NUMBERS_RESPONSE);
  out->response.all_extension_numbers_response = &out->extensions;
}

static void make_answer(asker *a, const request_type *request, answer *out) {
  ls_rpc_reflection *reflection = a->reflection;
  grpc__reflection__v1__server_reflection_response__init(&out->response);
  out->response.valid_host = request->host;
  out->response.original_request = (request_type *)(uintptr_t)request;
  switch (request->message_request_case) {
  case REQUEST(LIST_SERVICES):
    out->response.message_response_case = RESPONSE(LIST_SERVICES_RESPONSE);
    out->response.list_services_response = &reflection->list;
    break;
  case REQUEST(FILE_BY_FILENAME):
    answer_file(a, file_named(reflection, request->file_by_filename), out);
    break;
  case REQUEST(FILE_CONTAINING_SYMBOL):
    answer_file(a, file_defining(reflection, request->file_containing_symbol), out);
    break;
  case REQUEST(FILE_CONTAINING_EXTENSION):
    answer_error(out, LS_NOT_FOUND, "the schemas of this server have no extensions");
    break;
  case REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE):
    answer_extension_numbers(a, request->all_extension_numbers_of_type, out);
    break;
  default:
    answer_error(out, LS_INVALID_ARGUMENT, "a request of no known kind");
    break;
  }
}

/* --- The stream: a question is read when there is room for its answer --- */

static void on_writable(ls_rpc_call *call, void *arg) {
  asker *a = arg;
  if (!a->is_full)
    return;
  a->is_full = false;
  ls_rpc_call_read_next(call);
}

static void on_cancelled(ls_rpc_call *call, void *arg) {
  (void)arg;
  ls_rpc_call_fail(call, LS_CANCELLED, "the client has gone");
}

static void start(ls_rpc_call *call, const ProtobufCMessage *none, const void *handlers,
                  void *user_data) {
  (void)none;
  (void)handlers;
  ls_rpc_reflection *reflection = user_data;
  asker *a = ls_rpc_call_alloc(call, sizeof *a);
  bool *is_sent = ls_rpc_call_alloc(call, reflection->file_count * sizeof *is_sent);
  ProtobufCBinaryData *found = ls_rpc_call_alloc(call, reflection->file_count * sizeof *found);
  if (a == NULL || is_sent == NULL || found == NULL) {
    ls_rpc_call_fail(call, LS_RESOURCE_EXHAUSTED, "out of memory");
    return;
  }
  memset(is_sent, 0, reflection->file_count * sizeof *is_sent);
  *a = (asker){.reflection = reflection, .is_sent = is_sent, .found = found};
  ls_rpc_call_set_state(call, a);
  ls_rpc_call_on_writable(call, on_writable, a);
  ls_rpc_call_on_cancel(call, on_cancelled, a);
  ls_rpc_call_read_next(call);
}

static void answer_question(ls_rpc_call *call, const ProtobufCMessage *message,
                            const void *handlers, void *user_data) {
  (void)handlers;
  (void)user_data;
  asker *a = ls_rpc_call_state(call);
  answer out;
  make_answer(a, (const request_type *)message, &out);
  switch (ls_rpc_call_send(call, &out.response.base)) {
  case LS_RPC_SENT:
    ls_rpc_call_read_next(call);
    break;
  case LS_RPC_SENT_FULL:
    a->is_full = true;
    break;
  default:
    ls_rpc_call_fail(call, LS_INTERNAL, "the answer could not be sent");
    break;
  }
}

static void finish(ls_rpc_call *call, const void *handlers, void *user_data) {
  (void)handlers;
  (void)user_data;
  ls_rpc_call_finish(call, NULL);
}

/* --- What there is to tell --- */

static const ls_rpc_method v1alpha_methods[] = {
    {.name = "ServerReflectionInfo",
     .path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
     .kind = LS_RPC_BIDIRECTIONAL,
     .request = &grpc__reflection__v1__server_reflection_request__descriptor,
     .response = &grpc__reflection__v1__server_reflection_response__descriptor},
};

static const ls_rpc_service v1alpha_service = {
    .name = "grpc.reflection.v1alpha.ServerReflection",
    .methods = v1alpha_methods,
    .method_count = 1,
    .file = &grpc_reflection_v1alpha_reflection_proto_file,
};

/* Takes in the file and all it imports. */
static bool add_file(ls_rpc_reflection *reflection, const ls_rpc_file *file) {
  if (file_named(reflection, file->name) != NULL)
    return true;
  const ls_rpc_file **files =
      realloc(reflection->files, (reflection->file_count + 1) * sizeof *files);
  if (files == NULL)
    return false;
  reflection->files = files;
  files[reflection->file_count++] = file;
  for (const ls_rpc_file *const *import = file->dependencies; *import != NULL; import++)
    if (!add_file(reflection, *import))
      return false;
  return true;
}

static bool take_in(ls_rpc_reflection *reflection, const ls_rpc_server *server) {
  size_t count = ls_rpc_server_service_count(server);
  reflection->services = calloc(count, sizeof *reflection->services);
  reflection->service_pointers = calloc(count, sizeof(void *));
  if (reflection->services == NULL || reflection->service_pointers == NULL)
    return false;
  for (size_t i = 0; i < count; i++) {
    const ls_rpc_service *service = ls_rpc_server_service(server, i);
    if (!add_file(reflection, service->file))
      return false;
    grpc__reflection__v1__service_response__init(&reflection->services[i]);
    reflection->services[i].name = (char *)(uintptr_t)service->name;
    reflection->service_pointers[i] = &reflection->services[i];
  }
  /* The details of a failed call's status are in no service's schema, but clients want to show
   * them. */
  if (!add_file(reflection, &google_rpc_error_details_proto_file))
    return false;
  reflection->list.n_service = count;
  reflection->list.service = reflection->service_pointers;
  return true;
}

ls_rpc_reflection *ls_rpc_reflection_new(ls_error *error) {
  ls_rpc_reflection *reflection = calloc(1, sizeof *reflection);
  if (reflection == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory");
    return NULL;
  }
  grpc__reflection__v1__list_service_response__init(&reflection->list);
  return reflection;
}

bool ls_rpc_reflection_register(ls_rpc_reflection *reflection, ls_rpc_server *server,
                                ls_error *error) {
  static const ls_rpc_dispatch dispatch[] = {
      {.start = start, .message = answer_question, .half_close = finish}};
  if (!ls_rpc_server_add_service(server, &grpc_reflection_v1_server_reflection_service, dispatch,
                                 NULL, reflection, error) ||
      !ls_rpc_server_add_service(server, &v1alpha_service, dispatch, NULL, reflection, error))
    return false;
  return take_in(reflection, server) ||
         ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory");
}

void ls_rpc_reflection_destroy(ls_rpc_reflection *reflection) {
  if (reflection == NULL)
    return;
  free(reflection->files);
  free(reflection->services);
  free(reflection->service_pointers);
  free(reflection);
}
