/* bench-bare-loop: the way of a write from one database over Kafka into another, with nothing but
 * libpq and librdkafka: what one would get without lockstep's promises.
 *
 * usage: bench-bare-loop ORDER-CONNINFO DELIVERY-CONNINFO BOOTSTRAP-SERVERS TOPIC WRITES-A-SECOND
 *        SECONDS
 *
 * The writer commits a row to the first database, at a steady rate, and produces it at once to the
 * topic, which has one partition (acks=all, idempotent, linger 0: less than lockstep's 1 ms); a
 * thread serves delivery reports. A second thread consumes record by record, assigned to the
 * partition without a group, and commits each by a guarded upsert to the second database. Offsets
 * are not committed, there is no outbox, no history, no relay, no gRPC, and nobody waits for
 * anything but the two commits. Both sessions have their statements prepared and
 * synchronous_commit on; Nagle is off on every socket, and librdkafka's waits are as short as they
 * can be.
 *
 * Makes the tables bare_orders and bare_deliveries. Prints one JSON object: "latencies_us", from
 * the answer to the first commit to the answer to the second, one for each write. Exit status 1,
 * and why, if something fails or a row is missing. */
#include <inttypes.h>
#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/base/clock.h"

enum { PAYLOAD_BYTES = 256, FLUSH_MS = 10000, LAST_WAIT_MS = 60000, POLL_MS = 100 };

#define ORDERS_TABLE                                                                               \
  "DROP TABLE IF EXISTS bare_orders; CREATE TABLE bare_orders (order_id bigint PRIMARY KEY, "      \
  "version bigint NOT NULL, snapshot bytea NOT NULL, update_time timestamptz NOT NULL)"
#define DELIVERIES_TABLE                                                                           \
  "DROP TABLE IF EXISTS bare_deliveries; CREATE TABLE bare_deliveries (order_id bigint PRIMARY "   \
  "KEY, order_version bigint NOT NULL, snapshot bytea NOT NULL, update_time timestamptz NOT NULL)"
#define WRITE "INSERT INTO bare_orders VALUES ($1::bigint, 1, $2::bytea, statement_timestamp())"
#define UPSERT                                                                                     \
  "INSERT INTO bare_deliveries AS d VALUES ($1::bigint, 1, $2::bytea, statement_timestamp()) "     \
  "ON CONFLICT (order_id) DO UPDATE SET order_version = excluded.order_version, "                  \
  "snapshot = excluded.snapshot, update_time = excluded.update_time "                              \
  "WHERE excluded.order_version > d.order_version"

typedef struct loop {
  PGconn *orders, *deliveries;
  rd_kafka_t *producer, *consumer;
  rd_kafka_topic_t *topic;
  size_t count;
  int64_t *written_us; /* by the writer, before it produces */
  int64_t *applied_us; /* by the consumer */
  atomic_size_t applied;
  atomic_bool stop;
  atomic_bool has_failed;
} loop;

static bool fail(loop *all, const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  atomic_store(&all->has_failed, true);
  return false;
}

/* --- PostgreSQL --- */

static bool run_sql(loop *all, PGconn *connection, const char *sql) {
  PGresult *result = PQexec(connection, sql);
  ExecStatusType status = PQresultStatus(result);
  PQclear(result);
  return status == PGRES_COMMAND_OK || fail(all, sql, PQerrorMessage(connection));
}

static PGconn *connect_to(loop *all, const char *conninfo, const char *table, const char *sql) {
  PGconn *connection = PQconnectdb(conninfo);
  if (PQstatus(connection) != CONNECTION_OK) {
    fail(all, "no connection", PQerrorMessage(connection));
  } else if (run_sql(all, connection, "SET client_min_messages = warning") &&
             run_sql(all, connection, table)) {
    PGresult *result = PQprepare(connection, "write", sql, 0, NULL);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
      fail(all, "not prepared", PQerrorMessage(connection));
    PQclear(result);
  }
  return connection;
}

/* Commits one row: a statement outside of a transaction. */
static bool commit_row(loop *all, PGconn *connection, int64_t order_id, const char *payload,
                       size_t bytes) {
  uint64_t network_order = __builtin_bswap64((uint64_t)order_id);
  const char *values[] = {(const char *)&network_order, payload};
  int lengths[] = {(int)sizeof network_order, (int)bytes};
  int formats[] = {1, 1};
  PGresult *result = PQexecPrepared(connection, "write", 2, values, lengths, formats, 1);
  ExecStatusType status = PQresultStatus(result);
  bool one_row = strcmp(PQcmdTuples(result), "1") == 0;
  PQclear(result);
  if (status != PGRES_COMMAND_OK)
    return fail(all, "row not committed", PQerrorMessage(connection));
  return one_row || fail(all, "row not committed", "there was one");
}

