/* Tests of the arena. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "runtime/base/arena.h"

static void memory_is_aligned_and_apart(void **state) {
  (void)state;
  ls_arena *arena = ls_arena_new(1 << 20);
  unsigned char *pieces[500];
  for (size_t i = 0; i < 500; i++) {
    pieces[i] = ls_arena_alloc(arena, i);
    assert_non_null(pieces[i]);
    assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
    memset(pieces[i], (int)(i & 0xff), i);
  }
  for (size_t i = 0; i < 500; i++) {
    for (size_t at = 0; at < i; at++)
      assert_int_equal(pieces[i][at], i & 0xff);
  }
  ls_arena_destroy(arena);
}

static void bound_is_kept_to_the_byte(void **state) {
  (void)state;
  ls_arena *arena = ls_arena_new(1000);
  assert_null(ls_arena_alloc(arena, 1001));
  assert_null(ls_arena_alloc(arena, SIZE_MAX));
  assert_null(ls_arena_alloc(arena, SIZE_MAX - 8));
  assert_int_equal(ls_arena_used(arena), 0);
  assert_non_null(ls_arena_alloc(arena, 1000));
  assert_int_equal(ls_arena_used(arena), 1000);
  assert_null(ls_arena_alloc(arena, 1));
  ls_arena_reset(arena);
  assert_int_equal(ls_arena_used(arena), 0);
  assert_non_null(ls_arena_alloc(arena, 984));
  assert_non_null(ls_arena_alloc(arena, 8));
  assert_null(ls_arena_alloc(arena, 8));
  ls_arena_destroy(arena);
}

static void bound_holds_over_many_blocks(void **state) {
  (void)state;
  enum { BOUND = 300000 };
  ls_arena *arena = ls_arena_new(BOUND);
  size_t total = 0;
  while (ls_arena_alloc(arena, 160))
    total += 160;
  assert_in_range(total, BOUND - 160, BOUND);
  assert_int_equal(ls_arena_used(arena), total);
  ls_arena_destroy(arena);
}

static void reset_keeps_a_block(void **state) {
  (void)state;
  ls_arena *arena = ls_arena_new(1 << 24);
  void *first = ls_arena_alloc(arena, 100);
  assert_non_null(first);
  ls_arena_reset(arena);
  assert_ptr_equal(ls_arena_alloc(arena, 100), first);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 2000; i++) {
      char *piece = ls_arena_alloc(arena, 999);
      assert_non_null(piece);
      memset(piece, round, 999);
    }
    ls_arena_reset(arena);
  }
  ls_arena_destroy(arena);
}

static void copies_are_terminated(void **state) {
  (void)state;
  ls_arena *arena = ls_arena_new(64);
  assert_string_equal(ls_arena_strdup(arena, "order"), "order");
  char *copy = ls_arena_memdup(arena, "a\0b", 3);
  assert_memory_equal(copy, "a\0b", 4);
  assert_string_equal(ls_arena_memdup(arena, NULL, 0), "");
  assert_null(ls_arena_memdup(arena, "", SIZE_MAX));
  assert_null(ls_arena_strdup(arena, "a text that is longer than all that is left of the arena"));
  ls_arena_destroy(arena);
  ls_arena_destroy(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(memory_is_aligned_and_apart),  cmocka_unit_test(bound_is_kept_to_the_byte),
      cmocka_unit_test(bound_holds_over_many_blocks), cmocka_unit_test(reset_keeps_a_block),
      cmocka_unit_test(copies_are_terminated),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
