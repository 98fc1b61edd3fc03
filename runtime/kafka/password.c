/* SASL passwords that change: see password.h. */
#include "runtime/kafka/password.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/base/config.h"
#include "runtime/base/log.h"

enum { LOOK_MS = 5000 };

bool ls_kafka_password_init(ls_kafka_password *password, const ls_kafka_options *options,
                            ls_error *error) {
  if (!options->sasl_password_file || !options->sasl_password_file[0])
    return true;
  password->current = ls_config_read_secret(options->sasl_password_file, error);
  if (!password->current)
    return ls_error_prefix(error, "the Kafka password file");
  password->path = strdup(options->sasl_password_file);
  password->username = strdup(options->sasl_username ? options->sasl_username : "");
  if (!password->path || !password->username)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL,
                        "out of memory for a Kafka password");
  password->next_look_ms = ls_clock_monotonic_ms() + LOOK_MS;
  return true;
}

/* Takes `found` over. */
static bool take(ls_kafka_password *password, rd_kafka_t *client, char *found, ls_error *error) {
  if (strcmp(password->current, found) == 0) {
    ls_config_forget_secret(found);
    return true;
  }
  rd_kafka_error_t *failure = rd_kafka_sasl_set_credentials(client, password->username, found);
  if (failure) {
    ls_kafka_error_set(error, rd_kafka_error_code(failure), rd_kafka_error_string(failure));
    rd_kafka_error_destroy(failure);
    ls_config_forget_secret(found);
    return false;
  }
  LS_INFO("kafka password was read again", LS_STR("client", rd_kafka_name(client)));
  ls_config_forget_secret(password->current);
  password->current = found;
  return true;
}

void ls_kafka_password_look(ls_kafka_password *password, rd_kafka_t *client) {
  if (!password->path || ls_clock_monotonic_ms() < password->next_look_ms)
    return;
  password->next_look_ms = ls_clock_monotonic_ms() + LOOK_MS;
  ls_error error = {0};
  char *found = ls_config_read_secret(password->path, &error);
  bool done = found && take(password, client, found, &error);
  if (!done && !password->has_failed)
    LS_WARN("the Kafka password cannot be read again", LS_STR("client", rd_kafka_name(client)),
            LS_ERR(&error));
  password->has_failed = !done;
}

void ls_kafka_password_clear(ls_kafka_password *password) {
  ls_config_forget_secret(password->current);
  free(password->username);
  free(password->path);
  *password = (ls_kafka_password){0};
}
