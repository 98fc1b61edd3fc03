/* The delivery service, put together. */
#include "delivery/delivery_application.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "delivery/delivery_monitor.h"
#include "delivery/delivery_operations.h"
#include "delivery/delivery_service.h"
#include "delivery/reconciler.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/metrics.h"
#include "runtime/base/metrics_http.h"
#include "runtime/rpc/endpoint.h"
#include "runtime/rpc/health.h"

enum {
  OPERATIONS_QUEUE = 64,         /* calls of operators that may wait */
  OPERATIONS_CALLS = 64,         /* in flight at once, where they have their own server */
  DEAD_LETTER_TIMEOUT_MS = 10000 /* until Kafka must have acknowledged a replay */
};

struct delivery_application {
  const delivery_config *config;
  char *conninfo;
  delivery_database database;
  ls_kafka_options kafka;
  ls_metrics *metrics;
  delivery_counters counters;
  ls_metrics_http *metrics_http;
  ls_rpc_channel *orders;
  delivery_reader *reader;
  delivery_reader *operations_reader;
  delivery_writer *writer;
  delivery_wait *wait;
  delivery_follow *follow;
  delivery_monitor *monitor;
  order_event_consumer *consumer;
  pending_retrier *retrier;
  delivery_reconciler *reconciler;
  dead_letter_producer *replayer;
  delivery_service service;
  delivery_operations operations;
  ls_rpc_health *health;
  ls_rpc_endpoint *server;
  ls_rpc_endpoint *operations_server; /* NULL: the other one has the operators' calls, too */
  atomic_bool is_stopping;
};

/* --- What the parts tell each other --- */

static void on_changed_elsewhere(void *arg) {
  delivery_application *application = arg;
  delivery_wait_wake(application->wait);
  delivery_follow_wake(application->follow);
}

static void on_changed(void *arg) {
  delivery_application *application = arg;
  on_changed_elsewhere(application);
  delivery_monitor_committed(application->monitor);
}

static void on_pending(void *arg) {
  delivery_application *application = arg;
  pending_retrier_wake(application->retrier);
}

static void set_health(delivery_application *application, bool is_serving) {
  ls_rpc_health_set(application->health, "", is_serving);
  ls_rpc_health_set(application->health, "delivery.v1.DeliveryService", is_serving);
  ls_rpc_health_set(application->health, "delivery.v1.DeliveryOperations", is_serving);
}

static void on_ready(bool is_ready, void *arg) {
  delivery_application *application = arg;
  set_health(application, is_ready);
}

static bool is_ready(void *arg, ls_error *reason) {
  delivery_application *application = arg;
  if (atomic_load(&application->is_stopping))
    return ls_error_set(reason, LS_UNAVAILABLE, false, NULL, "the service is stopping");
  return delivery_monitor_is_ready(application->monitor, reason);
}

/* --- Starting --- */

/* The first look at the database, while there is somebody to tell: what only a person can mend ends
 * the start, all else is tried again later. */
static bool check_database(delivery_application *application, ls_error *error) {
  delivery_store *store = delivery_store_new(&application->database, error);
  if (store == NULL)
    return false;
  bool may_start = delivery_store_connect(store, error);
  if (!may_start && error->code != LS_FAILED_PRECONDITION && error->code != LS_INVALID_ARGUMENT &&
      error->code != LS_UNAUTHENTICATED) {
    LS_WARN("the database cannot be used yet", LS_ERR(error));
    ls_error_clear(error);
    may_start = true;
  }
  delivery_store_destroy(store);
  return may_start;
}

static bool make_channel(delivery_application *application, ls_error *error) {
  const delivery_config *config = application->config;
  ls_rpc_channel_options options = {.tls = delivery_config_order_tls(config),
                                    .tls_server_name = config->order_tls_server_name[0] != '\0'
                                                           ? config->order_tls_server_name
                                                           : NULL,
                                    .default_timeout_ms = config->lookup_timeout_ms};
  application->orders = ls_rpc_channel_new(config->order_address, &options, error);
  return application->orders != NULL;
}

