/* What the store's tests share. */
#include "delivery/delivery_store_test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SKIPPED = 77 };

static char schema[64];
static char conninfo[128];
static int64_t next_order_id = 1;
delivery_database test_database = {.options = {.conninfo = conninfo}, .may_migrate = true};
delivery_store *test_store;
ls_arena *test_arena;

int test_skipped(void) {
  const char *host = getenv("PGHOST");
  if (host != NULL && host[0] != '\0')
    return 0;
  puts("skipped: PGHOST is not set");
  return SKIPPED;
}

int64_t test_order_ids(int64_t count) {
  int64_t first = next_order_id;
  next_order_id += count;
  return first;
}

void test_check(bool done, const ls_error *error) {
  if (!done)
    fail_msg("%s %s: %s", ls_code_name(error->code), error->source, error->message);
}

int64_t test_number(const char *sql) {
  static ls_pg_statement statements[64];
  static size_t count;
  assert_true(count < 64);
  ls_pg_statement *statement = &statements[count++];
  statement->name = "test";
  statement->sql = sql;
  statement->columns[0] = LS_PG_INT8;
  ls_error error = {0};
  ls_pg_result *rows;
  test_check(ls_pg_exec(delivery_store_connection(test_store), statement, NULL, &rows, &error),
             &error);
  int64_t value = ls_pg_get_int8(rows, 0, 0);
  ls_pg_result_destroy(rows);
  return value;
}

/* --- Works --- */

static delivery_snapshot snapshot_of(int64_t order_id, int64_t version,
                                     Order__V1__OrderStatus status) {
  return (delivery_snapshot){.order_id = order_id,
                             .version = version,
                             .status = status,
                             .recipient = "Ada Lovelace",
                             .address_lines = "12 St James's Square\nTür links",
                             .postal_code = "SW1Y 4JH",
                             .city = "London",
                             .country_code = "GB",
                             .items = (const uint8_t *)"\x32\x05\x0a\x01\x41\x10\x02",
                             .items_bytes = 7};
}

void test_add_event(test_events *events, int64_t order_id, int64_t version,
                    Order__V1__OrderStatus status, bool full) {
  size_t i = events->count++;
  events->events[i] = (delivery_event){version, full};
  events->snapshots[i] = snapshot_of(order_id, version, status);
  events->pointers[i] = full ? &events->snapshots[i] : NULL;
  events->records[i] = (order_record){"order-topic", 3, version, "7", 1, NULL, 0, "", 0};
  events->record_pointers[i] = &events->records[i];
}

delivery_work test_work(test_events *events, int64_t order_id) {
  return (delivery_work){.order_id = order_id,
                         .events = events->events,
                         .event_count = events->count,
                         .snapshots = events->pointers,
                         .records = events->record_pointers,
                         .verdicts = events->verdicts,
                         .lookup_problem = "it was not there"};
}

size_t test_apply(delivery_store *store, delivery_work *works, size_t count) {
  delivery_batch batch = {.works = works, .work_count = count, .pending_delay_ms = 0};
  size_t applied;
  ls_error error = {0};
  test_check(delivery_store_apply(store, &batch, &applied, &error), &error);
  return applied;
}

/* --- The schema --- */

static int run_sql(const char *format) {
  char sql[160];
  ls_error error = {0};
  snprintf(sql, sizeof sql, format, schema);
  ls_pg_options options = {0};
  ls_pg_connection *connection = ls_pg_connect(&options, &error);
  bool done = connection != NULL && ls_pg_exec_sql(connection, sql, &error);
  ls_pg_connection_destroy(connection);
  if (!done)
    fprintf(stderr, "%s\n", error.message);
  return done ? 0 : 1;
}

int test_set_up(void **state) {
  (void)state;
  ls_error error = {0};
  snprintf(schema, sizeof schema, "delivery_store_test_%d", (int)getpid());
  snprintf(conninfo, sizeof conninfo, "options='-c search_path=%s'", schema);
  test_arena = ls_arena_new(64 << 20);
  if (test_arena == NULL || run_sql("CREATE SCHEMA %s") != 0)
    return 1;
  test_store = delivery_store_new(&test_database, &error);
  if (test_store != NULL && delivery_store_connect(test_store, &error))
    return 0;
  fprintf(stderr, "%s\n", error.message);
  return 1;
}

int test_tear_down(void **state) {
  (void)state;
  delivery_store_destroy(test_store);
  ls_arena_destroy(test_arena);
  return run_sql("DROP SCHEMA %s CASCADE");
}
