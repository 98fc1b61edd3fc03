/* The group consumer. Rebalances are only noted by librdkafka's callback and handled once a batch
 * is complete, so that it is known which of its messages were taken before. */
#include "runtime/kafka/consumer.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kafka/password.h"

#define SESSION_TIMEOUT_MS 10000
#define MAX_POLL_INTERVAL_MS 300000
/* Both bounds are of all partitions together, whatever their names say: their queues are forwarded
 * to one. A broker thread that has reached one looks again only a second later, so each must hold
 * what is consumed in a second. */
#define QUEUED_MIN_MESSAGES 150000
#define QUEUED_MAX_BYTES INT64_C(33554432)
#define FETCH_MAX_BYTES INT64_C(16777216)
#define PARTITION_FETCH_MAX_BYTES INT64_C(1048576)

/* The next rebalance begins when this side has answered the last: one at a time is pending. */
#define REBALANCES_MAX 4

/* A rebalance not handled yet. */
typedef struct rebalance {
  ls_kafka_rebalance kind;
  rd_kafka_topic_partition_list_t *partitions;
} rebalance;

struct ls_kafka_consumer {
  rd_kafka_t *client;
  ls_kafka_password password;
  rd_kafka_queue_t *messages;
  ls_kafka_rebalance_callback callback;
  void *arg;
  rebalance pending[REBALANCES_MAX]; /* in the order they came */
  size_t pending_count;
  bool is_closing;        /* nothing is polled any more: rebalances are handled where they come */
  bool has_commit_failed; /* one that was not waited for */
  bool is_unanswered;     /* the last commit that was waited for */
  atomic_bool is_paused;
  bool has_error; /* one that came among messages, for the next poll */
  ls_error error;
};

static void log_code(rd_kafka_resp_err_t code, const char *message) {
  ls_error error = {0};
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
    return;
  ls_kafka_error_set(&error, code, NULL);
  LS_WARN(message, LS_ERR(&error));
}

static const char *rebalance_name(ls_kafka_rebalance kind) {
  switch (kind) {
  case LS_KAFKA_ASSIGNED:
    return "assigned";
  case LS_KAFKA_REVOKED:
    return "revoked";
  case LS_KAFKA_LOST:
    return "lost";
  }
  return "";
}

static void handle_rebalance(ls_kafka_consumer *consumer, ls_kafka_rebalance kind,
                             rd_kafka_topic_partition_list_t *partitions) {
  LS_INFO("kafka partitions", LS_STR("change", rebalance_name(kind)),
          LS_INT("partitions", partitions->cnt));
  if (kind != LS_KAFKA_ASSIGNED) {
    if (consumer->callback)
      consumer->callback(consumer, kind, partitions, consumer->arg);
    log_code(rd_kafka_assign(consumer->client, NULL), "kafka partitions could not be given up");
    return;
  }
  log_code(rd_kafka_assign(consumer->client, partitions), "kafka partitions could not be taken");
  /* A partition that was taken away while paused is still paused for librdkafka when it comes back.
   */
  log_code(atomic_load(&consumer->is_paused)
               ? rd_kafka_pause_partitions(consumer->client, partitions)
               : rd_kafka_resume_partitions(consumer->client, partitions),
           "kafka partitions could not be paused or resumed");
  if (consumer->callback)
    consumer->callback(consumer, kind, partitions, consumer->arg);
}

static void on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *partitions, void *opaque) {
  ls_kafka_consumer *consumer = opaque;
  ls_kafka_rebalance kind = LS_KAFKA_REVOKED;
  if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
    kind = LS_KAFKA_ASSIGNED;
  else if (rd_kafka_assignment_lost(client) || code != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS)
    kind = LS_KAFKA_LOST;
  if (consumer->is_closing || consumer->pending_count == REBALANCES_MAX) {
    handle_rebalance(consumer, kind, partitions);
    return;
  }
  consumer->pending[consumer->pending_count++] =
      (rebalance){.kind = kind, .partitions = rd_kafka_topic_partition_list_copy(partitions)};
}

static void on_commit(rd_kafka_t *client, rd_kafka_resp_err_t code,
                      rd_kafka_topic_partition_list_t *offsets, void *opaque) {
  ls_kafka_consumer *consumer = opaque;
  (void)client;
  (void)offsets;
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR__NO_OFFSET)
    return;
  consumer->has_commit_failed = true;
  log_code(code, "kafka offsets could not be committed");
}

static int64_t or_default(int64_t value, int64_t default_value) {
  return value > 0 ? value : default_value;
}

