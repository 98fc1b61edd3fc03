/* Creating topics, and waiting until they are there. */
#include "runtime/kafka/admin.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"

#define QUESTION_MS 2000 /* how long one question for a topic may take */
#define PAUSE_MS 50      /* between questions: a new topic needs a moment to get a leader */

static int time_left_ms(int64_t deadline_ms) {
  int64_t left = deadline_ms - ls_clock_monotonic_ms();
  return left > 0 ? (int)left : 0;
}

static void pause_ms(int64_t duration_ms) {
  struct timespec duration = {.tv_sec = duration_ms / 1000,
                              .tv_nsec = (duration_ms % 1000) * 1000000};
  nanosleep(&duration, NULL);
}

static rd_kafka_NewTopic_t *new_topic(const ls_kafka_topic_spec *spec, ls_error *error) {
  char text[256];
  if (!spec->name[0]) {
    ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "a topic without a name");
    return NULL;
  }
  rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(
      spec->name, spec->partitions > 0 ? spec->partitions : -1,
      spec->replication_factor > 0 ? spec->replication_factor : -1, text, sizeof text);
  if (!topic) {
    ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "topic %s: %s", spec->name, text);
    return NULL;
  }
  for (size_t i = 0; i < spec->config_count; i++) {
    rd_kafka_resp_err_t code =
        rd_kafka_NewTopic_set_config(topic, spec->config[i].name, spec->config[i].value);
    if (code) {
      ls_kafka_error_set(error, code, NULL);
      ls_error_prefix(error, "topic %s: %s", spec->name, spec->config[i].name);
      rd_kafka_NewTopic_destroy(topic);
      return NULL;
    }
  }
  return topic;
}

/* The topics' own outcomes: to exist already is as good as to be created. */
static bool check_outcomes(rd_kafka_event_t *event, ls_error *error) {
  size_t count = 0;
  const rd_kafka_topic_result_t **outcomes =
      rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
  for (size_t i = 0; i < count; i++) {
    rd_kafka_resp_err_t code = rd_kafka_topic_result_error(outcomes[i]);
    const char *name = rd_kafka_topic_result_name(outcomes[i]);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
      LS_INFO("kafka topic created", LS_STR("topic", name));
    } else if (code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
      ls_kafka_error_set(error, code, rd_kafka_topic_result_error_string(outcomes[i]));
      return ls_error_prefix(error, "topic %s", name);
    }
  }
  return true;
}

/* What is known of the cluster's controller, which creates topics. */
typedef enum controller_state {
  CONTROLLER_UNKNOWN, /* no broker answers, or they are electing one */
  CONTROLLER_ABSENT,  /* one is named that does not exist: librdkafka's mock cluster does so */
  CONTROLLER_PRESENT
} controller_state;

/* To be asked first, as a request waits for the controller for as long as it may. */
static controller_state find_controller(rd_kafka_t *client, int timeout_ms, ls_error *error) {
  const struct rd_kafka_metadata *metadata = NULL;
  rd_kafka_resp_err_t code = rd_kafka_metadata(client, 0, NULL, &metadata, timeout_ms);
  int32_t controller = code ? -1 : rd_kafka_controllerid(client, timeout_ms);
  if (controller < 0) {
    ls_kafka_error_set(error, code ? code : RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, NULL);
    if (metadata)
      rd_kafka_metadata_destroy(metadata);
    return CONTROLLER_UNKNOWN;
  }
  controller_state state = CONTROLLER_ABSENT;
  for (int i = 0; i < metadata->broker_cnt; i++) {
    if (metadata->brokers[i].id == controller)
      state = CONTROLLER_PRESENT;
  }
  rd_kafka_metadata_destroy(metadata);
  return state;
}

/* `supported`: whether the cluster takes the request at all. */
static bool request_creation(rd_kafka_t *client, rd_kafka_NewTopic_t **topics, size_t count,
                             int timeout_ms, bool *supported, ls_error *error) {
  bool done = false;
  char text[256];
  rd_kafka_queue_t *answers = rd_kafka_queue_new(client);
  rd_kafka_AdminOptions_t *how = rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
  rd_kafka_event_t *event = NULL;
  if (rd_kafka_AdminOptions_set_request_timeout(how, timeout_ms, text, sizeof text)) {
    ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "%s", text);
    goto cleanup;
  }
  rd_kafka_CreateTopics(client, topics, count, how, answers);
  event = rd_kafka_queue_poll(answers, timeout_ms + QUESTION_MS);
  rd_kafka_resp_err_t code = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
  if (code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE) {
    *supported = false;
    done = true;
  } else if (code) {
    ls_kafka_error_set(error, code, event ? rd_kafka_event_error_string(event) : NULL);
    ls_error_prefix(error, "topics could not be created");
  } else {
    done = check_outcomes(event, error);
  }

cleanup:
  rd_kafka_event_destroy(event);
  rd_kafka_AdminOptions_destroy(how);
  rd_kafka_queue_destroy(answers);
  return done;
}

/* The topic's partitions, 0 while it, or one of their leaders, is not there. To ask for a topic by
 * name makes a cluster create it that is set up so. */
