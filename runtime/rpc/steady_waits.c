/* Abseil's waits with a deadline, by a clock that does not jump.
 *
 * gRPC's timers wait in Abseil, which asks the kernel to wait until a wall-clock time. Set back by
 * an hour in between, the clock would have them wait for an hour: no call ends by its deadline, and
 * no connection is tried again. Abseil asks by way of syscall(); this definition takes the place of
 * the C library's, passes everything on as it is, but turns such a wait into one by the monotonic
 * clock for what is left at the call. */
#include <dlfcn.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND INT64_C(1000000000)

/* Nothing is waited for longer than this, should the clock jump just before it is looked at. */
#define LONGEST_NS (60 * NS_PER_SECOND)

typedef long (*syscall_function)(long number, ...);

enum { ARGUMENTS = 6 };

static int64_t nanoseconds(const struct timespec *time) {
  return (int64_t)time->tv_sec * NS_PER_SECOND + time->tv_nsec;
}

static struct timespec steady_deadline(const struct timespec *until) {
  struct timespec wall, steady;
  (void)timespec_get(&wall, TIME_UTC);
  (void)clock_gettime(CLOCK_MONOTONIC, &steady);
  int64_t left = nanoseconds(until) - nanoseconds(&wall);
  if (left > LONGEST_NS)
    left = LONGEST_NS;
  int64_t end = nanoseconds(&steady) + (left > 0 ? left : 0);
  return (struct timespec){.tv_sec = (time_t)(end / NS_PER_SECOND),
                           .tv_nsec = (long)(end % NS_PER_SECOND)};
}

static bool is_wall_clock_wait(long number, const long *arguments) {
  return number == SYS_futex && arguments[3] != 0 &&
         ((int)arguments[1] & ~FUTEX_PRIVATE_FLAG) == (FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME);
}

long syscall(long number, ...) {
  static _Atomic(syscall_function) next;
  syscall_function real = next;
  if (real == NULL) {
    real = (syscall_function)(uintptr_t)dlsym(RTLD_NEXT, "syscall");
    if (real == NULL)
      abort(); /* there is no C library */
    next = real;
  }
  long arguments[ARGUMENTS];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < ARGUMENTS; i++)
    arguments[i] = va_arg(list, long);
  va_end(list);
  struct timespec deadline;
  if (is_wall_clock_wait(number, arguments)) {
    deadline = steady_deadline((const struct timespec *)arguments[3]);
    arguments[1] &= ~(long)FUTEX_CLOCK_REALTIME;
    arguments[3] = (long)(uintptr_t)&deadline;
  }
  return real(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
              arguments[5]);
}
