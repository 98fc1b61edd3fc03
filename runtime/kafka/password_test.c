/* Passwords that change in their file, and what a client logs in with then: a broker stands in for
 * Kafka that is told the password, and hangs up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/kafka/consumer.h"
#include "runtime/kafka/producer.h"

enum { DEADLINE_MS = 20000, FRAME_BYTES = 512 };

typedef struct broker {
  int listener;
  char address[32];
  char path[64]; /* of the password's file */
  ls_kafka_options options;
} broker;

static void write_password(const broker *self, const char *password) {
  FILE *file = fopen(self->path, "w");
  assert_non_null(file);
  assert_true(fprintf(file, "%s\n", password) > 0);
  assert_int_equal(fclose(file), 0);
}

static int make_broker(void **state) {
  broker *self = calloc(1, sizeof *self);
  assert_non_null(self);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  self->listener = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(bind(self->listener, (struct sockaddr *)&address, size), 0);
  assert_int_equal(listen(self->listener, 16), 0);
  assert_int_equal(getsockname(self->listener, (struct sockaddr *)&address, &size), 0);
  (void)snprintf(self->address, sizeof self->address, "127.0.0.1:%d", ntohs(address.sin_port));
  (void)snprintf(self->path, sizeof self->path, "/tmp/lockstep_kafka_password_XXXXXX");
  int descriptor = mkstemp(self->path);
  assert_true(descriptor >= 0);
  close(descriptor);
  write_password(self, "first");
  self->options = (ls_kafka_options){.bootstrap_servers = self->address,
                                     .security_protocol = "sasl_plaintext",
                                     .sasl_mechanism = "PLAIN",
                                     .sasl_username = "user",
                                     .sasl_password = "overridden",
                                     .sasl_password_file = self->path,
                                     .extra = "reconnect.backoff.ms=50,"
                                              "reconnect.backoff.max.ms=200"};
  *state = self;
  return 0;
}

static int destroy_broker(void **state) {
  broker *self = *state;
  close(self->listener);
  unlink(self->path);
  free(self);
  return 0;
}

static bool receive(int connection, void *data, size_t bytes) {
  return recv(connection, data, bytes, MSG_WAITALL) == (ssize_t)bytes;
}

/* A length of four bytes, and so many more. */
static bool receive_frame(int connection, unsigned char *frame, uint32_t *bytes) {
  if (!receive(connection, bytes, sizeof *bytes))
    return false;
  *bytes = ntohl(*bytes);
  return *bytes < FRAME_BYTES && receive(connection, frame, *bytes);
}

/* Answers the last question with these bytes behind its number. */
static bool answer(int connection, const unsigned char *question, const void *body, size_t bytes) {
  unsigned char frame[FRAME_BYTES] = {0, 0, 0, (unsigned char)(bytes + 4)};
  memcpy(frame + 4, question + 4, 4);
  memcpy(frame + 8, body, bytes);
  return send(connection, frame, bytes + 8, MSG_NOSIGNAL) == (ssize_t)bytes + 8;
}

/* Answers the questions for versions and mechanisms, so that the next frame is the password's. */
static bool converse(int connection) {
  /* No error; SaslHandshake in version 0, ApiVersions in 0 to 3, Metadata in 0 to 4. */
  static const unsigned char versions[] = {0, 0, 4, 0, 17, 0, 0, 0, 0, 0, 0, 18, 0, 0, 0,
                                           3, 0, 0, 3, 0,  0, 0, 4, 0, 0, 0, 0,  0, 0};
  /* No error; one mechanism. */
  static const unsigned char mechanisms[] = {0, 0, 0, 0, 0, 1, 0, 5, 'P', 'L', 'A', 'I', 'N'};
  unsigned char frame[FRAME_BYTES] = {0};
  uint32_t bytes = 0;
  return receive_frame(connection, frame, &bytes) && bytes > 8 && frame[1] == 18 &&
         answer(connection, frame, versions, sizeof versions) &&
         receive_frame(connection, frame, &bytes) && bytes > 8 && frame[1] == 17 &&
         answer(connection, frame, mechanisms, sizeof mechanisms);
}

/* Takes one connection, if there is one, and the password it tells: "\0user\0password". */
static void take_password(const broker *self, char password[FRAME_BYTES]) {
  unsigned char frame[FRAME_BYTES] = {0};
  uint32_t bytes = 0;
  struct pollfd waiting = {.fd = self->listener, .events = POLLIN};
  if (poll(&waiting, 1, 10) <= 0)
    return;
  int connection = accept(self->listener, NULL, NULL);
  struct timeval patience = {.tv_sec = 2};
  (void)setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (converse(connection) && receive_frame(connection, frame, &bytes) && bytes > 6) {
    assert_memory_equal(frame, "\0user", 6);
    (void)snprintf(password, FRAME_BYTES, "%.*s", (int)bytes - 6, (char *)frame + 6);
  }
  close(connection);
}

/* Polls until the broker was told this password. */
static void expect_password(const broker *self, ls_kafka_producer *producer,
                            ls_kafka_consumer *consumer, const char *expected) {
  char password[FRAME_BYTES] = "";
  int64_t deadline_ms = ls_clock_monotonic_ms() + DEADLINE_MS;
  while (strcmp(password, expected) != 0) {
    rd_kafka_message_t *message = NULL;
    size_t count = 0;
    if (ls_clock_monotonic_ms() > deadline_ms)
      fail_msg("expected %s, the last one was %s", expected, password);
    if (producer)
      (void)ls_kafka_producer_poll(producer, 0);
    else
      (void)ls_kafka_consumer_poll(consumer, &message, 1, 0, &count, NULL);
    assert_int_equal(count, 0);
    take_password(self, password);
  }
}

static void change_and_expect(const broker *self, ls_kafka_producer *producer,
                              ls_kafka_consumer *consumer) {
  expect_password(self, producer, consumer, "first");
  write_password(self, "second");
  expect_password(self, producer, consumer, "second");
}

static void a_producer_takes_new_passwords_up(void **state) {
  const broker *self = *state;
  ls_error error = {0};
  ls_kafka_producer *producer = ls_kafka_producer_new(&self->options, NULL, NULL, NULL, &error);
  if (!producer)
    fail_msg("%s", error.message);
  change_and_expect(self, producer, NULL);
  ls_kafka_producer_destroy(producer);
}

static void a_consumer_takes_new_passwords_up(void **state) {
  const broker *self = *state;
  static const char *const topics[] = {"t"};
  ls_error error = {0};
  ls_kafka_consumer *consumer = ls_kafka_consumer_new(
      &self->options,
      &(ls_kafka_consumer_options){.group_id = "g", .topics = topics, .topic_count = 1}, &error);
  if (!consumer)
    fail_msg("%s", error.message);
  change_and_expect(self, NULL, consumer);
  ls_kafka_consumer_destroy(consumer);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_producer_takes_new_passwords_up, make_broker,
                                      destroy_broker),
      cmocka_unit_test_setup_teardown(a_consumer_takes_new_passwords_up, make_broker,
                                      destroy_broker),
  };
  return cmocka_run_group_tests_name("kafka_password", tests, NULL, NULL);
}
