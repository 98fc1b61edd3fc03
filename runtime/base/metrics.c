/* The registry: families in a list, series in a hash table, values in atomics. */
#include "runtime/base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"

enum { DEFAULT_MAX_SERIES = 4096, TABLE_SLOTS = 1024 };

const double ls_metric_seconds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                    0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
const size_t ls_metric_seconds_count = sizeof ls_metric_seconds / sizeof ls_metric_seconds[0];

typedef enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM } metric_type;

static const char *const type_names[] = {"counter", "gauge", "histogram"};

struct ls_counter {
  _Atomic uint64_t value;
};

struct ls_gauge {
  _Atomic double value;
};

struct ls_histogram {
  const double *bounds; /* the family's */
  size_t bound_count;
  _Atomic double sum;
  _Atomic uint64_t *counts; /* one for each bound and one above; not cumulative */
};

typedef struct metric_series {
  struct metric_series *next_in_slot;
  struct metric_series *next_in_family;
  struct metric_family *family;
  uint64_t hash;
  char *labels[2 * LS_METRIC_MAX_LABELS]; /* names and values in turn */
  size_t label_count;                     /* of pairs */
  ls_metric_read read;                    /* NULL: the value below */
  void *read_arg;
  bool removed; /* its callback was dropped: not shown */
  union {
    ls_counter counter;
    ls_gauge gauge;
    ls_histogram histogram;
  } value;
} metric_series;

typedef struct metric_family {
  struct metric_family *next;
  char *name;
  char *help;
  metric_type type;
  double *bounds;
  size_t bound_count;
  metric_series *first;
  metric_series *last;
} metric_family;

struct ls_metrics {
  /* Guards all but the values: shared to look up and to write the text, exclusive to change. */
  pthread_rwlock_t lock;
  size_t max_series;
  size_t series_count;
  metric_family *first;
  metric_family *last;
  metric_series *table[TABLE_SLOTS];
  ls_counter *rejected;
  ls_log_limit rejected_log;
  /* What a metric that cannot be had counts into. */
  ls_counter counter_sink;
  ls_gauge gauge_sink;
  ls_histogram histogram_sink;
  _Atomic uint64_t histogram_sink_counts[1];
};

/* What is asked for: a name, its type and labels. */
typedef struct metric_request {
  metric_type type;
  const char *name;
  const char *help;
  const char *const *labels;
  size_t label_count;
  const double *bounds;
  size_t bound_count;
  uint64_t hash;
} metric_request;

static uint64_t hash_text(uint64_t hash, const char *text) {
  for (; *text; text++)
    hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3); /* FNV-1a */
  return hash * UINT64_C(0x100000001b3);                            /* "ab","c" is not "a","bc" */
}

static bool is_name(const char *name, bool colons) {
  for (const char *at = name; *at; at++) {
    bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || *at == '_' ||
                  (colons && *at == ':');
    bool digit = *at >= '0' && *at <= '9' && at > name;
    if (!letter && !digit)
      return false;
  }
  return *name != '\0';
}

static bool is_label_name(const char *name, metric_type type) {
  return is_name(name, false) && strncmp(name, "__", 2) != 0 &&
         !(type == METRIC_HISTOGRAM && strcmp(name, "le") == 0);
}

/* Counts the labels and makes the hash. False for labels without value or too many. */
static bool complete_request(metric_request *request) {
  request->hash = hash_text(UINT64_C(0xcbf29ce484222325), request->name);
  request->label_count = 0;
  if (!request->labels)
    return true;
  for (size_t i = 0; request->labels[i]; i += 2) {
    if (!request->labels[i + 1] || request->label_count == LS_METRIC_MAX_LABELS)
      return false;
    request->hash = hash_text(request->hash, request->labels[i]);
    request->hash = hash_text(request->hash, request->labels[i + 1]);
    request->label_count++;
  }
  return true;
}

static metric_series *find_series(const ls_metrics *metrics, const metric_request *request) {
  metric_series *series = metrics->table[request->hash % TABLE_SLOTS];
  for (; series; series = series->next_in_slot) {
    if (series->hash != request->hash || series->label_count != request->label_count ||
        strcmp(series->family->name, request->name) != 0)
      continue;
    size_t i = 0;
    while (i < 2 * request->label_count && strcmp(series->labels[i], request->labels[i]) == 0)
      i++;
    if (i == 2 * request->label_count)
      return series;
  }
  return NULL;
}

static metric_family *find_family(const ls_metrics *metrics, const char *name) {
  for (metric_family *family = metrics->first; family; family = family->next) {
    if (strcmp(family->name, name) == 0)
      return family;
  }
  return NULL;
}

static void free_family(metric_family *family) {
  if (!family)
    return;
  free(family->name);
  free(family->help);
  free(family->bounds);
  free(family);
}

