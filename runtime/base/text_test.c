/* Tests of text checks and of the buffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/text.h"

static void utf8(void **state) {
  (void)state;
  static const struct {
    const char *text;
    size_t length;
    bool valid;
  } cases[] = {
      {"", 0, true},
      {"plain ascii, longer than eight bytes", 36, true},
      {"a\0b", 3, true},
      {"gr\xc3\xbc\xc3\x9f", 6, true},
      {"\xe2\x82\xac", 3, true},
      {"\xf0\x9f\x98\x80", 4, true},
      {"\xf4\x8f\xbf\xbf", 4, true},
      {"12345678\xff", 9, false},
      {"1234567\xc3", 8, false},
      {"\x80", 1, false},
      {"\xc0\x80", 2, false},         /* overlong NUL */
      {"\xc1\xbf", 2, false},         /* overlong */
      {"\xe0\x9f\xbf", 3, false},     /* overlong */
      {"\xf0\x8f\xbf\xbf", 4, false}, /* overlong */
      {"\xed\xa0\x80", 3, false},     /* surrogate */
      {"\xf4\x90\x80\x80", 4, false}, /* above U+10FFFF */
      {"\xf5\x80\x80\x80", 4, false},
      {"\xe2\x82", 2, false},
      {"\xe2\x28\xa1", 3, false},
      {"\xf0\x9f\x98", 3, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    if (ls_text_is_utf8(cases[i].text, cases[i].length) != cases[i].valid)
      fail_msg("case %zu", i);
  }
}

static void nul_and_currency(void **state) {
  (void)state;
  assert_false(ls_text_has_nul("abc", 3));
  assert_true(ls_text_has_nul("a\0c", 3));
  assert_false(ls_text_has_nul(NULL, 0));
  assert_true(ls_text_is_currency("EUR"));
  assert_false(ls_text_is_currency(""));
  assert_false(ls_text_is_currency("EU"));
  assert_false(ls_text_is_currency("EURO"));
  assert_false(ls_text_is_currency("eur"));
  assert_false(ls_text_is_currency("E1R"));
}

static void buffer_grows(void **state) {
  (void)state;
  ls_buffer buffer = LS_BUFFER_INIT;
  size_t expected = 0;
  for (int i = 0; i < 1000; i++) {
    assert_true(ls_buffer_printf(&buffer, "%d,", i));
    expected += i < 10 ? 2 : i < 100 ? 3 : 4;
  }
  assert_int_equal(buffer.length, expected);
  assert_int_equal(strlen(buffer.data), expected);
  assert_memory_equal(buffer.data, "0,1,2,", 6);
  assert_string_equal(buffer.data + expected - 8, "998,999,");
  ls_buffer_clear(&buffer);
  assert_null(buffer.data);
  assert_true(ls_buffer_append(&buffer, "a\0b", 3));
  assert_true(ls_buffer_append_text(&buffer, "c"));
  assert_int_equal(buffer.length, 4);
  assert_memory_equal(buffer.data, "a\0bc", 5);
  ls_buffer_clear(&buffer);
  assert_true(ls_buffer_append(&buffer, NULL, 0));
  assert_string_equal(buffer.data, "");
  ls_buffer_clear(&buffer);
}

static void decimal(void **state) {
  (void)state;
  static const uint64_t numbers[] = {0, 9, 10, 12345, INT64_MAX, UINT64_MAX};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    char written[LS_TEXT_DECIMAL_BYTES], expected[32];
    snprintf(expected, sizeof expected, "%" PRIu64, numbers[i]);
    assert_int_equal(ls_text_decimal(written, numbers[i]), strlen(expected));
    assert_string_equal(written, expected);
  }
}

static void failure_stays(void **state) {
  (void)state;
  ls_buffer buffer = LS_BUFFER_INIT;
  assert_true(ls_buffer_append_text(&buffer, "kept"));
  assert_false(ls_buffer_append(&buffer, "x", SIZE_MAX / 2));
  assert_true(buffer.failed);
  assert_false(ls_buffer_append_text(&buffer, "x"));
  assert_false(ls_buffer_printf(&buffer, "x"));
  assert_string_equal(buffer.data, "kept");
  ls_buffer_clear(&buffer);
  assert_false(buffer.failed);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(utf8),    cmocka_unit_test(nul_and_currency), cmocka_unit_test(buffer_grows),
      cmocka_unit_test(decimal), cmocka_unit_test(failure_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
