/* The monitor's thread. */
#include "delivery/delivery_monitor.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "delivery/delivery_store.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/thread.h"
#include "runtime/base/wake.h"

#define CHANNEL "delivery_changes"

enum {
  NOTIFY_PAUSE_MS = 20,     /* between two notifications */
  CHECK_INTERVAL_MS = 1000, /* of the database */
  MEASURE_INTERVAL_MS = 5000,
  RETRY_MS = 100
};

static const ls_pg_statement check_statement = {
    .name = "delivery_check", .sql = "SELECT pg_is_in_recovery()", .columns = {LS_PG_BOOL}};

static const ls_pg_statement notify_statement = {.name = "delivery_notify",
                                                 .sql = "SELECT pg_notify('" CHANNEL "', '')",
                                                 .columns = {LS_PG_VOID}};

struct delivery_monitor {
  delivery_monitor_options options;
  pthread_t thread;
  bool is_running;
  ls_wake *wake;
  atomic_bool is_stopping;
  atomic_bool is_told; /* there is something to tell the other replicas */

  pthread_mutex_t mutex; /* for the next three */
  bool is_reported;
  bool is_ready;
  ls_error reason;

  /* The thread's own. */
  delivery_store *store;
  unsigned session;    /* that listens */
  size_t own_expected; /* notifications of our own that have not come back */
  int64_t next_notify_ms, next_check_ms, next_measure_ms;
  ls_log_limit failure_limit;
  ls_gauge *pending_orders;
  ls_gauge *dead_letters;
  ls_gauge *database_up;
};

delivery_monitor *delivery_monitor_new(const delivery_monitor_options *options, ls_error *error) {
  delivery_monitor *monitor = calloc(1, sizeof *monitor);
  if (monitor == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for the monitor");
    return NULL;
  }
  monitor->options = *options;
  pthread_mutex_init(&monitor->mutex, NULL);
  ls_error_set(&monitor->reason, LS_UNAVAILABLE, true, NULL, "the database was not reached yet");
  monitor->wake = ls_wake_new(error);
  monitor->store = delivery_store_new(options->database, error);
  if (monitor->wake == NULL || monitor->store == NULL) {
    delivery_monitor_destroy(monitor);
    return NULL;
  }
  monitor->pending_orders =
      ls_metrics_gauge(options->metrics, "lockstep_delivery_pending_orders",
                       "Orders whose lookup is being retried, of all replicas", NULL);
  monitor->dead_letters =
      ls_metrics_gauge(options->metrics, "lockstep_delivery_dead_letters",
                       "Dead letters that were not replayed, of all replicas", NULL);
  monitor->database_up = ls_metrics_gauge(options->metrics, "lockstep_delivery_database_up",
                                          "Whether the database can be used", NULL);
  return monitor;
}

void delivery_monitor_destroy(delivery_monitor *monitor) {
  if (monitor == NULL)
    return;
  delivery_store_destroy(monitor->store);
  ls_wake_destroy(monitor->wake);
  pthread_mutex_destroy(&monitor->mutex);
  free(monitor);
}

void delivery_monitor_committed(delivery_monitor *monitor) {
  if (!atomic_exchange(&monitor->is_told, true))
    ls_wake_signal(monitor->wake);
}

bool delivery_monitor_is_ready(delivery_monitor *monitor, ls_error *reason) {
  pthread_mutex_lock(&monitor->mutex);
  bool ready = monitor->is_ready;
  if (!ready && reason != NULL)
    *reason = monitor->reason;
  pthread_mutex_unlock(&monitor->mutex);
  return ready;
}