static void free_series(metric_series *series) {
  if (!series)
    return;
  for (size_t i = 0; i < 2 * series->label_count; i++)
    free(series->labels[i]);
  if (series->family->type == METRIC_HISTOGRAM)
    free((void *)series->value.histogram.counts);
  free(series);
}

static bool are_bounds(const double *bounds, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (!isfinite(bounds[i]) || (i > 0 && bounds[i] <= bounds[i - 1]))
      return false;
  }
  return true;
}

static metric_family *new_family(const metric_request *request) {
  metric_family *family = calloc(1, sizeof *family);
  if (!family)
    return NULL;
  family->type = request->type;
  family->name = strdup(request->name);
  family->help = strdup(request->help);
  family->bound_count = request->bound_count;
  family->bounds = calloc(request->bound_count + 1, sizeof *family->bounds);
  if (!family->name || !family->help || !family->bounds) {
    free_family(family);
    return NULL;
  }
  if (request->bound_count > 0)
    memcpy(family->bounds, request->bounds, request->bound_count * sizeof *family->bounds);
  return family;
}

static metric_series *new_series(metric_family *family, const metric_request *request) {
  metric_series *series = calloc(1, sizeof *series);
  if (!series)
    return NULL;
  series->family = family;
  series->hash = request->hash;
  series->label_count = request->label_count;
  bool complete = true;
  for (size_t i = 0; i < 2 * request->label_count; i++) {
    series->labels[i] = strdup(request->labels[i]);
    complete = complete && series->labels[i];
  }
  if (family->type == METRIC_HISTOGRAM) {
    ls_histogram *histogram = &series->value.histogram;
    histogram->bounds = family->bounds;
    histogram->bound_count = family->bound_count;
    histogram->counts = calloc(family->bound_count + 1, sizeof *histogram->counts);
    complete = complete && histogram->counts;
  }
  if (!complete) {
    free_series(series);
    return NULL;
  }
  return series;
}

/* Why the request cannot be met, or NULL. With the lock held. */
static const char *objection(const ls_metrics *metrics, const metric_request *request,
                             const metric_family *family) {
  if (metrics->series_count >= metrics->max_series)
    return "too many series";
  if (!is_name(request->name, true))
    return "name is not valid";
  for (size_t i = 0; i < request->label_count; i++) {
    if (!is_label_name(request->labels[2 * i], request->type))
      return "label name is not valid";
  }
  if (!family)
    return are_bounds(request->bounds, request->bound_count) ? NULL : "bounds do not ascend";
  if (family->type != request->type)
    return "name has another type";
  const metric_series *sibling = family->first;
  if (!sibling)
    return NULL;
  if (sibling->label_count != request->label_count)
    return "name has other labels";
  for (size_t i = 0; i < 2 * request->label_count; i += 2) {
    if (strcmp(sibling->labels[i], request->labels[i]) != 0)
      return "name has other labels";
  }
  return NULL;
}

/* With the lock held exclusively. NULL: `why` says so. */
static metric_series *add_series(ls_metrics *metrics, const metric_request *request,
                                 const char **why) {
  metric_family *family = find_family(metrics, request->name);
  *why = objection(metrics, request, family);
  if (*why)
    return NULL;
  *why = "out of memory";
  metric_family *added = NULL;
  if (!family) {
    family = added = new_family(request);
    if (!family)
      return NULL;
  }
  metric_series *series = new_series(family, request);
  if (!series) {
    free_family(added);
    return NULL;
  }
  if (added) {
    *(metrics->last ? &metrics->last->next : &metrics->first) = added;
    metrics->last = added;
  }
  *(family->last ? &family->last->next_in_family : &family->first) = series;
  family->last = series;
  metric_series **slot = &metrics->table[request->hash % TABLE_SLOTS];
  series->next_in_slot = *slot;
  *slot = series;
  metrics->series_count++;
  return series;
}

static void reject(ls_metrics *metrics, const metric_request *request, const char *why) {
  if (metrics->rejected)
    ls_counter_add(metrics->rejected, 1);
  if (ls_log_every(&metrics->rejected_log, 60000))
    LS_ERROR("metric rejected", LS_STR("metric", request->name), LS_STR("reason", why));
}

/* The series asked for, found or added; NULL after it was rejected. */
static metric_series *get_series(ls_metrics *metrics, metric_request *request) {
  if (!complete_request(request)) {
    reject(metrics, request, "labels are not pairs, or too many");
    return NULL;
  }
  const char *why = "name has another type";
  pthread_rwlock_rdlock(&metrics->lock);
  metric_series *series = find_series(metrics, request);
  pthread_rwlock_unlock(&metrics->lock);
  if (!series) {
    pthread_rwlock_wrlock(&metrics->lock);
    series = find_series(metrics, request); /* another thread may have been faster */
    if (!series)
      series = add_series(metrics, request, &why);
    pthread_rwlock_unlock(&metrics->lock);
  }
  if (!series || series->family->type != request->type) {
    reject(metrics, request, why);
    return NULL;
  }
  return series;
}

