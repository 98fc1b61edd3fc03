/* librdkafka's mock cluster, made and destroyed. */
#include "runtime/kafka/mock_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

mock_cluster *mock_cluster_new(void) {
  char text[256];
  mock_cluster *mock = calloc(1, sizeof *mock);
  assert_non_null(mock);
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  assert_int_equal(rd_kafka_conf_set(conf, "log_level", "3", text, sizeof text), 0);
  mock->client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
  assert_non_null(mock->client);
  mock->cluster = rd_kafka_mock_cluster_new(mock->client, 1);
  assert_non_null(mock->cluster);
  mock->options.bootstrap_servers = rd_kafka_mock_cluster_bootstraps(mock->cluster);
  return mock;
}

void mock_cluster_destroy(mock_cluster *mock) {
  rd_kafka_mock_cluster_destroy(mock->cluster);
  rd_kafka_destroy(mock->client);
  free(mock);
}

void mock_cluster_create_topic(mock_cluster *mock, const char *topic, int partitions) {
  assert_int_equal(rd_kafka_mock_topic_create(mock->cluster, topic, partitions, 1), 0);
}
