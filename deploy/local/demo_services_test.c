/* Tests of how the demo finds the relay that leads and counts over all replicas, against servers
 * that answer the operators' RPCs as told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "delivery/v1/delivery_operations.grpc-c.h"
#include "deploy/local/demo_services.h"
#include "order/v1/order_operations.grpc-c.h"
#include "runtime/rpc/server.h"

enum { REPLICAS = 3, TIMEOUT_MS = 60000, LOOKS_BEFORE_LEADING = 3 };

/* What a replica of order or delivery answers. */
typedef struct replica {
  ls_rpc_server *server;
  char address[32];
  _Atomic bool leads;
  _Atomic int64_t counted;    /* produced or consumed */
  _Atomic int leads_after;    /* leads from so many looks on; 0: as `leads` says */
  _Atomic int looks, modes;   /* calls so far */
  _Atomic bool has_partition; /* of delivery */
} replica;

typedef struct stack {
  replica orders[REPLICAS], deliveries[REPLICAS];
  demo_services *services;
} stack;

static void get_relay_state(ls_rpc_call *call, const Order__V1__GetRelayStateRequest *request,
                            void *user_data) {
  (void)request;
  replica *self = user_data;
  int looks = ++self->looks;
  if (self->leads_after != 0 && looks >= self->leads_after)
    self->leads = true;
  Order__V1__GetRelayStateResponse response = ORDER__V1__GET_RELAY_STATE_RESPONSE__INIT;
  response.leader = self->leads;
  response.produced_events = self->counted;
  response.produced_bytes = 10 * self->counted;
  order_v1_order_operations_get_relay_state_reply(call, &response);
}

static void set_event_mode(ls_rpc_call *call, const Order__V1__SetEventModeRequest *request,
                           void *user_data) {
  (void)request;
  ((replica *)user_data)->modes++;
  Order__V1__SetEventModeResponse response = ORDER__V1__SET_EVENT_MODE_RESPONSE__INIT;
  order_v1_order_operations_set_event_mode_reply(call, &response);
}

static void get_consumer_state(ls_rpc_call *call,
                               const Delivery__V1__GetConsumerStateRequest *request,
                               void *user_data) {
  (void)request;
  replica *self = user_data;
  Delivery__V1__PartitionState partition = DELIVERY__V1__PARTITION_STATE__INIT;
  Delivery__V1__PartitionState *partitions[] = {&partition};
  Delivery__V1__ConsumerCounters counters = DELIVERY__V1__CONSUMER_COUNTERS__INIT;
  counters.consumed = self->counted;
  Delivery__V1__GetConsumerStateResponse response = DELIVERY__V1__GET_CONSUMER_STATE_RESPONSE__INIT;
  response.counters = &counters;
  response.partitions = partitions;
  response.n_partitions = self->has_partition ? 1 : 0;
  delivery_v1_delivery_operations_get_consumer_state_reply(call, &response);
}

static void start(replica *self, bool is_order) {
  static const order_v1_order_operations_handlers order_handlers = {
      .get_relay_state = get_relay_state, .set_event_mode = set_event_mode};
  static const delivery_v1_delivery_operations_handlers delivery_handlers = {
      .get_consumer_state = get_consumer_state};
  ls_error error = {0};
  int port = 0;
  self->has_partition = true;
  self->server = ls_rpc_server_new(NULL, &error);
  assert_non_null(self->server);
  assert_true(is_order
                  ? order_v1_order_operations_register(self->server, &order_handlers, self, &error)
                  : delivery_v1_delivery_operations_register(self->server, &delivery_handlers, self,
                                                             &error));
  assert_true(ls_rpc_server_listen(self->server, "127.0.0.1:0", &port, &error));
  assert_true(ls_rpc_server_start(self->server, &error));
  snprintf(self->address, sizeof self->address, "127.0.0.1:%d", port);
}

static int set_up(void **state) {
  static stack s;
  s = (stack){0};
  demo_addresses addresses = {0};
  ls_error error = {0};
  for (int i = 0; i < REPLICAS; i++) {
    start(&s.orders[i], true);
    start(&s.deliveries[i], false);
    assert_true(demo_address_list_add(&addresses.order_operations, s.orders[i].address, &error));
    assert_true(
        demo_address_list_add(&addresses.delivery_operations, s.deliveries[i].address, &error));
  }
  /* Nobody listens there: what is of operators must not go to the services' own addresses. */
  assert_true(demo_address_list_add(&addresses.orders, "127.0.0.1:1", &error));
  assert_true(demo_address_list_add(&addresses.deliveries, "127.0.0.1:1", &error));
  s.services = demo_services_open(&addresses, &error);
  demo_addresses_clear(&addresses);
  *state = &s;
  return s.services != NULL ? 0 : -1;
}

