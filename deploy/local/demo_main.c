/* lockstep-demo: drives a running stack through the four cases and reports what each one cost.
 *
 * Exit status: 0 if every delivery equals its order; 1 if not, or if something failed; 78 for bad
 * options; 130 when interrupted. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "deploy/local/demo_addresses.h"
#include "deploy/local/demo_compare.h"
#include "deploy/local/demo_figures.h"
#include "deploy/local/demo_options.h"
#include "deploy/local/demo_progress.h"
#include "deploy/local/demo_report.h"
#include "deploy/local/demo_services.h"
#include "deploy/local/demo_workload.h"
#include "runtime/base/clock.h"
#include "runtime/base/config.h"
#include "runtime/base/log.h"
#include "runtime/base/shutdown.h"

enum { EXIT_INTERRUPTED = 130, FIRST_WARM_UP_ORDERS = 1000, WARM_UP_ORDERS = 100 };

static void take_figures(demo_workload *work, const demo_counters *before,
                         const demo_counters *after, demo_figures *figures) {
  figures->orders = (int64_t)work->order_count;
  figures->writes = work->versions;
  figures->lost_races = work->lost_races;
  figures->repeats = work->repeats;
  figures->events = after->produced_events - before->produced_events;
  figures->kafka_bytes = after->produced_bytes - before->produced_bytes;
  figures->lookups = after->lookups - before->lookups;
  figures->lookup_ids = after->lookup_ids - before->lookup_ids;
  figures->overtaken = after->overtaken - before->overtaken;
  figures->duplicates = after->duplicates - before->duplicates;
  figures->coalesced = after->coalesced - before->coalesced;
  figures->stale = after->stale - before->stale;
  figures->visible_p50_ms = demo_percentile_ms(work->visible_us, work->visible_count, 50);
  figures->visible_p99_ms = demo_percentile_ms(work->visible_us, work->visible_count, 99);
}

/* Waits until what was written has arrived, and compares. That delivery is not in step in time is a
 * finding, not a failure. */
static bool examine(demo_services *services, const demo_options *options, demo_progress *progress,
                    demo_workload *work, const demo_counters *before, demo_figures *figures,
                    ls_error *error) {
  demo_counters after;
  figures->in_step = demo_await_in_step(services, work->orders, work->order_count,
                                        options->timeout_ms, progress, error);
  figures->elapsed_us = ls_clock_monotonic_us() - work->begin_us;
  if (figures->in_step) {
    if (!demo_services_await_counted(services, before, work->versions, options->timeout_ms, &after,
                                     error))
      return false;
  } else {
    if (error->code != LS_DEADLINE_EXCEEDED)
      return false;
    demo_progress_clear(progress);
    fprintf(stderr, "%s\n", error->message);
    ls_error_clear(error);
    if (!demo_services_count_again(services, before, &after, error))
      return false;
  }
  if (!demo_compare_all(services, work->orders, work->order_count, &figures->mismatches, error))
    return false;
  take_figures(work, before, &after, figures);
  return true;
}

/* Some orders that are not measured, more of them at the beginning, so that connections, caches,
 * the broker's compiler and consumers are as ready for the first case as for the last. `*counters`:
 * after them. */
static bool warm_up(demo_services *services, const demo_options *options, int64_t orders,
                    demo_progress *progress, demo_counters *counters, ls_error *error) {
  demo_counters before;
  demo_options few = *options;
  few.orders = orders < options->orders ? orders : options->orders;
  demo_workload work = {0};
  bool done = demo_services_count(services, &before, error) &&
              demo_workload_run(&few, progress, &work, error) &&
              demo_await_in_step(services, work.orders, work.order_count, options->timeout_ms,
                                 progress, error) &&
              demo_services_await_counted(services, &before, work.versions, options->timeout_ms,
                                          counters, error);
  demo_workload_clear(&work);
  return done;
}

