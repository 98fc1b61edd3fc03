/* A member of a consumer group that takes messages by the batch and commits offsets when it is told
 * to.
 *
 * One thread polls, commits, pauses and destroys; the callbacks run on it, inside
 * ls_kafka_consumer_poll and _destroy. ls_kafka_consumer_partitions may be called by any thread.
 *
 * The range assignor revokes everything at each rebalance. What was polled before and is not yet
 * committed then belongs to somebody else: work on it may be finished, as it will be repeated, but
 * its offsets must not be committed any more. Within a batch this cannot happen: a batch never
 * holds messages of a partition that was revoked before it was returned. */
#ifndef LOCKSTEP_RUNTIME_KAFKA_CONSUMER_H
#define LOCKSTEP_RUNTIME_KAFKA_CONSUMER_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/error.h"
#include "runtime/kafka/options.h"

typedef struct ls_kafka_consumer ls_kafka_consumer;

typedef enum ls_kafka_rebalance {
  LS_KAFKA_ASSIGNED, /* these partitions begin, at their committed offsets */
  LS_KAFKA_REVOKED,  /* these end with the return of the callback; until then commits are taken */
  LS_KAFKA_LOST      /* these have ended already: commits would fail, and may not be tried */
} ls_kafka_rebalance;

/* May commit; must not poll. The partitions live during the callback. */
typedef void (*ls_kafka_rebalance_callback)(ls_kafka_consumer *consumer, ls_kafka_rebalance kind,
                                            const rd_kafka_topic_partition_list_t *partitions,
                                            void *arg);

typedef struct ls_kafka_consumer_options {
  const char *group_id;
  const char *const *topics; /* those that do not exist yet are taken up when they do */
  size_t topic_count;
  const char *group_instance_id; /* static membership; NULL: none */
  int64_t session_timeout_ms;    /* 0: 10,000 */
  int64_t max_poll_interval_ms;  /* leaves the group when not polled for so long; 0: 300,000 */
  int64_t queued_min_messages;   /* prefetched, at least while there is room in bytes; 0: 150,000 */
  int64_t queued_max_bytes;      /* keys and values prefetched, in KiB steps; 0: 32 MiB */
  int64_t fetch_max_bytes;       /* of one answer of a broker; 0: 16 MiB */
  int64_t partition_fetch_max_bytes;    /* of one partition in it; 0: 1 MiB */
  ls_kafka_rebalance_callback callback; /* may be NULL */
  void *arg;
} ls_kafka_consumer_options;

/* Joins the group in the background. Starts at the earliest offset where none is committed. NULL
 * with LS_INVALID_ARGUMENT. */
ls_kafka_consumer *ls_kafka_consumer_new(const ls_kafka_options *options,
                                         const ls_kafka_consumer_options *consumer_options,
                                         ls_error *error);

/* Revokes (with the callback) and leaves the group, so that others take over at once; frees. Where
 * the last commit that was waited for was not answered it does neither, as it would wait for long:
 * the session's time-out tells the group. Destroy polled messages before. NULL is fine. */
void ls_kafka_consumer_destroy(ls_kafka_consumer *consumer);

/* Waits up to `timeout_ms` for a first message, then takes what else is there without waiting, up
 * to `max`. `count` 0: none came. The caller destroys them. To be called within
 * max_poll_interval_ms, also while paused. False, with no messages: an error of a broker, topic or
 * partition (retriable: go on polling), or one that ended this consumer (not retriable: make a new
 * one). */
bool ls_kafka_consumer_poll(ls_kafka_consumer *consumer, rd_kafka_message_t **messages, size_t max,
                            int timeout_ms, size_t *count, ls_error *error);

/* rd_kafka_message_destroy for each. */
void ls_kafka_messages_destroy(rd_kafka_message_t **messages, size_t count);

/* Commits offsets (each the next one to be consumed). `timeout_ms` 0: does not wait, a failure is
 * logged. Else waits for the answer: LS_UNAVAILABLE (retriable) when there was none in time, or the
 * partitions now belong to somebody else. */
bool ls_kafka_consumer_commit(ls_kafka_consumer *consumer,
                              const rd_kafka_topic_partition_list_t *offsets, int timeout_ms,
                              ls_error *error);

/* Whether a commit that was not waited for has failed since this was last asked. On the thread that
 * polls. */
bool ls_kafka_consumer_commit_failed(ls_kafka_consumer *consumer);

/* Stops and resumes fetching of all partitions, those assigned later included. What was prefetched
 * is not delivered while paused, and is fetched again afterwards. */
bool ls_kafka_consumer_pause(ls_kafka_consumer *consumer, ls_error *error);
bool ls_kafka_consumer_resume(ls_kafka_consumer *consumer, ls_error *error);
bool ls_kafka_consumer_is_paused(const ls_kafka_consumer *consumer);

/* An assigned partition. Offsets are -1 where they are not known (yet). */
typedef struct ls_kafka_partition {
  char topic[256];
  int32_t partition;
  int64_t position;  /* the next message to be polled */
  int64_t committed; /* the group's */
  int64_t begin;     /* the first offset the broker has, as of the last answer */
  int64_t end;       /* after the last one */
  int64_t lag;       /* end minus committed, or minus begin where nothing is committed */
} ls_kafka_partition;

/* The assigned partitions, at most `max`, in `count`. Asks the group's coordinator for what is
 * committed, for up to `timeout_ms` (0: does not ask, and committed stays -1). False when the
 * assignment could not be read; an unanswered question is no failure. Any thread. */
bool ls_kafka_consumer_partitions(ls_kafka_consumer *consumer, ls_kafka_partition *partitions,
                                  size_t max, size_t *count, int timeout_ms, ls_error *error);

#endif