static bool configure(rd_kafka_conf_t *conf, const ls_kafka_consumer_options *options,
                      ls_error *error) {
  int64_t session_timeout_ms = or_default(options->session_timeout_ms, SESSION_TIMEOUT_MS);
  int64_t heartbeat_ms = session_timeout_ms / 4 < 3000 ? session_timeout_ms / 4 : 3000;
  int64_t queued_kib = (or_default(options->queued_max_bytes, QUEUED_MAX_BYTES) + 1023) / 1024;
  if (!options->group_id || !options->group_id[0] || options->topic_count == 0)
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                        "a Kafka consumer needs a group id and topics");
  if (options->group_instance_id && options->group_instance_id[0] &&
      !ls_kafka_conf_set(conf, "group.instance.id", options->group_instance_id, error))
    return false;
  return ls_kafka_conf_set(conf, "group.id", options->group_id, error) &&
         ls_kafka_conf_set(conf, "partition.assignment.strategy", "range", error) &&
         ls_kafka_conf_set(conf, "auto.offset.reset", "earliest", error) &&
         ls_kafka_conf_set(conf, "enable.auto.commit", "false", error) &&
         ls_kafka_conf_set(conf, "enable.auto.offset.store", "false", error) &&
         ls_kafka_conf_set(conf, "check.crcs", "true", error) &&
         ls_kafka_conf_set_number(conf, "session.timeout.ms", session_timeout_ms, error) &&
         ls_kafka_conf_set_number(conf, "heartbeat.interval.ms", heartbeat_ms, error) &&
         ls_kafka_conf_set_number(conf, "max.poll.interval.ms",
                                  or_default(options->max_poll_interval_ms, MAX_POLL_INTERVAL_MS),
                                  error) &&
         ls_kafka_conf_set_number(conf, "queued.min.messages",
                                  or_default(options->queued_min_messages, QUEUED_MIN_MESSAGES),
                                  error) &&
         ls_kafka_conf_set_number(conf, "queued.max.messages.kbytes", queued_kib, error) &&
         ls_kafka_conf_set_number(conf, "fetch.max.bytes",
                                  or_default(options->fetch_max_bytes, FETCH_MAX_BYTES), error) &&
         ls_kafka_conf_set_number(
             conf, "max.partition.fetch.bytes",
             or_default(options->partition_fetch_max_bytes, PARTITION_FETCH_MAX_BYTES), error);
}

static bool subscribe(ls_kafka_consumer *consumer, const ls_kafka_consumer_options *options,
                      ls_error *error) {
  rd_kafka_topic_partition_list_t *topics =
      rd_kafka_topic_partition_list_new((int)options->topic_count);
  for (size_t i = 0; i < options->topic_count; i++)
    rd_kafka_topic_partition_list_add(topics, options->topics[i], RD_KAFKA_PARTITION_UA);
  rd_kafka_resp_err_t code = rd_kafka_subscribe(consumer->client, topics);
  rd_kafka_topic_partition_list_destroy(topics);
  return code == RD_KAFKA_RESP_ERR_NO_ERROR || ls_kafka_error_set(error, code, NULL);
}

ls_kafka_consumer *ls_kafka_consumer_new(const ls_kafka_options *options,
                                         const ls_kafka_consumer_options *consumer_options,
                                         ls_error *error) {
  ls_kafka_consumer *consumer = calloc(1, sizeof *consumer);
  if (!consumer) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of memory for a Kafka consumer");
    return NULL;
  }
  consumer->callback = consumer_options->callback;
  consumer->arg = consumer_options->arg;
  rd_kafka_conf_t *conf = NULL;
  if (!ls_kafka_password_init(&consumer->password, options, error) ||
      !(conf = ls_kafka_conf_new(options, error)))
    goto failed;
  if (!configure(conf, consumer_options, error)) {
    rd_kafka_conf_destroy(conf);
    goto failed;
  }
  rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
  rd_kafka_conf_set_offset_commit_cb(conf, on_commit);
  rd_kafka_conf_set_opaque(conf, consumer);
  consumer->client = ls_kafka_client_new(RD_KAFKA_CONSUMER, conf, error);
  if (!consumer->client)
    goto failed;
  log_code(rd_kafka_poll_set_consumer(consumer->client), "kafka queues could not be joined");
  consumer->messages = rd_kafka_queue_get_consumer(consumer->client);
  if (!subscribe(consumer, consumer_options, error))
    goto failed;
  return consumer;

failed:
  ls_kafka_consumer_destroy(consumer);
  return NULL;
}

/* All messages of these partitions in the batch were taken before they were revoked: those that are
 * assigned next are fetched only after the batch. */
