/* The delivery service's configuration: one table, from which flags, environment, --help and the
 * reference page are made. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_CONFIG_H
#define LOCKSTEP_DELIVERY_DELIVERY_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/config.h"
#include "runtime/kafka/options.h"
#include "runtime/postgres/connection.h"
#include "runtime/rpc/credentials.h"

/* Filled by ls_config_parse; strings are never NULL. */
typedef struct delivery_config {
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
  int64_t max_wait_ms;
  int64_t max_waiting_calls;

  const char *order_address;
  bool order_tls;
  const char *order_tls_authority_file;
  const char *order_tls_certificate_file;
  const char *order_tls_key_file;
  const char *order_tls_server_name;
  int64_t lookup_batch;
  int64_t lookup_calls;
  int64_t lookup_timeout_ms;
  int64_t pending_max_attempts;
  int64_t pending_initial_delay_ms;
  int64_t pending_max_delay_ms;
  int64_t pending_poll_interval_ms;

  int64_t reconcile_interval_ms;
  int64_t reconcile_rate;
  int64_t reconcile_grace_ms;

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
  const char *dead_letter_topic;
  int64_t topic_partitions;
  int64_t topic_replication;
  int64_t topic_retention_ms;
  int64_t topic_min_insync_replicas;
  const char *kafka_group_id;
  const char *kafka_group_instance_id;
  int64_t kafka_session_timeout_ms;
  int64_t consumer_threads;
  int64_t consumer_batch;
  int64_t consumer_batch_bytes;
  int64_t consumer_queue_bytes;

  int log_level;
  int log_format;

  int64_t action_timeout_ms;
  const char *probe_address; /* --probe: the server to ask; "" without it */
} delivery_config;

enum { DELIVERY_ACTION_MIGRATE = 1, DELIVERY_ACTION_CREATE_TOPICS = 2 };

extern const ls_option delivery_options[];
extern const size_t delivery_option_count;
extern const ls_program delivery_program;

/* What no single option can say: LS_INVALID_ARGUMENT for settings that contradict each other. */
bool delivery_config_check(const delivery_config *config, ls_error *error);

/* How to reach PostgreSQL. `conninfo` holds what was configured, for as long as the options are
 * used; the rest is libpq's environment and defaults. False: out of memory. */
bool delivery_config_database(const delivery_config *config, char **conninfo,
                              ls_pg_options *options);

/* How to reach Kafka; refers to the configuration's strings. */
ls_kafka_options delivery_config_kafka(const delivery_config *config);

/* The server's side of TLS; refers to the configuration's strings. */
ls_rpc_tls delivery_config_tls(const delivery_config *config);

/* The client's side of TLS towards the order service; refers to the configuration's strings. */
ls_rpc_tls delivery_config_order_tls(const delivery_config *config);

#endif
