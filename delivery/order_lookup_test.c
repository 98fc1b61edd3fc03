/* Lookups against an order service in this process, which fails as it is told to. */
#include "delivery/order_lookup.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "order/v1/order_service.grpc-c.h"
#include "runtime/base/metrics.h"
#include "runtime/rpc/server.h"

enum { IDS = 1000, BATCH = 256 };

/* What is wrong with an order. */
typedef enum trouble { NONE, MISSING, FAILS, LEFT_OUT, BROKEN } trouble;

/* What the service is told; the mutex is for those who cannot see that no call is under way then.
 */
static pthread_mutex_t told = PTHREAD_MUTEX_INITIALIZER;
static trouble troubles[IDS + 1];
static ls_code service_code;       /* what every call is answered with, unless OK */
static const char *service_reason; /* of its ErrorInfo; NULL: none */
static atomic_int calls;
static atomic_int largest_call;

static ls_metrics *metrics;
static delivery_counters counters;
static ls_rpc_server *server;
static ls_rpc_channel *channel;
static order_lookup *lookup;
static ls_arena *arena;

/* --- The order service --- */

static Order__V1__Order *new_order(ls_rpc_call *call, int64_t id) {
  Order__V1__Order *order = ls_rpc_call_alloc(call, sizeof *order);
  Order__V1__Address *address = ls_rpc_call_alloc(call, sizeof *address);
  Order__V1__OrderItem *item = ls_rpc_call_alloc(call, sizeof *item);
  order__v1__order__init(order);
  order__v1__address__init(address);
  order__v1__order_item__init(item);
  order->order_id = id;
  order->version = 2 * id;
  order->status = troubles[id] == BROKEN ? ORDER__V1__ORDER_STATUS__ORDER_STATUS_UNSPECIFIED
                                         : ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED;
  order->delivery_address = address;
  address->city = (char *)"Graz";
  order->n_items = 1;
  order->items = ls_rpc_call_alloc(call, sizeof *order->items);
  order->items[0] = item;
  item->sku = (char *)"A";
  item->quantity = 1;
  return order;
}

static void fail_call(ls_rpc_call *call) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_status_set(&status, service_code, "as told");
  if (service_reason != NULL)
    ls_rpc_status_add_error_info(&status, service_reason, "order.lockstep", (const char *)NULL);
  ls_rpc_call_finish(call, &status);
  ls_rpc_status_clear(&status);
}

static void answer(ls_rpc_call *call, const Order__V1__BatchGetOrdersRequest *request) {
  atomic_fetch_add(&calls, 1);
  if ((int)request->n_order_ids > atomic_load(&largest_call))
    atomic_store(&largest_call, (int)request->n_order_ids);
  Order__V1__BatchGetOrdersResponse response = ORDER__V1__BATCH_GET_ORDERS_RESPONSE__INIT;
  response.orders = ls_rpc_call_alloc(call, request->n_order_ids * sizeof(void *));
  response.missing_order_ids = ls_rpc_call_alloc(call, request->n_order_ids * sizeof(int64_t));
  bool fails = service_code != LS_OK;
  for (size_t i = 0; i < request->n_order_ids && !fails; i++) {
    int64_t id = request->order_ids[i];
    fails = troubles[id] == FAILS;
    if (troubles[id] == MISSING)
      response.missing_order_ids[response.n_missing_order_ids++] = id;
    else if (troubles[id] != LEFT_OUT)
      response.orders[response.n_orders++] = new_order(call, id);
  }
  if (service_code != LS_OK)
    fail_call(call);
  else if (fails)
    ls_rpc_call_fail(call, LS_INTERNAL, "cannot read an order");
  else
    order_v1_order_service_batch_get_orders_reply(call, &response);
}

static void batch_get_orders(ls_rpc_call *call, const Order__V1__BatchGetOrdersRequest *request,
                             void *user_data) {
  (void)user_data;
  pthread_mutex_lock(&told);
  answer(call, request);
  pthread_mutex_unlock(&told);
}

static const order_v1_order_service_handlers handlers = {.batch_get_orders = batch_get_orders};

/* --- Help --- */