/* What answers calls. */
static bool make_service(delivery_application *application, ls_error *error) {
  const delivery_config *config = application->config;
  delivery_reader_options reader = {.name = "reader",
                                    .database = &application->database,
                                    .threads = (unsigned)config->read_threads,
                                    .batch = (size_t)config->read_batch,
                                    .queue_capacity = (size_t)config->read_queue_capacity,
                                    .metrics = application->metrics};
  delivery_reader_options operations = {.name = "operations",
                                        .database = &application->database,
                                        .threads = 1,
                                        .batch = 1,
                                        .queue_capacity = OPERATIONS_QUEUE,
                                        .metrics = application->metrics};
  delivery_writer_options writer = {.database = &application->database,
                                    .threads = (unsigned)config->write_threads,
                                    .batch = (size_t)config->write_batch,
                                    .queue_capacity = (size_t)config->write_queue_capacity,
                                    .changed = on_changed,
                                    .arg = application,
                                    .metrics = application->metrics};
  delivery_follow_options follow = {.database = &application->database,
                                    .max_streams = (size_t)config->max_watch_streams,
                                    .poll_interval_ms = config->watch_poll_interval_ms,
                                    .metrics = application->metrics};
  delivery_monitor_options monitor = {.database = &application->database,
                                      .changed = on_changed_elsewhere,
                                      .ready = on_ready,
                                      .arg = application,
                                      .metrics = application->metrics};
  if ((application->reader = delivery_reader_new(&reader, error)) == NULL ||
      (application->operations_reader = delivery_reader_new(&operations, error)) == NULL ||
      (application->writer = delivery_writer_new(&writer, error)) == NULL ||
      (application->follow = delivery_follow_new(&follow, error)) == NULL ||
      (application->monitor = delivery_monitor_new(&monitor, error)) == NULL)
    return false;
  delivery_wait_options wait = {.database = &application->database,
                                .reader = application->reader,
                                .max_waiters = (size_t)config->max_waiting_calls,
                                .max_wait_ms = config->max_wait_ms,
                                .poll_interval_ms = config->watch_poll_interval_ms,
                                .metrics = application->metrics};
  application->wait = delivery_wait_new(&wait, error);
  return application->wait != NULL;
}

