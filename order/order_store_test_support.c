/* A schema of its own for each run, sessions in it, and short ways to write and ask. */
#include "order/order_store_test_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "order/order_test_support.h"

static char schema[48];
static char conninfo[128];
static order_database database = {.options = {.application_name = "order_store_test"}};

test_session test_open_session(void) {
  ls_error error = {0};
  test_session opened = {order_store_new(&database, &error), ls_arena_new(64 << 20)};
  assert_non_null(opened.store);
  assert_non_null(opened.arena);
  if (!order_store_connect(opened.store, &error))
    fail_msg("cannot connect: %s", error.message);
  return opened;
}

void test_close_session(test_session *opened) {
  order_store_destroy(opened->store);
  ls_arena_destroy(opened->arena);
}

void test_run_sql(test_session *in, const char *sql) {
  ls_error error = {0};
  if (!ls_pg_exec_sql(order_store_connection(in->store), sql, &error))
    fail_msg("%s: %s", sql, error.message);
}

/* The one number that a query gives. Statements are known by their address, so none is used twice.
 */
int64_t test_number(test_session *in, const char *sql) {
  static ls_pg_statement statements[128];
  static size_t used = 0;
  assert_true(used < sizeof statements / sizeof statements[0]);
  ls_pg_statement *statement = &statements[used++];
  *statement = (ls_pg_statement){.name = "test", .sql = sql, .columns = {LS_PG_INT8}};
  ls_error error = {0};
  ls_pg_result *result = NULL;
  if (!ls_pg_exec(order_store_connection(in->store), statement, NULL, &result, &error))
    fail_msg("%s: %s", sql, error.message);
  assert_int_equal(ls_pg_row_count(result), 1);
  int64_t value = ls_pg_get_int8(result, 0, 0);
  ls_pg_result_destroy(result);
  return value;
}

order_write test_create_write(const Order__V1__CreateOrderRequest *request) {
  order_write write = {.kind = ORDER_WRITE_CREATE, .request.create = request};
  assert_true(order_fingerprint_create(request, write.fingerprint));
  return write;
}

order_write test_update_write(const Order__V1__UpdateOrderRequest *request) {
  order_write write = {.kind = ORDER_WRITE_UPDATE, .request.update = request};
  assert_true(order_fingerprint_update(request, write.fingerprint));
  return write;
}

order_write test_cancel_write(const Order__V1__CancelOrderRequest *request) {
  order_write write = {.kind = ORDER_WRITE_CANCEL, .request.cancel = request};
  assert_true(order_fingerprint_cancel(request, write.fingerprint));
  return write;
}

order_outcome test_write_one(test_session *in, order_write *write) {
  order_write *writes[] = {write};
  order_store_write(in->store, writes, 1, NULL);
  return write->outcome;
}

int64_t test_create_one(test_session *in) {
  order_write write = test_create_write(test_create(in->arena, "", "customer", 2));
  assert_int_equal(test_write_one(in, &write), ORDER_CHANGED);
  return write.order->order_id;
}

void test_assert_same_order(const Order__V1__Order *left, const Order__V1__Order *right) {
  uint8_t packed_left[65536], packed_right[65536];
  assert_true(order__v1__order__get_packed_size(left) <= sizeof packed_left);
  size_t bytes = order__v1__order__pack(left, packed_left);
  assert_int_equal(order__v1__order__get_packed_size(right), bytes);
  order__v1__order__pack(right, packed_right);
  assert_memory_equal(packed_left, packed_right, bytes);
}

/* A copy that outlives the store's next use. */
Order__V1__Order *test_keep(test_session *in, const Order__V1__Order *order) {
  size_t bytes = order__v1__order__get_packed_size(order);
  uint8_t *packed = ls_arena_alloc(in->arena, bytes);
  order__v1__order__pack(order, packed);
  Order__V1__Order *copy = order__v1__order__unpack(NULL, bytes, packed);
  assert_non_null(copy);
  return copy;
}

void test_release(Order__V1__Order *order) {
  order__v1__order__free_unpacked(order, NULL);
}

static bool run_alone(const char *sql) {
  ls_error error = {0};
  ls_pg_options options = {.application_name = "order_store_test"};
  ls_pg_connection *connection = ls_pg_connect(&options, &error);
  bool done = connection != NULL && ls_pg_exec_sql(connection, sql, &error);
  ls_pg_connection_destroy(connection);
  if (!done)
    fprintf(stderr, "%s: %s\n", sql, error.message);
  return done;
}

/* One session makes the tables; the others only find them right. */
int test_make_schema(void **state) {
  (void)state;
  char sql[96];
  snprintf(schema, sizeof schema, "order_store_test_%ld", (long)getpid());
  snprintf(conninfo, sizeof conninfo, "options='-c search_path=%s'", schema);
  snprintf(sql, sizeof sql, "CREATE SCHEMA %s", schema);
  if (!run_alone(sql))
    return 1;
  database.options.conninfo = conninfo;
  order_database maker = {.options = database.options, .may_migrate = true};
  ls_error error = {0};
  order_store *store = order_store_new(&maker, &error);
  bool done = store != NULL && order_store_connect(store, &error);
  order_store_destroy(store);
  if (!done)
    fprintf(stderr, "cannot make the tables: %s\n", error.message);
  return done ? 0 : 1;
}

int test_drop_schema(void **state) {
  (void)state;
  char sql[96];
  snprintf(sql, sizeof sql, "DROP SCHEMA %s CASCADE", schema);
  return run_alone(sql) ? 0 : 1;
}
