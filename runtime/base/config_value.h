/* Values of options as text: inside of the configuration, not for others. */
#ifndef LOCKSTEP_RUNTIME_BASE_CONFIG_VALUE_H
#define LOCKSTEP_RUNTIME_BASE_CONFIG_VALUE_H

#include "runtime/base/config.h"
#include "runtime/base/text.h"

/* Room for any number with its unit. */
enum { CONFIG_NUMBER_BYTES = 32 };

/* The option's member of the configuration. */
void *config_member(const ls_option *option, void *config);

/* Reads `text` into the option's member. `origin` is the flag or variable as the user wrote it. */
bool config_set(const ls_option *option, const char *origin, const char *text, void *config,
                ls_error *error);

/* "a whole number from 1 to 65535": what a value must be. */
void config_write_rule(const ls_option *option, ls_buffer *out);

/* The number of an INT, DURATION_MS or SIZE_BYTES as a user would write it. */
void config_format_number(ls_option_type type, int64_t number, char out[CONFIG_NUMBER_BYTES]);

#endif
