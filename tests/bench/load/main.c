/* order-load: puts load on an order service over gRPC, checks every answer, and prints what came of
 * it as one JSON object. Exit code 1 if an answer that says OK is wrong. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "runtime/base/config.h"
#include "runtime/base/log.h"
#include "tests/bench/load/load.h"

typedef struct settings {
  const char *address;
  int method;
  int64_t in_flight, calls, duration_ms, rate, channels, items, first_id, last_id, batch, seed;
} settings;

#define AT(member) .offset = offsetof(settings, member)
#define NUMBER(name, member, least, most, text, words)                                             \
  {                                                                                                \
    .flag = name, .type = LS_OPTION_INT, AT(member), .min = least, .max = most,                    \
    .default_text = text, .group = "Load", .help = words                                           \
  }

/* In the order of load_method. */
static const char *const methods[] = {"create", "get", "batch_get", "update", "health", NULL};

static const ls_option options[] = {
    {.flag = "address",
     .type = LS_OPTION_STRING,
     AT(address),
     .required = true,
     .group = "Load",
     .help = "The order service, host:port"},
    {.flag = "method",
     .type = LS_OPTION_ENUM,
     AT(method),
     .choices = methods,
     .group = "Load",
     .help = "What is called"},
    NUMBER("in-flight", in_flight, 1, 1000000, "64",
           "Calls in flight; with a rate: at most so many"),
    NUMBER("calls", calls, 0, INT64_MAX, "0", "Calls to send; 0: until the time is over"),
    {.flag = "seconds",
     .type = LS_OPTION_DURATION_MS,
     AT(duration_ms),
     .default_text = "0s",
     .min = 0,
     .max = 86400000,
     .group = "Load",
     .help = "How long calls are sent, as 10s or 500ms; 0: until all are"},
    NUMBER("rate", rate, 0, 10000000, "0",
           "Calls sent a second, answered or not; 0: whenever one is answered"),
    NUMBER("channels", channels, 1, LOAD_MOST_CHANNELS, "1", "Connections"),
    NUMBER("items", items, 1, LOAD_MOST_ITEMS, "2", "Lines of a created order"),
    NUMBER("ids-from", first_id, 1, INT64_MAX, "1", "First id of orders that exist"),
    NUMBER("ids-to", last_id, 1, INT64_MAX, "1", "Last id of orders that exist"),
    NUMBER("batch", batch, 1, LOAD_MOST_IDS, "256", "Orders of a batch_get"),
    NUMBER("seed", seed, 0, INT64_MAX, "1", "What ids and customers are drawn from")};

static const ls_program program = {.name = "order-load",
                                   .version = "0",
                                   .summary = "Puts load on an order service and says as JSON what "
                                              "came of it."};

enum { OPTION_COUNT = sizeof options / sizeof options[0] };

static bool check(const settings *given, ls_error *error) {
  if (given->in_flight < given->channels)
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                        "there are fewer calls in flight than connections");
  if (given->calls == 0 && given->duration_ms == 0)
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                        "one of --calls and --seconds is needed");
  bool is_batch = given->method == LOAD_BATCH_GET;
  bool needs_ids = is_batch || given->method == LOAD_GET || given->method == LOAD_UPDATE;
  if (needs_ids && given->last_id - given->first_id < (is_batch ? given->batch - 1 : 0))
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                        "there are too few ids from --ids-from to --ids-to");
  return true;
}

static void print_latencies(const char *name, const latencies *taken) {
  printf("\"%s\": {\"mean\": %.1f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"max\": %" PRId64
         "}, ",
         name, latencies_mean(taken), latencies_quantile(taken, 0.5),
         latencies_quantile(taken, 0.9), latencies_quantile(taken, 0.99), taken->highest_us);
}

static void print(const load_result *result) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  const char *separator = "";
  printf("{\"answers\": {");
  for (size_t code = 0; code < LOAD_CODES; code++) {
    if (result->answers[code] == 0)
      continue;
    printf("%s\"%s\": %" PRId64, separator, ls_code_name((ls_code)code), result->answers[code]);
    separator = ", ";
  }
  printf("}, \"wrong\": %" PRId64 ", \"sent\": %" PRId64 ", \"held_back\": %" PRId64
         ", \"seconds\": %.6f, \"per_second\": %.3f, \"sent_per_second\": %.3f, ",
         result->wrong, result->sent, result->held_back, result->seconds,
         (double)result->answers[LS_OK] / result->seconds,
         result->send_seconds > 0 ? (double)result->sent / result->send_seconds : 0);
  print_latencies("latency_us", &result->done);
  print_latencies("refusal_us", &result->refused);
  printf("\"cpu_seconds\": %.3f}\n",
         (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
             (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
}

static bool run(const settings *given, ls_error *error) {
  static load_requests requests; /* too large for a stack, like the result */
  requests = (load_requests){.method = (load_method)given->method,
                             .items = (unsigned)given->items,
                             .first_id = given->first_id,
                             .last_id = given->last_id,
                             .batch = (unsigned)given->batch,
                             .random = (uint64_t)given->seed};
  load_requests_prepare(&requests);
  const load_options load = {.requests = &requests,
                             .address = given->address,
                             .channels = (size_t)given->channels,
                             .in_flight = (size_t)given->in_flight,
                             .calls = given->calls,
                             .duration_ms = given->duration_ms,
                             .rate = (double)given->rate};
  static load_result result;
  if (!load_run(&load, &result, error))
    return false;
  print(&result);
  if (result.wrong > 0)
    return ls_error_set(error, LS_DATA_LOSS, false, NULL, "%" PRId64 " answers are wrong: %s",
                        result.wrong, result.first_wrong);
  return true;
}

int main(int argc, char **argv) {
  ls_error error;
  ls_error_clear(&error);
  settings given;
  int action = LS_ACTION_RUN;
  if (!ls_config_parse(options, OPTION_COUNT, &program, argc, argv, &given, &action, &error)) {
    fprintf(stderr, "order-load: %s\n", error.message);
    return LS_EXIT_CONFIG;
  }
  int status = EXIT_SUCCESS;
  ls_log_init("order-load", LS_LOG_WARN, LS_LOG_TEXT);
  if (action == LS_ACTION_RUN && (!check(&given, &error) || !run(&given, &error))) {
    fprintf(stderr, "order-load: %s\n", error.message);
    status = EXIT_FAILURE;
  }
  ls_config_clear(options, OPTION_COUNT, &given);
  return status;
}
