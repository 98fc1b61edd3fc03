/* bench-watch-topic SERVERS TOPIC COUNT SECONDS: watches records become visible in a topic, by its
 * end offsets, and what the process that sends them uses meanwhile. Says "ready" once it watches,
 * and is then told that process's id on its standard input. Ends when there are COUNT more than at
 * the beginning, or fails after so many seconds, and prints when there were how many, as JSON: of
 * the first moment at which any were seen and of the one at which all were, the time, the number,
 * and the process's CPU time; and some points in between. Times are in microseconds of the
 * monotonic clock. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

#include "runtime/base/clock.h"
#include "topic.h"

enum { POLL_US = 4000, POINTS = 4096 };

typedef struct moment {
  int64_t time_us, cpu_us, count;
} moment;

/* Of all threads of the process, ended ones too. */
static int64_t cpu_us(pid_t process) {
  clockid_t clock;
  struct timespec used;
  if (clock_getcpuclockid(process, &clock) != 0 || clock_gettime(clock, &used) != 0)
    topic_fail("CPU time", "no such process");
  return (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

static void print(const char *name, const moment *seen) {
  printf("\"%s\": {\"time_us\": %" PRId64 ", \"cpu_us\": %" PRId64 ", \"count\": %" PRId64 "}, ",
         name, seen->time_us, seen->cpu_us, seen->count);
}

int main(int argc, char **argv) {
  static moment points[POINTS];
  if (argc != 5)
    topic_fail("usage", "bench-watch-topic SERVERS TOPIC COUNT SECONDS");
  int64_t count = strtoll(argv[3], NULL, 10);
  rd_kafka_t *client = topic_open(argv[1]);
  rd_kafka_topic_partition_list_t *ends = topic_ends(client, argv[2], NULL);
  int64_t begin = topic_sum(ends);
  int64_t deadline_us = ls_clock_monotonic_us() + strtoll(argv[4], NULL, 10) * 1000000;
  puts("ready");
  fflush(stdout);
  pid_t process;
  if (scanf("%d", &process) != 1)
    topic_fail("standard input", "no process id");

  moment first = {0}, last = {0};
  size_t point_count = 0;
  while (last.count < count) {
    const struct timespec pause = {0, POLL_US * 1000};
    nanosleep(&pause, NULL);
    topic_ends(client, argv[2], ends);
    moment now = {ls_clock_monotonic_us(), cpu_us(process), topic_sum(ends) - begin};
    if (now.time_us > deadline_us)
      topic_fail(argv[2], "the records do not all come");
    if (now.count == 0)
      continue;
    if (first.count == 0)
      first = now;
    if (now.count != last.count && point_count < POINTS)
      points[point_count++] = now;
    last = now;
  }
  printf("{");
  print("first", &first);
  print("last", &last);
  printf("\"points\": [");
  for (size_t i = 0; i < point_count; i++)
    printf("%s[%" PRId64 ", %" PRId64 "]", i > 0 ? ", " : "", points[i].time_us, points[i].count);
  printf("]}\n");
  rd_kafka_topic_partition_list_destroy(ends);
  rd_kafka_destroy(client);
  return 0;
}