/* What keeps deliveries in step. */
static bool make_consumer(delivery_application *application, ls_error *error) {
  const delivery_config *config = application->config;
  order_event_consumer_options consumer = {.database = &application->database,
                                           .kafka = &application->kafka,
                                           .group_id = config->kafka_group_id,
                                           .group_instance_id = config->kafka_group_instance_id,
                                           .topics = {config->domain_topic, config->create_topic,
                                                      config->change_topic, config->cancel_topic},
                                           .dead_letter_topic = config->dead_letter_topic,
                                           .threads = (unsigned)config->consumer_threads,
                                           .batch_events = (size_t)config->consumer_batch,
                                           .batch_bytes = config->consumer_batch_bytes,
                                           .queued_max_bytes = config->consumer_queue_bytes,
                                           .session_timeout_ms = config->kafka_session_timeout_ms,
                                           .orders = application->orders,
                                           .lookup_batch = (size_t)config->lookup_batch,
                                           .lookup_calls = (unsigned)config->lookup_calls,
                                           .lookup_timeout_ms = config->lookup_timeout_ms,
                                           .pending_delay_ms = config->pending_initial_delay_ms,
                                           .counters = &application->counters,
                                           .metrics = application->metrics,
                                           .changed = on_changed,
                                           .pending = on_pending,
                                           .arg = application};
  pending_retrier_options retrier = {.database = &application->database,
                                     .kafka = &application->kafka,
                                     .dead_letter_topic = config->dead_letter_topic,
                                     .orders = application->orders,
                                     .lookup_batch = (size_t)config->lookup_batch,
                                     .lookup_calls = (unsigned)config->lookup_calls,
                                     .lookup_timeout_ms = config->lookup_timeout_ms,
                                     .max_attempts = (int32_t)config->pending_max_attempts,
                                     .initial_delay_ms = config->pending_initial_delay_ms,
                                     .max_delay_ms = config->pending_max_delay_ms,
                                     .poll_interval_ms = config->pending_poll_interval_ms,
                                     .counters = &application->counters,
                                     .changed = on_changed,
                                     .arg = application};
  delivery_reconciler_options reconciling = {.database = &application->database,
                                             .orders = application->orders,
                                             .lookup_batch = (size_t)config->lookup_batch,
                                             .lookup_calls = (unsigned)config->lookup_calls,
                                             .lookup_timeout_ms = config->lookup_timeout_ms,
                                             .interval_ms = config->reconcile_interval_ms,
                                             .rate = config->reconcile_rate,
                                             .grace_ms = config->reconcile_grace_ms,
                                             .topic = config->domain_topic,
                                             .counters = &application->counters,
                                             .metrics = application->metrics};
  dead_letter_producer_options replayer = {&application->kafka, config->dead_letter_topic,
                                           DEAD_LETTER_TIMEOUT_MS};
  application->consumer = order_event_consumer_new(&consumer, error);
  application->retrier = pending_retrier_new(&retrier, error);
  application->reconciler = delivery_reconciler_new(&reconciling, error);
  application->replayer = dead_letter_producer_new(&replayer, error);
  return application->consumer != NULL && application->retrier != NULL &&
         application->reconciler != NULL && application->replayer != NULL;
}

static bool make_server(delivery_application *application, ls_error *error) {
  const delivery_config *config = application->config;
  bool has_operations_server = config->operations_address[0] != '\0';
  application->health = ls_rpc_health_new(error);
  if (application->health == NULL)
    return false;
  ls_rpc_server_options options = {.threads = (unsigned)config->rpc_threads,
                                   .max_calls = (unsigned)config->max_calls,
                                   .max_connection_age_ms = config->max_connection_age_ms,
                                   .tls = delivery_config_tls(config)};
  application->service = (delivery_service){.writer = application->writer,
                                            .reader = application->reader,
                                            .wait = application->wait,
                                            .follow = application->follow};
  application->operations = (delivery_operations){.reader = application->operations_reader,
                                                  .dead_letters = application->replayer,
                                                  .consumer = application->consumer,
                                                  .retrier = application->retrier,
                                                  .reconciler = application->reconciler,
                                                  .counters = &application->counters,
                                                  .resync_topic = config->domain_topic};
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
         delivery_service_register(&application->service,
                                   ls_rpc_endpoint_server(application->server), error) &&
         delivery_operations_register(&application->operations, ls_rpc_endpoint_server(operations),
                                      error) &&
         ls_rpc_endpoint_listen(application->server, config->listen_address, error) &&
         (!has_operations_server ||
          ls_rpc_endpoint_listen(operations, config->operations_address, error));
}

static bool start_parts(delivery_application *application, ls_error *error) {
  application->metrics_http = ls_metrics_http_start(
      application->config->metrics_address, application->metrics, is_ready, application, error);
  if (application->metrics_http == NULL || !delivery_reader_start(application->reader, error) ||
      !delivery_reader_start(application->operations_reader, error) ||
      !delivery_writer_start(application->writer, error) ||
      !delivery_monitor_start(application->monitor, error) ||
      !pending_retrier_start(application->retrier, error) ||
      !delivery_reconciler_start(application->reconciler, error) ||
      !order_event_consumer_start(application->consumer, error))
    return false;
  return ls_rpc_endpoint_start(application->server, error) &&
         (application->operations_server == NULL ||
          ls_rpc_endpoint_start(application->operations_server, error));
}

