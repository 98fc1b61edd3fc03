/* The store against a real server, named by the PG* environment; skipped without PGHOST. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "order/order_store.h"
#include "order/order_store_test_support.h"
#include "order/order_test_support.h"

static void what_was_written_is_read_back(void **state) {
  (void)state;
  test_session in = test_open_session();
  order_write first = test_create_write(test_create(in.arena, "", "customer", 200));
  order_write second = test_create_write(test_create(in.arena, "", "customer", 1));
  order_write *writes[] = {&first, &second};
  order_store_write(in.store, writes, 2, NULL);
  assert_int_equal(first.outcome, ORDER_CHANGED);
  assert_int_equal(second.outcome, ORDER_CHANGED);
  Order__V1__Order *kept[] = {test_keep(&in, first.order), test_keep(&in, second.order)};
  assert_int_equal(kept[0]->version, 1);
  assert_int_equal(kept[0]->n_items, 200);
  assert_string_equal(kept[0]->delivery_address->lines[1], "Second floor, Tür links");

  int64_t ids[] = {kept[1]->order_id, INT64_MAX, kept[0]->order_id, kept[1]->order_id};
  order_list found;
  ls_error error = {0};
  assert_true(order_store_read(in.store, ids, 4, &found, &error));
  assert_int_equal(found.count, 2);
  for (size_t i = 0; i < 2; i++) {
    test_assert_same_order(order_list_find(&found, kept[i]->order_id), kept[i]);
    test_release(kept[i]);
  }
  assert_null(order_list_find(&found, INT64_MAX));
  test_close_session(&in);
}

static void a_change_is_whole(void **state) {
  (void)state;
  test_session in = test_open_session();
  int64_t id = test_create_one(&in);
  Order__V1__UpdateOrderRequest *request = test_update_note(in.arena, "", id, "");
  request->order->items = test_items(in.arena, 5);
  request->order->n_items = 5;
  request->order->delivery_address = test_address(in.arena);
  request->order->delivery_address->city = test_text(in.arena, "Paris");
  test_mask(in.arena, request, "*", NULL);
  order_write update = test_update_write(request);
  assert_int_equal(test_write_one(&in, &update), ORDER_CHANGED);
  assert_int_equal(update.order->version, 2);
  Order__V1__Order *changed = test_keep(&in, update.order);
  order_list found;
  assert_true(order_store_read(in.store, &id, 1, &found, NULL));
  test_assert_same_order(found.orders[0], changed);
  assert_string_equal(found.orders[0]->note, "");
  assert_int_equal(found.orders[0]->n_items, 5);
  test_release(changed);

  order_write cancel = test_cancel_write(test_cancel(in.arena, "", id));
  assert_int_equal(test_write_one(&in, &cancel), ORDER_CHANGED);
  assert_int_equal(cancel.order->version, 3);
  changed = test_keep(&in, cancel.order);
  assert_int_equal(test_write_one(&in, &cancel), ORDER_UNCHANGED);
  test_assert_same_order(cancel.order, changed);
  test_release(changed);
  assert_int_equal(test_write_one(&in, &update), ORDER_ALREADY_CANCELLED);

  order_write missing = test_cancel_write(test_cancel(in.arena, "", INT64_MAX));
  assert_int_equal(test_write_one(&in, &missing), ORDER_MISSING);
  assert_null(missing.order);
  test_close_session(&in);
}

static void a_repeated_request_gets_its_answer(void **state) {
  (void)state;
  test_session in = test_open_session();
  order_write create = test_create_write(test_create(in.arena, "repeat-create", "customer", 2));
  assert_int_equal(test_write_one(&in, &create), ORDER_CHANGED);
  Order__V1__Order *answer = test_keep(&in, create.order);
  int64_t id = answer->order_id;

  order_write update = test_update_write(test_update_note(in.arena, "repeat-update", id, "second"));
  assert_int_equal(test_write_one(&in, &update), ORDER_CHANGED);
  order_write again = test_create_write(test_create(in.arena, "repeat-create", "customer", 2));
  assert_int_equal(test_write_one(&in, &again), ORDER_REPEATED);
  test_assert_same_order(again.order, answer);
  test_release(answer);

  order_write other = test_create_write(test_create(in.arena, "repeat-create", "customer", 3));
  assert_int_equal(test_write_one(&in, &other), ORDER_REQUEST_ID_REUSED);

  order_write cancel = test_cancel_write(test_cancel(in.arena, "repeat-cancel", id));
  assert_int_equal(test_write_one(&in, &cancel), ORDER_CHANGED);
  update = test_update_write(test_update_note(in.arena, "repeat-update", id, "second"));
  assert_int_equal(test_write_one(&in, &update), ORDER_REPEATED);
  assert_int_equal(update.order->version, 2);
  assert_int_equal(update.order->status, ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED);
  cancel = test_cancel_write(test_cancel(in.arena, "repeat-cancel", id));
  assert_int_equal(test_write_one(&in, &cancel), ORDER_REPEATED);
  assert_int_equal(cancel.order->version, 3);
  order_write crossed = test_cancel_write(test_cancel(in.arena, "repeat-update", id));
  assert_int_equal(test_write_one(&in, &crossed), ORDER_REQUEST_ID_REUSED);
  assert_int_equal(test_number(&in,
                               "SELECT count(*) FROM outbox JOIN order_requests USING (order_id) "
                               "WHERE request_id = 'repeat-create'"),
                   3);
  test_close_session(&in);
}

static void a_repeat_does_not_disturb_its_batch(void **state) {
  (void)state;
  test_session in = test_open_session();
  order_write known = test_create_write(test_create(in.arena, "batch-known", "customer", 1));
  assert_int_equal(test_write_one(&in, &known), ORDER_CHANGED);
  int64_t known_id = known.order_id;
  order_write fresh = test_create_write(test_create(in.arena, "batch-fresh", "customer", 1));
  order_write repeat = test_create_write(test_create(in.arena, "batch-known", "customer", 1));
  order_write nameless = test_create_write(test_create(in.arena, "", "customer", 1));
  order_write twin = test_create_write(test_create(in.arena, "batch-fresh", "customer", 1));
  order_write *writes[] = {&fresh, &repeat, &nameless, &twin};
  order_store_write(in.store, writes, 4, NULL);
  assert_int_equal(fresh.outcome, ORDER_CHANGED);
  assert_int_equal(repeat.outcome, ORDER_REPEATED);
  assert_int_equal(repeat.order->order_id, known_id);
  assert_int_equal(nameless.outcome, ORDER_CHANGED);
  assert_int_equal(twin.outcome, ORDER_DEFERRED);
  int64_t fresh_id = fresh.order->order_id;
  assert_int_equal(test_write_one(&in, &twin), ORDER_REPEATED);
  assert_int_equal(twin.order->order_id, fresh_id);
  test_close_session(&in);
}

static void a_second_write_to_an_order_waits(void **state) {
  (void)state;
  test_session in = test_open_session();
  int64_t id = test_create_one(&in);
  order_write first = test_update_write(test_update_note(in.arena, "", id, "first"));
  order_write other = test_create_write(test_create(in.arena, "", "customer", 1));
  order_write second = test_cancel_write(test_cancel(in.arena, "", id));
  order_write *writes[] = {&first, &other, &second};
  order_store_write(in.store, writes, 3, NULL);
  assert_int_equal(first.outcome, ORDER_CHANGED);
  assert_int_equal(other.outcome, ORDER_CHANGED);
  assert_int_equal(second.outcome, ORDER_DEFERRED);
  assert_int_equal(test_write_one(&in, &second), ORDER_CHANGED);
  assert_int_equal(second.order->version, 3);
  assert_string_equal(second.order->note, "first");
  test_close_session(&in);
}

static void one_bad_write_fails_alone(void **state) {
  (void)state;
  test_session in = test_open_session();
  test_run_sql(&in, "ALTER TABLE orders ADD CONSTRAINT no_poison CHECK (note <> 'poison')");
  int64_t id = test_create_one(&in);
  order_write writes[5];
  order_write *pointers[5];
  for (size_t i = 0; i < 5; i++) {
    Order__V1__CreateOrderRequest *request =
        test_create(in.arena, test_text(in.arena, "poison-%zu", i), "poisoned", 1);
    if (i == 2)
      request->order->note = test_text(in.arena, "poison");
    writes[i] = test_create_write(request);
    pointers[i] = &writes[i];
  }
  writes[4] = test_update_write(test_update_note(in.arena, "", id, "not poison"));
  order_store_write(in.store, pointers, 5, NULL);
  for (size_t i = 0; i < 5; i++)
    assert_int_equal(writes[i].outcome, i == 2 ? ORDER_FAILED : ORDER_CHANGED);
  assert_int_equal(test_number(&in, "SELECT count(*) FROM orders WHERE customer_id = 'poisoned'"),
                   3);
  assert_int_equal(test_number(&in, "SELECT count(*) FROM outbox JOIN orders USING (order_id) "
                                    "WHERE customer_id = 'poisoned'"),
                   3);
  assert_int_equal(
      test_number(&in, "SELECT count(*) FROM order_requests WHERE request_id = 'poison-2'"), 0);
  test_run_sql(&in, "ALTER TABLE orders DROP CONSTRAINT no_poison");
  assert_int_equal(test_write_one(&in, &writes[2]), ORDER_CHANGED);
  test_close_session(&in);
}

/* --- The outbox's table --- */

