/* Makes a failing schedule short: see shrink.h. Parts are left out, halves first and single steps
 * last; then numbers are made smaller; until nothing helps any more. */
#include "tests/simulation/shrink.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/simulation/settle.h"
#include "tests/simulation/steps.h"

enum { SECONDS = 2, MOST_SECONDS = 60 };

static time_t deadline;

static promise run_apart(const schedule *s, bool is_traced) {
  (void)fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    uint64_t counts[COVERAGE_COUNT] = {0};
    alarm(SECONDS);
    promise what = schedule_run(s, counts, is_traced, NULL);
    (void)fflush(stdout);
    _exit((int)what);
  }
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) ||
      WEXITSTATUS(status) > P15)
    return SHRINK_CRASHED;
  return (promise)WEXITSTATUS(status);
}

promise shrink_try(const schedule *s) {
  return run_apart(s, false);
}

void shrink_show(const schedule *s) {
  setvbuf(stdout, NULL, _IOLBF, 0); /* so that a crash leaves all that was said before it */
  run_apart(s, true);
}

static bool fails_alike(const schedule *s, promise what) {
  return time(NULL) < deadline && shrink_try(s) == what;
}

static bool remove_part(schedule *s, int from, int count, promise what) {
  schedule shorter = *s;
  if (count > s->count - from)
    count = s->count - from;
  memmove(&shorter.steps[from], &shorter.steps[from + count],
          (size_t)(s->count - from - count) * sizeof shorter.steps[0]);
  shorter.count -= count;
  if (!fails_alike(&shorter, what))
    return false;
  *s = shorter;
  return true;
}

static bool remove_parts(schedule *s, promise what) {
  bool any = false;
  for (int size = (s->count + 1) / 2; size >= 1; size = size == 1 ? 0 : (size + 1) / 2)
    for (int from = 0; from < s->count;)
      if (remove_part(s, from, size, what))
        any = true;
      else
        from += size;
  return any;
}

/* Two steps that only make sense together. */
static bool remove_pair(schedule *s, int first, int second, promise what) {
  schedule shorter = {.shape = s->shape};
  for (int i = 0; i < s->count; i++)
    if (i != first && i != second)
      shorter.steps[shorter.count++] = s->steps[i];
  if (!fails_alike(&shorter, what))
    return false;
  *s = shorter;
  return true;
}

static bool remove_pairs(schedule *s, promise what) {
  bool any = false;
  for (int first = 0; first < s->count; first++)
    for (int second = first + 1; second < s->count; second++)
      if (remove_pair(s, first, second, what)) {
        any = true;
        second = first;
      }
  return any;
}

static bool try_step(schedule *s, int index, unsigned step, promise what) {
  schedule changed = *s;
  if (step == s->steps[index])
    return false;
  changed.steps[index] = step;
  if (!fails_alike(&changed, what))
    return false;
  *s = changed;
  return true;
}

static bool lower_step(schedule *s, int index, promise what) {
  bool any = false;
  for (unsigned parameter; (parameter = steps_parameter(s->steps[index])) > 0; any = true) {
    unsigned step = s->steps[index];
    if (!try_step(s, index, steps_with_parameter(step, 0), what) &&
        !try_step(s, index, steps_with_parameter(step, parameter / 2), what) &&
        !try_step(s, index, steps_with_parameter(step, parameter - 1), what))
      break;
  }
  return any;
}

static bool try_shape(schedule *s, unsigned shape, promise what) {
  schedule changed = *s;
  if (shape == s->shape)
    return false;
  changed.shape = shape;
  if (!fails_alike(&changed, what))
    return false;
  *s = changed;
  return true;
}

/* Its parts, one by one, to nothing. */
static bool lower_shape(schedule *s, promise what) {
  static const unsigned parts[] = {8, 4, 4, 2, 2, 2, 2};
  bool any = false;
  unsigned unit = 1;
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; unit *= parts[i++])
    any = try_shape(s, s->shape - s->shape / unit % parts[i] * unit, what) || any;
  return any;
}

void shrink(schedule *s, promise what) {
  deadline = time(NULL) + MOST_SECONDS;
  bool any = true;
  while (any && time(NULL) < deadline) {
    any = remove_parts(s, what);
    for (int i = 0; i < s->count; i++)
      any = lower_step(s, i, what) || any;
    any = lower_shape(s, what) || any;
    if (!any)
      any = remove_pairs(s, what);
  }
}
