/* Tests of identifiers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "runtime/base/random.h"

static const char good[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

static void bytes_differ(void **state) {
  (void)state;
  unsigned char a[1000] = {0};
  unsigned char b[1000] = {0};
  ls_random_bytes(a, sizeof a);
  ls_random_bytes(b, sizeof b);
  assert_memory_not_equal(a, b, sizeof a);
}

static void uuids_have_their_shape(void **state) {
  (void)state;
  char before[37] = "";
  for (int i = 0; i < 200; i++) {
    char uuid[37];
    ls_uuid_v4(uuid);
    assert_int_equal(strlen(uuid), 36);
    assert_int_equal(strspn(uuid, "0123456789abcdef-"), 36);
    assert_true(uuid[8] == '-' && uuid[13] == '-' && uuid[18] == '-' && uuid[23] == '-');
    assert_int_equal(uuid[14], '4');
    assert_non_null(strchr("89ab", uuid[19]));
    assert_string_not_equal(uuid, before);
    memcpy(before, uuid, sizeof before);
  }
}

static void new_trace_parents_are_valid(void **state) {
  (void)state;
  char a[56];
  char b[56];
  ls_trace_parent_new(a);
  ls_trace_parent_new(b);
  assert_int_equal(strlen(a), LS_TRACE_PARENT_LENGTH);
  assert_true(ls_trace_parent_valid(a, strlen(a)));
  assert_string_equal(a + 52, "-01");
  assert_string_not_equal(a, b);
}

static void children_stay_in_the_trace(void **state) {
  (void)state;
  char child[56];
  ls_trace_parent_child("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", child);
  assert_true(ls_trace_parent_valid(child, strlen(child)));
  assert_memory_equal(child, good, 36);
  assert_memory_not_equal(child + 36, good + 36, 16);
  assert_string_equal(child + 52, "-00");
  ls_trace_parent_child("nonsense", child);
  assert_true(ls_trace_parent_valid(child, strlen(child)));
  ls_trace_parent_child(NULL, child);
  assert_true(ls_trace_parent_valid(child, strlen(child)));
}

static void what_is_valid(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool valid;
  } cases[] = {
      {good, true},
      {"", false},
      {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", false},
      {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false},
      {"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", true},
      {"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true},
      {"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more", false},
      {"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
      {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false},
      {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false},
      {"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false},
      {"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01", false},
      {"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
      {"0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    if (ls_trace_parent_valid(cases[i].text, strlen(cases[i].text)) != cases[i].valid)
      fail_msg("%s", cases[i].text);
  }
  assert_false(ls_trace_parent_valid(NULL, 0));
  char id[33];
  assert_true(ls_trace_parent_trace_id(good, sizeof good - 1, id));
  assert_string_equal(id, "4bf92f3577b34da6a3ce929d0e0e4736");
  assert_false(ls_trace_parent_trace_id("x", 1, id));
  assert_string_equal(id, "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bytes_differ),
      cmocka_unit_test(uuids_have_their_shape),
      cmocka_unit_test(new_trace_parents_are_valid),
      cmocka_unit_test(children_stay_in_the_trace),
      cmocka_unit_test(what_is_valid),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