/* Runs one case. False: it could not be run to its end, and the figures are not to be used. */
static bool run_case(demo_services *services, const demo_options *options, demo_case which,
                     bool first, demo_progress *progress, demo_figures *figures, ls_error *error) {
  *figures = (demo_figures){.which = which};
  demo_counters before;
  demo_progress_begin(progress, "warming up");
  if (!demo_services_await_ready(services, options->timeout_ms, error) ||
      !demo_services_set_mode(services, which, error) ||
      !warm_up(services, options, first ? FIRST_WARM_UP_ORDERS : WARM_UP_ORDERS, progress, &before,
               error))
    return false;

  demo_progress_begin(progress, demo_case_title(which));
  demo_workload work;
  bool done = demo_workload_run(options, progress, &work, error) &&
              examine(services, options, progress, &work, &before, figures, error);
  if (done) {
    demo_progress_end(progress,
                      "%" PRId64 " orders, %" PRId64 " events in %.1f s; %" PRId64
                      " lost races, %" PRId64 " repeated calls",
                      figures->orders, figures->events, (double)figures->elapsed_us / 1e6,
                      figures->lost_races, figures->repeats);
    if (work.unseen > 0)
      fprintf(stderr, "delivery did not show %" PRId64 " sampled writes in time\n", work.unseen);
  }
  demo_workload_clear(&work);
  return done;
}

static bool write_json(const char *path, const demo_figures *cases, size_t count,
                       const char *broker) {
  ls_buffer text = LS_BUFFER_INIT;
  demo_report_json(cases, count, broker, &text);
  FILE *file = text.failed ? NULL : fopen(path, "w");
  bool done = file != NULL && fwrite(text.data, 1, text.length, file) == text.length;
  if (file != NULL && fclose(file) != 0)
    done = false;
  if (!done)
    fprintf(stderr, "%s: could not be written\n", path);
  ls_buffer_clear(&text);
  return done;
}

/* Prints the report. True: it is complete and all is well. */
static bool report(const demo_options *options, const demo_figures *cases, size_t count) {
  ls_buffer text = LS_BUFFER_INIT;
  ls_buffer_printf(&text, "\nbroker: %s\n\n", options->broker_name);
  demo_report_table(cases, count, &text);
  ls_buffer_append_text(&text, "\n");
  demo_report_sentences(cases, count, &text);
  bool done = !text.failed && fwrite(text.data, 1, text.length, stdout) == text.length &&
              fflush(stdout) == 0;
  ls_buffer_clear(&text);
  if (options->json_file[0] != '\0')
    done = write_json(options->json_file, cases, count, options->broker_name) && done;
  for (size_t i = 0; i < count; i++)
    done = done && cases[i].in_step && cases[i].mismatches == 0;
  return done;
}

static bool run_cases(const demo_options *options, demo_progress *progress, ls_error *error) {
  demo_services *services = demo_services_open(options->addresses, error);
  if (services == NULL)
    return false;
  demo_figures cases[DEMO_CASES];
  size_t count = 0;
  bool done = true;
  for (int which = 0; done && which < DEMO_CASES; which++) {
    if (options->only_case != 0 && options->only_case - 1 != which)
      continue;
    done =
        run_case(services, options, (demo_case)which, count == 0, progress, &cases[count], error);
    count++;
  }
  demo_services_close(services);
  return done && report(options, cases, count);
}

/* Finds the services and runs the cases. Returns the exit status. */
static int run(demo_options *options, ls_error *error) {
  if (!ls_shutdown_init(error))
    return EXIT_FAILURE;
  demo_addresses addresses;
  demo_progress progress = demo_progress_new();
  int status = EXIT_FAILURE;
  if (!demo_addresses_find(options, demo_look_up, &addresses, error)) {
    if (error->code == LS_INVALID_ARGUMENT)
      status = LS_EXIT_CONFIG;
  } else {
    options->addresses = &addresses;
    if (run_cases(options, &progress, error))
      status = EXIT_SUCCESS;
    options->addresses = NULL;
  }
  demo_addresses_clear(&addresses);
  if (error->code != LS_OK) {
    demo_progress_clear(&progress);
    fprintf(stderr, "lockstep-demo: %s\n", error->message);
  }
  return ls_shutdown_requested() ? EXIT_INTERRUPTED : status;
}

int main(int argc, char **argv) {
  ls_error error;
  ls_error_clear(&error);
  demo_options options;
  int action = LS_ACTION_RUN;
  if (!demo_options_parse(argc, argv, &options, &action, &error)) {
    fprintf(stderr, "lockstep-demo: %s\n", error.message);
    return LS_EXIT_CONFIG;
  }
  int status = EXIT_SUCCESS;
  if (action != LS_ACTION_DONE) {
    ls_log_init("lockstep-demo", LS_LOG_WARN, LS_LOG_TEXT);
    status = run(&options, &error);
  }
  demo_options_clear(&options);
  return status;
}
