/* Counters, gauges and histograms, and their text for Prometheus (exposition format 0.0.4).
 *
 * A metric is asked for by name and labels; the same name and labels give the same handle, so it
 * may be asked for each time (a hash look-up) or kept. Handles are never NULL and live as long as
 * the registry. A metric that cannot be had (bound reached, out of memory, a name that is not valid
 * or already has another type) is a handle that counts into nothing, a logged error and
 * lockstep_metrics_rejected_total. Any thread. */
#ifndef LOCKSTEP_RUNTIME_BASE_METRICS_H
#define LOCKSTEP_RUNTIME_BASE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/text.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ls_metrics ls_metrics;
typedef struct ls_counter ls_counter;
typedef struct ls_gauge ls_gauge;
typedef struct ls_histogram ls_histogram;

/* Label names and values in turn, NULL at the end; NULL for no labels: LS_LABELS("method", m,
 * "code", c). Copied. At most LS_METRIC_MAX_LABELS pairs. The same names in the same order for all
 * of one name. */
#define LS_LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})
enum { LS_METRIC_MAX_LABELS = 8 };

/* A registry of at most `max_series` series (0: 4096). NULL when out of memory. */
ls_metrics *ls_metrics_new(size_t max_series);

/* Nobody may use it or its handles any more. NULL is fine. */
void ls_metrics_destroy(ls_metrics *metrics);

/* `help` counts when the name is first seen. Copied. */
ls_counter *ls_metrics_counter(ls_metrics *metrics, const char *name, const char *help,
                               const char *const *labels);
ls_gauge *ls_metrics_gauge(ls_metrics *metrics, const char *name, const char *help,
                           const char *const *labels);
/* `bounds`: upper bounds of the buckets, ascending, without infinity; they are those of the first
 * who asks for the name. */
ls_histogram *ls_metrics_histogram(ls_metrics *metrics, const char *name, const char *help,
                                   const double *bounds, size_t bound_count,
                                   const char *const *labels);

/* Seconds from 100 us to 10 s: for the duration of calls, statements and batches. */
extern const double ls_metric_seconds[];
extern const size_t ls_metric_seconds_count;

void ls_counter_add(ls_counter *counter, uint64_t amount);
uint64_t ls_counter_value(const ls_counter *counter);
void ls_gauge_set(ls_gauge *gauge, double value);
void ls_gauge_add(ls_gauge *gauge, double amount);
double ls_gauge_value(const ls_gauge *gauge);
void ls_histogram_observe(ls_histogram *histogram, double value);

/* A value that is read when the text is made, on the thread that makes it, under the registry's
 * lock: the callback must be quick and must not use the registry. Replaces the callback of the same
 * name and labels. False when it could not be had. */
typedef double (*ls_metric_read)(void *arg);
bool ls_metrics_gauge_callback(ls_metrics *metrics, const char *name, const char *help,
                               const char *const *labels, ls_metric_read read, void *arg);
bool ls_metrics_counter_callback(ls_metrics *metrics, const char *name, const char *help,
                                 const char *const *labels, ls_metric_read read, void *arg);

/* Drops all callbacks with this `arg`, before what it points to is freed: none runs after it
 * returns. */
void ls_metrics_remove_callbacks(ls_metrics *metrics, const void *arg);

/* process_resident_memory_bytes, process_cpu_seconds_total, process_start_time_seconds,
 * process_open_fds, process_max_fds. False when they could not be had. */
bool ls_metrics_add_process(ls_metrics *metrics);

/* Appends the text of all metrics, families in the order of their first use. False when out of
 * memory. */
bool ls_metrics_write(ls_metrics *metrics, ls_buffer *out);

#ifdef __cplusplus
}
#endif

#endif
