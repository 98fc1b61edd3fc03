/* Counts and times calls: a sorted table of methods, each with a counter for each code. */
#include "runtime/rpc/rpc_metrics.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

enum { CODES = LS_UNAUTHENTICATED + 1 };

typedef struct method_metrics {
  const ls_rpc_method *method; /* NULL: all that are not in the table */
  const char *service_name;
  ls_histogram *seconds;
  _Atomic(ls_counter *) handled[CODES]; /* NULL until the first call with the code */
} method_metrics;

struct ls_rpc_metrics {
  ls_metrics *metrics;
  method_metrics *methods; /* sorted by address, the one without a method first */
  size_t count;
};

static const char handled_help[] = "Calls that ended";
static const char seconds_help[] = "Time from a call's arrival to its end";

static const char *method_name(const method_metrics *entry) {
  return entry->method == NULL ? "unknown" : entry->method->name;
}

static void add_method(ls_rpc_metrics *metrics, const char *service_name,
                       const ls_rpc_method *method) {
  method_metrics *entry = &metrics->methods[metrics->count++];
  entry->method = method;
  entry->service_name = service_name;
  entry->seconds = ls_metrics_histogram(
      metrics->metrics, "grpc_server_handling_seconds", seconds_help, ls_metric_seconds,
      ls_metric_seconds_count,
      LS_LABELS("grpc_service", service_name, "grpc_method", method_name(entry)));
}

ls_rpc_metrics *ls_rpc_metrics_new(ls_metrics *registry, ls_error *error) {
  ls_rpc_metrics *metrics = calloc(1, sizeof *metrics);
  method_metrics *methods = calloc(1, sizeof *methods);
  if (metrics == NULL || methods == NULL) {
    free(metrics);
    free(methods);
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for the calls' metrics");
    return NULL;
  }
  metrics->metrics = registry;
  metrics->methods = methods;
  add_method(metrics, "unknown", NULL);
  return metrics;
}

static int compare_methods(const void *left, const void *right) {
  uintptr_t a = (uintptr_t)((const method_metrics *)left)->method;
  uintptr_t b = (uintptr_t)((const method_metrics *)right)->method;
  return (a > b) - (a < b);
}

bool ls_rpc_metrics_add_server(ls_rpc_metrics *metrics, const ls_rpc_server *server,
                               ls_error *error) {
  size_t count = metrics->count;
  for (size_t i = 0; i < ls_rpc_server_service_count(server); i++)
    count += ls_rpc_server_service(server, i)->method_count;
  method_metrics *grown = realloc(metrics->methods, count * sizeof *grown);
  if (grown == NULL)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL,
                        "out of memory for the calls' metrics");
  metrics->methods = grown;
  for (size_t i = metrics->count; i < count; i++)
    grown[i] = (method_metrics){.method = NULL};
  for (size_t i = 0; i < ls_rpc_server_service_count(server); i++) {
    const ls_rpc_service *service = ls_rpc_server_service(server, i);
    for (size_t j = 0; j < service->method_count; j++)
      add_method(metrics, service->name, &service->methods[j]);
  }
  qsort(metrics->methods, metrics->count, sizeof *metrics->methods, compare_methods);
  return true;
}

void ls_rpc_metrics_observe(const ls_rpc_method *method, ls_code code, int64_t duration_us,
                            const char *trace_parent, void *arg) {
  ls_rpc_metrics *metrics = arg;
  (void)trace_parent;
  const method_metrics wanted = {.method = method};
  method_metrics *entry =
      bsearch(&wanted, metrics->methods, metrics->count, sizeof *metrics->methods, compare_methods);
  if (entry == NULL)
    entry = &metrics->methods[0];
  size_t index = (size_t)code < CODES ? (size_t)code : LS_UNKNOWN;
  ls_counter *handled = atomic_load_explicit(&entry->handled[index], memory_order_acquire);
  if (handled == NULL) {
    /* Whoever asks for it gets the same one. */
    handled = ls_metrics_counter(metrics->metrics, "grpc_server_handled_total", handled_help,
                                 LS_LABELS("grpc_service", entry->service_name, "grpc_method",
                                           method_name(entry), "grpc_code",
                                           ls_code_name((ls_code)index)));
    atomic_store_explicit(&entry->handled[index], handled, memory_order_release);
  }
  ls_counter_add(handled, 1);
  ls_histogram_observe(entry->seconds, (double)duration_us / 1e6);
}

void ls_rpc_metrics_destroy(ls_rpc_metrics *metrics) {
  if (metrics == NULL)
    return;
  free(metrics->methods);
  free(metrics);
}