static int set_up(void **state) {
  (void)state;
  ls_error error = {0};
  int port;
  char target[32];
  metrics = ls_metrics_new(0);
  delivery_counters_init(&counters, metrics);
  arena = ls_arena_new(64 << 20);
  server = ls_rpc_server_new(NULL, &error);
  if (server == NULL || !order_v1_order_service_register(server, &handlers, NULL, &error) ||
      !ls_rpc_server_listen(server, "127.0.0.1:0", &port, &error) ||
      !ls_rpc_server_start(server, &error)) {
    fprintf(stderr, "%s\n", error.message);
    return 1;
  }
  snprintf(target, sizeof target, "127.0.0.1:%d", port);
  ls_rpc_channel_options options = {.retry_attempts = 1};
  channel = ls_rpc_channel_new(target, &options, &error);
  order_lookup_options lookup_options = {channel, BATCH, 3, 20000, &counters};
  lookup = channel == NULL ? NULL : order_lookup_new(&lookup_options, &error);
  return lookup == NULL;
}

static int tear_down(void **state) {
  (void)state;
  order_lookup_destroy(lookup);
  ls_rpc_channel_destroy(channel);
  if (server != NULL)
    ls_rpc_server_shutdown(server, 5000);
  ls_rpc_server_destroy(server);
  ls_metrics_destroy(metrics);
  ls_arena_destroy(arena);
  return 0;
}

static void tell(int64_t id, trouble one) {
  pthread_mutex_lock(&told);
  troubles[id] = one;
  pthread_mutex_unlock(&told);
}

static void tell_service(ls_code code, const char *reason) {
  pthread_mutex_lock(&told);
  service_code = code;
  service_reason = reason;
  pthread_mutex_unlock(&told);
}

static int64_t ids[IDS];
static order_lookup_result results[IDS];

static bool run(size_t count, ls_error *error) {
  for (size_t i = 0; i < count; i++)
    ids[i] = (int64_t)i + 1;
  return order_lookup_run(lookup, ids, count, arena, results, error);
}

static int forget(void **state) {
  (void)state;
  tell_service(LS_OK, NULL);
  for (int64_t id = 0; id <= IDS; id++)
    tell(id, NONE);
  ls_error error = {0};
  for (int i = 0; i < 8; i++) /* calls may be as large as ever again */
    assert_true(run(1, &error));
  atomic_store(&calls, 0);
  atomic_store(&largest_call, 0);
  ls_arena_reset(arena);
  return 0;
}

/* Each result is what the order's trouble makes of it. */
static void check_results(size_t count) {
  for (size_t i = 0; i < count; i++) {
    const order_lookup_result *result = &results[i];
    switch (troubles[ids[i]]) {
    case NONE:
      assert_int_equal(result->lookup.kind, DELIVERY_LOOKUP_FOUND);
      assert_int_equal(result->lookup.version, 2 * ids[i]);
      assert_int_equal(result->snapshot->order_id, ids[i]);
      assert_string_equal(result->snapshot->city, "Graz");
      break;
    case MISSING:
      assert_int_equal(result->lookup.kind, DELIVERY_LOOKUP_MISSING);
      assert_non_null(result->problem);
      break;
    case FAILS:
    case LEFT_OUT:
    case BROKEN:
      assert_int_equal(result->lookup.kind, DELIVERY_LOOKUP_FAILED);
      assert_non_null(result->problem);
      break;
    }
  }
}

/* --- Tests --- */

static void test_many_ids_in_bounded_calls(void **state) {
  (void)state;
  ls_error error = {0};
  tell(1, MISSING);
  tell(500, MISSING);
  tell(501, LEFT_OUT);
  tell(1000, BROKEN);
  assert_true(run(IDS, &error));
  check_results(IDS);
  assert_int_equal(atomic_load(&calls), 4);
  assert_int_equal(atomic_load(&largest_call), BATCH);
}

static void test_one_that_fails_does_not_fail_its_neighbours(void **state) {
  (void)state;
  ls_error error = {0};
  tell(3, FAILS);
  tell(700, FAILS);
  tell(701, FAILS);
  tell(702, MISSING);
  assert_true(run(IDS, &error));
  check_results(IDS);
  assert_true(strstr(results[2].problem, "cannot read an order") != NULL);
}