static int ask_partitions(rd_kafka_t *client, rd_kafka_topic_t *topic, int timeout_ms,
                          ls_error *error) {
  const struct rd_kafka_metadata *metadata = NULL;
  int partitions = 0;
  rd_kafka_resp_err_t code = rd_kafka_metadata(client, 0, topic, &metadata, timeout_ms);
  if (code) {
    ls_kafka_error_set(error, code, NULL);
    return 0;
  }
  if (metadata->topic_cnt == 1) {
    code = metadata->topics[0].err;
    partitions = metadata->topics[0].partition_cnt;
    for (int i = 0; !code && i < partitions; i++)
      code = metadata->topics[0].partitions[i].err;
  }
  rd_kafka_metadata_destroy(metadata);
  if (!code && partitions > 0)
    return partitions;
  ls_kafka_error_set(error, code ? code : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, NULL);
  return 0;
}

static bool await_topic(rd_kafka_t *client, const ls_kafka_topic_spec *spec, int64_t deadline_ms,
                        ls_error *error) {
  ls_error last = {0};
  rd_kafka_topic_t *topic = rd_kafka_topic_new(client, spec->name, NULL);
  if (!topic) {
    ls_kafka_error_set(error, rd_kafka_last_error(), NULL);
    return ls_error_prefix(error, "topic %s", spec->name);
  }
  int partitions = 0;
  for (;;) {
    int left_ms = time_left_ms(deadline_ms);
    if (left_ms == 0)
      break;
    partitions =
        ask_partitions(client, topic, left_ms < QUESTION_MS ? left_ms : QUESTION_MS, &last);
    if (partitions > 0 || (last.code != LS_OK && !last.retriable))
      break;
    pause_ms(left_ms < PAUSE_MS ? left_ms : PAUSE_MS);
  }
  rd_kafka_topic_destroy(topic);
  if (partitions == 0) {
    if (last.code != LS_OK && !last.retriable && error)
      *error = last;
    else
      ls_error_set(error, LS_DEADLINE_EXCEEDED, true, last.source, "%s",
                   last.code == LS_OK ? "it did not appear in time" : last.message);
    return ls_error_prefix(error, "topic %s", spec->name);
  }
  if (spec->partitions > 0 && partitions != spec->partitions)
    LS_WARN("kafka topic has another number of partitions than asked for",
            LS_STR("topic", spec->name), LS_INT("partitions", partitions),
            LS_INT("asked_for", spec->partitions));
  return true;
}

/* Asks the controller, again while it is not there and there is time. */
static bool request_until(rd_kafka_t *client, rd_kafka_NewTopic_t **topics, size_t count,
                          int64_t deadline_ms, ls_error *error) {
  ls_error last = {0};
  for (;;) {
    int left_ms = time_left_ms(deadline_ms);
    if (left_ms == 0)
      return ls_error_set(error, LS_DEADLINE_EXCEEDED, true, last.source,
                          "topics could not be created in time: %s", last.message);
    bool supported = true;
    int question_ms = left_ms < QUESTION_MS ? left_ms : QUESTION_MS;
    switch (find_controller(client, question_ms, &last)) {
    case CONTROLLER_PRESENT:
      if (request_creation(client, topics, count, time_left_ms(deadline_ms) + 1, &supported,
                           &last) &&
          supported)
        return true;
      break;
    case CONTROLLER_ABSENT:
      supported = false;
      break;
    case CONTROLLER_UNKNOWN:
      break;
    }
    if (!supported) {
      LS_INFO("kafka topics are created by asking for them: the cluster takes no requests to");
      return true;
    }
    if (last.code != LS_OK && !last.retriable) {
      if (error)
        *error = last;
      return false;
    }
    pause_ms(PAUSE_MS);
  }
}

static bool create_topics(rd_kafka_t *client, const ls_kafka_topic_spec *specs,
                          rd_kafka_NewTopic_t **topics, size_t count, int timeout_ms,
                          ls_error *error) {
  int64_t deadline_ms = ls_clock_monotonic_ms() + timeout_ms;
  if (!request_until(client, topics, count, deadline_ms, error))
    return false;
  for (size_t i = 0; i < count; i++) {
    if (!await_topic(client, &specs[i], deadline_ms, error))
      return false;
  }
  return true;
}

bool ls_kafka_create_topics(const ls_kafka_options *options, const ls_kafka_topic_spec *specs,
                            size_t count, int timeout_ms, ls_error *error) {
  bool done = false;
  size_t made = 0;
  rd_kafka_t *client = NULL;
  if (count == 0)
    return true;
  rd_kafka_NewTopic_t **topics = calloc(count, sizeof(void *));
  if (!topics)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of memory for topics");
  for (; made < count; made++) {
    topics[made] = new_topic(&specs[made], error);
    if (!topics[made])
      goto cleanup;
  }
  rd_kafka_conf_t *conf = ls_kafka_conf_new(options, error);
  client = conf ? ls_kafka_client_new(RD_KAFKA_PRODUCER, conf, error) : NULL;
  if (client)
    done = create_topics(client, specs, topics, count, timeout_ms, error);

cleanup:
  if (client)
    rd_kafka_destroy(client);
  rd_kafka_NewTopic_destroy_array(topics, made);
  free(topics);
  return done;
}
