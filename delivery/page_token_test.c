/* Page tokens: what was made is read, and nothing else. */
#include "delivery/page_token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const page_query query = {PAGE_DELIVERIES, 3};

static void test_what_was_made_is_read(void **state) {
  (void)state;
  static const int64_t ids[] = {1, 63, 64, 255, 256, 4711, INT64_C(1) << 40, INT64_MAX};
  for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
    char token[PAGE_TOKEN_BYTES];
    int64_t id = -1;
    page_token_make(query, ids[i], token);
    assert_int_equal(strlen(token), PAGE_TOKEN_BYTES - 1);
    assert_true(page_token_read(query, token, &id));
    assert_true(id == ids[i]);
  }
}

static void test_no_token_is_the_first_page(void **state) {
  (void)state;
  int64_t id = -1;
  assert_true(page_token_read(query, "", &id));
  assert_int_equal(id, 0);
}

static void test_another_query_is_refused(void **state) {
  (void)state;
  char token[PAGE_TOKEN_BYTES];
  int64_t id;
  page_token_make(query, 7, token);
  assert_false(page_token_read((page_query){PAGE_DELIVERIES, 2}, token, &id));
  assert_false(page_token_read((page_query){PAGE_DEAD_LETTERS, 3}, token, &id));
}

static void test_what_is_no_token_is_refused(void **state) {
  (void)state;
  char token[PAGE_TOKEN_BYTES];
  int64_t id;
  for (size_t i = 0; i < PAGE_TOKEN_BYTES - 1; i++) {
    page_token_make(query, 7, token);
    token[i] = '+'; /* of another alphabet */
    assert_false(page_token_read(query, token, &id));
    page_token_make(query, 7, token);
    token[i] = '\0';
    assert_int_equal(page_token_read(query, token, &id), i == 0);
  }
  page_token_make(query, 0, token);
  assert_false(page_token_read(query, token, &id));
  page_token_make(query, -1, token);
  assert_false(page_token_read(query, token, &id));
  page_token_make(query, 7, token);
  token[PAGE_TOKEN_BYTES - 2]++; /* bits that no byte needs */
  assert_false(page_token_read(query, token, &id));
  assert_false(page_token_read(query, "AAAAAAAAAAAAAAAAAAAAAAAAAAAA", &id));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_was_made_is_read),
      cmocka_unit_test(test_no_token_is_the_first_page),
      cmocka_unit_test(test_another_query_is_refused),
      cmocka_unit_test(test_what_is_no_token_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
