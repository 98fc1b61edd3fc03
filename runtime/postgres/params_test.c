/* The encoding of parameters, against bytes written down from PostgreSQL's protocol. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/postgres/params.h"

static int setup(void **state) {
  *state = ls_pg_params_new();
  return *state ? 0 : -1;
}

static int teardown(void **state) {
  ls_pg_params_destroy(*state);
  return 0;
}

static void expect_param(const ls_pg_params *params, size_t index, ls_pg_type type,
                         const void *bytes, size_t count) {
  ls_pg_param param = ls_pg_params_at(params, index);
  assert_int_equal(param.type, type);
  assert_int_equal(param.bytes, count);
  assert_non_null(param.data);
  assert_memory_equal(param.data, bytes, count);
}

#define EXPECT_BYTES(params, index, type, literal)                                                 \
  expect_param(params, index, type, literal, sizeof(literal) - 1)

static void test_scalars(void **state) {
  ls_pg_params *params = *state;
  ls_error error;
  ls_pg_params_bool(params, true);
  ls_pg_params_bool(params, false);
  ls_pg_params_int2(params, -2);
  ls_pg_params_int4(params, 0x01020304);
  ls_pg_params_int8(params, INT64_MIN);
  ls_pg_params_xid8(params, UINT64_MAX - 1);
  ls_pg_params_text(params, "h\xc3\xa9");
  ls_pg_params_text_bytes(params, NULL, 0);
  ls_pg_params_bytea(params, "\0\1\2", 3);
  assert_true(ls_pg_params_check(params, &error));
  assert_int_equal(ls_pg_params_count(params), 9);
  EXPECT_BYTES(params, 0, LS_PG_BOOL, "\x01");
  EXPECT_BYTES(params, 1, LS_PG_BOOL, "\x00");
  EXPECT_BYTES(params, 2, LS_PG_INT2, "\xff\xfe");
  EXPECT_BYTES(params, 3, LS_PG_INT4, "\x01\x02\x03\x04");
  EXPECT_BYTES(params, 4, LS_PG_INT8, "\x80\x00\x00\x00\x00\x00\x00\x00");
  EXPECT_BYTES(params, 5, LS_PG_XID8, "\xff\xff\xff\xff\xff\xff\xff\xfe");
  EXPECT_BYTES(params, 6, LS_PG_TEXT, "h\xc3\xa9");
  EXPECT_BYTES(params, 7, LS_PG_TEXT, "");
  EXPECT_BYTES(params, 8, LS_PG_BYTEA, "\x00\x01\x02");
}

static void test_nulls(void **state) {
  ls_pg_params *params = *state;
  ls_pg_params_null(params, LS_PG_INT8);
  ls_pg_params_text(params, NULL);
  assert_true(ls_pg_params_check(params, NULL));
  assert_int_equal(ls_pg_params_at(params, 0).type, LS_PG_INT8);
  assert_null(ls_pg_params_at(params, 0).data);
  assert_int_equal(ls_pg_params_at(params, 1).type, LS_PG_TEXT);
  assert_null(ls_pg_params_at(params, 1).data);
}

static void test_empty_text_alone_is_not_null(void **state) {
  ls_pg_params *params = *state;
  ls_pg_params_text(params, "");
  assert_non_null(ls_pg_params_at(params, 0).data);
  assert_int_equal(ls_pg_params_at(params, 0).bytes, 0);
}

static void test_times(void **state) {
  ls_pg_params *params = *state;
  ls_pg_params_timestamptz(params, INT64_C(946684800000000)); /* 2000-01-01 */
  ls_pg_params_timestamptz(params, INT64_C(946684799999999)); /* a microsecond earlier */
  ls_pg_params_timestamptz(params, 0);                        /* 1970-01-01 */
  ls_pg_params_timestamptz(params, INT64_MAX);
  ls_pg_params_timestamptz(params, INT64_MIN);
  assert_true(ls_pg_params_check(params, NULL));
  EXPECT_BYTES(params, 0, LS_PG_TIMESTAMPTZ, "\x00\x00\x00\x00\x00\x00\x00\x00");
  EXPECT_BYTES(params, 1, LS_PG_TIMESTAMPTZ, "\xff\xff\xff\xff\xff\xff\xff\xff");
  EXPECT_BYTES(params, 2, LS_PG_TIMESTAMPTZ, "\xff\xfc\xa2\xfe\xc4\xc8\x20\x00");
  EXPECT_BYTES(params, 3, LS_PG_TIMESTAMPTZ, "\x7f\xff\xff\xff\xff\xff\xff\xff");
  EXPECT_BYTES(params, 4, LS_PG_TIMESTAMPTZ, "\x80\x00\x00\x00\x00\x00\x00\x00");
}

