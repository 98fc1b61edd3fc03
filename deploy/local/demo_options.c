/* The table of the demo driver's options. */
#include "deploy/local/demo_options.h"

#include <stddef.h>

#include "runtime/base/config.h"

#define AT(member) .offset = offsetof(demo_options, member)

static const char *const cases[] = {"all",         "full-domain",    "full-per-event",
                                    "zero-domain", "zero-per-event", NULL};

static const ls_program program = {
    .name = "lockstep-demo",
    .version = LOCKSTEP_VERSION,
    .summary = "Drives a running order service in each of the four cases, compares what delivery "
               "made of it, and says what each case cost."};

static const ls_option options_table[] = {
    {.flag = "order-address",
     .type = LS_OPTION_STRING,
     AT(order_addresses),
     .required = true,
     .group = "Services",
     .help = "Addresses (host:port) of the order services, separated by commas; dns:///name:port "
             "stands for all addresses of that name"},
    {.flag = "order-operations-address",
     .type = LS_OPTION_STRING,
     AT(order_operations_addresses),
     .group = "Services",
     .help = "Addresses of their RPCs for operators, where these have a port of their own; all "
             "replicas must be among them"},
    {.flag = "delivery-address",
     .type = LS_OPTION_STRING,
     AT(delivery_addresses),
     .required = true,
     .group = "Services",
     .help = "Addresses of all delivery services, likewise"},
    {.flag = "delivery-operations-address",
     .type = LS_OPTION_STRING,
     AT(delivery_operations_addresses),
     .group = "Services",
     .help = "Addresses of their RPCs for operators, likewise"},
    {.flag = "replicas",
     .type = LS_OPTION_INT,
     AT(replicas),
     .default_text = "1",
     .min = 1,
     .max = 1000,
     .group = "Services",
     .help = "Addresses that a dns:/// name must have before the demo begins; it waits for them"},
    {.flag = "broker-name",
     .type = LS_OPTION_STRING,
     AT(broker_name),
     .default_text = "unknown",
     .group = "Services",
     .help = "What the events go through, for the report"},
    {.flag = "orders",
     .type = LS_OPTION_INT,
     AT(orders),
     .default_text = "2000",
     .min = 1,
     .max = 1000000,
     .group = "Work",
     .help = "Orders to create in each case"},
    {.flag = "in-flight",
     .type = LS_OPTION_INT,
     AT(in_flight),
     .default_text = "64",
     .min = 1,
     .max = 1000,
     .group = "Work",
     .help = "Writes that wait for their answers at any time"},
    {.flag = "seed",
     .type = LS_OPTION_INT,
     AT(seed),
     .default_text = "1",
     .min = 0,
     .max = INT64_MAX,
     .group = "Work",
     .help = "What the orders and their changes are made from; the same in each case"},
    {.flag = "only-case",
     .type = LS_OPTION_ENUM,
     AT(only_case),
     .default_text = "all",
     .choices = cases,
     .group = "Work",
     .help = "The case to run"},
    {.flag = "timeout",
     .type = LS_OPTION_DURATION_MS,
     AT(timeout_ms),
     .default_text = "60s",
     .min = 1000,
     .max = 3600000,
     .group = "Work",
     .help = "How long names may take to get their addresses, how long nothing may move, and how "
             "long delivery may take to be in step after the last write"},
    {.flag = "json",
     .type = LS_OPTION_STRING,
     AT(json_file),
     .group = "Report",
     .help = "File to write the figures to, as JSON"}};

enum { OPTION_COUNT = sizeof options_table / sizeof options_table[0] };

bool demo_options_parse(int argc, char *const *argv, demo_options *options, int *action,
                        ls_error *error) {
  return ls_config_parse(options_table, OPTION_COUNT, &program, argc, argv, options, action, error);
}

void demo_options_clear(demo_options *options) {
  ls_config_clear(options_table, OPTION_COUNT, options);
}
