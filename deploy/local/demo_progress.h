/* Shows how far the demo is: one line that changes on a terminal, a line now and then elsewhere. */
#ifndef LOCKSTEP_DEPLOY_LOCAL_DEMO_PROGRESS_H
#define LOCKSTEP_DEPLOY_LOCAL_DEMO_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct demo_progress {
  const char *title; /* of what is under way; not copied */
  bool terminal;
  int64_t next_us; /* when the next line is due */
} demo_progress;

/* Of stdout. */
demo_progress demo_progress_new(void);

/* Something else is under way from now on. */
void demo_progress_begin(demo_progress *progress, const char *title);

/* Shows "<title>  <text>", unless it was shown a moment ago. */
void demo_progress_update(demo_progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Shows it for good. */
void demo_progress_end(demo_progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Removes the line that changes, before something else is printed. */
void demo_progress_clear(demo_progress *progress);

#endif
