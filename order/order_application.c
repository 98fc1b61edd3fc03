/* The order service, put together. */
#include "order/order_application.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "order/order_follow.h"
#include "order/order_operations.h"
#include "order/order_reader.h"
#include "order/order_service.h"
#include "order/order_upkeep.h"
#include "order/order_writer.h"
#include "order/outbox_relay.h"
#include "runtime/base/clock.h"
#include "runtime/base/fault.h"
#include "runtime/base/log.h"
#include "runtime/base/metrics.h"
#include "runtime/base/metrics_http.h"
#include "runtime/rpc/endpoint.h"
#include "runtime/rpc/health.h"

enum {
  RELAY_GRACE_MS = 1000, /* the relay may take so long at least to write its last checkpoint */
  OPERATIONS_CALLS = 64  /* in flight at once, where the operators' calls have their own server */
};

struct order_application {
  const order_config *config;
  char *conninfo;
  order_database database;
  outbox_relay_options relay_options;
  ls_metrics *metrics;
  ls_metrics_http *metrics_http;
  outbox_relay *relay;
  order_reader *reader;
  order_writer *writer;
  order_follow *follow;
  order_upkeep *upkeep;
  order_service service;
  order_operations operations;
  ls_rpc_health *health;
  ls_rpc_endpoint *server;
  ls_rpc_endpoint *operations_server; /* NULL: the other one has the operators' calls, too */
  bool is_relay_running;
  atomic_bool is_stopping;
};

/* --- What the parts tell each other --- */

static void on_committed(order_write *const *writes, size_t count, void *arg) {
  order_application *application = arg;
  outbox_relay_wake(application->relay);
  order_upkeep_committed(application->upkeep);
  order_follow_committed(application->follow, writes, count);
}

static void on_changed_elsewhere(void *arg) {
  order_application *application = arg;
  order_follow_wake(application->follow);
}

static void set_health(order_application *application, bool is_serving) {
  ls_rpc_health_set(application->health, "", is_serving);
  ls_rpc_health_set(application->health, "order.v1.OrderService", is_serving);
  ls_rpc_health_set(application->health, "order.v1.OrderOperations", is_serving);
}

static void on_ready(bool is_ready, void *arg) {
  order_application *application = arg;
  set_health(application, is_ready);
}

static bool is_ready(void *arg, ls_error *reason) {
  order_application *application = arg;
  if (application->is_stopping)
    return ls_error_set(reason, LS_UNAVAILABLE, false, NULL, "the service is stopping");
  return order_upkeep_is_ready(application->upkeep, reason);
}

/* --- The relay's counters --- */

static outbox_relay_status relay_status(void *arg) {
  outbox_relay_status status;
  outbox_relay_get_status(arg, &status);
  return status;
}

static double read_leader(void *arg) {
  return relay_status(arg).leader ? 1 : 0;
}

static double read_highest_sequence(void *arg) {
  return (double)relay_status(arg).highest_sequence;
}

static double read_gap_count(void *arg) {
  return (double)relay_status(arg).gap_count;
}

static double read_in_flight(void *arg) {
  return (double)relay_status(arg).in_flight;
}

static double read_produced_events(void *arg) {
  return (double)relay_status(arg).produced_events;
}

static double read_produced_bytes(void *arg) {
  return (double)relay_status(arg).produced_bytes;
}

static double read_failed_sends(void *arg) {
  return (double)relay_status(arg).failed_sends;
}

static double read_oversized_events(void *arg) {
  return (double)relay_status(arg).oversized_events;
}

static bool add_relay_metrics(order_application *application) {
  static const struct {
    const char *name;
    const char *help;
    ls_metric_read read;
    bool is_counter;
  } metrics[] = {
      {"lockstep_outbox_relay_leader", "Whether this replica's relay leads", read_leader, false},
      {"lockstep_outbox_highest_sequence", "Highest sequence number of the last checkpoint",
       read_highest_sequence, false},
      {"lockstep_outbox_gaps", "Sequence numbers below it that are not done", read_gap_count,
       false},
      {"lockstep_outbox_events_in_flight", "Events sent and not yet acknowledged", read_in_flight,
       false},
      {"lockstep_outbox_events_produced_total", "Events acknowledged by Kafka",
       read_produced_events, true},
      {"lockstep_outbox_bytes_produced_total", "Bytes of their keys, values and headers",
       read_produced_bytes, true},
      {"lockstep_outbox_failed_sends_total", "Sends that failed and were repeated",
       read_failed_sends, true},
      {"lockstep_outbox_oversized_events_total", "Full payloads that went without",
       read_oversized_events, true},
  };
  bool done = true;
  for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++)
    done = (metrics[i].is_counter ? ls_metrics_counter_callback : ls_metrics_gauge_callback)(
               application->metrics, metrics[i].name, metrics[i].help, NULL, metrics[i].read,
               application->relay) &&
           done;
  return done;
}

