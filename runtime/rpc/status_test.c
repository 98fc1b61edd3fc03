/* Statuses and what is packed into them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/rpc/internal.h"
#include "runtime/rpc/status.h"

static Google__Rpc__Status *details_of(const ls_rpc_status *status) {
  Google__Rpc__Status *details =
      google__rpc__status__unpack(NULL, status->details_bytes, status->details);
  assert_non_null(details);
  return details;
}

static void code_and_message_are_kept(void **state) {
  (void)state;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  assert_string_equal(ls_rpc_status_message(&status), "");
  ls_rpc_status_set(&status, LS_ABORTED, "version %d, not %d", 3, 4);
  assert_int_equal(status.code, LS_ABORTED);
  assert_string_equal(ls_rpc_status_message(&status), "version 3, not 4");
  ls_error error;
  ls_error_set(&error, LS_UNAVAILABLE, true, "57P01", "100%% down");
  ls_rpc_status_set_error(&status, &error);
  assert_int_equal(status.code, LS_UNAVAILABLE);
  assert_string_equal(ls_rpc_status_message(&status), "100% down");
  ls_rpc_status_clear(&status);
  assert_int_equal(status.code, LS_OK);
  assert_string_equal(ls_rpc_status_message(&status), "");
}

static void details_add_up_in_order(void **state) {
  (void)state;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_status_set(&status, LS_INVALID_ARGUMENT, "two fields");
  const ls_rpc_field_violation violations[] = {{"order.items[3].quantity", "must be positive"},
                                               {"request_id", "is missing"}};
  ls_rpc_status_add_bad_request(&status, violations, 2);
  ls_rpc_status_add_retry_info(&status, 1250);
  ls_rpc_status_add_error_info(&status, "FIRST", "test.lockstep", "a", "1", "b", "2", NULL);
  ls_rpc_status_add_error_info(&status, "SECOND", "test.lockstep", NULL);

  Google__Rpc__Status *details = details_of(&status);
  assert_int_equal(details->code, LS_INVALID_ARGUMENT);
  assert_string_equal(details->message, "two fields");
  assert_int_equal(details->n_details, 4);
  static const char *const types[] = {"google.rpc.BadRequest", "google.rpc.RetryInfo",
                                      "google.rpc.ErrorInfo", "google.rpc.ErrorInfo"};
  for (size_t i = 0; i < 4; i++) {
    static const char prefix[] = "type.googleapis.com/";
    assert_memory_equal(details->details[i]->type_url, prefix, sizeof prefix - 1);
    assert_string_equal(details->details[i]->type_url + sizeof prefix - 1, types[i]);
  }
  Google__Rpc__BadRequest *request = google__rpc__bad_request__unpack(
      NULL, details->details[0]->value.len, details->details[0]->value.data);
  assert_int_equal(request->n_field_violations, 2);
  assert_string_equal(request->field_violations[0]->field, "order.items[3].quantity");
  assert_string_equal(request->field_violations[1]->description, "is missing");
  google__rpc__bad_request__free_unpacked(request, NULL);
  Google__Rpc__RetryInfo *retry = google__rpc__retry_info__unpack(
      NULL, details->details[1]->value.len, details->details[1]->value.data);
  assert_int_equal(retry->retry_delay->seconds, 1);
  assert_int_equal(retry->retry_delay->nanos, 250000000);
  google__rpc__retry_info__free_unpacked(retry, NULL);
  google__rpc__status__free_unpacked(details, NULL);

  Google__Rpc__ErrorInfo *info = ls_rpc_status_error_info(&status);
  assert_non_null(info);
  assert_string_equal(info->reason, "FIRST");
  assert_int_equal(info->n_metadata, 2);
  assert_string_equal(info->metadata[1]->key, "b");
  assert_string_equal(info->metadata[1]->value, "2");
  google__rpc__error_info__free_unpacked(info, NULL);

  ls_rpc_status_set(&status, LS_INTERNAL, "another");
  assert_null(status.details);
  ls_rpc_status_clear(&status);
}

static void too_many_pairs_are_left_out(void **state) {
  (void)state;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_status_set(&status, LS_ABORTED, "many");
  ls_rpc_status_add_error_info(&status, "MANY", "d", "0", "v", "1", "v", "2", "v", "3", "v", "4",
                               "v", "5", "v", "6", "v", "7", "v", "8", "v", "9", "v", "10", "v",
                               "11", "v", "12", "v", "13", "v", "14", "v", "15", "v", "16", "v",
                               NULL);
  Google__Rpc__ErrorInfo *info = ls_rpc_status_error_info(&status);
  assert_non_null(info);
  assert_int_equal(info->n_metadata, 16);
  assert_string_equal(info->metadata[15]->key, "15");
  google__rpc__error_info__free_unpacked(info, NULL);
  ls_rpc_status_clear(&status);
}

static void details_of_any_type_are_found(void **state) {
  (void)state;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_status_set(&status, LS_UNAVAILABLE, "later");
  ls_rpc_status_add_error_info(&status, "LATER", "d", NULL);
  ls_rpc_status_add_retry_info(&status, 1500);
  Google__Rpc__Help help = GOOGLE__RPC__HELP__INIT;
  ls_rpc_status_add_detail(&status, &help.base);
  Google__Rpc__RetryInfo *retry =
      (Google__Rpc__RetryInfo *)ls_rpc_status_detail(&status, &google__rpc__retry_info__descriptor);
  assert_non_null(retry);
  assert_int_equal(retry->retry_delay->seconds, 1);
  assert_int_equal(retry->retry_delay->nanos, 500000000);
  google__rpc__retry_info__free_unpacked(retry, NULL);
  Google__Rpc__Help *found =
      (Google__Rpc__Help *)ls_rpc_status_detail(&status, &google__rpc__help__descriptor);
  assert_non_null(found);
  google__rpc__help__free_unpacked(found, NULL);
  assert_null(ls_rpc_status_detail(&status, &google__rpc__bad_request__descriptor));
  ls_rpc_status_clear(&status);
}

static void foreign_details_are_not_trusted(void **state) {
  (void)state;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  assert_null(ls_rpc_status_error_info(&status));
  ls_rpc_status_set(&status, LS_ABORTED, "m");
  status.details = (uint8_t *)strdup("\x0a\xff");
  status.details_bytes = 2;
  assert_null(ls_rpc_status_error_info(&status));
  /* What cannot be read gives way to what is added. */
  ls_rpc_status_add_error_info(&status, "NEW", "d", NULL);
  Google__Rpc__ErrorInfo *info = ls_rpc_status_error_info(&status);
  assert_non_null(info);
  google__rpc__error_info__free_unpacked(info, NULL);

  /* An ErrorInfo that is none. */
  Google__Rpc__Status *details = details_of(&status);
  details->details[0]->value.data[0] = 0xff;
  google__rpc__status__pack(details, status.details);
  google__rpc__status__free_unpacked(details, NULL);
  assert_null(ls_rpc_status_error_info(&status));
  ls_rpc_status_clear(&status);
}

