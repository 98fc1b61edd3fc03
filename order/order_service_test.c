/* The whole service in this process, called over gRPC, on a real PostgreSQL server named by the PG*
 * environment; skipped without PGHOST. Each run has a schema of its own, and drops it. Kafka is out
 * of reach throughout: the service does not depend on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "order/order_application.h"
#include "order/order_test_support.h"
#include "order/v1/order_operations.grpc-c.h"
#include "order/v1/order_service.grpc-c.h"
#include "runtime/base/clock.h"
#include "runtime/postgres/connection.h"

#define PATIENCE_MS 20000
#define STREAM_PATIENCE_MS 90000 /* less than the whole test's time limit */

static char schema[48];

/* A service and a client of it. */
typedef struct replica {
  order_config config;
  order_application *application;
  ls_rpc_channel *channel;
  ls_arena *arena; /* for requests */
} replica;

/* `extra`: one more flag, or NULL. */
static replica start_replica(const char *extra) {
  replica started = {.arena = ls_arena_new(64 << 20)};
  /* Polling is off as good as it gets: what is seen soon was told of. */
  char *arguments[] = {(char *)"order-service",
                       (char *)"--listen-address=127.0.0.1:0",
                       (char *)"--metrics-address=",
                       (char *)"--kafka-bootstrap-servers=127.0.0.1:1",
                       (char *)"--watch-poll-interval=1m",
                       (char *)"--shutdown-grace=2s",
                       (char *)extra};
  int action;
  ls_error error = {0};
  if (!ls_config_parse(order_options, order_option_count, &order_program, extra == NULL ? 6 : 7,
                       arguments, &started.config, &action, &error))
    fail_msg("%s", error.message);
  return started;
}

/* The configuration may not move once the service runs. */
static void run_replica(replica *started) {
  ls_error error = {0};
  started->application = order_application_start(&started->config, &error);
  if (started->application == NULL)
    fail_msg("the service does not start: %s", error.message);
  char target[32];
  snprintf(target, sizeof target, "127.0.0.1:%d", order_application_port(started->application));
  ls_rpc_channel_options options = {.default_timeout_ms = PATIENCE_MS, .retry_attempts = 1};
  started->channel = ls_rpc_channel_new(target, &options, &error);
  assert_non_null(started->channel);
}

static void stop_replica(replica *running) {
  ls_rpc_channel_destroy(running->channel);
  order_application_stop(running->application);
  ls_config_clear(order_options, order_option_count, &running->config);
  ls_arena_destroy(running->arena);
}