ls_metrics *ls_metrics_new(size_t max_series) {
  ls_metrics *metrics = calloc(1, sizeof *metrics);
  if (!metrics)
    return NULL;
  metrics->max_series = max_series > 0 ? max_series : DEFAULT_MAX_SERIES;
  metrics->histogram_sink.counts = metrics->histogram_sink_counts;
  pthread_rwlock_init(&metrics->lock, NULL); /* cannot fail without attributes */
  metrics->max_series++;                     /* our own does not count */
  metric_request own = {.type = METRIC_COUNTER,
                        .name = "lockstep_metrics_rejected_total",
                        .help = "Metrics that could not be had: a bound, memory or a mistake."};
  metric_series *rejected = get_series(metrics, &own);
  if (!rejected) {
    ls_metrics_destroy(metrics);
    return NULL;
  }
  metrics->rejected = &rejected->value.counter;
  return metrics;
}

void ls_metrics_destroy(ls_metrics *metrics) {
  if (!metrics)
    return;
  for (metric_family *family = metrics->first; family;) {
    metric_family *next_family = family->next;
    for (metric_series *series = family->first; series;) {
      metric_series *next = series->next_in_family;
      free_series(series);
      series = next;
    }
    free_family(family);
    family = next_family;
  }
  pthread_rwlock_destroy(&metrics->lock);
  free(metrics);
}

ls_counter *ls_metrics_counter(ls_metrics *metrics, const char *name, const char *help,
                               const char *const *labels) {
  metric_request request = {.type = METRIC_COUNTER, .name = name, .help = help, .labels = labels};
  metric_series *series = get_series(metrics, &request);
  return series ? &series->value.counter : &metrics->counter_sink;
}

ls_gauge *ls_metrics_gauge(ls_metrics *metrics, const char *name, const char *help,
                           const char *const *labels) {
  metric_request request = {.type = METRIC_GAUGE, .name = name, .help = help, .labels = labels};
  metric_series *series = get_series(metrics, &request);
  return series ? &series->value.gauge : &metrics->gauge_sink;
}

ls_histogram *ls_metrics_histogram(ls_metrics *metrics, const char *name, const char *help,
                                   const double *bounds, size_t bound_count,
                                   const char *const *labels) {
  metric_request request = {.type = METRIC_HISTOGRAM,
                            .name = name,
                            .help = help,
                            .labels = labels,
                            .bounds = bounds,
                            .bound_count = bound_count};
  metric_series *series = get_series(metrics, &request);
  return series ? &series->value.histogram : &metrics->histogram_sink;
}

static bool set_callback(ls_metrics *metrics, metric_request *request, ls_metric_read read,
                         void *arg) {
  metric_series *series = get_series(metrics, request);
  if (!series)
    return false;
  pthread_rwlock_wrlock(&metrics->lock);
  series->read = read;
  series->read_arg = arg;
  series->removed = false;
  pthread_rwlock_unlock(&metrics->lock);
  return true;
}

bool ls_metrics_gauge_callback(ls_metrics *metrics, const char *name, const char *help,
                               const char *const *labels, ls_metric_read read, void *arg) {
  metric_request request = {.type = METRIC_GAUGE, .name = name, .help = help, .labels = labels};
  return set_callback(metrics, &request, read, arg);
}

bool ls_metrics_counter_callback(ls_metrics *metrics, const char *name, const char *help,
                                 const char *const *labels, ls_metric_read read, void *arg) {
  metric_request request = {.type = METRIC_COUNTER, .name = name, .help = help, .labels = labels};
  return set_callback(metrics, &request, read, arg);
}

void ls_metrics_remove_callbacks(ls_metrics *metrics, const void *arg) {
  pthread_rwlock_wrlock(&metrics->lock);
  for (metric_family *family = metrics->first; family; family = family->next) {
    for (metric_series *series = family->first; series; series = series->next_in_family) {
      if (series->read && series->read_arg == arg) {
        series->read = NULL;
        series->read_arg = NULL;
        series->removed = true;
      }
    }
  }
  pthread_rwlock_unlock(&metrics->lock);
}

void ls_counter_add(ls_counter *counter, uint64_t amount) {
  atomic_fetch_add_explicit(&counter->value, amount, memory_order_relaxed);
}