/* --- Starting --- */

/* The first look at the database, while there is somebody to tell: what only a person can mend ends
 * the start, all else is tried again later. */
static bool check_database(order_application *application, ls_error *error) {
  order_store *store = order_store_new(&application->database, error);
  if (store == NULL)
    return false;
  bool may_start = order_store_connect(store, error);
  if (!may_start && error->code != LS_FAILED_PRECONDITION && error->code != LS_INVALID_ARGUMENT &&
      error->code != LS_UNAUTHENTICATED) {
    LS_WARN("the database cannot be used yet", LS_ERR(error));
    ls_error_clear(error);
    may_start = true;
  }
  order_store_destroy(store);
  return may_start;
}

static bool make_parts(order_application *application, ls_error *error) {
  const order_config *config = application->config;
  application->relay_options =
      (outbox_relay_options){.database = application->database.options,
                             .kafka = order_config_kafka(config),
                             .domain_topic = config->domain_topic,
                             .create_topic = config->create_topic,
                             .change_topic = config->change_topic,
                             .cancel_topic = config->cancel_topic,
                             .source = "/lockstep/order",
                             .max_event_bytes = (size_t)config->max_event_bytes,
                             .max_in_flight = (unsigned)config->max_events_in_flight,
                             .poll_interval_ms = config->relay_poll_interval_ms};
  order_reader_options reader_options = {.database = &application->database,
                                         .threads = (unsigned)config->read_threads,
                                         .batch = (size_t)config->read_batch,
                                         .queue_capacity = (size_t)config->read_queue_capacity,
                                         .metrics = application->metrics};
  order_writer_options writer_options = {.database = &application->database,
                                         .threads = (unsigned)config->write_threads,
                                         .batch = (size_t)config->write_batch,
                                         .queue_capacity = (size_t)config->write_queue_capacity,
                                         .committed = on_committed,
                                         .committed_arg = application,
                                         .metrics = application->metrics};
  order_upkeep_options upkeep_options = {.database = &application->database,
                                         .request_retention_ms = config->request_id_retention_ms,
                                         .changed = on_changed_elsewhere,
                                         .ready = on_ready,
                                         .arg = application,
                                         .metrics = application->metrics};
  application->relay = outbox_relay_new(&application->relay_options, error);
  if (application->relay == NULL)
    return false;
  application->reader = order_reader_new(&reader_options, error);
  if (application->reader == NULL)
    return false;
  order_follow_options follow_options = {.database = &application->database,
                                         .reader = application->reader,
                                         .max_streams = (size_t)config->max_watch_streams,
                                         .poll_interval_ms = config->watch_poll_interval_ms,
                                         .metrics = application->metrics};
  application->follow = order_follow_new(&follow_options, error);
  application->writer = order_writer_new(&writer_options, error);
  application->upkeep = order_upkeep_new(&upkeep_options, error);
  if (application->follow == NULL || application->writer == NULL || application->upkeep == NULL)
    return false;
  return add_relay_metrics(application) ||
         ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for metrics");
}

static bool make_server(order_application *application, ls_error *error) {
  const order_config *config = application->config;
  bool has_operations_server = config->operations_address[0] != '\0';
  application->health = ls_rpc_health_new(error);
  if (application->health == NULL)
    return false;
  ls_rpc_server_options options = {.threads = (unsigned)config->rpc_threads,
                                   .max_calls = (unsigned)config->max_calls,
                                   .max_connection_age_ms = config->max_connection_age_ms,
                                   .tls = order_config_tls(config)};
  application->service = (order_service){
      .writer = application->writer, .reader = application->reader, .follow = application->follow};
  application->operations =
      (order_operations){.reader = application->reader, .relay = application->relay};
  set_health(application, false);
  ls_rpc_health_set(application->health, "liveness", true);
  application->server =
      ls_rpc_endpoint_new(&options, application->health, application->metrics, error);
  ls_rpc_endpoint *operations = application->server;
  if (operations != NULL && has_operations_server) {
    options.threads = 1;
    options.max_calls = OPERATIONS_CALLS;
    operations = application->operations_server =
        ls_rpc_endpoint_new(&options, application->health, application->metrics, error);
  }
  return operations != NULL &&
         order_service_register(&application->service, ls_rpc_endpoint_server(application->server),
                                error) &&
         order_operations_register(&application->operations, ls_rpc_endpoint_server(operations),
                                   error) &&
         ls_rpc_endpoint_listen(application->server, config->listen_address, error) &&
         (!has_operations_server ||
          ls_rpc_endpoint_listen(operations, config->operations_address, error));
}

