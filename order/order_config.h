/* The order service's configuration: one table, from which flags, environment, --help and the
 * reference page are made. */
#ifndef LOCKSTEP_ORDER_ORDER_CONFIG_H
#define LOCKSTEP_ORDER_ORDER_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/config.h"
#include "runtime/kafka/options.h"
#include "runtime/postgres/connection.h"
#include "runtime/rpc/credentials.h"

/* Filled by ls_config_parse; strings are never NULL. */
typedef struct order_config {
  const char *listen_address;
  const char *operations_address;
  const char *metrics_address;
  bool tls;
  const char *tls_certificate_file;
  const char *tls_key_file;
  const char *tls_authority_file;
  bool tls_require_client_certificate;
  int64_t rpc_threads;
  int64_t max_calls;
  int64_t max_watch_streams;
  int64_t max_connection_age_ms; /* 0: none */
  int64_t shutdown_grace_ms;

  const char *pg_host;
  const char *pg_port;
  const char *pg_user;
  const char *pg_database;
  const char *pg_password;
  const char *pg_password_file; /* the path that it was read from */
  const char *pg_ssl_mode;
  const char *pg_ssl_root_certificate;
  int64_t pg_statement_timeout_ms;
  bool migrate_on_start;

  int64_t write_threads;
  int64_t write_batch;
  int64_t write_queue_capacity;
  int64_t read_threads;
  int64_t read_batch;
  int64_t read_queue_capacity;
  int64_t watch_poll_interval_ms;
  int64_t request_id_retention_ms;

  const char *kafka_bootstrap_servers;
  const char *kafka_client_id;
  const char *kafka_security_protocol;
  const char *kafka_sasl_mechanism;
  const char *kafka_sasl_username;
  const char *kafka_sasl_password;
  const char *kafka_sasl_password_file; /* likewise */
  const char *kafka_tls_ca_file;
  const char *kafka_tls_certificate_file;
  const char *kafka_tls_key_file;
  const char *kafka_extra;

  const char *domain_topic;
  const char *create_topic;
  const char *change_topic;
  const char *cancel_topic;
  int64_t topic_partitions;
  int64_t topic_replication;
  int64_t topic_retention_ms;
  int64_t topic_min_insync_replicas;
  int64_t max_event_bytes;
  int64_t max_events_in_flight;
  int64_t relay_poll_interval_ms;

  int log_level;
  int log_format;

  int64_t action_timeout_ms;
  const char *probe_address; /* --probe: the server to ask; "" without it */
} order_config;

enum { ORDER_ACTION_MIGRATE = 1, ORDER_ACTION_CREATE_TOPICS = 2 };

extern const ls_option order_options[];
extern const size_t order_option_count;
extern const ls_program order_program;

/* What no single option can say: LS_INVALID_ARGUMENT for settings that contradict each other. */
bool order_config_check(const order_config *config, ls_error *error);

/* How to reach PostgreSQL. `conninfo` holds what was configured, for as long as the options are
 * used; the rest is libpq's environment and defaults. False: out of memory. */
bool order_config_database(const order_config *config, char **conninfo, ls_pg_options *options);

/* How to reach Kafka; refers to the configuration's strings. */
ls_kafka_options order_config_kafka(const order_config *config);

/* The server's side of TLS; refers to the configuration's strings. */
ls_rpc_tls order_config_tls(const order_config *config);

#endif
