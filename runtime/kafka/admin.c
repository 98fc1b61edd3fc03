/* Creating topics, and waiting until they are there. */
#include "runtime/kafka/admin.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/retry.h"

#define QUESTION_MS 2000 /* how long one question for a topic may take */
#define PAUSE_MS 50      /* between questions: a new topic needs a moment to get a leader */
#define MAX_PAUSE_MS 1000

/* Topics being created. */
typedef struct creation {
  rd_kafka_t *client;
  const ls_kafka_topic_spec *specs;
  rd_kafka_NewTopic_t **topics;
  size_t count;
  int64_t reach_until_ms; /* for the cluster to be there */
  int64_t deadline_ms;    /* for the request; later once the cluster was reached */
  int timeout_ms;
  bool has_reached;
  bool has_told;  /* that it waits */
  ls_error heard; /* what the client last said of its brokers: more than a question that fails */
} creation;

static int time_left_ms(int64_t deadline_ms) {
  int64_t left = deadline_ms - ls_clock_monotonic_ms();
  if (left > INT_MAX)
    return INT_MAX;
  return left > 0 ? (int)left : 0;
}

void ls_kafka_topic_settings_set(ls_kafka_topic_settings *settings, int64_t retention_ms,
                                 int64_t min_insync_replicas) {
  const struct {
    const char *name;
    int64_t value;
  } wanted[] = {{"retention.ms", retention_ms}, {"min.insync.replicas", min_insync_replicas}};
  settings->count = 0;
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
    if (wanted[i].value <= 0)
      continue;
    char *text = settings->texts[settings->count];
    (void)snprintf(text, sizeof settings->texts[0], "%" PRId64, wanted[i].value);
    settings->config[settings->count++] = (ls_kafka_topic_config){wanted[i].name, text};
  }
}

static void on_error(rd_kafka_t *client, int code, const char *reason, void *opaque) {
  creation *self = opaque;
  (void)client;
  if (self->heard.code != LS_UNAUTHENTICATED)
    ls_kafka_error_set(&self->heard, (rd_kafka_resp_err_t)code, reason);
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
    ls_clock_sleep_ms(left_ms < PAUSE_MS ? left_ms : PAUSE_MS);
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

/* What waiting may mend. A cluster that is starting has fewer brokers at first, and takes that for
 * the caller's mistake. */
static bool may_pass(const creation *self, const ls_error *error) {
  if (strcmp(error->source, rd_kafka_err2name(RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR)) == 0)
    return time_left_ms(self->reach_until_ms) > 0;
  return error->code == LS_OK || error->retriable;
}

/* Asks the controller once. `error` stays LS_OK where it created all that was missing. False: there
 * is nobody to ask for it. */
static bool request_once(creation *self, ls_error *error) {
  bool supported = true;
  int left_ms = time_left_ms(self->deadline_ms);
  switch (find_controller(self->client, left_ms < QUESTION_MS ? left_ms : QUESTION_MS, error)) {
  case CONTROLLER_PRESENT:
    if (!self->has_reached) {
      int64_t deadline_ms = ls_clock_monotonic_ms() + self->timeout_ms;
      self->has_reached = true;
      if (deadline_ms > self->deadline_ms)
        self->deadline_ms = deadline_ms;
    }
    left_ms = time_left_ms(self->deadline_ms) + 1;
    (void)request_creation(self->client, self->topics, self->count,
                           left_ms < self->timeout_ms ? left_ms : self->timeout_ms, &supported,
                           error);
    break;
  case CONTROLLER_ABSENT:
    supported = false;
    break;
  case CONTROLLER_UNKNOWN:
    break;
  }
  (void)rd_kafka_poll(self->client, 0); /* for on_error */
  return supported;
}

/* Asks the controller, again while it is not there and there is time. */
static bool request_until(creation *self, ls_error *error) {
  ls_backoff backoff;
  ls_backoff_init(&backoff, PAUSE_MS, MAX_PAUSE_MS);
  for (;;) {
    ls_error last = {0};
    if (!request_once(self, &last)) {
      LS_INFO("kafka topics are created by asking for them: the cluster takes no requests to");
      return true;
    }
    if (last.code == LS_OK)
      return true;
    const ls_error *said = self->has_reached || self->heard.code == LS_OK ? &last : &self->heard;
    bool is_refused = self->heard.code == LS_UNAUTHENTICATED;
    if (is_refused || !may_pass(self, &last)) {
      if (error)
        *error = is_refused ? self->heard : last;
      return false;
    }
    int left_ms = time_left_ms(self->deadline_ms);
    if (left_ms == 0)
      return ls_error_set(error, LS_DEADLINE_EXCEEDED, true, said->source,
                          "topics could not be created in time: %s", said->message);
    if (!self->has_told)
      LS_WARN("waiting for what is not there yet", LS_STR("what", "Kafka"),
              LS_INT("timeout_ms", left_ms), LS_ERR(said));
    self->has_told = true;
    int64_t wait_ms = ls_backoff_next(&backoff);
    ls_clock_sleep_ms(wait_ms < left_ms ? wait_ms : left_ms);
  }
}

static bool create_topics(creation *self, ls_error *error) {
  if (!request_until(self, error))
    return false;
  int64_t deadline_ms = ls_clock_monotonic_ms() + self->timeout_ms;
  for (size_t i = 0; i < self->count; i++) {
    if (!await_topic(self->client, &self->specs[i], deadline_ms, error))
      return false;
  }
  return true;
}

bool ls_kafka_create_topics(const ls_kafka_options *options, const ls_kafka_topic_spec *specs,
                            size_t count, int64_t reach_ms, int timeout_ms, ls_error *error) {
  bool done = false;
  size_t made = 0;
  int64_t now_ms = ls_clock_monotonic_ms();
  int64_t deadline_ms = now_ms + (reach_ms > QUESTION_MS ? reach_ms : QUESTION_MS);
  creation self = {.specs = specs,
                   .count = count,
                   .reach_until_ms = now_ms + reach_ms,
                   .deadline_ms = deadline_ms,
                   .timeout_ms = timeout_ms};
  if (count == 0)
    return true;
  self.topics = calloc(count, sizeof(void *));
  if (!self.topics)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of memory for topics");
  for (; made < count; made++) {
    self.topics[made] = new_topic(&specs[made], error);
    if (!self.topics[made])
      goto cleanup;
  }
  rd_kafka_conf_t *conf = ls_kafka_conf_new(options, error);
  if (!conf)
    goto cleanup;
  rd_kafka_conf_set_error_cb(conf, on_error);
  rd_kafka_conf_set_opaque(conf, &self);
  self.client = ls_kafka_client_new(RD_KAFKA_PRODUCER, conf, error);
  if (self.client)
    done = create_topics(&self, error);

cleanup:
  if (self.client)
    rd_kafka_destroy(self.client);
  rd_kafka_NewTopic_destroy_array(self.topics, made);
  free(self.topics);
  return done;
}
