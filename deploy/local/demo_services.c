/* Channels to the services, and blocking calls to their operators' APIs. */
#include "deploy/local/demo_services.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "delivery/v1/delivery_operations.grpc-c.h"
#include "order/v1/order_operations.grpc-c.h"
#include "runtime/base/clock.h"
#include "runtime/base/shutdown.h"

enum { POLL_MS = 20, CALL_TIMEOUT_MS = 5000, JOIN_TIMEOUT_MS = 10000 };

static const ls_rpc_call_options call_options = {.timeout_ms = CALL_TIMEOUT_MS,
                                                 .wait_for_ready = true};

static bool open_channels(const demo_address_list *addresses, demo_channels *channels,
                          ls_error *error) {
  channels->items = calloc(addresses->count, sizeof(ls_rpc_channel *));
  if (channels->items == NULL)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory");
  while (channels->count < addresses->count) {
    ls_rpc_channel *channel = ls_rpc_channel_new(addresses->items[channels->count], NULL, error);
    if (channel == NULL)
      return false;
    channels->items[channels->count++] = channel;
  }
  return true;
}

static void close_channels(demo_channels *channels) {
  for (size_t i = 0; i < channels->count; i++)
    ls_rpc_channel_destroy(channels->items[i]);
  free(channels->items);
}

demo_services *demo_services_open(const demo_addresses *addresses, ls_error *error) {
  demo_services *services = calloc(1, sizeof *services);
  if (services == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory");
    return NULL;
  }
  if (!open_channels(&addresses->orders, &services->orders, error) ||
      !open_channels(&addresses->order_operations, &services->order_operations, error) ||
      !open_channels(&addresses->deliveries, &services->deliveries, error) ||
      !open_channels(&addresses->delivery_operations, &services->delivery_operations, error)) {
    demo_services_close(services);
    return NULL;
  }
  return services;
}

void demo_services_close(demo_services *services) {
  if (services == NULL)
    return;
  close_channels(&services->orders);
  close_channels(&services->order_operations);
  close_channels(&services->deliveries);
  close_channels(&services->delivery_operations);
  free(services);
}

ls_rpc_channel *demo_channel(const demo_channels *channels, size_t turn) {
  return channels->items[turn % channels->count];
}

bool demo_call_failed(const char *what, const ls_rpc_status *status, ls_error *error) {
  return ls_error_set(error, status->code, false, NULL, "%s: %s: %s", what,
                      ls_code_name(status->code), ls_rpc_status_message(status));
}

bool demo_services_set_mode(demo_services *services, demo_case which, ls_error *error) {
  Order__V1__EventMode mode = ORDER__V1__EVENT_MODE__INIT;
  mode.payload = demo_case_is_full(which) ? ORDER__V1__EVENT_PAYLOAD__EVENT_PAYLOAD_FULL
                                          : ORDER__V1__EVENT_PAYLOAD__EVENT_PAYLOAD_ZERO;
  mode.topics = demo_case_is_domain(which) ? ORDER__V1__EVENT_TOPICS__EVENT_TOPICS_DOMAIN
                                           : ORDER__V1__EVENT_TOPICS__EVENT_TOPICS_PER_EVENT;
  Order__V1__SetEventModeRequest request = ORDER__V1__SET_EVENT_MODE_REQUEST__INIT;
  request.mode = &mode;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  /* Any replica will do: the mode is in the database. */
  bool done = order_v1_order_operations_set_event_mode(services->order_operations.items[0],
                                                       &request, &call_options, NULL, &status);
  if (!done)
    demo_call_failed("SetEventMode", &status, error);
  ls_rpc_status_clear(&status);
  return done;
}

/* Asks the order service at this place. */
static bool count_order(demo_services *services, size_t place, demo_counters *counters,
                        ls_error *error) {
  Order__V1__GetRelayStateRequest request = ORDER__V1__GET_RELAY_STATE_REQUEST__INIT;
  Order__V1__GetRelayStateResponse *relay = NULL;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  bool done = order_v1_order_operations_get_relay_state(services->order_operations.items[place],
                                                        &request, &call_options, &relay, &status);
  if (done) {
    if (relay->waiting_rows > counters->waiting_rows) /* the outbox is the same for all of them */
      counters->waiting_rows = relay->waiting_rows;
    if (relay->leader) {
      counters->leader = (int)place;
      counters->produced_events = relay->produced_events;
      counters->produced_bytes = relay->produced_bytes;
    }
    order__v1__get_relay_state_response__free_unpacked(relay, NULL);
  } else {
    demo_call_failed("GetRelayState", &status, error);
  }
  ls_rpc_status_clear(&status);
  return done;
}

