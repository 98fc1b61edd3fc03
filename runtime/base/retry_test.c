/* Tests of the backoff. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/base/retry.h"

static void waits_stay_within_a_growing_bound(void **state) {
  (void)state;
  static const int64_t bounds[] = {100, 200, 400, 800, 1000, 1000, 1000};
  enum { STEPS = sizeof bounds / sizeof bounds[0] };
  int64_t largest[STEPS] = {0};
  int64_t smallest[STEPS];
  for (int i = 0; i < STEPS; i++)
    smallest[i] = INT64_MAX;
  ls_backoff backoff;
  ls_backoff_init(&backoff, 100, 1000);
  for (int round = 0; round < 2000; round++) {
    for (int i = 0; i < STEPS; i++) {
      int64_t wait = ls_backoff_next(&backoff);
      assert_true(wait >= 1 && wait <= bounds[i]);
      if (wait > largest[i])
        largest[i] = wait;
      if (wait < smallest[i])
        smallest[i] = wait;
    }
    assert_int_equal(backoff.attempts, STEPS);
    ls_backoff_reset(&backoff);
  }
  for (int i = 0; i < STEPS; i++) { /* the whole range is used */
    assert_true(largest[i] > bounds[i] * 9 / 10);
    assert_true(smallest[i] < bounds[i] / 10);
  }
}

static void two_do_not_keep_step(void **state) {
  (void)state;
  ls_backoff a, b;
  ls_backoff_init(&a, 1000000, 1000000);
  ls_backoff_init(&b, 1000000, 1000000);
  int same = 0;
  for (int i = 0; i < 20; i++)
    same += ls_backoff_next(&a) == ls_backoff_next(&b);
  assert_true(same < 5);
}

static void extremes(void **state) {
  (void)state;
  ls_backoff backoff;
  ls_backoff_init(&backoff, 0, 0);
  for (int i = 0; i < 100; i++)
    assert_int_equal(ls_backoff_next(&backoff), 1);
  ls_backoff_init(&backoff, 1, INT64_MAX);
  for (int i = 0; i < 200; i++)
    assert_true(ls_backoff_next(&backoff) >= 1);
  ls_backoff_init(&backoff, INT64_MAX, INT64_MAX);
  backoff.attempts = UINT32_MAX;
  assert_true(ls_backoff_next(&backoff) >= 1);
  assert_int_equal(backoff.attempts, UINT32_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(waits_stay_within_a_growing_bound),
      cmocka_unit_test(two_do_not_keep_step),
      cmocka_unit_test(extremes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
