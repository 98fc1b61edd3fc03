/* Statuses and their google.rpc details. */
#include "runtime/rpc/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/rpc/internal.h"
#include "runtime/rpc/message.h"

#define TYPE_PREFIX "type.googleapis.com/"

/* Of details from outside. */
enum { MAX_DEPTH = 16 };

void ls_rpc_status_clear(ls_rpc_status *status) {
  free(status->message);
  free(status->details);
  *status = (ls_rpc_status)LS_RPC_STATUS_INIT;
}

void ls_rpc_status_set(ls_rpc_status *status, ls_code code, const char *format, ...) {
  ls_rpc_status_clear(status);
  status->code = code;
  va_list arguments;
  va_start(arguments, format);
  if (vasprintf(&status->message, format, arguments) < 0)
    status->message = NULL;
  va_end(arguments);
}

void ls_rpc_status_set_error(ls_rpc_status *status, const ls_error *error) {
  ls_rpc_status_set(status, error->code, "%s", error->message);
}

const char *ls_rpc_status_message(const ls_rpc_status *status) {
  return status->message != NULL ? status->message : "";
}

/* A status without memory for one more detail stays as it was: details help, the code decides. */
void ls_rpc_status_add_detail(ls_rpc_status *status, const ProtobufCMessage *detail) {
  Google__Rpc__Status *old = NULL;
  Google__Rpc__Status packed = GOOGLE__RPC__STATUS__INIT;
  if (status->details != NULL) {
    ls_error error;
    old = (Google__Rpc__Status *)ls_rpc_message_unpack(&google__rpc__status__descriptor,
                                                       status->details, status->details_bytes,
                                                       MAX_DEPTH, NULL, &error);
    if (old == NULL && error.code == LS_RESOURCE_EXHAUSTED)
      return;
  }
  size_t count = old != NULL ? old->n_details : 0;

  Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
  char type_url[160];
  snprintf(type_url, sizeof type_url, TYPE_PREFIX "%s", detail->descriptor->name);
  any.type_url = type_url;
  any.value.len = protobuf_c_message_get_packed_size(detail);
  any.value.data = malloc(any.value.len + 1);
  Google__Protobuf__Any **all = malloc((count + 1) * sizeof *all);
  if (any.value.data == NULL || all == NULL)
    goto cleanup;
  protobuf_c_message_pack(detail, any.value.data);
  for (size_t i = 0; i < count; i++)
    all[i] = old->details[i];
  all[count] = &any;

  packed.code = (int32_t)status->code;
  packed.message = status->message != NULL ? status->message : (char *)"";
  packed.n_details = count + 1;
  packed.details = all;
  size_t bytes = google__rpc__status__get_packed_size(&packed);
  uint8_t *data = malloc(bytes + 1);
  if (data == NULL)
    goto cleanup;
  google__rpc__status__pack(&packed, data);
  free(status->details);
  status->details = data;
  status->details_bytes = bytes;

cleanup:
  free(all);
  free(any.value.data);
  if (old != NULL)
    google__rpc__status__free_unpacked(old, NULL);
}

void ls_rpc_status_add_error_info(ls_rpc_status *status, const char *reason, const char *domain,
                                  ...) {
  enum { MOST_PAIRS = 16 };
  Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
  Google__Rpc__ErrorInfo__MetadataEntry entries[MOST_PAIRS];
  Google__Rpc__ErrorInfo__MetadataEntry *pointers[MOST_PAIRS];
  info.reason = (char *)(uintptr_t)reason;
  info.domain = (char *)(uintptr_t)domain;
  info.metadata = pointers;

  va_list arguments;
  va_start(arguments, domain);
  const char *key;
  while (info.n_metadata < MOST_PAIRS && (key = va_arg(arguments, const char *)) != NULL) {
    Google__Rpc__ErrorInfo__MetadataEntry *entry = &entries[info.n_metadata];
    google__rpc__error_info__metadata_entry__init(entry);
    entry->key = (char *)(uintptr_t)key;
    entry->value = (char *)(uintptr_t)va_arg(arguments, const char *);
    pointers[info.n_metadata++] = entry;
  }
  va_end(arguments);
  ls_rpc_status_add_detail(status, &info.base);
}

