/* The demo driver's command line. */
#ifndef LOCKSTEP_DEPLOY_LOCAL_DEMO_OPTIONS_H
#define LOCKSTEP_DEPLOY_LOCAL_DEMO_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/error.h"

/* Where the services are (demo_addresses.h). */
typedef struct demo_addresses demo_addresses;

/* Texts are never NULL. Lists are separated by commas. */
typedef struct demo_options {
  const char *order_addresses;
  const char *order_operations_addresses; /* "": order_addresses */
  const char *delivery_addresses;
  const char *delivery_operations_addresses; /* "": delivery_addresses */
  int64_t replicas;                          /* addresses of a dns:/// name, at least */
  const char *json_file;                     /* "": none */
  const char *broker_name;
  int64_t orders; /* of each case */
  int64_t in_flight;
  int64_t seed;
  int64_t timeout_ms;              /* of each stage of a case */
  int only_case;                   /* 0: all four; else the demo_case + 1 */
  const demo_addresses *addresses; /* not an option: set by main once they are found */
} demo_options;

/* False: LS_INVALID_ARGUMENT with one line for the user. `*action` is LS_ACTION_DONE when --help or
 * the like has been printed. End with demo_options_clear. */
bool demo_options_parse(int argc, char *const *argv, demo_options *options, int *action,
                        ls_error *error);
void demo_options_clear(demo_options *options);

#endif
