/* Configuration, logging and errors of librdkafka's clients. */
#include "runtime/kafka/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/config.h"
#include "runtime/base/log.h"
#include "runtime/base/thread.h"

typedef struct error_meaning {
  rd_kafka_resp_err_t from;
  ls_code code;
  bool retriable;
} error_meaning;

static const error_meaning error_meanings[] = {
    {RD_KAFKA_RESP_ERR__TRANSPORT, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR__RESOLVE, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR__TIMED_OUT, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR__WAIT_COORD, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR__WAIT_CACHE, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR__RETRY, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_NOT_COORDINATOR, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_NOT_CONTROLLER, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED, LS_UNAVAILABLE, true},
    {RD_KAFKA_RESP_ERR__QUEUE_FULL, LS_RESOURCE_EXHAUSTED, true},
    {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, LS_OUT_OF_RANGE, false},
    {RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, LS_OUT_OF_RANGE, false},
    {RD_KAFKA_RESP_ERR__PARTITION_EOF, LS_OUT_OF_RANGE, true},
    {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, LS_NOT_FOUND, true},
    {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, LS_NOT_FOUND, true},
    {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, LS_NOT_FOUND, true},
    {RD_KAFKA_RESP_ERR__PURGE_QUEUE, LS_CANCELLED, true},
    {RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, LS_CANCELLED, true},
    {RD_KAFKA_RESP_ERR__DESTROY, LS_CANCELLED, false},
    {RD_KAFKA_RESP_ERR__AUTHENTICATION, LS_UNAUTHENTICATED, false},
    {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, LS_UNAUTHENTICATED, false},
    {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, LS_PERMISSION_DENIED, false},
    {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, LS_PERMISSION_DENIED, false},
    {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, LS_PERMISSION_DENIED, false},
    {RD_KAFKA_RESP_ERR__INVALID_ARG, LS_INVALID_ARGUMENT, false},
    {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, LS_INVALID_ARGUMENT, false},
    {RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, LS_INVALID_ARGUMENT, false},
    {RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, LS_INVALID_ARGUMENT, false},
    {RD_KAFKA_RESP_ERR_INVALID_CONFIG, LS_INVALID_ARGUMENT, false},
    {RD_KAFKA_RESP_ERR__FATAL, LS_FAILED_PRECONDITION, false},
    {RD_KAFKA_RESP_ERR__FENCED, LS_FAILED_PRECONDITION, false},
    {RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, LS_FAILED_PRECONDITION, false},
};

bool ls_kafka_error_set(ls_error *error, rd_kafka_resp_err_t code, const char *text) {
  error_meaning meaning = {code, LS_INTERNAL, false};
  for (size_t i = 0; i < sizeof error_meanings / sizeof error_meanings[0]; i++) {
    if (error_meanings[i].from == code)
      meaning = error_meanings[i];
  }
  return ls_error_set(error, meaning.code, meaning.retriable, rd_kafka_err2name(code), "%s",
                      text && text[0] ? text : rd_kafka_err2str(code));
}

bool ls_kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value,
                       ls_error *error) {
  char text[256];
  if (rd_kafka_conf_set(conf, name, value, text, sizeof text) == RD_KAFKA_CONF_OK)
    return true;
  return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "%s", text);
}

bool ls_kafka_conf_set_number(rd_kafka_conf_t *conf, const char *name, int64_t value,
                              ls_error *error) {
  char text[24];
  (void)snprintf(text, sizeof text, "%" PRId64, value);
  return ls_kafka_conf_set(conf, name, text, error);
}

/* syslog's levels. An error of one broker is retried by librdkafka: a warning here. */
static void log_line(const rd_kafka_t *client, int level, const char *facility, const char *text) {
  const char *name = client ? rd_kafka_name(client) : NULL;
  ls_log_level mapped = LS_LOG_DEBUG;
  if (level <= 2)
    mapped = LS_LOG_ERROR;
  else if (level <= 4)
    mapped = LS_LOG_WARN;
  else if (level <= 6)
    mapped = LS_LOG_INFO;
  LS_LOG_LINE(mapped, NULL, "kafka client", LS_STR("client", name), LS_STR("facility", facility),
              LS_STR("text", text), LS_LOG_END);
}