/* --- Kafka --- */

static void on_report(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque) {
  (void)producer;
  if (message->err)
    fail(opaque, "record not produced", rd_kafka_err2str(message->err));
}

static rd_kafka_t *open_kafka(loop *all, rd_kafka_type_t type, const char *const *settings) {
  char text[256];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_conf_set_opaque(conf, all);
  if (type == RD_KAFKA_PRODUCER)
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
  for (; settings[0] != NULL; settings += 2)
    if (rd_kafka_conf_set(conf, settings[0], settings[1], text, sizeof text) != RD_KAFKA_CONF_OK)
      fail(all, settings[0], text);
  rd_kafka_t *client = rd_kafka_new(type, conf, text, sizeof text);
  if (client == NULL)
    fail(all, "no client", text);
  return client;
}

static bool open_producer(loop *all, const char *servers, const char *topic) {
  const char *settings[] = {"bootstrap.servers",    servers, "acks",      "all",
                            "enable.idempotence",   "true",  "linger.ms", "0",
                            "socket.nagle.disable", "true",  NULL};
  all->producer = open_kafka(all, RD_KAFKA_PRODUCER, settings);
  if (all->producer == NULL)
    return false;
  all->topic = rd_kafka_topic_new(all->producer, topic, NULL);
  return all->topic != NULL || fail(all, topic, "no such topic");
}

static bool open_consumer(loop *all, const char *servers, const char *topic) {
  const char *settings[] = {"bootstrap.servers",
                            servers,
                            "group.id",
                            "bench-bare-loop",
                            "enable.auto.commit",
                            "false",
                            "enable.auto.offset.store",
                            "false",
                            "check.crcs",
                            "true",
                            "fetch.min.bytes",
                            "1",
                            "socket.nagle.disable",
                            "true",
                            NULL};
  all->consumer = open_kafka(all, RD_KAFKA_CONSUMER, settings);
  if (all->consumer == NULL)
    return false;
  rd_kafka_poll_set_consumer(all->consumer);
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(list, topic, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
  rd_kafka_resp_err_t code = rd_kafka_assign(all->consumer, list);
  rd_kafka_topic_partition_list_destroy(list);
  return code == RD_KAFKA_RESP_ERR_NO_ERROR || fail(all, topic, rd_kafka_err2str(code));
}

/* --- The threads --- */

static void *serve_reports(void *arg) {
  loop *all = arg;
  while (!atomic_load(&all->stop))
    rd_kafka_poll(all->producer, POLL_MS);
  return NULL;
}

static void apply(loop *all, const rd_kafka_message_t *message) {
  int64_t order_id;
  if (message->err || message->len != PAYLOAD_BYTES || message->key_len != sizeof order_id) {
    fail(all, "record not consumed", rd_kafka_message_errstr(message));
    return;
  }
  memcpy(&order_id, message->key, sizeof order_id);
  if (order_id < 1 || (size_t)order_id > all->count) {
    fail(all, "record not consumed", "an id that was not produced");
    return;
  }
  if (!commit_row(all, all->deliveries, order_id, message->payload, message->len))
    return;
  all->applied_us[order_id - 1] = ls_clock_monotonic_us();
  atomic_fetch_add(&all->applied, 1);
}

static void *consume(void *arg) {
  loop *all = arg;
  while (!atomic_load(&all->stop) && !atomic_load(&all->has_failed)) {
    rd_kafka_message_t *message = rd_kafka_consumer_poll(all->consumer, POLL_MS);
    if (message == NULL)
      continue;
    apply(all, message);
    rd_kafka_message_destroy(message);
  }
  return NULL;
}

static void wait_until_us(int64_t due_us) {
  struct timespec due = {.tv_sec = due_us / 1000000, .tv_nsec = due_us % 1000000 * 1000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) != 0)
    continue;
}

