/* The simulation's command: see usage. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/simulation/exhaustive.h"
#include "tests/simulation/parallel.h"
#include "tests/simulation/schedule.h"
#include "tests/simulation/shrink.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SCHEDULES 40000
#define EVENTS 5
#define RELAY_STRIDE 40
#else
#define SCHEDULES 3000000
#define EVENTS 7
#define RELAY_STRIDE 1
#endif

/* With so many schedules everything must have happened at least once. */
#define COVERED_BY 30000

static const char usage[] =
    "usage: simulation_test [options]\n"
    "\n"
    "Order's relay and delivery's rules in a simulated world: first all that can happen of a "
    "little,\n"
    "then random schedules of everything. Exit code 1: a promise is broken, or something was "
    "never\n"
    "tried.\n"
    "\n"
    "  --only PART        exhaustive or random\n"
    "  --schedules N      random schedules (LOCKSTEP_SCHEDULES; default %d)\n"
    "  --first-seed N     seed of the first one (default 1)\n"
    "  --seed N           just the schedule of this seed (LOCKSTEP_SEED)\n"
    "  --schedule N,N,... just this schedule, as a failure prints it\n"
    "  --trace            say what --seed or --schedule does, step by step\n"
    "  --coverage         print how often everything happened\n"
    "  --jobs N           processes (default: the number of processors)\n"
    "  --help             this text\n";

typedef struct options {
  bool exhaustive, random, trace, coverage;
  uint64_t schedules, first_seed, seed; /* seed 0: none */
  const char *schedule;
  int jobs;
} options;

static uint64_t counts[COVERAGE_COUNT];

static int fail_usage(const char *what, const char *value) {
  fprintf(stderr, "simulation_test: %s: \"%s\" (--help says what there is)\n", what, value);
  return 2;
}

static bool read_number(const char *text, uint64_t *number) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (end == text || *end != '\0' || *text == '-' || errno != 0 || value == 0)
    return false;
  *number = value;
  return true;
}

static void print_failure(promise what, const char *problem) {
  if (what == SHRINK_CRASHED)
    printf("FAILED: it crashes, or comes to no end\n");
  else
    printf("FAILED: P%d is broken: %s\n", (int)what, problem);
}

/* --- Single schedules --- */

static int show_schedule(const schedule *s, bool is_traced) {
  char problem[sizeof((world *)0)->problem];
  promise what = schedule_run(s, counts, is_traced, problem);
  if (what == KEPT) {
    printf("all promises are kept\n");
    return 0;
  }
  print_failure(what, problem);
  return 1;
}

static int show_shrunk(schedule *s, promise what) {
  int before = s->count;
  printf("shrinking ...\n");
  (void)fflush(stdout);
  shrink(s, what);
  printf("%d steps are left of %d:\n\n", s->count, before);
  shrink_show(s);
  printf("\nto do it again: simulation_test --trace --schedule ");
  schedule_print(s);
  printf("\n");
  return 1;
}

static int run_seed(uint64_t seed, bool is_traced) {
  schedule s;
  schedule_from_seed(&s, seed);
  promise what = shrink_try(&s);
  if (is_traced || what == KEPT)
    return show_schedule(&s, is_traced);
  char problem[sizeof((world *)0)->problem] = "";
  if (what != SHRINK_CRASHED)
    schedule_run(&s, counts, false, problem);
  print_failure(what, problem);
  return show_shrunk(&s, what);
}

/* --- All of them --- */

static promise run_random(uint64_t seed, uint64_t *covered, char *problem) {
  schedule s;
  schedule_from_seed(&s, seed);
  return schedule_run(&s, covered, false, problem);
}

static double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* 0, or the exit code. */
static int run_part(const parallel_work *work, int jobs, parallel_result *result) {
  double begin = seconds_now();
  *result = parallel_run(work, jobs, counts);
  if (result->end == PARALLEL_INTERRUPTED)
    return 130;
  if (result->end == PARALLEL_FAILED)
    return 2;
  printf("%s: %llu in %.1f s\n", work->name, (unsigned long long)result->done,
         seconds_now() - begin);
  if (result->end == PARALLEL_DONE)
    return 0;
  print_failure(result->end == PARALLEL_CRASHED ? SHRINK_CRASHED : result->what, result->problem);
  return 1;
}

static int run_exhaustive(const options *wanted) {
  parallel_result result;
  parallel_work deliveries = {"orders of events, with all cuts and crashes", 0,
                              exhaustive_deliveries(EVENTS), exhaustive_delivery};
  int code = run_part(&deliveries, wanted->jobs, &result);
  if (code == 1)
    exhaustive_describe_delivery(result.number);
  if (code != 0)
    return code;
  parallel_work relays = {"orders of rows, with all acknowledgements and crashes", 0,
                          exhaustive_relays() / RELAY_STRIDE, exhaustive_relay};
  code = run_part(&relays, wanted->jobs, &result);
  if (code == 1)
    exhaustive_describe_relay(result.number);
  return code;
}

