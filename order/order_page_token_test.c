/* Page tokens come back as they went, and only to their own query. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "order/order_page_token.h"

static void a_page_token_is_good_for_its_query_only(void **state) {
  (void)state;
  Order__V1__ListOrdersRequest request = ORDER__V1__LIST_ORDERS_REQUEST__INIT;
  char token[ORDER_PAGE_TOKEN_BYTES];
  int64_t last = -1;
  assert_true(order_page_token_read(&request, &last));
  assert_int_equal(last, 0);
  static const int64_t ids[] = {1, 255, 1024, INT64_MAX};
  for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
    order_page_token_make(&request, ids[i], token);
    assert_int_equal(strlen(token), ORDER_PAGE_TOKEN_BYTES - 1);
    request.page_token = token;
    request.page_size = (int32_t)i;
    assert_true(order_page_token_read(&request, &last));
    assert_int_equal(last, ids[i]);
  }
  request.customer_id = (char *)"customer";
  assert_false(order_page_token_read(&request, &last));
  request.customer_id = (char *)"";
  request.status = ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED;
  assert_false(order_page_token_read(&request, &last));
  request.status = ORDER__V1__ORDER_STATUS__ORDER_STATUS_UNSPECIFIED;
  assert_true(order_page_token_read(&request, &last));
  for (size_t i = 0; i < ORDER_PAGE_TOKEN_BYTES - 1; i++) {
    char kept = token[i];
    token[i] = '+'; /* of base64, not of base64url */
    assert_false(order_page_token_read(&request, &last));
    token[i] = kept;
  }
  token[ORDER_PAGE_TOKEN_BYTES - 2] = '_'; /* bits that belong to no byte */
  assert_false(order_page_token_read(&request, &last));
  token[ORDER_PAGE_TOKEN_BYTES - 2] = '\0';
  assert_false(order_page_token_read(&request, &last));
  request.page_token = (char *)"hello";
  assert_false(order_page_token_read(&request, &last));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_page_token_is_good_for_its_query_only),
  };
  return cmocka_run_group_tests_name("order_page_token", tests, NULL, NULL);
}
