/* Topics: created if they are missing. */
#ifndef LOCKSTEP_RUNTIME_KAFKA_ADMIN_H
#define LOCKSTEP_RUNTIME_KAFKA_ADMIN_H

#include <stdbool.h>
#include <stddef.h>

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

/* Creates what does not exist and waits until all of it can be used. A topic that exists is left as
 * it is; one with another number of partitions than asked for is warned of. A broker that cannot
 * create topics on request, but does so for whoever asks for them, is asked for them. Blocks for up
 * to `timeout_ms`. LS_DEADLINE_EXCEEDED or LS_UNAVAILABLE (retriable); LS_INVALID_ARGUMENT,
 * LS_PERMISSION_DENIED as the cluster says. */
bool ls_kafka_create_topics(const ls_kafka_options *options, const ls_kafka_topic_spec *specs,
                            size_t count, int timeout_ms, ls_error *error);

#endif
