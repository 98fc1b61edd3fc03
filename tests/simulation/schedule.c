/* A schedule: see schedule.h. */
#include "tests/simulation/schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/simulation/settle.h"
#include "tests/simulation/steps.h"

enum { SHAPES = WORLD_SHAPES * SETTLE_WAYS };

/* splitmix64 */
static uint64_t next_random(uint64_t *state) {
  uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);
  mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
  return mixed ^ (mixed >> 31);
}

void schedule_from_seed(schedule *s, uint64_t seed) {
  uint64_t state = seed * UINT64_C(0xd1342543de82ef95) + 1;
  unsigned bound = steps_bound();
  s->shape = (unsigned)(next_random(&state) % SHAPES);
  s->count = SCHEDULE_STEPS;
  for (int i = 0; i < s->count; i++)
    s->steps[i] = (unsigned)(next_random(&state) % bound);
}

static bool parse_number(const char **text, unsigned bound, unsigned *number) {
  char *end;
  unsigned long value = strtoul(*text, &end, 10);
  if (end == *text || **text == '-' || value >= bound)
    return false;
  *number = (unsigned)value;
  *text = end;
  return true;
}

bool schedule_parse(schedule *s, const char *text) {
  s->count = 0;
  if (!parse_number(&text, SHAPES, &s->shape))
    return false;
  while (*text == ',' && s->count < MAX_STEPS) {
    text++;
    if (!parse_number(&text, steps_bound(), &s->steps[s->count++]))
      return false;
  }
  return *text == '\0';
}

void schedule_print(const schedule *s) {
  printf("%u", s->shape);
  for (int i = 0; i < s->count; i++)
    printf(",%u", s->steps[i]);
}

promise schedule_run(const schedule *s, uint64_t *counts, bool is_traced, char *problem) {
  static world w; /* large; and most of it need not be made anew */
  steps_bound();
  world_reset(&w, s->shape % WORLD_SHAPES, counts, is_traced);
  for (int i = 0; i < s->count && w.broken == KEPT; i++) {
    if (is_traced)
      printf("%3d. %u: %s\n", i + 1, s->steps[i], steps_name(s->steps[i]));
    steps_do(&w, s->steps[i]);
  }
  if (w.broken == KEPT) {
    if (is_traced)
      printf("the end\n");
    settle(&w, s->shape / WORLD_SHAPES);
  }
  world_clear(&w);
  if (problem != NULL)
    memcpy(problem, w.problem, sizeof w.problem);
  return w.broken;
}
