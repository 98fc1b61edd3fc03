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

#include "runtime/base/clock.h"

typedef long (*syscall_function)(long number, ...);

enum { ARGUMENTS = 6 };

static bool is_wall_clock_wait(long number, const long *arguments) {
  return number == SYS_futex &&
         ((int)arguments[1] & ~FUTEX_PRIVATE_FLAG) == (FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME) &&
         arguments[3] != 0;
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
    deadline = ls_clock_steady_deadline((const struct timespec *)arguments[3]);
    arguments[1] &= ~(long)FUTEX_CLOCK_REALTIME;
    arguments[3] = (long)(uintptr_t)&deadline;
  }
  return real(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
              arguments[5]);
}