static void partitions_are_made_when_they_are_lacking(void **state) {
  (void)state;
  test_session in = test_open_session();
  test_run_sql(&in, "UPDATE outbox_relay SET partition_size = 10");
  /* As if nobody had made any for long: the numbers go on where no partition is. */
  test_run_sql(&in, "SELECT setval('outbox_sequence', (SELECT max(limit_sequence) FROM "
                    "outbox_partitions))");
  order_write writes[25];
  order_write *pointers[25];
  for (size_t i = 0; i < 25; i++) {
    writes[i] = test_create_write(test_create(in.arena, "", "partitioned", 1));
    pointers[i] = &writes[i];
  }
  order_store_write(in.store, pointers, 25, NULL);
  for (size_t i = 0; i < 25; i++)
    assert_int_equal(writes[i].outcome, ORDER_CHANGED);
  assert_int_equal(test_number(&in, "SELECT count(*) FROM outbox JOIN orders USING (order_id) "
                                    "WHERE customer_id = 'partitioned'"),
                   25);
  int32_t made = 0;
  ls_error error = {0};
  assert_true(order_store_add_partitions(in.store, 4, &made, &error));
  assert_true(order_store_add_partitions(in.store, 4, &made, &error));
  assert_int_equal(made, 0);
  /* One in use, four ahead. */
  assert_int_equal(test_number(&in, "SELECT count(*) FROM outbox_partitions WHERE limit_sequence > "
                                    "(SELECT last_value + 1 FROM outbox_sequence)"),
                   5);
  /* No number is left out between two of them. */
  assert_int_equal(
      test_number(&in, "SELECT count(*) FROM (SELECT first_sequence, lag(limit_sequence) OVER "
                       "(ORDER BY first_sequence) AS before FROM outbox_partitions) AS borders "
                       "WHERE before > first_sequence"),
      0);
  test_run_sql(&in, "UPDATE outbox_relay SET partition_size = 1000000");
  test_close_session(&in);
}