static int tear_down(void **state) {
  stack *s = *state;
  demo_services_close(s->services);
  for (int i = 0; i < REPLICAS; i++) {
    ls_rpc_server_shutdown(s->orders[i].server, 0);
    ls_rpc_server_destroy(s->orders[i].server);
    ls_rpc_server_shutdown(s->deliveries[i].server, 0);
    ls_rpc_server_destroy(s->deliveries[i].server);
  }
  return 0;
}

static void what_is_sent_is_counted_where_the_relay_leads(void **state) {
  stack *s = *state;
  ls_error error = {0};
  demo_counters counters;
  s->orders[0].counted = 1000; /* of an earlier time */
  s->orders[1].counted = 7;
  s->orders[1].leads = true;
  for (int i = 0; i < REPLICAS; i++)
    s->deliveries[i].counted = 2;
  s->deliveries[2].has_partition = false;
  assert_true(demo_services_count(s->services, &counters, &error));
  assert_int_equal(counters.leader, 1);
  assert_int_equal(counters.produced_events, 7);
  assert_int_equal(counters.produced_bytes, 70);
  assert_int_equal(counters.consumed, 2 * REPLICAS);
  assert_int_equal(counters.idle_consumers, 1);
}

static void a_leader_is_waited_for(void **state) {
  stack *s = *state;
  ls_error error = {0};
  s->orders[2].leads_after = LOOKS_BEFORE_LEADING;
  assert_true(demo_services_await_ready(s->services, TIMEOUT_MS, &error));
  assert_int_equal(s->orders[2].looks, LOOKS_BEFORE_LEADING);
  s->orders[2].leads_after = 0;
  s->orders[2].leads = false;
  assert_false(demo_services_await_ready(s->services, 0, &error));
  assert_int_equal(error.code, LS_DEADLINE_EXCEEDED);
  assert_string_equal(error.message, "no relay of these order services leads");
}

static void the_mode_is_set_once(void **state) {
  stack *s = *state;
  ls_error error = {0};
  assert_true(demo_services_set_mode(s->services, DEMO_ZERO_DOMAIN, &error));
  int modes = 0;
  for (int i = 0; i < REPLICAS; i++)
    modes += s->orders[i].modes;
  assert_int_equal(modes, 1);
}

static void another_leader_is_noticed(void **state) {
  stack *s = *state;
  ls_error error = {0};
  demo_counters before, after;
  s->orders[0].leads = true;
  assert_true(demo_services_count(s->services, &before, &error));

  s->orders[0].leads = false; /* nobody for a moment */
  assert_true(demo_services_count_again(s->services, &before, &after, &error));
  assert_int_equal(after.leader, -1);
  assert_false(demo_services_await_counted(s->services, &before, 0, 0, &after, &error));
  assert_int_equal(error.code, LS_DEADLINE_EXCEEDED);

  s->orders[1].leads = true;
  s->orders[1].counted = 100; /* more than before, and yet not to be compared */
  assert_false(demo_services_await_counted(s->services, &before, 1, TIMEOUT_MS, &after, &error));
  assert_int_equal(error.code, LS_FAILED_PRECONDITION);
  assert_non_null(strstr(error.message, "another order service's relay leads now"));
}

static void a_restart_is_noticed(void **state) {
  stack *s = *state;
  ls_error error = {0};
  demo_counters before, after;
  s->orders[0].leads = true;
  s->orders[0].counted = 5;
  s->deliveries[0].counted = 5;
  assert_true(demo_services_count(s->services, &before, &error));
  s->orders[0].counted = 8;
  s->deliveries[1].counted = 3;
  assert_true(demo_services_await_counted(s->services, &before, 3, TIMEOUT_MS, &after, &error));
  s->orders[0].counted = 4;
  assert_false(demo_services_count_again(s->services, &before, &after, &error));
  assert_non_null(strstr(error.message, "a service was started anew"));
  s->orders[0].counted = 8;
  s->deliveries[0].counted = 0;
  assert_false(demo_services_count_again(s->services, &before, &after, &error));
  assert_int_equal(error.code, LS_FAILED_PRECONDITION);
}

static void channels_take_turns(void **state) {
  stack *s = *state;
  const demo_channels *channels = &s->services->order_operations;
  for (size_t turn = 0; turn < 2 * REPLICAS; turn++)
    assert_ptr_equal(demo_channel(channels, turn), channels->items[turn % REPLICAS]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(what_is_sent_is_counted_where_the_relay_leads, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(a_leader_is_waited_for, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_mode_is_set_once, set_up, tear_down),
      cmocka_unit_test_setup_teardown(another_leader_is_noticed, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_restart_is_noticed, set_up, tear_down),
      cmocka_unit_test_setup_teardown(channels_take_turns, set_up, tear_down)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