static bool start_parts(order_application *application, ls_error *error) {
  application->metrics_http = ls_metrics_http_start(
      application->config->metrics_address, application->metrics, is_ready, application, error);
  if (application->metrics_http == NULL || !order_reader_start(application->reader, error) ||
      !order_writer_start(application->writer, error) ||
      !order_upkeep_start(application->upkeep, error))
    return false;
  application->is_relay_running = outbox_relay_start(application->relay, error);
  if (!application->is_relay_running)
    return false;
  return ls_rpc_endpoint_start(application->server, error) &&
         (application->operations_server == NULL ||
          ls_rpc_endpoint_start(application->operations_server, error));
}

order_application *order_application_start(const order_config *config, ls_error *error) {
  order_application *application = calloc(1, sizeof *application);
  if (application == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory");
    return NULL;
  }
  application->config = config;
  application->database.may_migrate = config->migrate_on_start;
  application->metrics = ls_metrics_new(0);
  if (application->metrics == NULL || !ls_metrics_add_process(application->metrics) ||
      !order_config_database(config, &application->conninfo, &application->database.options)) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory");
    goto failed;
  }
  if (!check_database(application, error) || !make_parts(application, error) ||
      !make_server(application, error) || !start_parts(application, error))
    goto failed;
  return application;

failed:
  (void)order_application_stop(application);
  return NULL;
}

int order_application_port(const order_application *application) {
  return ls_rpc_endpoint_port(application->server);
}

int order_application_operations_port(const order_application *application) {
  return ls_rpc_endpoint_port(application->operations_server);
}

int order_application_metrics_port(const order_application *application) {
  return ls_metrics_http_port(application->metrics_http);
}

/* --- Stopping --- */

static int64_t left_ms(int64_t deadline_ms) {
  int64_t left = deadline_ms - ls_clock_monotonic_ms();
  return left > 0 ? left : 0;
}

/* Also what has been started of an application that could not be. The servers go before those who
 * answer its calls, and these before what they tell of commits. */
bool order_application_stop(order_application *application) {
  if (application == NULL)
    return true;
  int64_t deadline_ms = ls_clock_monotonic_ms() + application->config->shutdown_grace_ms;
  application->is_stopping = true;
  if (application->health != NULL)
    ls_rpc_health_shutdown(application->health);
  if (application->follow != NULL)
    order_follow_stop(application->follow);
  bool is_clean = ls_rpc_endpoint_shutdown(application->server, left_ms(deadline_ms));
  is_clean =
      ls_rpc_endpoint_shutdown(application->operations_server, left_ms(deadline_ms)) && is_clean;
  LS_FAULT_POINT("order.drains");
  if (application->writer != NULL)
    order_writer_stop(application->writer);
  if (application->reader != NULL)
    order_reader_stop(application->reader);
  if (application->is_relay_running) {
    int64_t grace_ms = left_ms(deadline_ms);
    is_clean = outbox_relay_stop(application->relay,
                                 grace_ms > RELAY_GRACE_MS ? grace_ms : RELAY_GRACE_MS) &&
               is_clean;
  }
  if (application->upkeep != NULL)
    order_upkeep_stop(application->upkeep);
  ls_metrics_http_stop(application->metrics_http);
  if (application->relay != NULL)
    ls_metrics_remove_callbacks(application->metrics, application->relay);
  ls_rpc_endpoint_destroy(application->operations_server);
  ls_rpc_endpoint_destroy(application->server);
  ls_rpc_health_destroy(application->health);
  order_follow_destroy(application->follow);
  order_writer_destroy(application->writer);
  order_reader_destroy(application->reader);
  order_upkeep_destroy(application->upkeep);
  outbox_relay_destroy(application->relay);
  ls_metrics_destroy(application->metrics);
  free(application->conninfo);
  free(application);
  return is_clean;
}