/* A row that fails to get a number has a transaction id by then: the id comes first. */
static void a_row_has_its_transaction_before_its_number(void **state) {
  (void)state;
  test_session in = test_open_session();
  ls_pg_connection *connection = order_store_connection(in.store);
  test_run_sql(&in, "BEGIN");
  assert_int_equal(test_number(&in, "SELECT count(pg_current_xact_id_if_assigned())"), 0);
  test_run_sql(&in, "SAVEPOINT before_insert");
  ls_error error = {0};
  /* The sequence is exhausted, which is found before anything else is done. */
  test_session other = test_open_session();
  test_run_sql(&other, "ALTER SEQUENCE outbox_sequence RENAME TO outbox_sequence_kept");
  test_run_sql(&other, "CREATE SEQUENCE outbox_sequence MAXVALUE 2");
  test_run_sql(&other, "SELECT nextval('outbox_sequence') FROM generate_series(1, 2)");
  test_run_sql(&other, "ALTER TABLE outbox ALTER sequence SET DEFAULT nextval('outbox_sequence')");
  assert_false(ls_pg_exec_sql(connection,
                              "INSERT INTO outbox (order_id, version, type, occur_time, snapshot, "
                              "trace_parent) SELECT * FROM unnest(ARRAY[1::bigint], "
                              "ARRAY[1::bigint], ARRAY[1::smallint], ARRAY[now()], "
                              "ARRAY[''::bytea], ARRAY[NULL::text])",
                              &error));
  assert_string_equal(error.source, "2200H"); /* the sequence's limit, not something else */
  test_run_sql(&in, "ROLLBACK TO before_insert");
  assert_int_equal(test_number(&in, "SELECT count(pg_current_xact_id_if_assigned())"), 1);
  test_run_sql(&in, "ROLLBACK");
  test_run_sql(&other, "DROP SEQUENCE outbox_sequence CASCADE");
  test_run_sql(&other, "ALTER SEQUENCE outbox_sequence_kept RENAME TO outbox_sequence");
  test_run_sql(&other, "ALTER TABLE outbox ALTER sequence SET DEFAULT nextval('outbox_sequence')");
  test_close_session(&other);
  test_create_one(&in);
  test_close_session(&in);
}