static size_t drop_revoked(const rd_kafka_topic_partition_list_t *revoked,
                           rd_kafka_message_t **messages, size_t count) {
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    rd_kafka_message_t *message = messages[i];
    if (rd_kafka_topic_partition_list_find(revoked, rd_kafka_topic_name(message->rkt),
                                           message->partition))
      rd_kafka_message_destroy(message);
    else
      messages[kept++] = message;
  }
  return kept;
}

/* Handles what came up during a batch; gives how many of its messages are left. */
static size_t handle_rebalances(ls_kafka_consumer *consumer, rd_kafka_message_t **messages,
                                size_t count) {
  for (size_t i = 0; i < consumer->pending_count; i++) {
    rebalance *event = &consumer->pending[i];
    if (event->kind != LS_KAFKA_ASSIGNED)
      count = drop_revoked(event->partitions, messages, count);
    handle_rebalance(consumer, event->kind, event->partitions);
    rd_kafka_topic_partition_list_destroy(event->partitions);
  }
  consumer->pending_count = 0;
  return count;
}

void ls_kafka_consumer_destroy(ls_kafka_consumer *consumer) {
  if (!consumer)
    return;
  consumer->is_closing = true;
  (void)handle_rebalances(consumer, NULL, 0);
  if (consumer->messages)
    rd_kafka_queue_destroy(consumer->messages);
  if (consumer->client) {
    if (!consumer->is_unanswered)
      log_code(rd_kafka_consumer_close(consumer->client), "kafka group could not be left");
    rd_kafka_destroy_flags(consumer->client,
                           consumer->is_unanswered ? RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE : 0);
  }
  ls_kafka_password_clear(&consumer->password);
  free(consumer);
}

void ls_kafka_messages_destroy(rd_kafka_message_t **messages, size_t count) {
  for (size_t i = 0; i < count; i++)
    rd_kafka_message_destroy(messages[i]);
}

/* Keeps the first error among a batch's messages, and removes them all. */
static size_t take_errors(ls_kafka_consumer *consumer, rd_kafka_message_t **messages,
                          size_t count) {
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    rd_kafka_message_t *message = messages[i];
    if (!message->err) {
      messages[kept++] = message;
      continue;
    }
    if (!consumer->has_error) {
      consumer->has_error = true;
      ls_kafka_error_set(&consumer->error, message->err, rd_kafka_message_errstr(message));
    }
    rd_kafka_message_destroy(message);
  }
  return kept;
}

/* One message that is waited for, and then what is there already: asking for a whole batch at once
 * would wait until it is full. */
static size_t poll_messages(ls_kafka_consumer *consumer, rd_kafka_message_t **messages, size_t max,
                            int timeout_ms) {
  messages[0] = rd_kafka_consumer_poll(consumer->client, timeout_ms);
  if (!messages[0])
    return 0;
  if (max == 1 || consumer->pending_count > 0)
    return 1;
  ssize_t more = rd_kafka_consume_batch_queue(consumer->messages, 0, messages + 1, max - 1);
  return more > 0 ? 1 + (size_t)more : 1;
}

bool ls_kafka_consumer_poll(ls_kafka_consumer *consumer, rd_kafka_message_t **messages, size_t max,
                            int timeout_ms, size_t *count, ls_error *error) {
  *count = 0;
  if (max == 0)
    return true;
  size_t polled = 0;
  ls_kafka_password_look(&consumer->password, consumer->client);
  if (!consumer->has_error)
    polled = poll_messages(consumer, messages, max, timeout_ms);
  polled = take_errors(consumer, messages, polled);
  *count = handle_rebalances(consumer, messages, polled);
  char text[256];
  rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(consumer->client, text, sizeof text);
  if (fatal != RD_KAFKA_RESP_ERR_NO_ERROR) {
    ls_kafka_messages_destroy(messages, *count);
    *count = 0;
    return ls_error_set(error, LS_FAILED_PRECONDITION, false, rd_kafka_err2name(fatal), "%s", text);
  }
  if (*count > 0 || !consumer->has_error)
    return true;
  consumer->has_error = false;
  if (error)
    *error = consumer->error;
  return false;
}

/* The answer to a commit: its own error, or the first partition's. */
static rd_kafka_resp_err_t commit_outcome(rd_kafka_event_t *event) {
  rd_kafka_resp_err_t code = rd_kafka_event_error(event);
  const rd_kafka_topic_partition_list_t *offsets = rd_kafka_event_topic_partition_list(event);
  for (int i = 0; !code && offsets && i < offsets->cnt; i++)
    code = offsets->elems[i].err;
  return code;
}