delivery_application *delivery_application_start(const delivery_config *config, ls_error *error) {
  delivery_application *application = calloc(1, sizeof *application);
  if (application == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory");
    return NULL;
  }
  application->config = config;
  application->kafka = delivery_config_kafka(config);
  application->database.may_migrate = config->migrate_on_start;
  application->metrics = ls_metrics_new(0);
  if (application->metrics == NULL || !ls_metrics_add_process(application->metrics) ||
      !delivery_config_database(config, &application->conninfo, &application->database.options)) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory");
    goto failed;
  }
  delivery_counters_init(&application->counters, application->metrics);
  if (!check_database(application, error) || !make_channel(application, error) ||
      !make_service(application, error) || !make_consumer(application, error) ||
      !make_server(application, error) || !start_parts(application, error))
    goto failed;
  return application;

failed:
  (void)delivery_application_stop(application);
  return NULL;
}

int delivery_application_port(const delivery_application *application) {
  return ls_rpc_endpoint_port(application->server);
}

int delivery_application_operations_port(const delivery_application *application) {
  return ls_rpc_endpoint_port(application->operations_server);
}

int delivery_application_metrics_port(const delivery_application *application) {
  return ls_metrics_http_port(application->metrics_http);
}

/* --- Stopping --- */

static int64_t left_ms(int64_t deadline_ms) {
  int64_t left = deadline_ms - ls_clock_monotonic_ms();
  return left > 0 ? left : 0;
}

static void stop_parts(delivery_application *application, bool *is_clean) {
  int64_t deadline_ms = ls_clock_monotonic_ms() + application->config->shutdown_grace_ms;
  if (application->health != NULL)
    ls_rpc_health_shutdown(application->health);
  if (application->wait != NULL)
    delivery_wait_stop(application->wait);
  if (application->follow != NULL)
    delivery_follow_stop(application->follow);
  if (application->consumer != NULL)
    order_event_consumer_stop(application->consumer);
  if (application->reconciler != NULL)
    delivery_reconciler_stop(application->reconciler);
  if (application->retrier != NULL)
    pending_retrier_stop(application->retrier);
  *is_clean = ls_rpc_endpoint_shutdown(application->server, left_ms(deadline_ms));
  *is_clean =
      ls_rpc_endpoint_shutdown(application->operations_server, left_ms(deadline_ms)) && *is_clean;
  if (application->writer != NULL)
    delivery_writer_stop(application->writer);
  if (application->operations_reader != NULL)
    delivery_reader_stop(application->operations_reader);
  if (application->reader != NULL)
    delivery_reader_stop(application->reader);
  if (application->monitor != NULL)
    delivery_monitor_stop(application->monitor);
}

/* Also what has been started of an application that could not be. */
bool delivery_application_stop(delivery_application *application) {
  if (application == NULL)
    return true;
  bool is_clean = true;
  atomic_store(&application->is_stopping, true);
  stop_parts(application, &is_clean);
  ls_metrics_http_stop(application->metrics_http);
  ls_rpc_endpoint_destroy(application->operations_server);
  ls_rpc_endpoint_destroy(application->server);
  ls_rpc_health_destroy(application->health);
  order_event_consumer_destroy(application->consumer);
  pending_retrier_destroy(application->retrier);
  delivery_reconciler_destroy(application->reconciler);
  dead_letter_producer_destroy(application->replayer);
  ls_rpc_channel_destroy(application->orders);
  delivery_wait_destroy(application->wait);
  delivery_follow_destroy(application->follow);
  delivery_writer_destroy(application->writer);
  delivery_reader_destroy(application->operations_reader);
  delivery_reader_destroy(application->reader);
  delivery_monitor_destroy(application->monitor);
  ls_metrics_destroy(application->metrics);
  free(application->conninfo);
  free(application);
  return is_clean;
}
