/* lockstep-embedded-kafka: a Kafka cluster in one small process, to try things out without Java. It
 * is librdkafka's mock: consumer groups and idempotent producers work, nothing is kept after the
 * end, and of each partition only the last 5 MiB or 100,000 messages are. */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/config.h"
#include "runtime/base/log.h"
#include "runtime/base/shutdown.h"
#include "runtime/base/thread.h"

typedef struct embedded_kafka_config {
  int64_t brokers;
  int64_t partitions;
  const char *topics;
  const char *ready_file;
} embedded_kafka_config;

static const ls_option options[] = {
    {.flag = "brokers",
     .type = LS_OPTION_INT,
     .offset = offsetof(embedded_kafka_config, brokers),
     .default_text = "1",
     .min = 1,
     .max = 9,
     .group = "Cluster",
     .help = "Brokers, each on a free port of 127.0.0.1"},
    {.flag = "topics",
     .type = LS_OPTION_STRING,
     .offset = offsetof(embedded_kafka_config, topics),
     .group = "Cluster",
     .help =
         "Topics to create at once, separated by commas; others are created, with 4 partitions, "
         "when somebody asks for them"},
    {.flag = "partitions",
     .type = LS_OPTION_INT,
     .offset = offsetof(embedded_kafka_config, partitions),
     .default_text = "4",
     .min = 1,
     .max = 1000,
     .group = "Cluster",
     .help = "Partitions of each of --topics"},
    {.flag = "ready-file",
     .type = LS_OPTION_STRING,
     .offset = offsetof(embedded_kafka_config, ready_file),
     .group = "Start",
     .help = "Write the line \"bootstrap servers: …\" into this file once ready, instead of to the "
             "standard output"},
};

#define OPTION_COUNT (sizeof options / sizeof options[0])

static const ls_program program = {
    .name = "lockstep-embedded-kafka",
    .version = "0.1.0",
    .summary = "A Kafka cluster in memory, for trying things out: not for data that matters",
};

/* The file appears complete or not at all. */
static bool write_ready_file(const char *path, const char *servers, ls_error *error) {
  char temporary[4096];
  int length = snprintf(temporary, sizeof temporary, "%s.new", path);
  if (length < 0 || (size_t)length >= sizeof temporary)
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "--ready-file is too long");
  FILE *file = fopen(temporary, "we");
  bool done = file && fprintf(file, "bootstrap servers: %s\n", servers) > 0;
  if (file && fclose(file) != 0)
    done = false;
  if (done && rename(temporary, path) == 0)
    return true;
  return ls_error_set(error, LS_INTERNAL, false, NULL, "%s cannot be written", path);
}

static bool announce(const embedded_kafka_config *config, const char *servers, ls_error *error) {
  if (config->ready_file[0])
    return write_ready_file(config->ready_file, servers, error);
  if (printf("bootstrap servers: %s\n", servers) < 0 || fflush(stdout) != 0)
    return ls_error_set(error, LS_INTERNAL, false, NULL, "the standard output cannot be written");
  return true;
}

static bool create_topics(rd_kafka_mock_cluster_t *cluster, const embedded_kafka_config *config,
                          ls_error *error) {
  char *topics = strdup(config->topics);
  if (!topics)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of memory");
  int replicas = config->brokers < 3 ? (int)config->brokers : 3;
  bool done = true;
  char *rest = NULL;
  for (char *topic = strtok_r(topics, ", ", &rest); done && topic;
       topic = strtok_r(NULL, ", ", &rest)) {
    rd_kafka_resp_err_t code =
        rd_kafka_mock_topic_create(cluster, topic, (int)config->partitions, replicas);
    if (code)
      done = ls_error_set(error, LS_INVALID_ARGUMENT, false, rd_kafka_err2name(code),
                          "topic %s cannot be created", topic);
  }
  free(topics);
  return done;
}

static bool run(const embedded_kafka_config *config, ls_error *error) {
  bool done = false;
  char text[256];
  rd_kafka_mock_cluster_t *cluster = NULL;
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "client.id", "embedded-kafka", text, sizeof text);
  /* The mock lives in a client, which connects to nothing and would say so. */
  rd_kafka_conf_set(conf, "log_level", "3", text, sizeof text);
  sigset_t previous;
  ls_thread_block_signals(&previous);
  rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
  if (client)
    cluster = rd_kafka_mock_cluster_new(client, (int)config->brokers);
  else
    rd_kafka_conf_destroy(conf);
  pthread_sigmask(SIG_SETMASK, &previous, NULL);
  if (!cluster) {
    ls_error_set(error, LS_INTERNAL, false, NULL, "the cluster cannot be started%s%s",
                 client ? "" : ": ", client ? "" : text);
    goto cleanup;
  }
  if (!create_topics(cluster, config, error) ||
      !announce(config, rd_kafka_mock_cluster_bootstraps(cluster), error))
    goto cleanup;
  LS_INFO("embedded kafka is ready",
          LS_STR("bootstrap_servers", rd_kafka_mock_cluster_bootstraps(cluster)));
  ls_shutdown_wait(-1);
  LS_INFO("embedded kafka stops");
  done = true;

cleanup:
  if (cluster)
    rd_kafka_mock_cluster_destroy(cluster);
  if (client)
    rd_kafka_destroy(client);
  return done;
}

int main(int argc, char **argv) {
  embedded_kafka_config config;
  ls_error error = {0};
  int action = LS_ACTION_RUN;
  if (!ls_config_parse(options, OPTION_COUNT, &program, argc, argv, &config, &action, &error)) {
    fprintf(stderr, "%s: %s\n", program.name, error.message);
    return LS_EXIT_CONFIG;
  }
  if (action == LS_ACTION_DONE)
    return EXIT_SUCCESS;
  ls_log_init(program.name, LS_LOG_INFO, LS_LOG_AUTO);
  bool done = ls_shutdown_init(&error) && run(&config, &error);
  if (!done)
    LS_ERROR("embedded kafka failed", LS_ERR(&error));
  ls_config_clear(options, OPTION_COUNT, &config);
  return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