static void test_time_out_of_range(void **state) {
  ls_pg_params *params = *state;
  ls_error error;
  ls_pg_params_timestamptz(params, INT64_MIN + 1);
  assert_false(ls_pg_params_check(params, &error));
  assert_int_equal(error.code, LS_OUT_OF_RANGE);
}

static void test_array(void **state) {
  ls_pg_params *params = *state;
  ls_pg_params_int2(params, 7);
  ls_pg_params_array_begin(params, LS_PG_INT4);
  ls_pg_params_int4(params, 1);
  ls_pg_params_null(params, LS_PG_INT4);
  ls_pg_params_int4(params, -1);
  ls_pg_params_array_end(params);
  assert_true(ls_pg_params_check(params, NULL));
  assert_int_equal(ls_pg_params_count(params), 2);
  EXPECT_BYTES(params, 1, LS_PG_INT4_ARRAY,
               "\x00\x00\x00\x01" /* one dimension */
               "\x00\x00\x00\x01" /* has nulls */
               "\x00\x00\x00\x17" /* of int4 */
               "\x00\x00\x00\x03" /* elements */
               "\x00\x00\x00\x01" /* first subscript */
               "\x00\x00\x00\x04\x00\x00\x00\x01"
               "\xff\xff\xff\xff"
               "\x00\x00\x00\x04\xff\xff\xff\xff");
}

static void test_array_of_text(void **state) {
  ls_pg_params *params = *state;
  ls_pg_params_array_begin(params, LS_PG_TEXT);
  ls_pg_params_text(params, "");
  ls_pg_params_text(params, "ab");
  ls_pg_params_array_end(params);
  EXPECT_BYTES(params, 0, LS_PG_TEXT_ARRAY,
               "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x19"
               "\x00\x00\x00\x02\x00\x00\x00\x01"
               "\x00\x00\x00\x00"
               "\x00\x00\x00\x02"
               "ab");
}

