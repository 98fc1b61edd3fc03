/* Tests of the error type. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "runtime/base/error.h"
#include "runtime/base/text.h"

static void set_fills_everything(void **state) {
  (void)state;
  ls_error error;
  ls_error_clear(&error);
  assert_int_equal(error.code, LS_OK);
  assert_false(ls_error_set(&error, LS_UNAVAILABLE, true, "08006", "server %s is gone", "db"));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  assert_true(error.retriable);
  assert_string_equal(error.source, "08006");
  assert_string_equal(error.message, "server db is gone");
  ls_error_clear(&error);
  assert_int_equal(error.code, LS_OK);
  assert_string_equal(error.message, "");
  assert_string_equal(error.source, "");
}

static void null_is_fine(void **state) {
  (void)state;
  assert_false(ls_error_set(NULL, LS_INTERNAL, false, NULL, "x"));
  assert_false(ls_error_prefix(NULL, "x"));
  ls_error_clear(NULL);
}

static void message_is_one_line(void **state) {
  (void)state;
  ls_error error;
  ls_error_set(&error, LS_INTERNAL, false, NULL, "FATAL:  no\nDETAIL:\tmore\r\n");
  assert_string_equal(error.message, "FATAL:  no DETAIL: more");
}

static void arguments_may_be_the_error_itself(void **state) {
  (void)state;
  ls_error error;
  ls_error_set(&error, LS_INTERNAL, false, "S", "inner");
  ls_error_set(&error, LS_ABORTED, false, error.source, "outer: %s", error.message);
  assert_string_equal(error.message, "outer: inner");
  assert_string_equal(error.source, "S");
}

static void prefix_keeps_the_rest(void **state) {
  (void)state;
  ls_error error;
  ls_error_set(&error, LS_NOT_FOUND, false, "42P01", "no such table");
  assert_false(ls_error_prefix(&error, "reading %d rows", 3));
  assert_string_equal(error.message, "reading 3 rows: no such table");
  assert_int_equal(error.code, LS_NOT_FOUND);
  assert_string_equal(error.source, "42P01");
}

/* Two-byte characters, at both parities: one of them would be cut in its middle. */
static void long_text_is_cut_between_characters(void **state) {
  (void)state;
  for (size_t shift = 0; shift < 2; shift++) {
    char text[1024] = "x";
    for (size_t i = shift; i + 2 < sizeof text; i += 2)
      memcpy(text + i, "\xc3\xa9", 2);
    ls_error error;
    ls_error_set(&error, LS_INTERNAL, false, NULL, "%s", text);
    size_t length = strlen(error.message);
    assert_in_range(length, sizeof error.message - 2, sizeof error.message - 1);
    assert_true(ls_text_is_utf8(error.message, length));
    ls_error_prefix(&error, "%s", text);
    assert_true(ls_text_is_utf8(error.message, strlen(error.message)));
    ls_error_set(&error, LS_INTERNAL, false, NULL, "%s", text + shift);
    ls_error_prefix(&error, "1234");
    length = strlen(error.message);
    assert_in_range(length, sizeof error.message - 2, sizeof error.message - 1);
    assert_true(ls_text_is_utf8(error.message, length));
  }
}

static void codes_have_the_names_of_grpc(void **state) {
  (void)state;
  assert_string_equal(ls_code_name(LS_OK), "OK");
  assert_string_equal(ls_code_name(LS_CANCELLED), "CANCELLED");
  assert_string_equal(ls_code_name((ls_code)14), "UNAVAILABLE");
  assert_string_equal(ls_code_name((ls_code)16), "UNAUTHENTICATED");
  assert_string_equal(ls_code_name((ls_code)99), "UNKNOWN");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(set_fills_everything),
      cmocka_unit_test(null_is_fine),
      cmocka_unit_test(message_is_one_line),
      cmocka_unit_test(arguments_may_be_the_error_itself),
      cmocka_unit_test(prefix_keeps_the_rest),
      cmocka_unit_test(long_text_is_cut_between_characters),
      cmocka_unit_test(codes_have_the_names_of_grpc),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
