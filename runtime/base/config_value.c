/* Reads and writes the values of options. */
#include "runtime/base/config_value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct config_unit {
  const char *name;
  int64_t factor;
} config_unit;

/* Largest first: numbers are written in the largest unit that divides them. */
static const config_unit duration_units[] = {
    {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0}};
static const config_unit size_units[] = {{"GiB", INT64_C(1) << 30},
                                         {"MiB", INT64_C(1) << 20},
                                         {"KiB", INT64_C(1) << 10},
                                         {"", 1},
                                         {NULL, 0}};
static const config_unit no_units[] = {{"", 1}, {NULL, 0}};

static const config_unit *units_of(ls_option_type type) {
  if (type == LS_OPTION_DURATION_MS)
    return duration_units;
  return type == LS_OPTION_SIZE_BYTES ? size_units : no_units;
}

void *config_member(const ls_option *option, void *config) {
  return (char *)config + option->offset;
}

void config_format_number(ls_option_type type, int64_t number, char out[CONFIG_NUMBER_BYTES]) {
  const config_unit *unit = units_of(type);
  while (unit[1].name && (number == 0 || number % unit->factor != 0))
    unit++;
  snprintf(out, CONFIG_NUMBER_BYTES, "%" PRId64 "%s", number / unit->factor, unit->name);
}

/* A number and one of the type's units; 0 needs no unit. */
static bool read_number(ls_option_type type, const char *text, int64_t *number) {
  const char *digits = *text == '-' ? text + 1 : text;
  if (*digits < '0' || *digits > '9') /* strtoll would take blanks and a plus */
    return false;
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (errno == ERANGE)
    return false;
  if (value == 0 && *end == '\0') {
    *number = 0;
    return true;
  }
  for (const config_unit *unit = units_of(type); unit->name; unit++) {
    if (strcmp(end, unit->name) == 0)
      return !__builtin_mul_overflow((int64_t)value, unit->factor, number);
  }
  return false;
}

static bool is_bounded(const ls_option *option) {
  return option->min != 0 || option->max != 0;
}

static bool in_bounds(const ls_option *option, int64_t number) {
  if (is_bounded(option))
    return number >= option->min && number <= option->max;
  return option->type == LS_OPTION_INT || number >= 0;
}

static bool read_bool(const char *text, bool *truth) {
  static const char *const words[][2] = {
      {"false", "true"}, {"no", "yes"}, {"off", "on"}, {"0", "1"}};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    for (int value = 0; value < 2; value++) {
      if (strcmp(text, words[i][value]) == 0) {
        *truth = value == 1;
        return true;
      }
    }
  }
  return false;
}

static bool read_choice(const ls_option *option, const char *text, int *index) {
  for (int i = 0; option->choices[i]; i++) {
    if (strcmp(text, option->choices[i]) == 0) {
      *index = i;
      return true;
    }
  }
  return false;
}

void config_write_rule(const ls_option *option, ls_buffer *out) {
  switch (option->type) {
  case LS_OPTION_STRING:
    ls_buffer_append_text(out, "text");
    break;
  case LS_OPTION_BOOL:
    ls_buffer_append_text(out, "true or false");
    break;
  case LS_OPTION_INT:
    ls_buffer_append_text(out, "a whole number");
    break;
  case LS_OPTION_DURATION_MS:
    ls_buffer_append_text(out, "a duration such as 250ms, 5s, 2m or 1h");
    break;
  case LS_OPTION_SIZE_BYTES:
    ls_buffer_append_text(out, "a size such as 4096, 64KiB, 16MiB or 1GiB");
    break;
  case LS_OPTION_ENUM:
    ls_buffer_append_text(out, "one of ");
    for (size_t i = 0; option->choices[i]; i++)
      ls_buffer_printf(out, "%s%s", i > 0 ? ", " : "", option->choices[i]);
    break;
  case LS_OPTION_FILE:
    ls_buffer_append_text(out, "a file that can be read");
    break;
  case LS_OPTION_ACTION:
    ls_buffer_append_text(out, "given without a value");
    break;
  }
  bool number = option->type == LS_OPTION_INT || option->type == LS_OPTION_DURATION_MS ||
                option->type == LS_OPTION_SIZE_BYTES;
  if (number && is_bounded(option)) {
    char min[CONFIG_NUMBER_BYTES];
    char max[CONFIG_NUMBER_BYTES];
    config_format_number(option->type, option->min, min);
    config_format_number(option->type, option->max, max);
    ls_buffer_printf(out, ", from %s to %s", min, max);
  }
}

static bool refuse(const ls_option *option, const char *origin, const char *text, ls_error *error) {
  ls_buffer rule = LS_BUFFER_INIT;
  config_write_rule(option, &rule);
  ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "%s=%.100s: must be %s", origin, text,
               rule.data && !rule.failed ? rule.data : "another value");
  ls_buffer_clear(&rule);
  return false;
}

static bool set_text(const char *origin, const char *text, const char **member, ls_error *error) {
  char *copy = strdup(text);
  if (!copy)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "%s: out of memory", origin);
  free((void *)(uintptr_t)*member);
  *member = copy;
  return true;
}

bool config_set(const ls_option *option, const char *origin, const char *text, void *config,
                ls_error *error) {
  void *member = config_member(option, config);
  bool good = false;
  switch (option->type) {
  case LS_OPTION_STRING:
    return set_text(origin, text, member, error);
  case LS_OPTION_FILE:
    if (*text != '\0' && access(text, R_OK) != 0)
      return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                          "%s=%.200s: must be a file that can be read: %s", origin, text,
                          strerror(errno));
    return set_text(origin, text, member, error);
  case LS_OPTION_BOOL:
    good = read_bool(text, member);
    break;
  case LS_OPTION_INT:
  case LS_OPTION_DURATION_MS:
  case LS_OPTION_SIZE_BYTES: {
    int64_t number;
    good = read_number(option->type, text, &number) && in_bounds(option, number);
    if (good)
      *(int64_t *)member = number;
    break;
  }
  case LS_OPTION_ENUM:
    good = read_choice(option, text, member);
    break;
  case LS_OPTION_ACTION:
    break;
  }
  return good || refuse(option, origin, text, error);
}