uint64_t ls_counter_value(const ls_counter *counter) {
  return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

static void add_double(_Atomic double *value, double amount) {
  double seen = atomic_load_explicit(value, memory_order_relaxed);
  while (!atomic_compare_exchange_weak_explicit(value, &seen, seen + amount, memory_order_relaxed,
                                                memory_order_relaxed))
    continue;
}

void ls_gauge_set(ls_gauge *gauge, double value) {
  atomic_store_explicit(&gauge->value, value, memory_order_relaxed);
}

void ls_gauge_add(ls_gauge *gauge, double amount) {
  add_double(&gauge->value, amount);
}

double ls_gauge_value(const ls_gauge *gauge) {
  return atomic_load_explicit(&gauge->value, memory_order_relaxed);
}

void ls_histogram_observe(ls_histogram *histogram, double value) {
  size_t bucket = 0;
  while (bucket < histogram->bound_count && value > histogram->bounds[bucket])
    bucket++;
  atomic_fetch_add_explicit(&histogram->counts[bucket], 1, memory_order_relaxed);
  add_double(&histogram->sum, value);
}

/* Shortest of the usual precisions that reads back as the same number: 0.005, not
 * 0.0050000000000000001. */
static void write_double(ls_buffer *out, double value) {
  if (isnan(value)) {
    ls_buffer_append_text(out, "NaN");
  } else if (isinf(value)) {
    ls_buffer_append_text(out, value > 0 ? "+Inf" : "-Inf");
  } else {
    char text[32];
    snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) != value)
      snprintf(text, sizeof text, "%.17g", value);
    ls_buffer_append_text(out, text);
  }
}

/* HELP escapes backslash and newline, a label's value also the quote. */
static void write_escaped(ls_buffer *out, const char *text, bool quotes) {
  for (; *text; text++) {
    if (*text == '\\')
      ls_buffer_append_text(out, "\\\\");
    else if (*text == '\n')
      ls_buffer_append_text(out, "\\n");
    else if (*text == '"' && quotes)
      ls_buffer_append_text(out, "\\\"");
    else
      ls_buffer_append(out, text, 1);
  }
}

/* `name{labels}` and a blank; `le` (may be NULL) is the bucket's bound. */
static void write_name(ls_buffer *out, const metric_series *series, const char *suffix,
                       const double *le) {
  ls_buffer_printf(out, "%s%s", series->family->name, suffix);
  const char *separator = "{";
  for (size_t i = 0; i < series->label_count; i++) {
    ls_buffer_printf(out, "%s%s=\"", separator, series->labels[2 * i]);
    write_escaped(out, series->labels[2 * i + 1], true);
    ls_buffer_append_text(out, "\"");
    separator = ",";
  }
  if (le) {
    ls_buffer_printf(out, "%sle=\"", separator);
    write_double(out, *le);
    ls_buffer_append_text(out, "\"");
  }
  ls_buffer_append_text(out, series->label_count > 0 || le ? "} " : " ");
}

static void write_histogram(ls_buffer *out, const metric_series *series) {
  const ls_histogram *histogram = &series->value.histogram;
  uint64_t count = 0;
  for (size_t i = 0; i <= histogram->bound_count; i++) {
    double le = i < histogram->bound_count ? histogram->bounds[i] : (double)INFINITY;
    count += atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
    write_name(out, series, "_bucket", &le);
    ls_buffer_printf(out, "%llu\n", (unsigned long long)count);
  }
  write_name(out, series, "_sum", NULL);
  write_double(out, atomic_load_explicit(&histogram->sum, memory_order_relaxed));
  ls_buffer_append_text(out, "\n");
  write_name(out, series, "_count", NULL);
  ls_buffer_printf(out, "%llu\n", (unsigned long long)count);
}

static void write_series(ls_buffer *out, const metric_series *series) {
  if (series->family->type == METRIC_HISTOGRAM) {
    write_histogram(out, series);
    return;
  }
  write_name(out, series, "", NULL);
  if (series->read)
    write_double(out, series->read(series->read_arg));
  else if (series->family->type == METRIC_COUNTER)
    ls_buffer_printf(out, "%llu", (unsigned long long)ls_counter_value(&series->value.counter));
  else
    write_double(out, ls_gauge_value(&series->value.gauge));
  ls_buffer_append_text(out, "\n");
}

bool ls_metrics_write(ls_metrics *metrics, ls_buffer *out) {
  pthread_rwlock_rdlock(&metrics->lock); /* remove_callbacks waits for it */
  for (metric_family *family = metrics->first; family; family = family->next) {
    bool headed = false;
    for (metric_series *series = family->first; series; series = series->next_in_family) {
      if (series->removed)
        continue;
      if (!headed) {
        ls_buffer_printf(out, "# HELP %s ", family->name);
        write_escaped(out, family->help, false);
        ls_buffer_printf(out, "\n# TYPE %s %s\n", family->name, type_names[family->type]);
        headed = true;
      }
      write_series(out, series);
    }
  }
  pthread_rwlock_unlock(&metrics->lock);
  return !out->failed;
}
