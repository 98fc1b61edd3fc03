/* The consumer, and creating topics, against the mock cluster.
 *
 *   kafka_consumer_test [CASE]    one case alone, in this process */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/clock.h"
#include "runtime/kafka/admin.h"
#include "runtime/kafka/cloud_events.h"
#include "runtime/kafka/consumer.h"
#include "runtime/kafka/mock_cluster.h"
#include "runtime/kafka/producer.h"

enum { PARTITIONS = 4, DEADLINE_MS = 30000, BATCH = 64, MESSAGES = 400 };

/* The mock makes the first member of a group wait for three seconds, and forgets it when that is
 * not well within its session. Later rebalances of the group last a second less than the session.
 */
enum { SESSION_MS = 3500 };

/* A consumer with what it was told and what it got. */
typedef struct member {
  ls_kafka_consumer *consumer;
  bool owns[PARTITIONS];
  int assigned, revoked, lost;
  bool commits_on_revoke;
  int64_t next[PARTITIONS]; /* the offset after the last one got; 0: none yet */
  size_t got;
  bool *seen; /* by partition and offset, of all members together; NULL: not noted */
} member;

static const char *const topics[] = {"t"};

static rd_kafka_topic_partition_list_t *progress(const member *self) {
  rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_new(PARTITIONS);
  for (int32_t i = 0; i < PARTITIONS; i++) {
    if (self->owns[i] && self->next[i] > 0)
      rd_kafka_topic_partition_list_add(offsets, "t", i)->offset = self->next[i];
  }
  return offsets;
}

static bool commit(member *self, ls_error *error) {
  rd_kafka_topic_partition_list_t *offsets = progress(self);
  bool done = ls_kafka_consumer_commit(self->consumer, offsets, DEADLINE_MS, error);
  rd_kafka_topic_partition_list_destroy(offsets);
  return done;
}

static void on_rebalance(ls_kafka_consumer *consumer, ls_kafka_rebalance kind,
                         const rd_kafka_topic_partition_list_t *partitions, void *arg) {
  member *self = arg;
  assert_ptr_equal(consumer, self->consumer);
  if (kind == LS_KAFKA_REVOKED && self->commits_on_revoke) {
    /* Kafka takes commits during a rebalance, the mock does not; then messages come again. */
    ls_error error = {0};
    assert_true(commit(self, &error) || error.retriable);
  }
  for (int i = 0; i < partitions->cnt; i++) {
    self->owns[partitions->elems[i].partition] = kind == LS_KAFKA_ASSIGNED;
    if (kind != LS_KAFKA_ASSIGNED)
      self->next[partitions->elems[i].partition] = 0;
  }
  self->assigned += kind == LS_KAFKA_ASSIGNED;
  self->revoked += kind == LS_KAFKA_REVOKED;
  self->lost += kind == LS_KAFKA_LOST;
}

static void join(member *self, mock_cluster *mock, int64_t session_timeout_ms) {
  ls_error error = {0};
  const ls_kafka_consumer_options options = {.group_id = "g",
                                             .topics = topics,
                                             .topic_count = 1,
                                             .session_timeout_ms = session_timeout_ms,
                                             .max_poll_interval_ms = session_timeout_ms,
                                             .callback = on_rebalance,
                                             .arg = self};
  self->consumer = ls_kafka_consumer_new(&mock->options, &options, &error);
  if (!self->consumer)
    fail_msg("%s", error.message);
}

static void leave(member *self) {
  ls_kafka_consumer_destroy(self->consumer);
  self->consumer = NULL;
}

static int owned(const member *self) {
  int count = 0;
  for (int i = 0; i < PARTITIONS; i++)
    count += self->owns[i];
  return count;
}