static bool count_delivery(ls_rpc_channel *delivery, demo_counters *counters, ls_error *error) {
  Delivery__V1__GetConsumerStateRequest request = DELIVERY__V1__GET_CONSUMER_STATE_REQUEST__INIT;
  Delivery__V1__GetConsumerStateResponse *state = NULL;
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  bool done = delivery_v1_delivery_operations_get_consumer_state(delivery, &request, &call_options,
                                                                 &state, &status);
  if (!done) {
    demo_call_failed("GetConsumerState", &status, error);
  } else {
    counters->idle_consumers += state->n_partitions == 0;
    const Delivery__V1__ConsumerCounters *counted = state->counters;
    if (counted != NULL) { /* absent: all are 0 */
      counters->consumed += counted->consumed;
      counters->stale += counted->stale;
      counters->overtaken += counted->overtaken;
      counters->duplicates += counted->duplicates;
      counters->coalesced += counted->coalesced;
      counters->lookups += counted->lookups;
      counters->lookup_ids += counted->lookup_ids;
    }
    delivery__v1__get_consumer_state_response__free_unpacked(state, NULL);
  }
  ls_rpc_status_clear(&status);
  return done;
}

bool demo_services_count(demo_services *services, demo_counters *counters, ls_error *error) {
  *counters = (demo_counters){.leader = -1};
  /* Order first: what it has sent may be counted at delivery already, never the other way round. */
  for (size_t i = 0; i < services->order_operations.count; i++)
    if (!count_order(services, i, counters, error))
      return false;
  for (size_t i = 0; i < services->delivery_operations.count; i++)
    if (!count_delivery(services->delivery_operations.items[i], counters, error))
      return false;
  return true;
}

bool demo_services_count_again(demo_services *services, const demo_counters *before,
                               demo_counters *after, ls_error *error) {
  if (!demo_services_count(services, after, error))
    return false;
  if (after->leader < 0)
    return true;
  if (after->leader != before->leader)
    return ls_error_set(error, LS_FAILED_PRECONDITION, false, NULL,
                        "another order service's relay leads now: the last one was started anew, "
                        "or lost its connection");
  if (after->produced_events < before->produced_events || after->consumed < before->consumed)
    return ls_error_set(error, LS_FAILED_PRECONDITION, false, NULL,
                        "a service was started anew, and its counters with it");
  return true;
}

/* Between two looks: false once the wait is over, with the error of it. */
static bool look_again(int64_t deadline_ms, const char *what, ls_error *error) {
  if (ls_shutdown_wait(POLL_MS))
    return ls_error_set(error, LS_CANCELLED, false, NULL, "interrupted");
  if (ls_clock_monotonic_ms() >= deadline_ms)
    return ls_error_set(error, LS_DEADLINE_EXCEEDED, false, NULL, "%s", what);
  return true;
}

bool demo_services_await_ready(demo_services *services, int64_t timeout_ms, ls_error *error) {
  int64_t begin_ms = ls_clock_monotonic_ms();
  demo_counters counters;
  do {
    if (!demo_services_count(services, &counters, error))
      return false;
    bool joined =
        counters.idle_consumers == 0 || ls_clock_monotonic_ms() - begin_ms >= JOIN_TIMEOUT_MS;
    if (counters.leader >= 0 && counters.waiting_rows == 0 && joined)
      return true;
  } while (look_again(begin_ms + timeout_ms,
                      counters.leader >= 0
                          ? "the outbox does not get empty: is somebody else writing?"
                          : "no relay of these order services leads",
                      error));
  return false;
}

bool demo_services_await_counted(demo_services *services, const demo_counters *before,
                                 int64_t versions, int64_t timeout_ms, demo_counters *after,
                                 ls_error *error) {
  int64_t deadline_ms = ls_clock_monotonic_ms() + timeout_ms;
  do {
    if (!demo_services_count_again(services, before, after, error))
      return false;
    int64_t produced = after->produced_events - before->produced_events;
    if (after->leader >= 0 && produced >= versions &&
        after->consumed - before->consumed >= produced)
      return true;
  } while (look_again(deadline_ms, "delivery has not taken all events from Kafka", error));
  return false;
}