static void log_error(rd_kafka_t *client, int code, const char *reason, void *opaque) {
  (void)opaque;
  ls_error error = {0};
  ls_kafka_error_set(&error, (rd_kafka_resp_err_t)code, reason);
  if (code == RD_KAFKA_RESP_ERR__FATAL)
    LS_ERROR("kafka client failed for good", LS_STR("client", rd_kafka_name(client)),
             LS_ERR(&error));
  else
    LS_WARN("kafka error", LS_STR("client", rd_kafka_name(client)), LS_ERR(&error));
}

/* "a=b,c=d". Errors name the property only: a value may be a secret. */
static bool set_extra(rd_kafka_conf_t *conf, const char *extra, ls_error *error) {
  bool done = false;
  char *copy = strdup(extra);
  if (!copy)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "out of memory");
  char *rest = NULL;
  for (char *pair = strtok_r(copy, ",", &rest); pair; pair = strtok_r(NULL, ",", &rest)) {
    char *value = strchr(pair, '=');
    if (!value || value == pair) {
      ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                   "extra Kafka properties are written property=value,property=value");
      goto cleanup;
    }
    *value++ = '\0';
    while (*pair == ' ')
      pair++;
    char text[8];
    rd_kafka_conf_res_t outcome = rd_kafka_conf_set(conf, pair, value, text, sizeof text);
    if (outcome != RD_KAFKA_CONF_OK) {
      ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "%s Kafka property \"%s\"",
                   outcome == RD_KAFKA_CONF_UNKNOWN ? "no such" : "not a value of the", pair);
      goto cleanup;
    }
  }
  done = true;

cleanup:
  explicit_bzero(copy, strlen(extra));
  free(copy);
  return done;
}

static bool set_password_from_file(rd_kafka_conf_t *conf, const char *path, ls_error *error) {
  char *password = ls_config_read_secret(path, error);
  if (!password)
    return ls_error_prefix(error, "the Kafka password file");
  bool done = ls_kafka_conf_set(conf, "sasl.password", password, error);
  explicit_bzero(password, strlen(password));
  free(password);
  return done;
}

static bool set_shared(rd_kafka_conf_t *conf, ls_error *error) {
  return ls_kafka_conf_set(conf, "socket.nagle.disable", "true", error) &&
         ls_kafka_conf_set(conf, "socket.keepalive.enable", "true", error) &&
         ls_kafka_conf_set(conf, "reconnect.backoff.max.ms", "2000", error) &&
         ls_kafka_conf_set(conf, "log.connection.close", "false", error) &&
         ls_kafka_conf_set(conf, "statistics.interval.ms", "0", error);
}

static bool set_options(rd_kafka_conf_t *conf, const ls_kafka_options *options, ls_error *error) {
  const struct {
    const char *name;
    const char *value;
  } settings[] = {
      {"bootstrap.servers", options->bootstrap_servers},
      {"client.id", options->client_id},
      {"security.protocol", options->security_protocol},
      {"sasl.mechanism", options->sasl_mechanism},
      {"sasl.username", options->sasl_username},
      {"sasl.password", options->sasl_password},
      {"ssl.ca.location", options->tls_ca_file},
      {"ssl.certificate.location", options->tls_certificate_file},
      {"ssl.key.location", options->tls_key_file},
  };
  for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
    if (settings[i].value && settings[i].value[0] &&
        !ls_kafka_conf_set(conf, settings[i].name, settings[i].value, error))
      return false;
  }
  if (options->sasl_password_file && options->sasl_password_file[0] &&
      !set_password_from_file(conf, options->sasl_password_file, error))
    return false;
  return !options->extra || set_extra(conf, options->extra, error);
}

rd_kafka_conf_t *ls_kafka_conf_new(const ls_kafka_options *options, ls_error *error) {
  if (!options->bootstrap_servers || !options->bootstrap_servers[0]) {
    ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "no Kafka bootstrap servers are given");
    return NULL;
  }
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_conf_set_log_cb(conf, log_line);
  rd_kafka_conf_set_error_cb(conf, log_error);
  if (set_shared(conf, error) && set_options(conf, options, error))
    return conf;
  rd_kafka_conf_destroy(conf);
  return NULL;
}

rd_kafka_t *ls_kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, ls_error *error) {
  char text[256];
  sigset_t previous;
  ls_thread_block_signals(&previous);
  rd_kafka_t *client = rd_kafka_new(type, conf, text, sizeof text);
  pthread_sigmask(SIG_SETMASK, &previous, NULL);
  if (!client) {
    rd_kafka_conf_destroy(conf);
    ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "%s", text);
  }
  return client;
}