/* Polls once. Whatever comes is of a partition that is owned, and next in it. */
static void step(member *self, size_t max, int timeout_ms) {
  rd_kafka_message_t *messages[BATCH];
  size_t count = 0;
  ls_error error = {0};
  if (!ls_kafka_consumer_poll(self->consumer, messages, max, timeout_ms, &count, &error) &&
      !error.retriable)
    fail_msg("%s", error.message);
  for (size_t i = 0; i < count; i++) {
    int32_t partition = messages[i]->partition;
    assert_true(self->owns[partition]);
    if (self->next[partition] > 0)
      assert_int_equal(messages[i]->offset, self->next[partition]);
    self->next[partition] = messages[i]->offset + 1;
    if (self->seen)
      self->seen[(size_t)partition * MESSAGES + (size_t)messages[i]->offset] = true;
  }
  self->got += count;
  ls_kafka_messages_destroy(messages, count);
}

static void step_until_got(member *self, size_t got) {
  int64_t deadline_ms = ls_clock_monotonic_ms() + DEADLINE_MS;
  while (self->got < got && ls_clock_monotonic_ms() < deadline_ms)
    step(self, BATCH, 100);
  assert_int_equal(self->got, got);
}

static void step_until_owned(member *self, int partitions) {
  int64_t deadline_ms = ls_clock_monotonic_ms() + DEADLINE_MS;
  while (owned(self) != partitions && ls_clock_monotonic_ms() < deadline_ms)
    step(self, BATCH, 50);
  assert_int_equal(owned(self), partitions);
}

static void produce_with(mock_cluster *mock, size_t count, const ls_cloud_event *event) {
  ls_error error = {0};
  ls_kafka_producer *producer = ls_kafka_producer_new(&mock->options, NULL, NULL, NULL, &error);
  assert_non_null(producer);
  for (size_t i = 0; i < count; i++) {
    char key[24];
    int key_bytes = snprintf(key, sizeof key, "%zu", i);
    ls_kafka_record record = {.topic = "t",
                              .key = key,
                              .key_bytes = (size_t)key_bytes,
                              .value = event ? "value" : NULL,
                              .value_bytes = event ? 5 : 0,
                              .headers = event ? ls_cloud_event_headers(event, NULL) : NULL,
                              .timestamp_ms = INT64_C(1709210096123)};
    if (!ls_kafka_produce(producer, &record, &error))
      fail_msg("%s", error.message);
  }
  if (!ls_kafka_producer_flush(producer, DEADLINE_MS, &error))
    fail_msg("%s", error.message);
  ls_kafka_producer_destroy(producer);
}

static void produce(mock_cluster *mock, size_t count) {
  produce_with(mock, count, NULL);
}

static int make_cluster(void **state) {
  *state = mock_cluster_new();
  mock_cluster_create_topic(*state, "t", PARTITIONS);
  return 0;
}

static int destroy_cluster(void **state) {
  mock_cluster_destroy(*state);
  return 0;
}