/* --- Lists --- */

static void pages_hold_what_the_query_asks_for(void **state) {
  (void)state;
  test_session in = test_open_session();
  int64_t ids[6];
  for (size_t i = 0; i < 6; i++) {
    order_write write =
        test_create_write(test_create(in.arena, "", i < 5 ? "lister" : "other", i + 1));
    assert_int_equal(test_write_one(&in, &write), ORDER_CHANGED);
    ids[i] = write.order->order_id;
  }
  order_write cancel = test_cancel_write(test_cancel(in.arena, "", ids[2]));
  assert_int_equal(test_write_one(&in, &cancel), ORDER_CHANGED);
  order_list page;
  order_query query = {.customer_id = "lister", .limit = 3};
  assert_true(order_store_list(in.store, &query, &page, NULL));
  assert_int_equal(page.count, 3);
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(page.orders[i]->order_id, ids[i]);
    assert_int_equal(page.orders[i]->n_items, i + 1);
  }
  query.after_order_id = ids[2];
  assert_true(order_store_list(in.store, &query, &page, NULL));
  assert_int_equal(page.count, 2);
  assert_int_equal(page.orders[1]->order_id, ids[4]);

  query = (order_query){
      .customer_id = "lister", .limit = 10, .status = ORDER__V1__ORDER_STATUS__ORDER_STATUS_PLACED};
  assert_true(order_store_list(in.store, &query, &page, NULL));
  assert_int_equal(page.count, 4);
  query.status = ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED;
  assert_true(order_store_list(in.store, &query, &page, NULL));
  assert_int_equal(page.count, 1);
  assert_int_equal(page.orders[0]->order_id, ids[2]);
  query = (order_query){.customer_id = "",
                        .limit = 10,
                        .after_order_id = ids[0] - 1,
                        .status = ORDER__V1__ORDER_STATUS__ORDER_STATUS_CANCELLED};
  assert_true(order_store_list(in.store, &query, &page, NULL));
  assert_int_equal(page.count, 1);
  query = (order_query){.customer_id = "", .limit = 10, .after_order_id = INT64_MAX};
  assert_true(order_store_list(in.store, &query, &page, NULL));
  assert_int_equal(page.count, 0);
  test_close_session(&in);
}

int main(void) {
  if (getenv("PGHOST") == NULL) {
    puts("skipped: PGHOST names no server");
    return 77;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_was_written_is_read_back),
      cmocka_unit_test(a_change_is_whole),
      cmocka_unit_test(a_repeated_request_gets_its_answer),
      cmocka_unit_test(a_repeat_does_not_disturb_its_batch),
      cmocka_unit_test(a_second_write_to_an_order_waits),
      cmocka_unit_test(one_bad_write_fails_alone),
      cmocka_unit_test(partitions_are_made_when_they_are_lacking),
      cmocka_unit_test(a_row_has_its_transaction_before_its_number),
      cmocka_unit_test(pages_hold_what_the_query_asks_for),
  };
  return cmocka_run_group_tests_name("order_store", tests, test_make_schema, test_drop_schema);
}