/* `error` NULL: the database can be used. */
static void report(delivery_monitor *monitor, const ls_error *error) {
  bool ready = error == NULL;
  pthread_mutex_lock(&monitor->mutex);
  bool is_news = !monitor->is_reported || monitor->is_ready != ready;
  monitor->is_reported = true;
  monitor->is_ready = ready;
  if (!ready)
    monitor->reason = *error;
  pthread_mutex_unlock(&monitor->mutex);
  ls_gauge_set(monitor->database_up, ready ? 1 : 0);
  if (is_news && ready)
    LS_INFO("the database can be used");
  if (!ready && (is_news || ls_log_every(&monitor->failure_limit, 10000)))
    LS_WARN("the database cannot be used", LS_ERR(error));
  if (is_news)
    monitor->options.ready(ready, monitor->options.arg);
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
static bool listen_to_others(delivery_monitor *monitor, ls_error *error) {
  if (monitor->session == delivery_store_session(monitor->store))
    return true;
  if (!ls_pg_listen(delivery_store_connection(monitor->store), CHANNEL, error))
    return false;
  monitor->session = delivery_store_session(monitor->store);
  monitor->own_expected = 0;
  monitor->options.changed(monitor->options.arg);
  return true;
}

static bool check(delivery_monitor *monitor, ls_error *error) {
  ls_pg_result *result = NULL;
  if (!is_due(&monitor->next_check_ms, CHECK_INTERVAL_MS))
    return true;
  if (!ls_pg_exec(delivery_store_connection(monitor->store), &check_statement, NULL, &result,
                  error)) {
    monitor->next_check_ms = 0;
    return false;
  }
  bool is_standby = ls_pg_get_bool(result, 0, 0);
  ls_pg_result_destroy(result);
  if (!is_standby)
    return true;
  monitor->next_check_ms = 0;
  return ls_error_set(error, LS_UNAVAILABLE, true, "25006", "the database is a standby");
}

static bool tell(delivery_monitor *monitor, ls_error *error) {
  if (!atomic_load(&monitor->is_told) || !is_due(&monitor->next_notify_ms, NOTIFY_PAUSE_MS))
    return true;
  atomic_store(&monitor->is_told, false); /* what is committed from here on is told the next time */
  if (!ls_pg_exec(delivery_store_connection(monitor->store), &notify_statement, NULL, NULL,
                  error)) {
    atomic_store(&monitor->is_told, true);
    return false;
  }
  monitor->own_expected++;
  return true;
}

static bool hear(delivery_monitor *monitor, ls_error *error) {
  size_t count = 0;
  if (!ls_pg_notifications(delivery_store_connection(monitor->store), &count, error))
    return false;
  size_t own = count < monitor->own_expected ? count : monitor->own_expected;
  monitor->own_expected -= own;
  if (count > own)
    monitor->options.changed(monitor->options.arg);
  return true;
}

static bool measure(delivery_monitor *monitor, ls_error *error) {
  int64_t pending, dead_letters;
  if (!is_due(&monitor->next_measure_ms, MEASURE_INTERVAL_MS))
    return true;
  if (!delivery_store_count_problems(monitor->store, &pending, &dead_letters, error))
    return false;
  ls_gauge_set(monitor->pending_orders, (double)pending);
  ls_gauge_set(monitor->dead_letters, (double)dead_letters);
  return true;
}

/* Sleeps until something is due, told or heard. */
static void wait(delivery_monitor *monitor, bool is_working) {
  int64_t until_ms = ls_clock_monotonic_ms() + RETRY_MS;
  if (is_working) {
    until_ms = monitor->next_check_ms < monitor->next_measure_ms ? monitor->next_check_ms
                                                                 : monitor->next_measure_ms;
    if (atomic_load(&monitor->is_told) && monitor->next_notify_ms < until_ms)
      until_ms = monitor->next_notify_ms;
  }
  int64_t timeout_ms = until_ms - ls_clock_monotonic_ms();
  ls_pg_connection *connection = delivery_store_connection(monitor->store);
  struct pollfd sources[] = {
      {.fd = ls_wake_fd(monitor->wake), .events = POLLIN},
      {.fd = is_working && connection != NULL ? ls_pg_socket(connection) : -1, .events = POLLIN}};
  if (timeout_ms > 0)
    (void)poll(sources, 2, (int)timeout_ms);
  (void)ls_wake_drain(monitor->wake);
}

static void *run(void *arg) {
  delivery_monitor *monitor = arg;
  while (!atomic_load(&monitor->is_stopping)) {
    ls_error error = {0};
    bool is_working = delivery_store_connect(monitor->store, &error) &&
                      listen_to_others(monitor, &error) && check(monitor, &error);
    report(monitor, is_working ? NULL : &error);
    if (is_working &&
        !(tell(monitor, &error) && hear(monitor, &error) && measure(monitor, &error))) {
      is_working = false;
      if (ls_log_every(&monitor->failure_limit, 1000))
        LS_WARN("monitoring failed", LS_ERR(&error));
    }
    wait(monitor, is_working);
  }
  return NULL;
}

bool delivery_monitor_start(delivery_monitor *monitor, ls_error *error) {
  monitor->is_running = ls_thread_start(&monitor->thread, "monitor", run, monitor, error);
  return monitor->is_running;
}

void delivery_monitor_stop(delivery_monitor *monitor) {
  atomic_store(&monitor->is_stopping, true);
  ls_wake_signal(monitor->wake);
  if (monitor->is_running)
    pthread_join(monitor->thread, NULL);
  monitor->is_running = false;
}
