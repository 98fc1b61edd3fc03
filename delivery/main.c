/* delivery-service: its command line, its signals and its exit code.
 *
 * Exits with 0 after an orderly end (SIGTERM, SIGINT) or a finished action, 78 for a bad
 * configuration, 1 for everything else that ends it; a second signal, and one during an action,
 * ends it at once with 128 + its number. */
#include <stdio.h>
#include <stdlib.h>

#include "delivery/delivery_application.h"
#include "delivery/delivery_store.h"
#include "runtime/base/log.h"
#include "runtime/base/persist.h"
#include "runtime/base/shutdown.h"
#include "runtime/kafka/admin.h"
#include "runtime/rpc/health.h"

enum { PROBE_TIMEOUT_MS = 3000, TOPICS_TIMEOUT_MS = 30000 };

static int fail(const ls_error *error) {
  LS_ERROR("delivery-service cannot go on", LS_ERR(error));
  return error->code == LS_INVALID_ARGUMENT ? LS_EXIT_CONFIG : EXIT_FAILURE;
}

static bool try_to_migrate(void *arg, ls_error *error) {
  delivery_store *store = delivery_store_new(arg, error);
  bool done = store != NULL && delivery_store_connect(store, error);
  delivery_store_destroy(store);
  /* A database or a role that is not there yet is for those who make it to wait for. */
  if (!done && ls_pg_is_refused(error))
    error->retriable = false;
  return done;
}

static int migrate(const delivery_config *config) {
  ls_error error = {0};
  char *conninfo = NULL;
  delivery_database database = {.may_migrate = true};
  bool done = false;
  if (!delivery_config_database(config, &conninfo, &database.options))
    ls_error_set(&error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory");
  else
    done = ls_persist("PostgreSQL", config->action_timeout_ms, try_to_migrate, &database, &error);
  free(conninfo);
  if (!done)
    return fail(&error);
  LS_INFO("the schema is up to date");
  return EXIT_SUCCESS;
}

static int create_topics(const delivery_config *config) {
  ls_kafka_topic_settings settings;
  ls_kafka_topic_settings_set(&settings, config->topic_retention_ms,
                              config->topic_min_insync_replicas);
  ls_kafka_topic_spec spec = {.name = config->dead_letter_topic,
                              .partitions = (int)config->topic_partitions,
                              .replication_factor = (int)config->topic_replication,
                              .config = settings.config,
                              .config_count = settings.count};
  ls_error error = {0};
  ls_kafka_options kafka = delivery_config_kafka(config);
  if (!ls_kafka_create_topics(&kafka, &spec, 1, config->action_timeout_ms, TOPICS_TIMEOUT_MS,
                              &error))
    return fail(&error);
  LS_INFO("the dead-letter topic is there");
  return EXIT_SUCCESS;
}

/* What a container's health check runs. */
static int probe(const delivery_config *config) {
  ls_error error = {0};
  ls_rpc_tls tls = delivery_config_tls(config);
  tls.require_client_certificate = false; /* the server's wish, not the client's */
  if (ls_rpc_health_probe(config->probe_address, &tls, "", PROBE_TIMEOUT_MS, &error))
    return EXIT_SUCCESS;
  fprintf(stderr, "%s: %s\n", ls_code_name(error.code), error.message);
  return EXIT_FAILURE;
}

static int serve(const delivery_config *config) {
  ls_error error = {0};
  if (!ls_shutdown_init(&error))
    return fail(&error);
  delivery_application *application = delivery_application_start(config, &error);
  if (application == NULL)
    return fail(&error);
  LS_INFO("delivery-service serves", LS_INT("port", delivery_application_port(application)),
          LS_INT("operations_port", delivery_application_operations_port(application)),
          LS_INT("metrics_port", delivery_application_metrics_port(application)));
  (void)ls_shutdown_wait(-1);
  LS_INFO("delivery-service stops");
  bool is_clean = delivery_application_stop(application);
  LS_INFO("delivery-service has stopped", LS_BOOL("all_finished", is_clean));
  return EXIT_SUCCESS;
}

static int run(const delivery_config *config, int action) {
  if (config->probe_address[0] != '\0')
    return probe(config);
  ls_log_init(delivery_program.name, (ls_log_level)config->log_level,
              (ls_log_format)config->log_format);
  ls_config_log(delivery_options, delivery_option_count, &delivery_program, config);
  if (action != LS_ACTION_RUN)
    ls_persist_init();
  switch (action) {
  case DELIVERY_ACTION_MIGRATE:
    return migrate(config);
  case DELIVERY_ACTION_CREATE_TOPICS:
    return create_topics(config);
  default:
    return serve(config);
  }
}

int main(int argc, char **argv) {
  delivery_config config;
  int action = LS_ACTION_RUN;
  ls_error error = {0};
  if (!ls_config_parse(delivery_options, delivery_option_count, &delivery_program, argc, argv,
                       &config, &action, &error)) {
    fprintf(stderr, "%s: %s\n", delivery_program.name, error.message);
    return LS_EXIT_CONFIG;
  }
  int code = EXIT_SUCCESS;
  if (action != LS_ACTION_DONE && !delivery_config_check(&config, &error)) {
    fprintf(stderr, "%s: %s\n", delivery_program.name, error.message);
    code = LS_EXIT_CONFIG;
  } else if (action != LS_ACTION_DONE) {
    code = run(&config, action);
  }
  ls_config_clear(delivery_options, delivery_option_count, &config);
  return code;
}
