/* The comparison of orders with deliveries. */
#include "delivery/reconcile_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROOM = 16 };

/* "id:version id:version" */
static reconcile_versions parse(const char *text, int64_t *ids, int64_t *versions) {
  reconcile_versions list = {ids, versions, 0};
  while (*text != '\0') {
    char *end;
    ids[list.count] = strtoll(text, &end, 10);
    versions[list.count++] = strtoll(end + 1, &end, 10);
    text = end;
  }
  return list;
}

static void print(const reconcile_versions *list, char *text) {
  text[0] = '\0';
  for (size_t i = 0; i < list->count; i++)
    text += sprintf(text, i == 0 ? "%lld:%lld" : " %lld:%lld", (long long)list->order_ids[i],
                    (long long)list->versions[i]);
}

static void expect(const char *orders_text, const char *deliveries_text, const char *behind_text,
                   const char *ahead_text) {
  int64_t room[8][ROOM];
  char text[256];
  reconcile_versions orders = parse(orders_text, room[0], room[1]);
  reconcile_versions deliveries = parse(deliveries_text, room[2], room[3]);
  reconcile_versions behind = {room[4], room[5], 0};
  reconcile_versions ahead = {room[6], room[7], 0};
  reconcile_compare(&orders, &deliveries, &behind, &ahead);
  print(&behind, text);
  assert_string_equal(text, behind_text);
  print(&ahead, text);
  assert_string_equal(text, ahead_text);
}

static void test_what_is_in_step_is_not_found(void **state) {
  (void)state;
  expect("", "", "", "");
  expect("1:1 2:7", "1:1 2:7", "", "");
}

static void test_missing_and_older_deliveries_are_behind(void **state) {
  (void)state;
  expect("1:3", "", "1:3", "");
  expect("1:3 2:1 5:4", "1:2 5:4", "1:3 2:1", "");
  expect("1:1 9:2", "1:1", "9:2", "");
}

static void test_newer_and_orphaned_deliveries_are_ahead(void **state) {
  (void)state;
  expect("", "4:2", "", "4:2");
  expect("1:1 5:2", "1:2 3:1 5:2 8:6", "", "1:2 3:1 8:6");
  expect("2:5 3:1", "1:1 3:2", "2:5", "1:1 3:2");
}

static void test_the_highest_ids_are_compared_too(void **state) {
  (void)state;
  expect("9223372036854775807:2", "9223372036854775807:1", "9223372036854775807:2", "");
  expect("", "9223372036854775807:1", "", "9223372036854775807:1");
}

static void test_a_list_is_cut_at_an_id(void **state) {
  (void)state;
  int64_t ids[] = {2, 4, 6};
  reconcile_versions list = {ids, ids, 3};
  assert_int_equal(reconcile_count_up_to(&list, 1), 0);
  assert_int_equal(reconcile_count_up_to(&list, 4), 2);
  assert_int_equal(reconcile_count_up_to(&list, 5), 2);
  assert_int_equal(reconcile_count_up_to(&list, INT64_MAX), 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_is_in_step_is_not_found),
      cmocka_unit_test(test_missing_and_older_deliveries_are_behind),
      cmocka_unit_test(test_newer_and_orphaned_deliveries_are_ahead),
      cmocka_unit_test(test_the_highest_ids_are_compared_too),
      cmocka_unit_test(test_a_list_is_cut_at_an_id),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
