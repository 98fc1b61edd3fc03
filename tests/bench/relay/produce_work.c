/* See produce_work.h. */
#include "produce_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/base/clock.h"

void produce_work_fail(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

produce_work produce_work_read(int argc, char **argv) {
  if (argc != 4)
    produce_work_fail("usage", "SERVERS TOPIC COUNT");
  return (produce_work){argv[1], argv[2], (size_t)strtoull(argv[3], NULL, 10)};
}

int64_t produce_order_id(size_t index) {
  return 1000000 + (int64_t)index;
}

int64_t produce_occur_time_us(size_t index) {
  return INT64_C(1750000000123456) + (int64_t)index;
}

void produce_fill_snapshot(uint8_t snapshot[PRODUCE_SNAPSHOT_BYTES], size_t index) {
  memset(snapshot, 'a' + (int)(index % 26), PRODUCE_SNAPSHOT_BYTES);
}

produce_moment produce_now(void) {
  struct timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return (produce_moment){ls_clock_monotonic_us(),
                          (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000};
}

void produce_work_report(const produce_work *work, produce_moment begin, size_t bytes) {
  produce_moment end = produce_now();
  printf("{\"records\": %zu, \"seconds\": %.6f, \"cpu_seconds\": %.6f, \"record_bytes\": %.1f}\n",
         work->count, (double)(end.time_us - begin.time_us) / 1e6,
         (double)(end.cpu_us - begin.cpu_us) / 1e6, (double)bytes / (double)work->count);
}
