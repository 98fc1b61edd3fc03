/* C11's wait for a condition with a deadline, by a clock that does not jump.
 *
 * librdkafka waits until a wall-clock time, 100 ms from now. Set back by an hour in between, the
 * clock would have it wait for an hour: nothing is consumed, and the service does not even stop.
 * This definition takes the place of the C library's, whose types have the same layout underneath:
 * it takes what is left at the call and waits for that by the monotonic clock. */
#include <errno.h>
#include <pthread.h>
#include <threads.h>
#include <time.h>

#include "runtime/base/clock.h"

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "a C11 mutex is a POSIX one");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "a C11 condition is a POSIX one");

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex,
                  const struct timespec *restrict until) {
  struct timespec deadline = ls_clock_steady_deadline(until);
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
