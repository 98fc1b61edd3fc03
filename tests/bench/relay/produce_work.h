/* The records of row relay_produce, the same for the relay's stage and for the bare loop: creations
 * of distinct orders with a snapshot of 256 bytes, in memory before the clock starts. */
#ifndef LOCKSTEP_TESTS_BENCH_RELAY_PRODUCE_WORK_H
#define LOCKSTEP_TESTS_BENCH_RELAY_PRODUCE_WORK_H

#include <stddef.h>
#include <stdint.h>

enum { PRODUCE_SNAPSHOT_BYTES = 256 };

typedef struct produce_work {
  const char *servers, *topic;
  size_t count;
} produce_work;

#define PRODUCE_SOURCE "/lockstep/order"

/* Reads "SERVERS TOPIC COUNT"; whatever is wrong ends the program. */
produce_work produce_work_read(int argc, char **argv);

/* Distinct, and of one width in decimal. */
int64_t produce_order_id(size_t index);

/* When the event happened, in microseconds since the epoch. */
int64_t produce_occur_time_us(size_t index);

void produce_fill_snapshot(uint8_t snapshot[PRODUCE_SNAPSHOT_BYTES], size_t index);

/* A moment, by the clock and by what the process has used. */
typedef struct produce_moment {
  int64_t time_us, cpu_us;
} produce_moment;

produce_moment produce_now(void);

/* Says, as JSON, what sending took from `begin` to now. */
void produce_work_report(const produce_work *work, produce_moment begin, size_t bytes);

_Noreturn void produce_work_fail(const char *what, const char *why);

#endif
