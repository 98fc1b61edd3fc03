/* A client's SASL password that may change in its file while the client lives; inside of this
 * library, not for others. */
#ifndef LOCKSTEP_RUNTIME_KAFKA_PASSWORD_H
#define LOCKSTEP_RUNTIME_KAFKA_PASSWORD_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/error.h"
#include "runtime/kafka/options.h"

/* Zeroed to begin with. */
typedef struct ls_kafka_password {
  char *path; /* NULL: there is nothing to look at */
  char *username;
  char *current;        /* what the client has */
  int64_t next_look_ms; /* monotonic */
  bool has_failed;      /* the last look: it is told of once */
} ls_kafka_password;

/* Reads the password of these options, and remembers where it stands. LS_INVALID_ARGUMENT: it
 * cannot be read. LS_RESOURCE_EXHAUSTED. To be cleared on failure, too. */
bool ls_kafka_password_init(ls_kafka_password *password, const ls_kafka_options *options,
                            ls_error *error);

/* Hands the client what the file says when it says something else, which its next connections log
 * in with; looks every 5 seconds, however often it is called. On the thread that polls. */
void ls_kafka_password_look(ls_kafka_password *password, rd_kafka_t *client);

void ls_kafka_password_clear(ls_kafka_password *password);

#endif
