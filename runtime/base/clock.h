/* Time: a monotonic clock for durations and deadlines, the wall clock for timestamps, RFC 3339
 * text. Any thread. */
#ifndef LOCKSTEP_RUNTIME_BASE_CLOCK_H
#define LOCKSTEP_RUNTIME_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Since an arbitrary moment; never goes back. */
int64_t ls_clock_monotonic_us(void);
int64_t ls_clock_monotonic_ms(void);

/* Since 1970-01-01T00:00:00Z; may jump. */
int64_t ls_clock_wall_us(void);

/* Sleeps for so long, or until a signal is handled. */
void ls_clock_sleep_ms(int64_t duration_ms);

/* Room for "2024-02-29T23:59:59.123456Z" and its NUL. */
enum { LS_RFC3339_BYTES = 28 };

/* Writes `wall_us` in UTC with `fraction_digits` (0, 3 or 6) digits after the second, cut, not
 * rounded. False, and "" in `out`, for years outside 0001 to 9999. */
bool ls_clock_format_rfc3339(int64_t wall_us, int fraction_digits, char out[LS_RFC3339_BYTES]);

/* Reads RFC 3339 with any offset and any number of fraction digits (cut to microseconds). A leap
 * second is the first second of the next minute. False when `text` is anything else or its UTC year
 * is outside 0001 to 9999; `wall_us` is then untouched. */
bool ls_clock_parse_rfc3339(const char *text, size_t length, int64_t *wall_us);

/* What is left until a wall-clock time, at the call and for a minute at most, as a time of
 * CLOCK_MONOTONIC: for waits that a clock which jumps must not stretch. The minute bounds the wait
 * should it jump just before it is looked at. */
struct timespec ls_clock_steady_deadline(const struct timespec *wall);

#endif