static int run_all_random(const options *wanted) {
  parallel_result result;
  parallel_work random = {"random schedules", wanted->first_seed, wanted->schedules, run_random};
  int code = run_part(&random, wanted->jobs, &result);
  if (code != 1)
    return code;
  printf("seed %llu (LOCKSTEP_SEED=%llu does it again)\n", (unsigned long long)result.number,
         (unsigned long long)result.number);
  schedule s;
  schedule_from_seed(&s, result.number);
  return show_shrunk(&s, result.end == PARALLEL_CRASHED ? SHRINK_CRASHED : result.what);
}

static int check_coverage(const options *wanted) {
  int missing = 0;
  for (int i = 0; i < COVERAGE_COUNT; i++) {
    if (wanted->coverage)
      printf("%14llu  %s\n", (unsigned long long)counts[i], coverage_words((coverage)i));
    if (counts[i] > 0 || wanted->schedules < COVERED_BY)
      continue;
    printf("FAILED: it never happened: %s\n", coverage_words((coverage)i));
    missing++;
  }
  return missing > 0;
}

static int run_everything(const options *wanted) {
  if (wanted->exhaustive) {
    int code = run_exhaustive(wanted);
    if (code != 0)
      return code;
  }
  if (!wanted->random)
    return 0;
  memset(counts, 0, sizeof counts);
  int code = run_all_random(wanted);
  return code != 0 ? code : check_coverage(wanted);
}

/* --- The command line --- */

static bool read_environment(options *wanted, int *code) {
  static const char *const names[] = {"LOCKSTEP_SCHEDULES", "LOCKSTEP_SEED"};
  uint64_t *const values[] = {&wanted->schedules, &wanted->seed};
  for (int i = 0; i < 2; i++) {
    const char *text = getenv(names[i]);
    if (text == NULL || text[0] == '\0' || read_number(text, values[i]))
      continue;
    *code = fail_usage(names[i], text);
    return false;
  }
  return true;
}

static bool read_part(const char *part, options *wanted) {
  wanted->exhaustive = strcmp(part, "exhaustive") == 0;
  wanted->random = strcmp(part, "random") == 0;
  return wanted->exhaustive || wanted->random;
}

static bool read_option(int option, options *wanted) {
  uint64_t jobs;
  switch (option) {
  case 'o':
    return read_part(optarg, wanted);
  case 'n':
    return read_number(optarg, &wanted->schedules);
  case 'f':
    return read_number(optarg, &wanted->first_seed);
  case 's':
    return read_number(optarg, &wanted->seed);
  case 'l':
    wanted->schedule = optarg;
    return true;
  case 't':
    wanted->trace = true;
    return true;
  case 'c':
    wanted->coverage = true;
    return true;
  default:
    if (!read_number(optarg, &jobs) || jobs > 64)
      return false;
    wanted->jobs = (int)jobs;
    return true;
  }
}

/* False: the program is over, with `code`. */
static bool read_options(int argc, char **argv, options *wanted, int *code) {
  static const struct option known[] = {{"only", required_argument, NULL, 'o'},
                                        {"schedules", required_argument, NULL, 'n'},
                                        {"first-seed", required_argument, NULL, 'f'},
                                        {"seed", required_argument, NULL, 's'},
                                        {"schedule", required_argument, NULL, 'l'},
                                        {"trace", no_argument, NULL, 't'},
                                        {"coverage", no_argument, NULL, 'c'},
                                        {"jobs", required_argument, NULL, 'j'},
                                        {"help", no_argument, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};
  if (!read_environment(wanted, code))
    return false;
  for (int option; (option = getopt_long(argc, argv, "h", known, NULL)) != -1;) {
    if (option == 'h') {
      printf(usage, SCHEDULES);
      *code = 0;
      return false;
    }
    if (option == '?' || !read_option(option, wanted)) {
      *code = option == '?' ? 2 : fail_usage("not a good value", optarg);
      return false;
    }
  }
  if (optind == argc)
    return true;
  *code = fail_usage("unknown argument", argv[optind]);
  return false;
}

int main(int argc, char **argv) {
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
  options wanted = {.exhaustive = true,
                    .random = true,
                    .schedules = SCHEDULES,
                    .first_seed = 1,
                    .jobs = processors > 0 ? (int)processors : 1};
  int code;
  if (!read_options(argc, argv, &wanted, &code))
    return code;
  schedule s;
  if (wanted.schedule != NULL) {
    if (!schedule_parse(&s, wanted.schedule))
      return fail_usage("not a schedule", wanted.schedule);
    return show_schedule(&s, wanted.trace);
  }
  if (wanted.seed != 0)
    return run_seed(wanted.seed, wanted.trace);
  return run_everything(&wanted);
}
