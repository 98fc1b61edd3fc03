/* How to reach what the delivery service talks to, as it is configured. */
#include <inttypes.h>
#include <string.h>

#include "delivery/delivery_config.h"
#include "runtime/base/text.h"

bool delivery_config_check(const delivery_config *config, ls_error *error) {
  if (config->topic_replication > 0 &&
      config->topic_min_insync_replicas > config->topic_replication)
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                        "--topic-min-insync-replicas or TOPIC_MIN_INSYNC_REPLICAS is %" PRId64
                        ": must not be above --topic-replication or TOPIC_REPLICATION, which is "
                        "%" PRId64,
                        config->topic_min_insync_replicas, config->topic_replication);
  return true;
}

static const char *set_or_null(const char *text) {
  return text[0] == '\0' ? NULL : text;
}

/* Appends name='value' as libpq reads it, unless the value is empty. */
static void add_parameter(ls_buffer *conninfo, const char *name, const char *value) {
  if (value[0] == '\0')
    return;
  ls_buffer_printf(conninfo, "%s%s='", conninfo->length > 0 ? " " : "", name);
  for (const char *c = value; *c != '\0'; c++) {
    if (*c == '\'' || *c == '\\')
      ls_buffer_append(conninfo, "\\", 1);
    ls_buffer_append(conninfo, c, 1);
  }
  ls_buffer_append(conninfo, "'", 1);
}

bool delivery_config_database(const delivery_config *config, char **conninfo,
                              ls_pg_options *options) {
  ls_buffer text = LS_BUFFER_INIT;
  ls_buffer_append_text(&text, "");
  add_parameter(&text, "host", config->pg_host);
  add_parameter(&text, "port", config->pg_port);
  add_parameter(&text, "user", config->pg_user);
  add_parameter(&text, "dbname", config->pg_database);
  add_parameter(&text, "sslmode", config->pg_ssl_mode);
  add_parameter(&text, "sslrootcert", config->pg_ssl_root_certificate);
  *conninfo = text.failed ? NULL : strdup(text.data != NULL ? text.data : "");
  ls_buffer_clear(&text);
  *options = (ls_pg_options){
      .conninfo = *conninfo,
      .password = set_or_null(config->pg_password),
      .password_file = set_or_null(config->pg_password_file),
      .application_name = delivery_program.name,
      .connect_timeout_ms = 3000,
      .statement_timeout_ms = config->pg_statement_timeout_ms,
      .idle_in_transaction_timeout_ms = 5000,
  };
  return *conninfo != NULL;
}

ls_kafka_options delivery_config_kafka(const delivery_config *config) {
  return (ls_kafka_options){
      .bootstrap_servers = config->kafka_bootstrap_servers,
      .client_id = set_or_null(config->kafka_client_id),
      .security_protocol = set_or_null(config->kafka_security_protocol),
      .sasl_mechanism = set_or_null(config->kafka_sasl_mechanism),
      .sasl_username = set_or_null(config->kafka_sasl_username),
      .sasl_password = set_or_null(config->kafka_sasl_password),
      .sasl_password_file = set_or_null(config->kafka_sasl_password_file),
      .tls_ca_file = set_or_null(config->kafka_tls_ca_file),
      .tls_certificate_file = set_or_null(config->kafka_tls_certificate_file),
      .tls_key_file = set_or_null(config->kafka_tls_key_file),
      .extra = set_or_null(config->kafka_extra),
  };
}

ls_rpc_tls delivery_config_tls(const delivery_config *config) {
  return (ls_rpc_tls){
      .enabled = config->tls,
      .certificate_file = set_or_null(config->tls_certificate_file),
      .key_file = set_or_null(config->tls_key_file),
      .authority_file = set_or_null(config->tls_authority_file),
      .require_client_certificate = config->tls_require_client_certificate,
  };
}

ls_rpc_tls delivery_config_order_tls(const delivery_config *config) {
  return (ls_rpc_tls){
      .enabled = config->order_tls,
      .certificate_file = set_or_null(config->order_tls_certificate_file),
      .key_file = set_or_null(config->order_tls_key_file),
      .authority_file = set_or_null(config->order_tls_authority_file),
  };
}