static void test_only_one_and_it_fails(void **state) {
  (void)state;
  ls_error error = {0};
  tell(1, FAILS);
  assert_true(run(1, &error));
  check_results(1);
  assert_int_equal(atomic_load(&calls), 1);
}

static void test_a_service_that_is_down_is_nobodys_fault(void **state) {
  (void)state;
  static const ls_code codes[] = {LS_UNAVAILABLE, LS_DEADLINE_EXCEEDED, LS_PERMISSION_DENIED,
                                  LS_UNAUTHENTICATED, LS_UNIMPLEMENTED};
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
    ls_error error = {0};
    tell_service(codes[i], NULL);
    assert_false(run(IDS, &error));
    assert_int_equal(error.code, LS_UNAVAILABLE);
    assert_true(error.retriable);
    assert_true(strstr(error.message, ls_code_name(codes[i])) != NULL);
  }
}

/* A call that is not answered is made again, and by itself says nothing about the service. */
static void test_a_call_that_is_not_answered_is_made_again(void **state) {
  (void)state;
  ls_error error = {0};
  tell_service(LS_DEADLINE_EXCEEDED, NULL);
  assert_false(run(1, &error));
  assert_int_equal(atomic_load(&calls), 3);
  tell_service(LS_OK, NULL);
  assert_true(run(1, &error));
}

/* What takes too long is asked for in smaller calls the next time, and in larger ones again later.
 */
static void test_calls_grow_smaller_when_they_are_late(void **state) {
  (void)state;
  ls_error error = {0};
  tell_service(LS_DEADLINE_EXCEEDED, NULL);
  assert_false(run(IDS, &error));
  tell_service(LS_OK, NULL);
  atomic_store(&largest_call, 0);
  assert_true(run(IDS, &error));
  assert_int_equal(atomic_load(&largest_call), BATCH / 4);
  atomic_store(&largest_call, 0);
  assert_true(run(IDS, &error));
  assert_true(run(IDS, &error));
  assert_int_equal(atomic_load(&largest_call), BATCH);
}

static void test_overload_is_not_split(void **state) {
  (void)state;
  ls_error error = {0};
  tell_service(LS_RESOURCE_EXHAUSTED, "OVERLOADED");
  assert_false(run(BATCH, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  assert_int_equal(atomic_load(&calls), 1);
  /* Without that reason the answer may just have been too large. */
  tell_service(LS_RESOURCE_EXHAUSTED, NULL);
  atomic_store(&calls, 0);
  assert_true(run(4, &error));
  assert_int_equal(atomic_load(&calls), 7);
  assert_int_equal(results[0].lookup.kind, DELIVERY_LOOKUP_FAILED);
}

static void test_nobody_there(void **state) {
  (void)state;
  ls_error error = {0};
  ls_rpc_channel_options options = {.retry_attempts = 1};
  ls_rpc_channel *nowhere = ls_rpc_channel_new("127.0.0.1:1", &options, &error);
  order_lookup_options lookup_options = {nowhere, BATCH, 3, 5000, &counters};
  order_lookup *lost = order_lookup_new(&lookup_options, &error);
  assert_non_null(lost);
  ids[0] = 1;
  assert_false(order_lookup_run(lost, ids, 1, arena, results, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  order_lookup_destroy(lost);
  ls_rpc_channel_destroy(nowhere);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_many_ids_in_bounded_calls, forget),
      cmocka_unit_test_setup(test_one_that_fails_does_not_fail_its_neighbours, forget),
      cmocka_unit_test_setup(test_only_one_and_it_fails, forget),
      cmocka_unit_test_setup(test_a_service_that_is_down_is_nobodys_fault, forget),
      cmocka_unit_test_setup(test_a_call_that_is_not_answered_is_made_again, forget),
      cmocka_unit_test_setup(test_calls_grow_smaller_when_they_are_late, forget),
      cmocka_unit_test_setup(test_overload_is_not_split, forget),
      cmocka_unit_test_setup(test_nobody_there, forget),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
