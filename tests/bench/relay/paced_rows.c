/* bench-paced-rows TABLE FIRST RATE COUNT: writes COUNT rows into an outbox of Debezium's kind,
 * RATE a second, each in a transaction of its own, and prints each one's key (FIRST, FIRST + 1, …)
 * and when its COMMIT was answered, in microseconds of the monotonic clock, a line each. The pace
 * is that of the clock, not of the answers: several sessions take turns, so that a slow commit
 * holds up its own session alone. Servers are named by the PG* environment. */
#include <inttypes.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/base/clock.h"

enum { SESSIONS = 8, PAYLOAD_BYTES = 256 };

typedef struct pace {
  const char *table;
  int64_t first, begin_us, interval_us;
  size_t count;
  int64_t *committed_us;
} pace;

typedef struct session {
  const pace *pace;
  size_t number;
  PGconn *connection;
  pthread_t thread;
} session;

static _Noreturn void fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

static void check(const session *self, PGresult *result) {
  if (PQresultStatus(result) != PGRES_COMMAND_OK)
    fail(self->pace->table, PQerrorMessage(self->connection));
  PQclear(result);
}

static void open_session(session *self) {
  char sql[256];
  self->connection = PQconnectdb("");
  if (PQstatus(self->connection) != CONNECTION_OK)
    fail("PostgreSQL", PQerrorMessage(self->connection));
  snprintf(sql, sizeof sql,
           "INSERT INTO %s (aggregatetype, aggregateid, type, payload) "
           "VALUES ('order', $1, 'OrderCreated', $2)",
           self->pace->table);
  check(self, PQprepare(self->connection, "insert", sql, 0, NULL));
}

static void *run(void *arg) {
  session *self = arg;
  const pace *plan = self->pace;
  char key[24], payload[PAYLOAD_BYTES];
  memset(payload, 'p', sizeof payload);
  for (size_t i = self->number; i < plan->count; i += SESSIONS) {
    int64_t due_us = plan->begin_us + (int64_t)i * plan->interval_us;
    struct timespec due = {due_us / 1000000, due_us % 1000000 * 1000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    int length = snprintf(key, sizeof key, "%" PRId64, plan->first + (int64_t)i);
    const char *const values[] = {key, payload};
    const int lengths[] = {length, PAYLOAD_BYTES}, formats[] = {0, 1};
    check(self, PQexecPrepared(self->connection, "insert", 2, values, lengths, formats, 0));
    plan->committed_us[i] = ls_clock_monotonic_us();
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 5)
    fail("usage", "bench-paced-rows TABLE FIRST RATE COUNT");
  pace plan = {.table = argv[1],
               .first = strtoll(argv[2], NULL, 10),
               .interval_us = 1000000 / strtoll(argv[3], NULL, 10),
               .count = (size_t)strtoull(argv[4], NULL, 10)};
  plan.committed_us = calloc(plan.count, sizeof *plan.committed_us);
  if (plan.committed_us == NULL)
    fail("times", "out of memory");
  session sessions[SESSIONS];
  for (size_t i = 0; i < SESSIONS; i++) {
    sessions[i] = (session){.pace = &plan, .number = i};
    open_session(&sessions[i]);
  }
  plan.begin_us = ls_clock_monotonic_us() + 10000;
  for (size_t i = 0; i < SESSIONS; i++)
    if (pthread_create(&sessions[i].thread, NULL, run, &sessions[i]) != 0)
      fail("session", "no thread");
  for (size_t i = 0; i < SESSIONS; i++) {
    pthread_join(sessions[i].thread, NULL);
    PQfinish(sessions[i].connection);
  }
  for (size_t i = 0; i < plan.count; i++)
    printf("%" PRId64 " %" PRId64 "\n", plan.first + (int64_t)i, plan.committed_us[i]);
  free(plan.committed_us);
  return 0;
}
