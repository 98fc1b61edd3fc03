/* Where the services are: lists of addresses, in which a name may stand for all replicas behind it.
 *
 * A list is separated by commas. A member is a gRPC target ("host:port"), or "dns:///name:port":
 * every address that the name has now, such as those of a headless Service's pods. */
#ifndef LOCKSTEP_DEPLOY_LOCAL_DEMO_ADDRESSES_H
#define LOCKSTEP_DEPLOY_LOCAL_DEMO_ADDRESSES_H

#include <stdbool.h>
#include <stddef.h>

#include "deploy/local/demo_options.h"
#include "runtime/base/error.h"

typedef struct demo_address_list {
  char **items;
  size_t count;
} demo_address_list;

/* The operators' lists are those of the services themselves unless the options name others. */
struct demo_addresses {
  demo_address_list orders, order_operations;
  demo_address_list deliveries, delivery_operations;
};

/* Appends "address:port" for each address of the name. False: LS_UNAVAILABLE, it has none now. */
typedef bool (*demo_lookup)(const char *name, const char *port, demo_address_list *found,
                            ls_error *error);

/* Asks the system's resolver. IPv6 addresses are left out where there are IPv4 ones: a replica with
 * both would count twice. */
bool demo_look_up(const char *name, const char *port, demo_address_list *found, ls_error *error);

/* Reads the options' lists; waits up to their timeout until each name has as many addresses as they
 * ask for. False: LS_INVALID_ARGUMENT for a list that no waiting can mend, LS_DEADLINE_EXCEEDED or
 * LS_CANCELLED. End with demo_addresses_clear, also after a failure. */
bool demo_addresses_find(const demo_options *options, demo_lookup lookup, demo_addresses *addresses,
                         ls_error *error);

void demo_addresses_clear(demo_addresses *addresses);

/* Appends a copy of text. False: LS_RESOURCE_EXHAUSTED. */
bool demo_address_list_add(demo_address_list *list, const char *text, ls_error *error);

#endif