void ls_rpc_status_add_bad_request(ls_rpc_status *status, const ls_rpc_field_violation *violations,
                                   size_t count) {
  Google__Rpc__BadRequest request = GOOGLE__RPC__BAD_REQUEST__INIT;
  Google__Rpc__BadRequest__FieldViolation *items = malloc((count + 1) * sizeof *items);
  Google__Rpc__BadRequest__FieldViolation **pointers = malloc((count + 1) * sizeof *pointers);
  if (items != NULL && pointers != NULL) {
    for (size_t i = 0; i < count; i++) {
      google__rpc__bad_request__field_violation__init(&items[i]);
      items[i].field = (char *)(uintptr_t)violations[i].field;
      items[i].description = (char *)(uintptr_t)violations[i].description;
      pointers[i] = &items[i];
    }
    request.n_field_violations = count;
    request.field_violations = pointers;
    ls_rpc_status_add_detail(status, &request.base);
  }
  free(pointers);
  free(items);
}

void ls_rpc_status_add_retry_info(ls_rpc_status *status, int64_t delay_ms) {
  Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
  delay.seconds = delay_ms / 1000;
  delay.nanos = (int32_t)(delay_ms % 1000) * 1000000;
  Google__Rpc__RetryInfo info = GOOGLE__RPC__RETRY_INFO__INIT;
  info.retry_delay = &delay;
  ls_rpc_status_add_detail(status, &info.base);
}

/* Whether the type of what is in an Any is this one (google/protobuf/any.proto). */
static bool is_of_type(const Google__Protobuf__Any *any, const ProtobufCMessageDescriptor *type) {
  const char *name = strrchr(any->type_url, '/');
  return name != NULL && strcmp(name + 1, type->name) == 0;
}

ProtobufCMessage *ls_rpc_status_detail(const ls_rpc_status *status,
                                       const ProtobufCMessageDescriptor *type) {
  if (status->details == NULL)
    return NULL;
  Google__Rpc__Status *details = (Google__Rpc__Status *)ls_rpc_message_unpack(
      &google__rpc__status__descriptor, status->details, status->details_bytes, MAX_DEPTH, NULL,
      NULL);
  if (details == NULL)
    return NULL;
  ProtobufCMessage *found = NULL;
  for (size_t i = 0; i < details->n_details && found == NULL; i++) {
    const Google__Protobuf__Any *any = details->details[i];
    if (is_of_type(any, type))
      found = ls_rpc_message_unpack(type, any->value.data, any->value.len, MAX_DEPTH, NULL, NULL);
  }
  google__rpc__status__free_unpacked(details, NULL);
  return found;
}

Google__Rpc__ErrorInfo *ls_rpc_status_error_info(const ls_rpc_status *status) {
  return (Google__Rpc__ErrorInfo *)ls_rpc_status_detail(status,
                                                        &google__rpc__error_info__descriptor);
}

void ls_rpc_status_receive(ls_rpc_status *status, grpc_status_code code, grpc_slice message,
                           const grpc_metadata_array *trailing) {
  ls_rpc_status_clear(status);
  status->code =
      code >= GRPC_STATUS_OK && code <= GRPC_STATUS_UNAUTHENTICATED ? (ls_code)code : LS_UNKNOWN;
  size_t length = GRPC_SLICE_LENGTH(message); /* without a NUL */
  if (length > 0 && (status->message = malloc(length + 1)) != NULL) {
    memcpy(status->message, GRPC_SLICE_START_PTR(message), length);
    status->message[length] = '\0';
  }
  for (size_t i = 0; i < trailing->count && status->details == NULL; i++) {
    const grpc_metadata *item = &trailing->metadata[i];
    if (grpc_slice_str_cmp(item->key, "grpc-status-details-bin") != 0)
      continue;
    size_t bytes = GRPC_SLICE_LENGTH(item->value);
    status->details = malloc(bytes + 1);
    if (status->details != NULL) {
      memcpy(status->details, GRPC_SLICE_START_PTR(item->value), bytes);
      status->details_bytes = bytes;
    }
  }
}
