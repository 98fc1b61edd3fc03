/* Tests of the map, against a table that is indexed directly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "runtime/base/map.h"

static void insert_find_remove(void **state) {
  (void)state;
  ls_map *map = ls_map_new();
  bool added;
  assert_null(ls_map_find(map, 7));
  assert_false(ls_map_remove(map, 7, NULL));
  ls_map_value *value = ls_map_insert(map, 7, &added);
  assert_true(added);
  assert_true(value->number == 0);
  value->number = 70;
  assert_true(ls_map_insert(map, 7, &added)->number == 70);
  assert_false(added);
  int target;
  ls_map_insert(map, INT64_MIN, NULL)->pointer = &target;
  ls_map_insert(map, 0, NULL)->number = -1;
  assert_int_equal(ls_map_size(map), 3);
  assert_ptr_equal(ls_map_find(map, INT64_MIN)->pointer, &target);
  ls_map_value removed;
  assert_true(ls_map_remove(map, 7, &removed));
  assert_true(removed.number == 70);
  assert_null(ls_map_find(map, 7));
  assert_int_equal(ls_map_size(map), 2);
  assert_true(ls_map_insert(map, 7, &added)->number == 0); /* zero again, not what was there */
  ls_map_clear(map);
  assert_int_equal(ls_map_size(map), 0);
  assert_null(ls_map_find(map, 0));
  size_t cursor = 0;
  int64_t key;
  assert_false(ls_map_next(map, &cursor, &key, NULL));
  ls_map_destroy(map);
  ls_map_destroy(NULL);
}

enum { KEYS = 3000 };

/* Keys far apart and close together, as ids are. */
static int64_t key_of(size_t index) {
  return index % 2 ? (int64_t)index : (int64_t)index * INT64_C(1099511627776);
}

static void compare(const ls_map *map, const int64_t *expected) {
  size_t count = 0;
  int64_t sum = 0;
  for (size_t i = 0; i < KEYS; i++) {
    const ls_map_value *value = ls_map_find(map, key_of(i));
    if (expected[i] == 0) {
      assert_null(value);
      continue;
    }
    assert_non_null(value);
    assert_true(value->number == expected[i]);
    count++;
    sum += expected[i];
  }
  assert_int_equal(ls_map_size(map), count);
  size_t cursor = 0;
  int64_t key;
  ls_map_value value;
  while (ls_map_next(map, &cursor, &key, &value)) {
    sum -= value.number;
    count--;
  }
  assert_int_equal(count, 0);
  assert_true(sum == 0);
}

static void random_work(void **state) {
  (void)state;
  static int64_t expected[KEYS];
  ls_map *map = ls_map_new();
  uint32_t random = 12345; /* the same each time */
  for (int step = 1; step <= 60000; step++) {
    random = random * 1664525 + 1013904223;
    size_t index = (random >> 8) % KEYS;
    bool remove = (random >> 28) < (uint32_t)(step % 20000 < 10000 ? 5 : 11);
    if (remove) {
      assert_int_equal(ls_map_remove(map, key_of(index), NULL), expected[index] != 0);
      expected[index] = 0;
    } else {
      ls_map_insert(map, key_of(index), NULL)->number = step;
      expected[index] = step;
    }
    if (step % 5000 == 0)
      compare(map, expected);
  }
  ls_map_destroy(map);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(insert_find_remove),
      cmocka_unit_test(random_work),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
