/* Tests of clocks and RFC 3339. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "runtime/base/clock.h"

static void clocks_go_forward(void **state) {
  (void)state;
  int64_t before = ls_clock_monotonic_us();
  int64_t after = ls_clock_monotonic_us();
  assert_true(after >= before);
  assert_true(ls_clock_monotonic_ms() >= before / 1000);
  int64_t wall = ls_clock_wall_us() / 1000000;
  assert_true(wall >= (int64_t)time(NULL) - 2 && wall <= (int64_t)time(NULL) + 2);
}

static void known_moments(void **state) {
  (void)state;
  static const struct {
    int64_t wall_us;
    int digits;
    const char *text;
  } cases[] = {
      {0, 0, "1970-01-01T00:00:00Z"},
      {0, 3, "1970-01-01T00:00:00.000Z"},
      {1709251199123456, 6, "2024-02-29T23:59:59.123456Z"},
      {-1, 6, "1969-12-31T23:59:59.999999Z"},
      {-62135596800000000, 0, "0001-01-01T00:00:00Z"},
      {253402300799999999, 6, "9999-12-31T23:59:59.999999Z"},
      {951782400000000, 0, "2000-02-29T00:00:00Z"},
      {-2203891200000000, 0, "1900-03-01T00:00:00Z"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[LS_RFC3339_BYTES];
    assert_true(ls_clock_format_rfc3339(cases[i].wall_us, cases[i].digits, text));
    assert_string_equal(text, cases[i].text);
    int64_t back = 1;
    assert_true(ls_clock_parse_rfc3339(text, strlen(text), &back));
    assert_true(back == cases[i].wall_us);
  }
  char text[LS_RFC3339_BYTES];
  assert_true(ls_clock_format_rfc3339(1999, 3, text));
  assert_string_equal(text, "1970-01-01T00:00:00.001Z");
  assert_false(ls_clock_format_rfc3339(-62135596800000001, 6, text));
  assert_string_equal(text, "");
  assert_false(ls_clock_format_rfc3339(253402300800000000, 6, text));
  assert_false(ls_clock_format_rfc3339(INT64_MAX, 6, text));
  assert_false(ls_clock_format_rfc3339(INT64_MIN, 6, text));
}

static void every_day_of_eight_centuries(void **state) {
  (void)state;
  for (int64_t day = -140000; day < 160000; day += 1) {
    int64_t moment = day * 86400000000 + 43200000000;
    char text[LS_RFC3339_BYTES];
    int64_t back;
    if (!ls_clock_format_rfc3339(moment, 0, text) ||
        !ls_clock_parse_rfc3339(text, strlen(text), &back) || back != moment)
      fail_msg("day %lld: %s", (long long)day, text);
  }
}

static void other_ways_to_write(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t wall_us;
  } cases[] = {
      {"1970-01-01t01:00:00+01:00", 0},           {"1969-12-31 18:30:00-05:30", 0},
      {"1970-01-01T00:00:00.5z", 500000},         {"1970-01-01T00:00:00.1234567891234Z", 123456},
      {"2016-12-31T23:59:60Z", 1483228800000000}, {"1970-01-01T00:00:00-00:00", 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int64_t value = -7;
    if (!ls_clock_parse_rfc3339(cases[i].text, strlen(cases[i].text), &value) ||
        value != cases[i].wall_us)
      fail_msg("%s: %lld", cases[i].text, (long long)value);
  }
}

static void what_is_no_time(void **state) {
  (void)state;
  static const char *const cases[] = {
      "",
      "1970-01-01",
      "1970-01-01T00:00:00",
      "1970-01-01T00:00:00Z ",
      " 1970-01-01T00:00:00Z",
      "1970-13-01T00:00:00Z",
      "1970-00-01T00:00:00Z",
      "1970-02-29T00:00:00Z",
      "1900-02-29T00:00:00Z",
      "1970-04-31T00:00:00Z",
      "1970-01-01T24:00:00Z",
      "1970-01-01T00:60:00Z",
      "1970-01-01T00:00:60Z",
      "1970-01-01T00:00:00.Z",
      "1970-01-01T00:00:00+0100",
      "1970-01-01T00:00:00+24:00",
      "0000-12-31T23:59:59Z",
      "0001-01-01T00:00:00+01:00",
      "9999-12-31T23:59:59-01:00",
      "+970-01-01T00:00:00Z",
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int64_t value = -7;
    if (ls_clock_parse_rfc3339(cases[i], strlen(cases[i]), &value) || value != -7)
      fail_msg("taken: %s", cases[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(clocks_go_forward),
      cmocka_unit_test(known_moments),
      cmocka_unit_test(every_day_of_eight_centuries),
      cmocka_unit_test(other_ways_to_write),
      cmocka_unit_test(what_is_no_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