static bool run_sql(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool run_sql(const char *format, ...) {
  char sql[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(sql, sizeof sql, format, arguments);
  va_end(arguments);
  ls_error error = {0};
  ls_pg_connection *connection = ls_pg_connect(NULL, &error);
  bool done = connection != NULL && ls_pg_exec_sql(connection, sql, &error);
  ls_pg_connection_destroy(connection);
  if (!done)
    fprintf(stderr, "%s: %s\n", sql, error.message);
  return done;
}

/* Asserts code and reason, and clears. */
static void assert_status(ls_rpc_status *status, ls_code code, const char *reason) {
  if (status->code != code)
    fail_msg("%s instead of %s: %s", ls_code_name(status->code), ls_code_name(code),
             ls_rpc_status_message(status));
  Google__Rpc__ErrorInfo *info = ls_rpc_status_error_info(status);
  assert_non_null(info);
  assert_string_equal(info->reason, reason);
  assert_string_equal(info->domain, "order.lockstep");
  google__rpc__error_info__free_unpacked(info, NULL);
  ls_rpc_status_clear(status);
}

static int64_t create(replica *in, const char *customer_id) {
  Order__V1__CreateOrderResponse *response = NULL;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (!order_v1_order_service_create_order(in->channel, test_create(in->arena, "", customer_id, 2),
                                           NULL, &response, &status))
    fail_msg("cannot create: %s", ls_rpc_status_message(&status));
  int64_t id = response->order->order_id;
  assert_int_equal(response->order->version, 1);
  order__v1__create_order_response__free_unpacked(response, NULL);
  return id;
}

/* Gives the new version. */
static int64_t change(replica *in, int64_t id, const char *note) {
  Order__V1__UpdateOrderResponse *response = NULL;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  if (!order_v1_order_service_update_order(in->channel, test_update_note(in->arena, "", id, note),
                                           NULL, &response, &status))
    fail_msg("cannot update: %s", ls_rpc_status_message(&status));
  int64_t version = response->order->version;
  order__v1__update_order_response__free_unpacked(response, NULL);
  return version;
}

static void writes_are_read_at_once(void **state) {
  replica *in = *state;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  int64_t id = create(in, "customer");
  assert_int_equal(change(in, id, "changed"), 2);
  Order__V1__GetOrderRequest get = ORDER__V1__GET_ORDER_REQUEST__INIT;
  Order__V1__GetOrderResponse *got = NULL;
  get.order_id = id;
  get.min_version = 2;
  assert_true(order_v1_order_service_get_order(in->channel, &get, NULL, &got, &status));
  assert_string_equal(got->order->note, "changed");
  assert_int_equal(got->order->n_items, 2);
  order__v1__get_order_response__free_unpacked(got, NULL);

  Order__V1__CancelOrderResponse *cancelled = NULL;
  for (int i = 0; i < 2; i++) {
    assert_true(order_v1_order_service_cancel_order(in->channel, test_cancel(in->arena, "", id),
                                                    NULL, &cancelled, &status));
    assert_int_equal(cancelled->order->version, 3);
    assert_string_equal(cancelled->order->cancel_reason, "changed my mind");
    order__v1__cancel_order_response__free_unpacked(cancelled, NULL);
  }

  int64_t other = create(in, "customer");
  int64_t ids[] = {INT64_MAX, other, id, other, INT64_MAX - 1};
  Order__V1__BatchGetOrdersRequest batch = ORDER__V1__BATCH_GET_ORDERS_REQUEST__INIT;
  Order__V1__BatchGetOrdersResponse *found = NULL;
  batch.order_ids = ids;
  batch.n_order_ids = 5;
  assert_true(order_v1_order_service_batch_get_orders(in->channel, &batch, NULL, &found, &status));
  assert_int_equal(found->n_orders, 2);
  assert_true(found->orders[0]->order_id < found->orders[1]->order_id);
  assert_int_equal(found->n_missing_order_ids, 2);
  assert_int_equal(found->missing_order_ids[0], INT64_MAX - 1);
  order__v1__batch_get_orders_response__free_unpacked(found, NULL);
}

static void refusals_have_reasons(void **state) {
  replica *in = *state;
  ls_rpc_channel *channel = in->channel;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  Order__V1__CreateOrderRequest *bad = test_create(in->arena, "", "", 2);
  bad->order->items[1]->quantity = 0;
  assert_false(order_v1_order_service_create_order(channel, bad, NULL, NULL, &status));
  assert_non_null(strstr(ls_rpc_status_message(&status), "order.customer_id"));
  assert_status(&status, LS_INVALID_ARGUMENT, "INVALID_REQUEST");

  Order__V1__GetOrderRequest get = ORDER__V1__GET_ORDER_REQUEST__INIT;
  get.order_id = INT64_MAX;
  assert_false(order_v1_order_service_get_order(channel, &get, NULL, NULL, &status));
  assert_status(&status, LS_NOT_FOUND, "ORDER_NOT_FOUND");
  int64_t id = create(in, "customer");
  get.order_id = id;
  get.min_version = 2;
  assert_false(order_v1_order_service_get_order(channel, &get, NULL, NULL, &status));
  assert_status(&status, LS_FAILED_PRECONDITION, "VERSION_NOT_REACHED");

  Order__V1__UpdateOrderRequest *update = test_update_note(in->arena, "", id, "x");
  update->expected_version = 9;
  assert_false(order_v1_order_service_update_order(channel, update, NULL, NULL, &status));
  Google__Rpc__ErrorInfo *info = ls_rpc_status_error_info(&status);
  assert_int_equal(info->n_metadata, 2);
  google__rpc__error_info__free_unpacked(info, NULL);
  assert_status(&status, LS_ABORTED, "VERSION_MISMATCH");
  assert_true(order_v1_order_service_cancel_order(channel, test_cancel(in->arena, "", id), NULL,
                                                  NULL, &status));
  update->expected_version = 0;
  assert_false(order_v1_order_service_update_order(channel, update, NULL, NULL, &status));
  assert_status(&status, LS_FAILED_PRECONDITION, "ORDER_CANCELLED");

  assert_true(order_v1_order_service_create_order(channel, test_create(in->arena, "reason", "a", 1),
                                                  NULL, NULL, &status));
  assert_true(order_v1_order_service_create_order(channel, test_create(in->arena, "reason", "a", 1),
                                                  NULL, NULL, &status));
  assert_false(order_v1_order_service_create_order(
      channel, test_create(in->arena, "reason", "b", 1), NULL, NULL, &status));
  assert_status(&status, LS_ALREADY_EXISTS, "REQUEST_ID_REUSED");
}

static void pages_follow_each_other(void **state) {
  replica *in = *state;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  for (size_t i = 0; i < 5; i++)
    create(in, "pages");
  Order__V1__ListOrdersRequest list = ORDER__V1__LIST_ORDERS_REQUEST__INIT;
  list.page_size = 2;
  list.customer_id = test_text(in->arena, "pages");
  size_t seen = 0;
  int64_t last = 0;
  for (;;) {
    Order__V1__ListOrdersResponse *page = NULL;
    assert_true(order_v1_order_service_list_orders(in->channel, &list, NULL, &page, &status));
    for (size_t i = 0; i < page->n_orders; i++, seen++) {
      assert_true(page->orders[i]->order_id > last);
      last = page->orders[i]->order_id;
    }
    list.page_token = test_text(in->arena, "%s", page->next_page_token);
    order__v1__list_orders_response__free_unpacked(page, NULL);
    if (list.page_token[0] == '\0')
      break;
    assert_int_equal(seen % 2, 0);
  }
  assert_int_equal(seen, 5);
  list.page_token = test_text(in->arena, "AAAAAAAAAAAAAAAAAAAAAA");
  assert_false(order_v1_order_service_list_orders(in->channel, &list, NULL, NULL, &status));
  assert_status(&status, LS_INVALID_ARGUMENT, "INVALID_REQUEST");
}

/* A deadline is of the whole stream: it outlasts the calls that are made meanwhile, however slow.
 */
static ls_rpc_stream *watch(ls_rpc_channel *channel, int64_t *ids, size_t count) {
  Order__V1__WatchOrdersRequest request = ORDER__V1__WATCH_ORDERS_REQUEST__INIT;
  const ls_rpc_call_options options = {.timeout_ms = STREAM_PATIENCE_MS};
  request.order_ids = ids;
  request.n_order_ids = count;
  return order_v1_order_service_watch_orders_open(channel, &request, &options);
}

/* Reads until the order is at the version; gives the number of messages that took. */
static size_t read_until(ls_rpc_stream *stream, int64_t id, int64_t version) {
  int64_t before = 0;
  for (size_t messages = 1;; messages++) {
    Order__V1__WatchOrdersResponse *message = order_v1_order_service_watch_orders_read(stream);
    if (message == NULL) {
      ls_rpc_status status = LS_RPC_STATUS_INIT;
      ls_rpc_stream_finish(stream, &status);
      fail_msg("the stream ended before order %lld was at version %lld: %s: %s", (long long)id,
               (long long)version, ls_code_name(status.code), ls_rpc_status_message(&status));
      return 0;
    }
    int64_t seen = message->order->order_id == id ? message->order->version : 0;
    order__v1__watch_orders_response__free_unpacked(message, NULL);
    assert_true(seen == 0 || seen > before);
    before = seen == 0 ? before : seen;
    if (seen == version)
      return messages;
  }
}

static void a_stream_shows_what_is_and_what_comes(void **state) {
  replica *in = *state;
  int64_t ids[] = {create(in, "watched"), create(in, "watched"), INT64_MAX};
  ls_rpc_stream *stream = watch(in->channel, ids, 3);
  Order__V1__WatchOrdersResponse *message;
  for (size_t i = 0; i < 2; i++) {
    message = order_v1_order_service_watch_orders_read(stream);
    assert_non_null(message);
    assert_int_equal(message->order->version, 1);
    order__v1__watch_orders_response__free_unpacked(message, NULL);
  }
  for (int64_t version = 2; version < 6; version++) {
    assert_int_equal(change(in, ids[1], test_text(in->arena, "%d", (int)version)), version);
    assert_int_equal(read_until(stream, ids[1], version), 1);
  }
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_stream_cancel(stream);
  ls_rpc_stream_finish(stream, &status);
  assert_int_equal(status.code, LS_CANCELLED);
  ls_rpc_status_clear(&status);
}

static void a_stream_shows_what_another_replica_does(void **state) {
  replica *in = *state;
  replica other = start_replica(NULL);
  run_replica(&other);
  int64_t id = create(in, "elsewhere");
  ls_rpc_stream *stream = watch(other.channel, &id, 1);
  read_until(stream, id, 1);
  int64_t begin_ms = ls_clock_monotonic_ms();
  assert_int_equal(change(in, id, "elsewhere"), 2);
  read_until(stream, id, 2);
  assert_true(ls_clock_monotonic_ms() - begin_ms < 30000); /* polling would take a minute */
  /* The replica that stops ends the stream, and says that it may be opened again. */
  order_application_stop(other.application);
  other.application = NULL;
  assert_null(order_v1_order_service_watch_orders_read(stream));
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  assert_false(ls_rpc_stream_finish(stream, &status));
  assert_status(&status, LS_UNAVAILABLE, "STORE_UNAVAILABLE");
  stop_replica(&other);
}

/* To the largest order there is. */
static Order__V1__UpdateOrderRequest *large_update(replica *in, int64_t id) {
  Order__V1__UpdateOrderRequest *request = test_update_note(in->arena, "", id, "");
  request->order->note = test_long_text(in->arena, 4096);
  request->order->items = test_items(in->arena, 200);
  request->order->n_items = 200;
  for (size_t i = 0; i < 200; i++)
    request->order->items[i]->sku = test_long_text(in->arena, 64);
  return request;
}

static void a_slow_stream_skips_to_the_newest(void **state) {
  replica *in = *state;
  enum { CHANGES = 600 };
  /* A connection of its own, whose window has not grown with other traffic. */
  char target[32];
  snprintf(target, sizeof target, "127.0.0.1:%d", order_application_port(in->application));
  ls_rpc_channel_options options = {.max_receive_bytes = 1 << 20};
  ls_rpc_channel *channel = ls_rpc_channel_new(target, &options, NULL);
  assert_non_null(channel);
  int64_t id = create(in, "slow");
  ls_rpc_stream *stream = watch(channel, &id, 1);
  read_until(stream, id, 1);
  Order__V1__UpdateOrderRequest *request = large_update(in, id);
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  for (int i = 0; i < CHANGES; i++)
    assert_true(order_v1_order_service_update_order(in->channel, request, NULL, NULL, &status));
  size_t messages = read_until(stream, id, CHANGES + 1);
  print_message("%zu of %d versions were sent\n", messages, CHANGES);
  assert_true(messages < CHANGES);
  change(in, id, "the last"); /* and it goes on */
  read_until(stream, id, CHANGES + 2);
  ls_rpc_stream_cancel(stream);
  ls_rpc_stream_finish(stream, NULL);
  ls_rpc_channel_destroy(channel);
}

static void the_mode_is_every_replicas(void **state) {
  replica *in = *state;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  Order__V1__GetEventModeRequest get = ORDER__V1__GET_EVENT_MODE_REQUEST__INIT;
  Order__V1__GetEventModeResponse *got = NULL;
  assert_true(order_v1_order_operations_get_event_mode(in->channel, &get, NULL, &got, &status));
  assert_int_equal(got->mode->payload, ORDER__V1__EVENT_PAYLOAD__EVENT_PAYLOAD_FULL);
  assert_int_equal(got->mode->topics, ORDER__V1__EVENT_TOPICS__EVENT_TOPICS_DOMAIN);
  order__v1__get_event_mode_response__free_unpacked(got, NULL);

  Order__V1__EventMode mode = ORDER__V1__EVENT_MODE__INIT;
  Order__V1__SetEventModeRequest set = ORDER__V1__SET_EVENT_MODE_REQUEST__INIT;
  set.mode = &mode;
  mode.payload = ORDER__V1__EVENT_PAYLOAD__EVENT_PAYLOAD_ZERO;
  assert_false(order_v1_order_operations_set_event_mode(in->channel, &set, NULL, NULL, &status));
  assert_status(&status, LS_INVALID_ARGUMENT, "INVALID_REQUEST");
  mode.topics = ORDER__V1__EVENT_TOPICS__EVENT_TOPICS_PER_EVENT;
  assert_true(order_v1_order_operations_set_event_mode(in->channel, &set, NULL, NULL, &status));

  replica other = start_replica(NULL);
  run_replica(&other);
  assert_true(order_v1_order_operations_get_event_mode(other.channel, &get, NULL, &got, &status));
  assert_int_equal(got->mode->payload, mode.payload);
  assert_int_equal(got->mode->topics, mode.topics);
  assert_non_null(got->set_time);
  order__v1__get_event_mode_response__free_unpacked(got, NULL);
  stop_replica(&other);
}

static void what_waits_in_the_outbox_is_shown(void **state) {
  replica *in = *state;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  create(in, "waiting");
  Order__V1__GetRelayStateRequest request = ORDER__V1__GET_RELAY_STATE_REQUEST__INIT;
  Order__V1__GetRelayStateResponse *relay = NULL;
  assert_true(
      order_v1_order_operations_get_relay_state(in->channel, &request, NULL, &relay, &status));
  assert_true(relay->waiting_rows >= 1); /* Kafka is out of reach */
  assert_non_null(relay->oldest_waiting_age);
  assert_int_equal(relay->produced_events, 0);
  order__v1__get_relay_state_response__free_unpacked(relay, NULL);
}

static void without_a_database_the_answer_comes_at_once(void **state) {
  (void)state;
  replica alone = start_replica("--pg-port=1");
  run_replica(&alone);
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  for (int i = 0; i < 3; i++) {
    assert_false(order_v1_order_service_create_order(
        alone.channel, test_create(alone.arena, "", "customer", 1), NULL, NULL, &status));
    assert_status(&status, LS_UNAVAILABLE, "STORE_UNAVAILABLE");
    Order__V1__GetOrderRequest get = ORDER__V1__GET_ORDER_REQUEST__INIT;
    get.order_id = 1;
    assert_false(order_v1_order_service_get_order(alone.channel, &get, NULL, NULL, &status));
    assert_status(&status, LS_UNAVAILABLE, "STORE_UNAVAILABLE");
  }
  stop_replica(&alone);
}

/* The database is stuck, one write is on its way and one waits: the next is told so. Writes whose
 * callers have given up by then are not done. */
static void too_much_is_refused(void **state) {
  (void)state;
  replica small = start_replica("--write-queue-capacity=1");
  small.config.write_threads = 1;
  small.config.write_batch = 1;
  run_replica(&small);
  ls_error error = {0};
  ls_pg_connection *connection = ls_pg_connect(NULL, &error);
  assert_non_null(connection);
  assert_true(ls_pg_exec_sql(connection, "BEGIN; LOCK TABLE orders IN EXCLUSIVE MODE", &error));
  Order__V1__CreateOrderRequest *request = test_create(small.arena, "", "refused", 1);
  ls_rpc_call_options hasty = {.timeout_ms = 200};
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  int given_up = 0;
  for (;; given_up++) {
    assert_true(given_up < 10);
    assert_false(
        order_v1_order_service_create_order(small.channel, request, &hasty, NULL, &status));
    if (status.code != LS_DEADLINE_EXCEEDED)
      break;
    ls_rpc_status_clear(&status);
  }
  assert_status(&status, LS_RESOURCE_EXHAUSTED, "OVERLOADED");
  assert_int_equal(given_up, 2); /* on its way, waiting */
  assert_true(ls_pg_exec_sql(connection, "ROLLBACK", &error));
  /* The next one finds room as soon as those two are out of the way. */
  int64_t deadline_ms = ls_clock_monotonic_ms() + PATIENCE_MS;
  while (!order_v1_order_service_create_order(small.channel, request, NULL, NULL, &status)) {
    assert_status(&status, LS_RESOURCE_EXHAUSTED, "OVERLOADED");
    assert_true(ls_clock_monotonic_ms() < deadline_ms);
    usleep(1000);
  }
  Order__V1__ListOrdersRequest list = ORDER__V1__LIST_ORDERS_REQUEST__INIT;
  Order__V1__ListOrdersResponse *page = NULL;
  list.customer_id = test_text(small.arena, "refused");
  assert_true(order_v1_order_service_list_orders(small.channel, &list, NULL, &page, &status));
  assert_int_equal(page->n_orders, 2); /* the one on its way, and the last */
  order__v1__list_orders_response__free_unpacked(page, NULL);
  ls_pg_connection_destroy(connection);
  stop_replica(&small);
}

static void answers_are_forgotten_when_they_are_old(void **state) {
  replica *in = *state;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  static const char *const names[] = {"old", "young"};
  for (size_t i = 0; i < 2; i++)
    assert_true(order_v1_order_service_create_order(
        in->channel, test_create(in->arena, names[i], "forgotten", 1), NULL, NULL, &status));
  assert_true(run_sql("UPDATE order_requests SET create_time = now() - interval '49 hours' "
                      "WHERE request_id = 'old'"));
  replica other = start_replica(NULL); /* it tidies up when it starts */
  run_replica(&other);
  int64_t deadline_ms = ls_clock_monotonic_ms() + PATIENCE_MS;
  /* Once it is forgotten, the id is free for another request. */
  while (!order_v1_order_service_create_order(
      in->channel, test_create(in->arena, "old", "another", 1), NULL, NULL, &status)) {
    assert_status(&status, LS_ALREADY_EXISTS, "REQUEST_ID_REUSED");
    assert_true(ls_clock_monotonic_ms() < deadline_ms);
    usleep(10000);
  }
  assert_false(order_v1_order_service_create_order(
      in->channel, test_create(in->arena, "young", "another", 1), NULL, NULL, &status));
  assert_status(&status, LS_ALREADY_EXISTS, "REQUEST_ID_REUSED");
  stop_replica(&other);
}

static replica shared;

static int start(void **state) {
  snprintf(schema, sizeof schema, "order_service_test_%ld", (long)getpid());
  char options[96];
  snprintf(options, sizeof options, "-c search_path=%s", schema);
  if (!run_sql("CREATE SCHEMA %s", schema) || setenv("PGOPTIONS", options, 1) != 0)
    return -1;
  shared = start_replica(NULL);
  run_replica(&shared);
  *state = &shared;
  return 0;
}

static int stop(void **state) {
  (void)state;
  stop_replica(&shared);
  return run_sql("DROP SCHEMA %s CASCADE", schema) ? 0 : -1;
}

int main(void) {
  if (getenv("PGHOST") == NULL) {
    puts("skipped: PGHOST names no server");
    return 77;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(writes_are_read_at_once),
      cmocka_unit_test(refusals_have_reasons),
      cmocka_unit_test(pages_follow_each_other),
      cmocka_unit_test(a_stream_shows_what_is_and_what_comes),
      cmocka_unit_test(a_stream_shows_what_another_replica_does),
      cmocka_unit_test(a_slow_stream_skips_to_the_newest),
      cmocka_unit_test(the_mode_is_every_replicas),
      cmocka_unit_test(what_waits_in_the_outbox_is_shown),
      cmocka_unit_test(without_a_database_the_answer_comes_at_once),
      cmocka_unit_test(too_much_is_refused),
      cmocka_unit_test(answers_are_forgotten_when_they_are_old),
  };
  return cmocka_run_group_tests_name("order_service", tests, start, stop);
}
