/* A topic as the observers of the relay's rows see it. Whatever fails ends the program: they are
 * tools of one run. */
#ifndef LOCKSTEP_TESTS_BENCH_RELAY_TOPIC_H
#define LOCKSTEP_TESTS_BENCH_RELAY_TOPIC_H

#include <librdkafka/rdkafka.h>
#include <stdint.h>

/* Says what is wrong and exits with 1. */
_Noreturn void topic_fail(const char *what, const char *why);

/* A consumer that hands records over as soon as they are there. */
rd_kafka_t *topic_open(const char *bootstrap_servers);

/* The topic's partitions with their end offsets: where the next records will be. Also to be called
 * again with its own result, which it updates by one request. NULL to begin with. */
rd_kafka_topic_partition_list_t *topic_ends(rd_kafka_t *client, const char *topic,
                                            rd_kafka_topic_partition_list_t *ends);

/* The sum of the offsets. */
int64_t topic_sum(const rd_kafka_topic_partition_list_t *offsets);

#endif
