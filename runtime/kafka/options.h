/* How to reach Kafka, and what producers, consumers and the admin client have in common. */
#ifndef LOCKSTEP_RUNTIME_KAFKA_OPTIONS_H
#define LOCKSTEP_RUNTIME_KAFKA_OPTIONS_H

#include <librdkafka/rdkafka.h>

#include "runtime/base/error.h"

/* NULL: not set, librdkafka's default. */
typedef struct ls_kafka_options {
  const char *bootstrap_servers; /* "host:port,host:port"; required */
  const char *client_id;
  const char *security_protocol; /* plaintext, ssl, sasl_plaintext, sasl_ssl */
  const char *sasl_mechanism;    /* PLAIN, SCRAM-SHA-256, … */
  const char *sasl_username;
  const char *sasl_password;      /* never in an error or log */
  const char *sasl_password_file; /* its content without the line's end, which wins over
                                     sasl_password; producers and consumers look at it again */
  const char *tls_ca_file;        /* PEM; of the authorities that brokers are trusted by */
  const char *tls_certificate_file;
  const char *tls_key_file;
  const char *extra; /* "property=value,property=value" for librdkafka. They win over the defaults
                        made here, not over what correctness needs (acks, idempotence, commits) */
} ls_kafka_options;

/* A configuration with these options and the settings both sides share; its log lines and errors go
 * to the log. The caller destroys it or gives it to rd_kafka_new. NULL with LS_INVALID_ARGUMENT for
 * a property or value that is none. */
rd_kafka_conf_t *ls_kafka_conf_new(const ls_kafka_options *options, ls_error *error);

/* Sets one property. LS_INVALID_ARGUMENT. */
bool ls_kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, ls_error *error);
bool ls_kafka_conf_set_number(rd_kafka_conf_t *conf, const char *name, int64_t value,
                              ls_error *error);

/* rd_kafka_new with signals blocked in the threads it starts. Takes `conf` over, also on failure.
 */
rd_kafka_t *ls_kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, ls_error *error);

/* Fills `error` and returns false. The source is librdkafka's name of the code; `text` NULL: its
 * description. LS_UNAVAILABLE (retriable): brokers, leaders, coordinators out of reach, timeouts,
 * rebalances. LS_RESOURCE_EXHAUSTED (retriable): the local queue is full. LS_OUT_OF_RANGE: the
 * message is too large, or a partition's end was reached. LS_NOT_FOUND (retriable): no such topic
 * or partition, yet. LS_CANCELLED: purged. LS_UNAUTHENTICATED, LS_PERMISSION_DENIED.
 * LS_FAILED_PRECONDITION: the client is broken for good and must be made anew. LS_INTERNAL: the
 * rest. */
bool ls_kafka_error_set(ls_error *error, rd_kafka_resp_err_t code, const char *text);

#endif
