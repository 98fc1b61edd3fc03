/* Asking for end offsets: see topic.h. */
#include "topic.h"

#include <stdio.h>
#include <stdlib.h>

enum { TIMEOUT_MS = 10000 };

void topic_fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

rd_kafka_t *topic_open(const char *bootstrap_servers) {
  static const char *const settings[][2] = {{"group.id", "bench"},
                                            {"enable.auto.commit", "false"},
                                            {"fetch.wait.max.ms", "100"},
                                            {"fetch.min.bytes", "1"},
                                            {"socket.nagle.disable", "true"}};
  char text[256];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  if (rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap_servers, text, sizeof text) !=
      RD_KAFKA_CONF_OK)
    topic_fail("bootstrap.servers", text);
  for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
    if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof text) !=
        RD_KAFKA_CONF_OK)
      topic_fail(settings[i][0], text);
  rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
  if (client == NULL)
    topic_fail("consumer", text);
  rd_kafka_poll_set_consumer(client);
  return client;
}

static rd_kafka_topic_partition_list_t *partitions_of(rd_kafka_t *client, const char *topic) {
  const struct rd_kafka_metadata *metadata;
  rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
  rd_kafka_resp_err_t code = rd_kafka_metadata(client, 0, handle, &metadata, TIMEOUT_MS);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR || metadata->topic_cnt != 1 ||
      metadata->topics[0].partition_cnt == 0)
    topic_fail(topic,
               code != RD_KAFKA_RESP_ERR_NO_ERROR ? rd_kafka_err2str(code) : "no such topic");
  rd_kafka_topic_partition_list_t *list =
      rd_kafka_topic_partition_list_new(metadata->topics[0].partition_cnt);
  rd_kafka_topic_partition_list_add_range(list, topic, 0, metadata->topics[0].partition_cnt - 1);
  rd_kafka_metadata_destroy(metadata);
  rd_kafka_topic_destroy(handle);
  return list;
}

rd_kafka_topic_partition_list_t *topic_ends(rd_kafka_t *client, const char *topic,
                                            rd_kafka_topic_partition_list_t *ends) {
  if (ends == NULL)
    ends = partitions_of(client, topic);
  for (int i = 0; i < ends->cnt; i++)
    ends->elems[i].offset = RD_KAFKA_OFFSET_END; /* as a time: "the end" */
  rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(client, ends, TIMEOUT_MS);
  for (int i = 0; i < ends->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
    code = ends->elems[i].err;
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
    topic_fail(topic, rd_kafka_err2str(code));
  return ends;
}

int64_t topic_sum(const rd_kafka_topic_partition_list_t *offsets) {
  int64_t sum = 0;
  for (int i = 0; i < offsets->cnt; i++)
    sum += offsets->elems[i].offset;
  return sum;
}