static bool write_order(loop *all, size_t index) {
  char payload[PAYLOAD_BYTES];
  int64_t order_id = (int64_t)index + 1;
  memset(payload, (int)('a' + index % 26), sizeof payload);
  if (!commit_row(all, all->orders, order_id, payload, sizeof payload))
    return false;
  all->written_us[index] = ls_clock_monotonic_us();
  if (rd_kafka_produce(all->topic, 0, RD_KAFKA_MSG_F_COPY, payload, sizeof payload, &order_id,
                       sizeof order_id, NULL) != 0)
    return fail(all, "record not produced", rd_kafka_err2str(rd_kafka_last_error()));
  return true;
}

static bool wait_applied(loop *all, size_t count) {
  int64_t deadline_us = ls_clock_monotonic_us() + LAST_WAIT_MS * INT64_C(1000);
  while (atomic_load(&all->applied) < count && !atomic_load(&all->has_failed)) {
    if (ls_clock_monotonic_us() > deadline_us)
      return fail(all, "not all is applied", "in time");
    wait_until_us(ls_clock_monotonic_us() + 1000);
  }
  return !atomic_load(&all->has_failed);
}

/* The first write goes ahead of the clock: until it has arrived, the consumer may be on its way. */
static bool write_all(loop *all, int rate) {
  if (!write_order(all, 0) || !wait_applied(all, 1))
    return false;
  int64_t begin_us = ls_clock_monotonic_us() + 100000;
  for (size_t i = 1; i < all->count; i++) {
    wait_until_us(begin_us + (int64_t)i * 1000000 / rate);
    if (atomic_load(&all->has_failed) || !write_order(all, i))
      return false;
  }
  return wait_applied(all, all->count);
}

static bool check(loop *all) {
  PGresult *result = PQexec(all->deliveries, "SELECT count(*) FROM bare_deliveries");
  bool right = PQntuples(result) == 1 &&
               strtoull(PQgetvalue(result, 0, 0), NULL, 10) == (unsigned long long)all->count;
  PQclear(result);
  return right || fail(all, "bare_deliveries", "rows are missing");
}

static void print(const loop *all) {
  printf("{\"latencies_us\": [");
  for (size_t i = 1; i < all->count; i++)
    printf("%s%" PRId64, i > 1 ? ", " : "", all->applied_us[i] - all->written_us[i]);
  printf("]}\n");
}

int main(int argument_count, char **arguments) {
  if (argument_count != 7) {
    fprintf(stderr,
            "usage: %s ORDER-CONNINFO DELIVERY-CONNINFO BOOTSTRAP-SERVERS TOPIC WRITES-A-SECOND "
            "SECONDS\n",
            arguments[0]);
    return 78;
  }
  int rate = atoi(arguments[5]);
  int seconds = atoi(arguments[6]);
  if (rate < 1 || rate > 100000 || seconds < 1 || seconds > 3600) {
    fprintf(stderr, "the rate or the time is out of range\n");
    return 78;
  }
  loop all = {.count = (size_t)rate * (size_t)seconds + 1};
  pthread_t reporter, consumer;
  bool done = false;
  all.written_us = calloc(all.count, sizeof *all.written_us);
  all.applied_us = calloc(all.count, sizeof *all.applied_us);
  if (all.written_us == NULL || all.applied_us == NULL) {
    fprintf(stderr, "out of memory\n");
    return 1;
  }
  all.orders = connect_to(&all, arguments[1], ORDERS_TABLE, WRITE);
  all.deliveries = connect_to(&all, arguments[2], DELIVERIES_TABLE, UPSERT);
  if (!atomic_load(&all.has_failed) && open_producer(&all, arguments[3], arguments[4]) &&
      open_consumer(&all, arguments[3], arguments[4])) {
    pthread_create(&reporter, NULL, serve_reports, &all);
    pthread_create(&consumer, NULL, consume, &all);
    done = write_all(&all, rate) && check(&all);
    rd_kafka_flush(all.producer, FLUSH_MS);
    atomic_store(&all.stop, true);
    pthread_join(consumer, NULL);
    pthread_join(reporter, NULL);
    rd_kafka_consumer_close(all.consumer);
    done = done && !atomic_load(&all.has_failed);
  }
  if (done)
    print(&all);
  if (all.topic != NULL)
    rd_kafka_topic_destroy(all.topic);
  if (all.producer != NULL)
    rd_kafka_destroy(all.producer);
  if (all.consumer != NULL)
    rd_kafka_destroy(all.consumer);
  PQfinish(all.orders);
  PQfinish(all.deliveries);
  free(all.written_us);
  free(all.applied_us);
  return done ? 0 : 1;
}
