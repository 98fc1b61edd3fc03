/* Statuses, their details, and messages compared. */
#include "answers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool wrong(ls_error *error, const char *format, ...) {
  char text[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return ls_error_set(error, LS_INTERNAL, false, NULL, "%s", text);
}

bool call_failed(ls_error *error, const char *method, ls_rpc_status *status) {
  ls_error_set(error, status->code, false, NULL, "%s: %s: %s", method, ls_code_name(status->code),
               ls_rpc_status_message(status));
  ls_rpc_status_clear(status);
  return false;
}

static const char *metadata_value(const Google__Rpc__ErrorInfo *info, const char *key) {
  for (size_t i = 0; i < info->n_metadata; i++)
    if (strcmp(info->metadata[i]->key, key) == 0)
      return info->metadata[i]->value;
  return "";
}

int64_t status_current_version(const ls_rpc_status *status) {
  Google__Rpc__ErrorInfo *info = ls_rpc_status_error_info(status);
  if (info == NULL)
    return 0;
  int64_t version = 0;
  if (status->code == LS_ABORTED && strcmp(info->domain, "order.lockstep") == 0 &&
      strcmp(info->reason, "VERSION_MISMATCH") == 0)
    version = strtoll(metadata_value(info, "current_version"), NULL, 10);
  google__rpc__error_info__free_unpacked(info, NULL);
  return version;
}

bool status_names_field(const ls_rpc_status *status, const char *field) {
  Google__Rpc__BadRequest *request = (Google__Rpc__BadRequest *)ls_rpc_status_detail(
      status, &google__rpc__bad_request__descriptor);
  if (request == NULL)
    return false;
  bool named = false;
  for (size_t i = 0; i < request->n_field_violations; i++)
    named = named || strcmp(request->field_violations[i]->field, field) == 0;
  google__rpc__bad_request__free_unpacked(request, NULL);
  return named;
}

int64_t status_retry_delay_ms(const ls_rpc_status *status) {
  Google__Rpc__RetryInfo *info =
      (Google__Rpc__RetryInfo *)ls_rpc_status_detail(status, &google__rpc__retry_info__descriptor);
  if (info == NULL)
    return -1;
  int64_t delay_ms = 0; /* a message that is not there has all its fields at zero */
  if (info->retry_delay != NULL)
    delay_ms = info->retry_delay->seconds * 1000 + info->retry_delay->nanos / 1000000;
  google__rpc__retry_info__free_unpacked(info, NULL);
  return delay_ms;
}

/* protobuf-c packs equal messages to equal bytes. */
bool same_order(const Order__V1__Order *one, const Order__V1__Order *other) {
  size_t bytes = order__v1__order__get_packed_size(one);
  if (order__v1__order__get_packed_size(other) != bytes)
    return false;
  uint8_t *packed = malloc(2 * bytes + 1);
  if (packed == NULL)
    return false;
  order__v1__order__pack(one, packed);
  order__v1__order__pack(other, packed + bytes);
  bool same = memcmp(packed, packed + bytes, bytes) == 0;
  free(packed);
  return same;
}