bool ls_kafka_consumer_commit(ls_kafka_consumer *consumer,
                              const rd_kafka_topic_partition_list_t *offsets, int timeout_ms,
                              ls_error *error) {
  rd_kafka_resp_err_t code;
  if (offsets->cnt == 0)
    return true;
  if (timeout_ms <= 0) {
    code = rd_kafka_commit(consumer->client, offsets, 1);
  } else {
    rd_kafka_queue_t *answers = rd_kafka_queue_new(consumer->client);
    code = rd_kafka_commit_queue(consumer->client, offsets, answers, NULL, NULL);
    rd_kafka_event_t *event = code ? NULL : rd_kafka_queue_poll(answers, timeout_ms);
    if (event)
      code = commit_outcome(event);
    else if (!code)
      code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    consumer->is_unanswered = !event && code == RD_KAFKA_RESP_ERR__TIMED_OUT;
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(answers);
  }
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR__NO_OFFSET)
    return true;
  ls_kafka_error_set(error, code, NULL);
  return ls_error_prefix(error, "offsets could not be committed");
}

bool ls_kafka_consumer_commit_failed(ls_kafka_consumer *consumer) {
  bool has_failed = consumer->has_commit_failed;
  consumer->has_commit_failed = false;
  return has_failed;
}

static bool set_paused(ls_kafka_consumer *consumer, bool is_paused, ls_error *error) {
  rd_kafka_topic_partition_list_t *partitions = NULL;
  atomic_store(&consumer->is_paused, is_paused);
  rd_kafka_resp_err_t code = rd_kafka_assignment(consumer->client, &partitions);
  if (code)
    return ls_kafka_error_set(error, code, NULL);
  if (partitions->cnt > 0)
    code = is_paused ? rd_kafka_pause_partitions(consumer->client, partitions)
                     : rd_kafka_resume_partitions(consumer->client, partitions);
  rd_kafka_topic_partition_list_destroy(partitions);
  return code == RD_KAFKA_RESP_ERR_NO_ERROR || ls_kafka_error_set(error, code, NULL);
}

bool ls_kafka_consumer_pause(ls_kafka_consumer *consumer, ls_error *error) {
  return set_paused(consumer, true, error);
}

bool ls_kafka_consumer_resume(ls_kafka_consumer *consumer, ls_error *error) {
  return set_paused(consumer, false, error);
}

bool ls_kafka_consumer_is_paused(const ls_kafka_consumer *consumer) {
  return atomic_load(&consumer->is_paused);
}

/* librdkafka's negative offsets mean unknown, in several ways. */
static int64_t known(int64_t offset) {
  return offset >= 0 ? offset : -1;
}

static void fill_partition(ls_kafka_consumer *consumer, ls_kafka_partition *out,
                           const rd_kafka_topic_partition_t *place, int64_t committed) {
  int64_t begin = -1, end = -1;
  (void)snprintf(out->topic, sizeof out->topic, "%s", place->topic);
  out->partition = place->partition;
  out->position = known(place->offset);
  out->committed = committed;
  if (rd_kafka_get_watermark_offsets(consumer->client, place->topic, place->partition, &begin,
                                     &end) != RD_KAFKA_RESP_ERR_NO_ERROR)
    begin = end = -1;
  out->begin = known(begin);
  out->end = known(end);
  int64_t from = committed >= 0 ? committed : out->begin;
  out->lag = out->end < 0 || from < 0 ? -1 : (out->end > from ? out->end - from : 0);
}

bool ls_kafka_consumer_partitions(ls_kafka_consumer *consumer, ls_kafka_partition *partitions,
                                  size_t max, size_t *count, int timeout_ms, ls_error *error) {
  rd_kafka_topic_partition_list_t *places = NULL;
  rd_kafka_topic_partition_list_t *committed = NULL;
  *count = 0;
  rd_kafka_resp_err_t code = rd_kafka_assignment(consumer->client, &places);
  if (code)
    return ls_kafka_error_set(error, code, NULL);
  (void)rd_kafka_position(consumer->client, places);
  if (timeout_ms > 0 && places->cnt > 0) {
    committed = rd_kafka_topic_partition_list_copy(places);
    if (rd_kafka_committed(consumer->client, committed, timeout_ms) != RD_KAFKA_RESP_ERR_NO_ERROR) {
      rd_kafka_topic_partition_list_destroy(committed);
      committed = NULL;
    }
  }
  for (int i = 0; i < places->cnt && *count < max; i++)
    fill_partition(consumer, &partitions[(*count)++], &places->elems[i],
                   committed ? known(committed->elems[i].offset) : -1);
  if (committed)
    rd_kafka_topic_partition_list_destroy(committed);
  rd_kafka_topic_partition_list_destroy(places);
  return true;
}