static void what_a_peer_sent_is_taken_over(void **state) {
  (void)state;
  grpc_metadata items[2];
  memset(items, 0, sizeof items);
  items[0].key = grpc_slice_from_static_string("x-other");
  items[0].value = grpc_slice_from_static_string("1");
  items[1].key = grpc_slice_from_static_string("grpc-status-details-bin");
  items[1].value = grpc_slice_from_static_string("raw");
  const grpc_metadata_array trailing = {.count = 2, .capacity = 2, .metadata = items};
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_status_set(&status, LS_OK, "old");
  ls_rpc_status_receive(&status, GRPC_STATUS_ABORTED, grpc_slice_from_static_string("lost"),
                        &trailing);
  assert_int_equal(status.code, LS_ABORTED);
  assert_string_equal(ls_rpc_status_message(&status), "lost");
  assert_int_equal(status.details_bytes, 3);
  assert_memory_equal(status.details, "raw", 3);
  const grpc_metadata_array none = {0};
  ls_rpc_status_receive(&status, (grpc_status_code)77, grpc_empty_slice(), &none);
  assert_int_equal(status.code, LS_UNKNOWN);
  assert_string_equal(ls_rpc_status_message(&status), "");
  assert_null(status.details);
  ls_rpc_status_clear(&status);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(code_and_message_are_kept),
      cmocka_unit_test(details_add_up_in_order),
      cmocka_unit_test(too_many_pairs_are_left_out),
      cmocka_unit_test(details_of_any_type_are_found),
      cmocka_unit_test(foreign_details_are_not_trusted),
      cmocka_unit_test(what_a_peer_sent_is_taken_over),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
