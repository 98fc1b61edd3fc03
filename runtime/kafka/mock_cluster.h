/* For tests: a Kafka cluster in the process, librdkafka's mock. */
#ifndef LOCKSTEP_RUNTIME_KAFKA_MOCK_CLUSTER_H
#define LOCKSTEP_RUNTIME_KAFKA_MOCK_CLUSTER_H

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "runtime/kafka/options.h"

typedef struct mock_cluster {
  rd_kafka_t *client; /* which the mock lives in */
  rd_kafka_mock_cluster_t *cluster;
  ls_kafka_options options; /* how to reach it */
} mock_cluster;

/* One broker. Fails the test when it cannot be made. */
mock_cluster *mock_cluster_new(void);
void mock_cluster_destroy(mock_cluster *mock);
void mock_cluster_create_topic(mock_cluster *mock, const char *topic, int partitions);

/* Of requests, in Kafka's protocol. */
enum { MOCK_PRODUCE = 0, MOCK_OFFSET_COMMIT = 8 };

#endif