static void test_empty_array(void **state) {
  ls_pg_params *params = *state;
  ls_pg_params_int8_array(params, NULL, 0);
  ls_pg_params_bool(params, true);
  assert_true(ls_pg_params_check(params, NULL));
  EXPECT_BYTES(params, 0, LS_PG_INT8_ARRAY, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x14");
  EXPECT_BYTES(params, 1, LS_PG_BOOL, "\x01");
}

static void expect_misuse(const ls_pg_params *params) {
  ls_error error;
  assert_false(ls_pg_params_check(params, &error));
  assert_int_equal(error.code, LS_INTERNAL);
  assert_false(error.retriable);
}

static void test_misuse_is_kept(void **state) {
  ls_pg_params *params = *state;
  ls_pg_params_array_begin(params, LS_PG_INT8);
  ls_pg_params_int4(params, 1);
  ls_pg_params_int8(params, 1);
  ls_pg_params_array_end(params);
  expect_misuse(params);
  assert_int_equal(ls_pg_params_count(params), 0);

  ls_pg_params_reset(params);
  ls_pg_params_array_begin(params, LS_PG_INT8);
  expect_misuse(params); /* never ended */
  ls_pg_params_array_begin(params, LS_PG_INT8);
  expect_misuse(params); /* nested */

  ls_pg_params_reset(params);
  ls_pg_params_array_end(params);
  expect_misuse(params);

  ls_pg_params_reset(params);
  ls_pg_params_array_begin(params, LS_PG_INT8_ARRAY);
  expect_misuse(params);
}

static void test_too_large(void **state) {
  ls_pg_params *params = *state;
  ls_error error;
  ls_pg_params_bytea(params, "", ((size_t)1 << 30) + 1); /* refused before it is read */
  assert_false(ls_pg_params_check(params, &error));
  assert_int_equal(error.code, LS_OUT_OF_RANGE);
}

static void test_too_many(void **state) {
  ls_pg_params *params = *state;
  ls_error error;
  for (int i = 0; i < 65535; i++)
    ls_pg_params_bool(params, true);
  assert_true(ls_pg_params_check(params, &error));
  ls_pg_params_bool(params, true);
  assert_false(ls_pg_params_check(params, &error));
  assert_int_equal(error.code, LS_OUT_OF_RANGE);
}

static void test_reuse(void **state) {
  ls_pg_params *params = *state;
  for (int round = 0; round < 3; round++) {
    ls_pg_params_reset(params);
    assert_int_equal(ls_pg_params_count(params), 0);
    assert_int_equal(ls_pg_params_bytes(params), 0);
    ls_pg_params_array_begin(params, LS_PG_BYTEA);
    for (int i = 0; i < 1000; i++)
      ls_pg_params_bytea(params, "xyz", 3);
    ls_pg_params_array_end(params);
    ls_pg_params_int4(params, round);
    assert_true(ls_pg_params_check(params, NULL));
    assert_int_equal(ls_pg_params_at(params, 0).bytes, 20 + 1000 * 7);
    const unsigned char expected[] = {0, 0, 0, (unsigned char)round};
    expect_param(params, 1, LS_PG_INT4, expected, sizeof expected);
  }
}

static void test_type_names(void **state) {
  (void)state;
  assert_string_equal(ls_pg_type_name(LS_PG_TIMESTAMPTZ), "timestamptz");
  assert_string_equal(ls_pg_type_name(LS_PG_INT2_ARRAY), "int2[]");
  assert_string_equal(ls_pg_type_name(LS_PG_NONE), "an unknown type");
  assert_string_equal(ls_pg_type_name((ls_pg_type)12345), "an unknown type");
  assert_int_equal(ls_pg_type_array_of(LS_PG_XID8), LS_PG_XID8_ARRAY);
  assert_int_equal(ls_pg_type_array_of(LS_PG_VOID), LS_PG_NONE);
  assert_int_equal(ls_pg_type_element_of(LS_PG_BYTEA_ARRAY), LS_PG_BYTEA);
  assert_int_equal(ls_pg_type_element_of(LS_PG_NONE), LS_PG_NONE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_scalars, setup, teardown),
      cmocka_unit_test_setup_teardown(test_nulls, setup, teardown),
      cmocka_unit_test_setup_teardown(test_empty_text_alone_is_not_null, setup, teardown),
      cmocka_unit_test_setup_teardown(test_times, setup, teardown),
      cmocka_unit_test_setup_teardown(test_time_out_of_range, setup, teardown),
      cmocka_unit_test_setup_teardown(test_array, setup, teardown),
      cmocka_unit_test_setup_teardown(test_array_of_text, setup, teardown),
      cmocka_unit_test_setup_teardown(test_empty_array, setup, teardown),
      cmocka_unit_test_setup_teardown(test_misuse_is_kept, setup, teardown),
      cmocka_unit_test_setup_teardown(test_too_large, setup, teardown),
      cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
      cmocka_unit_test_setup_teardown(test_reuse, setup, teardown),
      cmocka_unit_test(test_type_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
