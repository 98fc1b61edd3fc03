/* order-service: its command line, its signals and its exit code.
 *
 * Exits with 0 after an orderly end (SIGTERM, SIGINT) or a finished action, 78 for a bad
 * configuration, 1 for everything else that ends it; a second signal, and one during an action,
 * ends it at once with 128 + its number. */
#include <stdio.h>
#include <stdlib.h>

#include "order/order_application.h"
#include "order/order_store.h"
#include "runtime/base/log.h"
#include "runtime/base/persist.h"
#include "runtime/base/shutdown.h"
#include "runtime/kafka/admin.h"
#include "runtime/rpc/health.h"

enum { PROBE_TIMEOUT_MS = 3000, TOPICS_TIMEOUT_MS = 30000 };

static int fail(const ls_error *error) {
  LS_ERROR("order-service cannot go on", LS_ERR(error));
  return error->code == LS_INVALID_ARGUMENT ? LS_EXIT_CONFIG : EXIT_FAILURE;
}

static bool try_to_migrate(void *arg, ls_error *error) {
  order_store *store = order_store_new(arg, error);
  bool done = store != NULL && order_store_connect(store, error);
  order_store_destroy(store);
  /* A database or a role that is not there yet is for those who make it to wait for. */
  if (!done && ls_pg_is_refused(error))
    error->retriable = false;
  return done;
}

static int migrate(const order_config *config) {
  ls_error error = {0};
  char *conninfo = NULL;
  order_database database = {.may_migrate = true};
  bool done = false;
  if (!order_config_database(config, &conninfo, &database.options))
    ls_error_set(&error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory");
  else
    done = ls_persist("PostgreSQL", config->action_timeout_ms, try_to_migrate, &database, &error);
  free(conninfo);
  if (!done)
    return fail(&error);
  LS_INFO("the schema is up to date");
  return EXIT_SUCCESS;
}

static int create_topics(const order_config *config) {
  const char *const names[] = {config->domain_topic, config->create_topic, config->change_topic,
                               config->cancel_topic};
  enum { TOPICS = sizeof names / sizeof names[0] };
  ls_kafka_topic_spec specs[TOPICS];
  ls_kafka_topic_settings settings;
  ls_kafka_topic_settings_set(&settings, config->topic_retention_ms,
                              config->topic_min_insync_replicas);
  for (size_t i = 0; i < TOPICS; i++)
    specs[i] = (ls_kafka_topic_spec){.name = names[i],
                                     .partitions = (int)config->topic_partitions,
                                     .replication_factor = (int)config->topic_replication,
                                     .config = settings.config,
                                     .config_count = settings.count};
  ls_error error = {0};
  ls_kafka_options kafka = order_config_kafka(config);
  if (!ls_kafka_create_topics(&kafka, specs, TOPICS, config->action_timeout_ms, TOPICS_TIMEOUT_MS,
                              &error))
    return fail(&error);
  LS_INFO("the topics are there");
  return EXIT_SUCCESS;
}

/* What a container's health check runs. */
static int probe(const order_config *config) {
  ls_error error = {0};
  ls_rpc_tls tls = order_config_tls(config);
  tls.require_client_certificate = false; /* the server's wish, not the client's */
  if (ls_rpc_health_probe(config->probe_address, &tls, "", PROBE_TIMEOUT_MS, &error))
    return EXIT_SUCCESS;
  fprintf(stderr, "%s: %s\n", ls_code_name(error.code), error.message);
  return EXIT_FAILURE;
}

static int serve(const order_config *config) {
  ls_error error = {0};
  if (!ls_shutdown_init(&error))
    return fail(&error);
  order_application *application = order_application_start(config, &error);
  if (application == NULL)
    return fail(&error);
  LS_INFO("order-service serves", LS_INT("port", order_application_port(application)),
          LS_INT("operations_port", order_application_operations_port(application)),
          LS_INT("metrics_port", order_application_metrics_port(application)));
  (void)ls_shutdown_wait(-1);
  LS_INFO("order-service stops");
  bool is_clean = order_application_stop(application);
  LS_INFO("order-service has stopped", LS_BOOL("all_finished", is_clean));
  return EXIT_SUCCESS;
}

static int run(const order_config *config, int action) {
  if (config->probe_address[0] != '\0')
    return probe(config);
  ls_log_init(order_program.name, (ls_log_level)config->log_level,
              (ls_log_format)config->log_format);
  ls_config_log(order_options, order_option_count, &order_program, config);
  if (action != LS_ACTION_RUN)
    ls_persist_init();
  switch (action) {
  case ORDER_ACTION_MIGRATE:
    return migrate(config);
  case ORDER_ACTION_CREATE_TOPICS:
    return create_topics(config);
  default:
    return serve(config);
  }
}

int main(int argc, char **argv) {
  order_config config;
  int action = LS_ACTION_RUN;
  ls_error error = {0};
  if (!ls_config_parse(order_options, order_option_count, &order_program, argc, argv, &config,
                       &action, &error)) {
    fprintf(stderr, "%s: %s\n", order_program.name, error.message);
    return LS_EXIT_CONFIG;
  }
  int code = EXIT_SUCCESS;
  if (action != LS_ACTION_DONE && !order_config_check(&config, &error)) {
    fprintf(stderr, "%s: %s\n", order_program.name, error.message);
    code = LS_EXIT_CONFIG;
  } else if (action != LS_ACTION_DONE) {
    code = run(&config, action);
  }
  ls_config_clear(order_options, order_option_count, &config);
  return code;
}
