/* The upkeep's thread. */
#include "order/order_upkeep.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "order/order_store.h"
#include "order/outbox_backlog.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/thread.h"
#include "runtime/base/wake.h"
#include "runtime/postgres/params.h"

enum {
  NOTIFY_PAUSE_MS = 20,       /* between two notifications */
  CHECK_INTERVAL_MS = 1000,   /* of the database */
  BACKLOG_INTERVAL_MS = 5000, /* of the gauges */
  PARTITION_INTERVAL_MS = 10000,
  RETENTION_INTERVAL_MS = 60000,
  RETENTION_CHUNK = 1000,
  PARTITIONS_AHEAD = 4
};

static const ls_pg_statement check_statement = {
    .name = "order_check", .sql = "SELECT pg_is_in_recovery()", .columns = {LS_PG_BOOL}};

/* By the database's clock, which also dated the rows: one replica's that is wrong forgets nothing.
 * Replicas that do this at the same time leave each other's rows alone. */
static const ls_pg_statement retention_statement = {
    .name = "order_requests_delete",
    .sql = "DELETE FROM order_requests WHERE request_id IN (SELECT request_id FROM order_requests "
           "WHERE create_time < statement_timestamp() - $1 * interval '1 millisecond' ORDER BY "
           "create_time LIMIT $2 FOR UPDATE SKIP LOCKED)"};

struct order_upkeep {
  order_upkeep_options options;
  pthread_t thread;
  bool is_running;
  ls_wake *wake;
  atomic_bool is_stopping;
  atomic_bool is_told; /* there is something to tell the other replicas */

  pthread_mutex_t mutex; /* for readiness and reason */
  bool is_ready;
  bool is_reported;
  ls_error reason;

  /* The thread's own. */
  order_store *store;
  ls_pg_params *params;
  unsigned session;    /* that listens */
  size_t own_expected; /* notifications of our own that have not come back */
  int64_t next_notify_ms, next_check_ms, next_backlog_ms, next_partition_ms, next_retention_ms;
  ls_log_limit failure_limit;
  ls_gauge *backlog_rows;
  ls_gauge *backlog_age;
  ls_gauge *database_up;
};

order_upkeep *order_upkeep_new(const order_upkeep_options *options, ls_error *error) {
  order_upkeep *upkeep = calloc(1, sizeof *upkeep);
  if (upkeep == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for the upkeep");
    return NULL;
  }
  upkeep->options = *options;
  pthread_mutex_init(&upkeep->mutex, NULL);
  ls_error_set(&upkeep->reason, LS_UNAVAILABLE, true, NULL, "the database was not reached yet");
  upkeep->wake = ls_wake_new(error);
  upkeep->store = order_store_new(options->database, error);
  upkeep->params = ls_pg_params_new();
  if (upkeep->wake == NULL || upkeep->store == NULL || upkeep->params == NULL) {
    if (upkeep->params == NULL)
      ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for the upkeep");
    order_upkeep_destroy(upkeep);
    return NULL;
  }
  upkeep->backlog_rows =
      ls_metrics_gauge(options->metrics, "lockstep_outbox_waiting_rows",
                       "Committed rows of the outbox that no checkpoint covers", NULL);
  upkeep->backlog_age = ls_metrics_gauge(options->metrics, "lockstep_outbox_oldest_waiting_seconds",
                                         "Age of the oldest of them", NULL);
  upkeep->database_up = ls_metrics_gauge(options->metrics, "lockstep_order_database_up",
                                         "Whether the database can be used", NULL);
  return upkeep;
}

void order_upkeep_destroy(order_upkeep *upkeep) {
  if (upkeep == NULL)
    return;
  order_store_destroy(upkeep->store);
  ls_pg_params_destroy(upkeep->params);
  ls_wake_destroy(upkeep->wake);
  pthread_mutex_destroy(&upkeep->mutex);
  free(upkeep);
}

void order_upkeep_committed(order_upkeep *upkeep) {
  if (!atomic_exchange(&upkeep->is_told, true))
    ls_wake_signal(upkeep->wake);
}

