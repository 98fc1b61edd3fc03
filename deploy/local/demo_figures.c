/* The four cases, and arithmetic on their figures. */
#include "deploy/local/demo_figures.h"

#include <stdlib.h>

bool demo_case_is_full(demo_case which) {
  return which == DEMO_FULL_DOMAIN || which == DEMO_FULL_PER_EVENT;
}

bool demo_case_is_domain(demo_case which) {
  return which == DEMO_FULL_DOMAIN || which == DEMO_ZERO_DOMAIN;
}

const char *demo_case_title(demo_case which) {
  static const char *const titles[DEMO_CASES] = {
      [DEMO_FULL_DOMAIN] = "full payload, domain topic",
      [DEMO_FULL_PER_EVENT] = "full payload, topic per event",
      [DEMO_ZERO_DOMAIN] = "zero payload, domain topic",
      [DEMO_ZERO_PER_EVENT] = "zero payload, topic per event"};
  return titles[which];
}

double demo_events_per_second(const demo_figures *figures) {
  return figures->elapsed_us > 0 ? (double)figures->events * 1e6 / (double)figures->elapsed_us : 0;
}

double demo_ratio(int64_t part, int64_t whole) {
  return whole != 0 ? (double)part / (double)whole : 0;
}

static int compare_durations(const void *left, const void *right) {
  int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
  return (a > b) - (a < b);
}

double demo_percentile_ms(int64_t *durations_us, size_t count, double percent) {
  if (count == 0)
    return -1;
  qsort(durations_us, count, sizeof *durations_us, compare_durations);
  double rank = percent / 100 * (double)count;
  size_t index = (size_t)rank;
  if ((double)index < rank)
    index++; /* the smallest rank at or above it */
  if (index < 1)
    index = 1;
  if (index > count)
    index = count;
  return (double)durations_us[index - 1] / 1000;
}
