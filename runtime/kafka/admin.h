/* Topics: created if they are missing. */
#ifndef LOCKSTEP_RUNTIME_KAFKA_ADMIN_H
#define LOCKSTEP_RUNTIME_KAFKA_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/error.h"
#include "runtime/kafka/options.h"

typedef struct ls_kafka_topic_config {
  const char *name; /* "retention.ms" */
  const char *value;
} ls_kafka_topic_config;

typedef struct ls_kafka_topic_spec {
  const char *name;
  int partitions;         /* 0: the cluster's default */
  int replication_factor; /* 0: the cluster's default */
  const ls_kafka_topic_config *config;
  size_t config_count;
} ls_kafka_topic_spec;

/* What both services let their users say of topics, as settings for `config`: each only where it is
 * above 0, so that the cluster's default holds otherwise. Not to be copied. */
typedef struct ls_kafka_topic_settings {
  ls_kafka_topic_config config[2];
  size_t count;
  char texts[2][24];
} ls_kafka_topic_settings;

void ls_kafka_topic_settings_set(ls_kafka_topic_settings *settings, int64_t retention_ms,
                                 int64_t min_insync_replicas);

/* Creates what does not exist and waits until all of it can be used. A topic that exists is left as
 * it is; one with another number of partitions than asked for is warned of. A broker that cannot
 * create topics on request, but does so for whoever asks for them, is asked for them.
 *
 * Keeps trying for `reach_ms`, and for 2 seconds in any case, while no controller can be reached or
 * there are fewer brokers than replicas are asked for, and says once in the log that it does; then
 * takes up to `timeout_ms` for the topics. LS_DEADLINE_EXCEEDED or LS_UNAVAILABLE (retriable);
 * LS_INVALID_ARGUMENT, LS_PERMISSION_DENIED as the cluster says; LS_UNAUTHENTICATED. */
bool ls_kafka_create_topics(const ls_kafka_options *options, const ls_kafka_topic_spec *specs,
                            size_t count, int64_t reach_ms, int timeout_ms, ls_error *error);

#endif