bool order_upkeep_is_ready(order_upkeep *upkeep, ls_error *reason) {
  pthread_mutex_lock(&upkeep->mutex);
  bool ready = upkeep->is_ready;
  if (!ready && reason != NULL)
    *reason = upkeep->reason;
  pthread_mutex_unlock(&upkeep->mutex);
  return ready;
}

/* `error` NULL: the database can be used. */
static void report(order_upkeep *upkeep, const ls_error *error) {
  bool ready = error == NULL;
  pthread_mutex_lock(&upkeep->mutex);
  bool is_news = !upkeep->is_reported || upkeep->is_ready != ready;
  upkeep->is_reported = true;
  upkeep->is_ready = ready;
  if (!ready)
    upkeep->reason = *error;
  pthread_mutex_unlock(&upkeep->mutex);
  ls_gauge_set(upkeep->database_up, ready ? 1 : 0);
  if (is_news && ready)
    LS_INFO("the database can be used");
  if (!ready && (is_news || ls_log_every(&upkeep->failure_limit, 10000)))
    LS_WARN("the database cannot be used", LS_ERR(error));
  if (is_news)
    upkeep->options.ready(ready, upkeep->options.arg);
}

/* True at most once in an interval. */
static bool is_due(int64_t *next_ms, int64_t interval_ms) {
  int64_t now_ms = ls_clock_monotonic_ms();
  if (now_ms < *next_ms)
    return false;
  *next_ms = now_ms + interval_ms;
  return true;
}

/* A new session listens, and finds out by itself what was told while there was none. */
static bool listen(order_upkeep *upkeep, ls_error *error) {
  if (upkeep->session == order_store_session(upkeep->store))
    return true;
  if (!ls_pg_listen(order_store_connection(upkeep->store), OUTBOX_CHANNEL, error))
    return false;
  upkeep->session = order_store_session(upkeep->store);
  upkeep->own_expected = 0;
  upkeep->options.changed(upkeep->options.arg);
  return true;
}

static bool check(order_upkeep *upkeep, ls_error *error) {
  ls_pg_result *result = NULL;
  if (!is_due(&upkeep->next_check_ms, CHECK_INTERVAL_MS))
    return true;
  if (!ls_pg_exec(order_store_connection(upkeep->store), &check_statement, NULL, &result, error))
    return false;
  bool is_standby = ls_pg_get_bool(result, 0, 0);
  ls_pg_result_destroy(result);
  if (is_standby)
    return ls_error_set(error, LS_UNAVAILABLE, true, "25006", "the database is a standby");
  return true;
}

static bool tell(order_upkeep *upkeep, ls_error *error) {
  if (!upkeep->is_told || !is_due(&upkeep->next_notify_ms, NOTIFY_PAUSE_MS))
    return true;
  upkeep->is_told = false; /* what is committed from here on is told the next time */
  if (!outbox_notify(order_store_connection(upkeep->store), error)) {
    upkeep->is_told = true;
    return false;
  }
  upkeep->own_expected++;
  return true;
}

static bool hear(order_upkeep *upkeep, ls_error *error) {
  size_t count = 0;
  if (!ls_pg_notifications(order_store_connection(upkeep->store), &count, error))
    return false;
  size_t own = count < upkeep->own_expected ? count : upkeep->own_expected;
  upkeep->own_expected -= own;
  if (count > own)
    upkeep->options.changed(upkeep->options.arg);
  return true;
}

static bool measure_backlog(order_upkeep *upkeep, ls_error *error) {
  outbox_backlog backlog;
  if (!is_due(&upkeep->next_backlog_ms, BACKLOG_INTERVAL_MS))
    return true;
  if (!outbox_backlog_read(order_store_connection(upkeep->store), &backlog, error))
    return false;
  ls_gauge_set(upkeep->backlog_rows, (double)backlog.rows);
  ls_gauge_set(upkeep->backlog_age, (double)backlog.oldest_age_us / 1e6);
  return true;
}

