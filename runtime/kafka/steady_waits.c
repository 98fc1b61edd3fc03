/* C11's wait for a condition with a deadline, by a clock that does not jump.
 *
 * librdkafka waits until a wall-clock time, 100 ms from now. Set back by an hour in between, the
 * clock would have it wait for an hour: nothing is consumed, and the service does not even stop.
 * This definition takes the place of the C library's, whose types have the same layout underneath:
 * it takes what is left at the call and waits for that by the monotonic clock. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <threads.h>
#include <time.h>

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "a C11 mutex is a POSIX one");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "a C11 condition is a POSIX one");

#define NS_PER_SECOND INT64_C(1000000000)

/* Nothing is waited for longer than this, should the clock jump just before it is looked at. */
#define LONGEST_NS (60 * NS_PER_SECOND)

static int64_t nanoseconds(const struct timespec *time) {
  return (int64_t)time->tv_sec * NS_PER_SECOND + time->tv_nsec;
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex,
                  const struct timespec *restrict until) {
  struct timespec wall, steady;
  (void)timespec_get(&wall, TIME_UTC);
  clock_gettime(CLOCK_MONOTONIC, &steady);
  int64_t left = nanoseconds(until) - nanoseconds(&wall);
  if (left > LONGEST_NS)
    left = LONGEST_NS;
  int64_t end = nanoseconds(&steady) + (left > 0 ? left : 0);
  struct timespec deadline = {.tv_sec = (time_t)(end / NS_PER_SECOND),
                              .tv_nsec = (long)(end % NS_PER_SECOND)};
  switch (pthread_cond_clockwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex,
                                 CLOCK_MONOTONIC, &deadline)) {
  case 0:
    return thrd_success;
  case ETIMEDOUT:
    return thrd_timedout;
  default:
    return thrd_error;
  }
}