/* Batches, position and lag, commits, and the next consumer going on where the last one ended. */
static void test_consume_and_commit(void **state) {
  mock_cluster *mock = *state;
  ls_error error = {0};
  member first = {0}, second = {0};
  produce(mock, 500);
  join(&first, mock, SESSION_MS);
  step_until_got(&first, 500);
  assert_int_equal(first.assigned, 1);

  ls_kafka_partition partitions[PARTITIONS];
  size_t count = 0;
  assert_true(ls_kafka_consumer_partitions(first.consumer, partitions, PARTITIONS, &count,
                                           DEADLINE_MS, &error));
  assert_int_equal(count, PARTITIONS);
  int64_t lag = 0;
  for (size_t i = 0; i < count; i++) {
    assert_string_equal(partitions[i].topic, "t");
    assert_int_equal(partitions[i].position, partitions[i].end);
    assert_int_equal(partitions[i].committed, -1);
    lag += partitions[i].lag;
  }
  assert_int_equal(lag, 500);

  if (!commit(&first, &error))
    fail_msg("%s", error.message);
  assert_true(ls_kafka_consumer_partitions(first.consumer, partitions, PARTITIONS, &count,
                                           DEADLINE_MS, &error));
  assert_int_equal(count, PARTITIONS);
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(partitions[i].committed, partitions[i].end);
    assert_int_equal(partitions[i].lag, 0);
  }
  rd_kafka_mock_push_request_errors(mock->cluster, MOCK_OFFSET_COMMIT, 1,
                                    RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION);
  assert_false(commit(&first, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  assert_true(error.retriable);
  assert_string_equal(error.source, "ILLEGAL_GENERATION");
  leave(&first);
  assert_int_equal(owned(&first), 0);
  assert_int_equal(first.revoked + first.lost, first.assigned);

  produce(mock, 10);
  join(&second, mock, SESSION_MS);
  step_until_got(&second, 10);
  leave(&second);
}

static size_t count_seen(const bool *seen) {
  size_t count = 0;
  for (size_t i = 0; i < (size_t)PARTITIONS * MESSAGES; i++)
    count += seen[i];
  return count;
}

/* A second member joins while the first one has messages waiting; it leaves again. step() checks
 * that nothing comes from a partition that is not owned; the count, that nothing is left out. */
static void test_rebalance(void **state) {
  mock_cluster *mock = *state;
  bool *seen = calloc((size_t)PARTITIONS * MESSAGES, sizeof *seen);
  assert_non_null(seen);
  member first = {.commits_on_revoke = true, .seen = seen};
  member second = {.commits_on_revoke = true, .seen = seen};
  produce(mock, MESSAGES);
  join(&first, mock, SESSION_MS);
  int64_t deadline_ms = ls_clock_monotonic_ms() + DEADLINE_MS;
  while (first.got < 20 && ls_clock_monotonic_ms() < deadline_ms)
    step(&first, 1, 100); /* most stay in the local queue */
  join(&second, mock, SESSION_MS);
  deadline_ms = ls_clock_monotonic_ms() + DEADLINE_MS;
  while ((owned(&first) != 2 || owned(&second) != 2) && ls_clock_monotonic_ms() < deadline_ms) {
    step(&first, 1, 20);
    step(&second, 1, 20);
  }
  assert_int_equal(owned(&first), 2);
  assert_int_equal(owned(&second), 2);
  assert_true(first.revoked >= 1);
  assert_int_equal(first.lost, 0);
  deadline_ms = ls_clock_monotonic_ms() + DEADLINE_MS;
  while (second.got < 20 && ls_clock_monotonic_ms() < deadline_ms) {
    step(&first, 8, 10);
    step(&second, 8, 10);
  }
  leave(&second);
  step_until_owned(&first, PARTITIONS);
  deadline_ms = ls_clock_monotonic_ms() + DEADLINE_MS;
  while (count_seen(seen) < MESSAGES && ls_clock_monotonic_ms() < deadline_ms)
    step(&first, BATCH, 100);
  assert_int_equal(count_seen(seen), MESSAGES);
  leave(&first);
  free(seen);
}

static void test_pause_and_resume(void **state) {
  mock_cluster *mock = *state;
  ls_error error = {0};
  member self = {0};
  join(&self, mock, SESSION_MS);
  assert_true(ls_kafka_consumer_pause(self.consumer, &error)); /* before there is an assignment */
  assert_true(ls_kafka_consumer_is_paused(self.consumer));
  step_until_owned(&self, PARTITIONS);
  int64_t assigned_ms = ls_clock_monotonic_ms();
  produce(mock, 100);
  step(&self, BATCH, 300);
  assert_int_equal(self.got, 0);
  assert_true(ls_kafka_consumer_resume(self.consumer, &error));
  step_until_got(&self, 100);
  assert_true(ls_kafka_consumer_pause(self.consumer, &error));
  produce(mock, 50);
  step(&self, BATCH, 300);
  assert_int_equal(self.got, 100);
  assert_true(ls_kafka_consumer_resume(self.consumer, &error));
  step_until_got(&self, 150);

  /* Polling by the batch counts as polling: the interval is SESSION_MS here, and looked at twice a
   * second. */
  while (ls_clock_monotonic_ms() < assigned_ms + SESSION_MS + 700)
    step(&self, BATCH, 100);
  assert_int_equal(self.lost + self.revoked, 0);

  /* A message that is alone does not wait for others. */
  produce(mock, 1);
  int64_t start_ms = ls_clock_monotonic_ms();
  step(&self, BATCH, DEADLINE_MS);
  assert_int_equal(self.got, 151);
  assert_true(ls_clock_monotonic_ms() - start_ms < DEADLINE_MS / 2);
  leave(&self);
}

/* Paused, a member loses all it has, resumes with nothing assigned, and gets it back. */
static void test_what_was_lost_while_paused_comes_back_resumed(void **state) {
  mock_cluster *mock = *state;
  ls_error error = {0};
  member first = {0}, others[PARTITIONS] = {{0}};
  join(&first, mock, SESSION_MS);
  step_until_owned(&first, PARTITIONS);
  assert_true(ls_kafka_consumer_pause(first.consumer, &error));
  for (int i = 0; i < PARTITIONS; i++)
    join(&others[i], mock, SESSION_MS);
  int64_t deadline_ms = ls_clock_monotonic_ms() + 3 * DEADLINE_MS;
  int total = 0;
  while ((first.revoked == 0 || owned(&first) == PARTITIONS || total < PARTITIONS - 1) &&
         ls_clock_monotonic_ms() < deadline_ms) {
    step(&first, 1, 20);
    total = 0;
    for (int i = 0; i < PARTITIONS; i++) {
      step(&others[i], 1, 5);
      total += owned(&others[i]);
    }
  }
  assert_true(first.revoked > 0);
  assert_true(ls_kafka_consumer_resume(first.consumer, &error)); /* of the others' nothing */
  for (int i = 0; i < PARTITIONS; i++)
    leave(&others[i]);
  step_until_owned(&first, PARTITIONS);
  produce(mock, 40);
  step_until_got(&first, 40);
  leave(&first);
}

static void test_cloud_event_round_trip(void **state) {
  mock_cluster *mock = *state;
  const ls_cloud_event event = {.id = "id-1",
                                .source = "/order",
                                .type = "order.v1.created",
                                .subject = "42",
                                .trace_parent =
                                    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                .time_us = INT64_C(1709210096123456)};
  produce_with(mock, 1, &event);
  produce_with(mock, 1, NULL);
  member self = {0};
  join(&self, mock, SESSION_MS);
  int64_t deadline_ms = ls_clock_monotonic_ms() + DEADLINE_MS;
  int with_headers = 0, without_headers = 0;
  while (with_headers + without_headers < 2 && ls_clock_monotonic_ms() < deadline_ms) {
    rd_kafka_message_t *messages[BATCH];
    size_t count = 0;
    ls_error error = {0};
    (void)ls_kafka_consumer_poll(self.consumer, messages, BATCH, 100, &count, &error);
    for (size_t i = 0; i < count; i++) {
      ls_cloud_event read;
      assert_non_null(messages[i]->payload); /* empty, not null */
      assert_int_equal(rd_kafka_message_timestamp(messages[i], NULL), INT64_C(1709210096123));
      if (messages[i]->len == 0) {
        assert_false(ls_cloud_event_read(messages[i], &read));
        assert_null(read.id);
        assert_int_equal(read.time_us, 0);
        without_headers++;
        continue;
      }
      assert_true(ls_cloud_event_read(messages[i], &read));
      assert_string_equal(read.id, event.id);
      assert_string_equal(read.source, event.source);
      assert_string_equal(read.type, event.type);
      assert_string_equal(read.subject, event.subject);
      assert_string_equal(read.content_type, LS_CLOUD_EVENT_PROTOBUF);
      assert_string_equal(read.trace_parent, event.trace_parent);
      assert_int_equal(read.time_us, event.time_us);
      with_headers++;
    }
    ls_kafka_messages_destroy(messages, count);
  }
  assert_int_equal(with_headers, 1);
  assert_int_equal(without_headers, 1);
  leave(&self);
}

static void test_topic_settings(void **state) {
  (void)state;
  ls_kafka_topic_settings settings;
  ls_kafka_topic_settings_set(&settings, 0, 0);
  assert_int_equal(settings.count, 0);
  ls_kafka_topic_settings_set(&settings, INT64_C(31536000000), 2);
  assert_int_equal(settings.count, 2);
  assert_string_equal(settings.config[0].name, "retention.ms");
  assert_string_equal(settings.config[0].value, "31536000000");
  assert_string_equal(settings.config[1].name, "min.insync.replicas");
  assert_string_equal(settings.config[1].value, "2");
  ls_kafka_topic_settings_set(&settings, 0, 1);
  assert_int_equal(settings.count, 1);
  assert_string_equal(settings.config[0].name, "min.insync.replicas");
}

static void test_create_topics(void **state) {
  mock_cluster *mock = *state;
  ls_error error = {0};
  const ls_kafka_topic_config config[] = {{"retention.ms", "1000"}};
  const ls_kafka_topic_spec specs[] = {
      {.name = "t", .partitions = PARTITIONS},
      {.name = "new", .partitions = 2, .config = config, .config_count = 1}};
  for (int i = 0; i < 2; i++) {
    if (!ls_kafka_create_topics(&mock->options, specs, 2, 0, DEADLINE_MS, &error))
      fail_msg("%s", error.message);
  }
  const ls_kafka_topic_spec invalid[] = {{.name = ""}};
  assert_false(ls_kafka_create_topics(&mock->options, invalid, 1, 0, DEADLINE_MS, &error));
  assert_int_equal(error.code, LS_INVALID_ARGUMENT);

  rd_kafka_mock_broker_set_down(mock->cluster, 1);
  assert_false(ls_kafka_create_topics(&mock->options, specs, 2, 0, 500, &error));
  assert_true(error.code == LS_UNAVAILABLE || error.code == LS_DEADLINE_EXCEEDED);
  assert_true(error.retriable);
}

static int run_case(const struct CMUnitTest *test) {
  const struct CMUnitTest alone[] = {*test};
  return cmocka_run_group_tests_name(test->name, alone, NULL, NULL);
}

/* The cases mostly wait for the mock's groups, so they run side by side, each in its own process.
 */
int main(int argc, char **argv) {
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_consume_and_commit, make_cluster, destroy_cluster),
      cmocka_unit_test_setup_teardown(test_rebalance, make_cluster, destroy_cluster),
      cmocka_unit_test_setup_teardown(test_pause_and_resume, make_cluster, destroy_cluster),
      cmocka_unit_test_setup_teardown(test_what_was_lost_while_paused_comes_back_resumed,
                                      make_cluster, destroy_cluster),
      cmocka_unit_test_setup_teardown(test_cloud_event_round_trip, make_cluster, destroy_cluster),
      cmocka_unit_test(test_topic_settings),
      cmocka_unit_test_setup_teardown(test_create_topics, make_cluster, destroy_cluster),
  };
  enum { CASES = sizeof tests / sizeof tests[0] };
  if (argc > 1) {
    for (size_t i = 0; i < CASES; i++) {
      if (strcmp(argv[1], tests[i].name) == 0)
        return run_case(&tests[i]);
    }
    fprintf(stderr, "there is no case %s\n", argv[1]);
    return EXIT_FAILURE;
  }
  pid_t children[CASES];
  for (size_t i = 0; i < CASES; i++) {
    children[i] = fork();
    if (children[i] == 0)
      exit(run_case(&tests[i]));
  }
  int failed = 0;
  for (size_t i = 0; i < CASES; i++) {
    int status = 0;
    bool passed = children[i] > 0 && waitpid(children[i], &status, 0) == children[i] &&
                  WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!passed) {
      fprintf(stderr, "%s failed (wait status %d)\n", tests[i].name, status);
      failed++;
    }
  }
  return failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