static bool add_partitions(order_upkeep *upkeep, ls_error *error) {
  int32_t made = 0;
  if (!is_due(&upkeep->next_partition_ms, PARTITION_INTERVAL_MS))
    return true;
  if (!order_store_add_partitions(upkeep->store, PARTITIONS_AHEAD, &made, error))
    return false;
  if (made > 0)
    LS_INFO("partitions of the outbox made", LS_INT("count", made));
  return true;
}

/* A chunk at a time, so that nothing else waits long. */
static bool remove_old_requests(order_upkeep *upkeep, ls_error *error) {
  ls_pg_result *result = NULL;
  if (!is_due(&upkeep->next_retention_ms, RETENTION_INTERVAL_MS))
    return true;
  ls_pg_params_reset(upkeep->params);
  ls_pg_params_int8(upkeep->params, upkeep->options.request_retention_ms);
  ls_pg_params_int8(upkeep->params, RETENTION_CHUNK);
  if (!ls_pg_exec(order_store_connection(upkeep->store), &retention_statement, upkeep->params,
                  &result, error))
    return false;
  if (ls_pg_affected_rows(result) == RETENTION_CHUNK)
    upkeep->next_retention_ms = 0;
  ls_pg_result_destroy(result);
  return true;
}

static int64_t sooner(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* Sleeps until something is due, told or heard. */
static void wait(order_upkeep *upkeep, bool is_working) {
  int64_t until_ms = ls_clock_monotonic_ms() + 100;
  if (is_working) {
    until_ms = sooner(upkeep->next_check_ms, upkeep->next_backlog_ms);
    until_ms = sooner(until_ms, upkeep->next_partition_ms);
    until_ms = sooner(until_ms, upkeep->next_retention_ms);
    if (upkeep->is_told)
      until_ms = sooner(until_ms, upkeep->next_notify_ms);
  }
  int64_t timeout_ms = until_ms - ls_clock_monotonic_ms();
  ls_pg_connection *connection = order_store_connection(upkeep->store);
  struct pollfd sources[] = {
      {.fd = ls_wake_fd(upkeep->wake), .events = POLLIN},
      {.fd = is_working && connection != NULL ? ls_pg_socket(connection) : -1, .events = POLLIN}};
  if (timeout_ms > 0)
    (void)poll(sources, 2, (int)timeout_ms);
  (void)ls_wake_drain(upkeep->wake);
}

static void *run(void *arg) {
  order_upkeep *upkeep = arg;
  while (!upkeep->is_stopping) {
    ls_error error = {0};
    bool is_working =
        order_store_ready(upkeep->store, &error) && listen(upkeep, &error) && check(upkeep, &error);
    report(upkeep, is_working ? NULL : &error);
    /* None of these failing makes the others useless, nor the service. */
    bool (*const chores[])(order_upkeep *, ls_error *) = {tell, hear, add_partitions,
                                                          measure_backlog, remove_old_requests};
    for (size_t i = 0; is_working && i < sizeof chores / sizeof chores[0]; i++) {
      ls_error_clear(&error);
      if (!chores[i](upkeep, &error) && ls_log_every(&upkeep->failure_limit, 1000))
        LS_WARN("upkeep failed", LS_ERR(&error),
                LS_UINT("not_logged", ls_log_suppressed(&upkeep->failure_limit)));
      is_working = order_store_is_connected(upkeep->store);
    }
    wait(upkeep, is_working);
  }
  return NULL;
}

bool order_upkeep_start(order_upkeep *upkeep, ls_error *error) {
  upkeep->is_running = ls_thread_start(&upkeep->thread, "order-upkeep", run, upkeep, error);
  return upkeep->is_running;
}

void order_upkeep_stop(order_upkeep *upkeep) {
  upkeep->is_stopping = true;
  ls_wake_signal(upkeep->wake);
  if (upkeep->is_running)
    pthread_join(upkeep->thread, NULL);
  upkeep->is_running = false;
}
