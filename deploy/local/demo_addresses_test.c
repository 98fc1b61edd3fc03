/* Tests of how the demo reads lists of addresses and waits for names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "deploy/local/demo_addresses.h"

/* A resolver of its own: "two" has two addresses, "late" has as many as it was asked for so far,
 * others none. */
static unsigned late_looks;

static bool look_up(const char *name, const char *port, demo_address_list *found, ls_error *error) {
  static const char *const hosts[] = {"10.0.0.1", "10.0.0.2"};
  unsigned count = strcmp(name, "two") == 0 ? 2 : 0;
  if (strcmp(name, "late") == 0)
    count = late_looks < 2 ? late_looks++ : 2;
  if (count == 0)
    return ls_error_set(error, LS_UNAVAILABLE, true, NULL, "%s: nobody knows it", name);
  for (unsigned i = 0; i < count; i++) {
    char address[32];
    strcpy(address, hosts[i]);
    strcat(address, ":");
    strcat(address, port);
    assert_true(demo_address_list_add(found, address, error));
  }
  return true;
}

static demo_options options_of(const char *orders, const char *order_operations,
                               const char *deliveries, const char *delivery_operations) {
  return (demo_options){.order_addresses = orders,
                        .order_operations_addresses = order_operations,
                        .delivery_addresses = deliveries,
                        .delivery_operations_addresses = delivery_operations,
                        .replicas = 1};
}

static void assert_list(const demo_address_list *list, const char *expected) {
  char joined[256] = "";
  for (size_t i = 0; i < list->count; i++) {
    strcat(joined, i > 0 ? "," : "");
    strcat(joined, list->items[i]);
  }
  assert_string_equal(joined, expected);
}

static void assert_refused(const demo_options *options, ls_code code, const char *expected) {
  ls_error error = {0};
  demo_addresses addresses;
  assert_false(demo_addresses_find(options, look_up, &addresses, &error));
  assert_int_equal(error.code, code);
  if (strstr(error.message, expected) == NULL)
    fail_msg("\"%s\" is not in \"%s\"", expected, error.message);
  demo_addresses_clear(&addresses);
}

static void operators_are_reached_where_the_services_are(void **state) {
  (void)state;
  ls_error error = {0};
  demo_addresses addresses;
  demo_options options = options_of("a:1,b:2", "", "c:3", "");
  assert_true(demo_addresses_find(&options, look_up, &addresses, &error));
  assert_list(&addresses.orders, "a:1,b:2");
  assert_list(&addresses.order_operations, "a:1,b:2");
  assert_list(&addresses.deliveries, "c:3");
  assert_list(&addresses.delivery_operations, "c:3");
  demo_addresses_clear(&addresses);
}

static void a_name_stands_for_all_its_addresses(void **state) {
  (void)state;
  ls_error error = {0};
  demo_addresses addresses;
  demo_options options = options_of("dns:///two:50051", "dns:///two:50061", "c:3,dns:///two:5",
                                    "c:4,dns:///two:6,d:7");
  assert_true(demo_addresses_find(&options, look_up, &addresses, &error));
  assert_list(&addresses.orders, "10.0.0.1:50051,10.0.0.2:50051");
  assert_list(&addresses.order_operations, "10.0.0.1:50061,10.0.0.2:50061");
  assert_list(&addresses.deliveries, "c:3,10.0.0.1:5,10.0.0.2:5");
  assert_list(&addresses.delivery_operations, "c:4,10.0.0.1:6,10.0.0.2:6,d:7");
  demo_addresses_clear(&addresses);
}

static void names_are_waited_for(void **state) {
  (void)state;
  ls_error error = {0};
  demo_addresses addresses;
  demo_options options = options_of("dns:///late:1", "a:1,b:1", "c:3", "");
  options.replicas = 2;
  options.timeout_ms = 60000;
  late_looks = 0;
  assert_true(demo_addresses_find(&options, look_up, &addresses, &error));
  assert_list(&addresses.orders, "10.0.0.1:1,10.0.0.2:1");
  demo_addresses_clear(&addresses);

  /* The service has two, its operators' name has one of them so far. */
  options = options_of("dns:///two:1", "dns:///late:2", "c:3", "");
  options.timeout_ms = 60000;
  late_looks = 1;
  assert_true(demo_addresses_find(&options, look_up, &addresses, &error));
  assert_list(&addresses.order_operations, "10.0.0.1:2,10.0.0.2:2");
  demo_addresses_clear(&addresses);
}

static void the_wait_has_an_end(void **state) {
  (void)state;
  demo_options options = options_of("a:1", "", "dns:///nobody:1", "");
  assert_refused(&options, LS_DEADLINE_EXCEEDED, "nobody: nobody knows it");
  options = options_of("dns:///two:1", "", "c:3", "");
  options.replicas = 3;
  assert_refused(&options, LS_DEADLINE_EXCEEDED, "two has 2 addresses, not 3");
}

static void bad_lists_are_refused_at_once(void **state) {
  (void)state;
  static const char *const bad[] = {"dns:///two", "dns:///two:", "dns:///:1", "dns:///two:http",
                                    "a:1,dns:///two:1:2"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    demo_options options = options_of(bad[i], "", "c:3", "");
    options.timeout_ms = 60000;
    assert_refused(&options, LS_INVALID_ARGUMENT, "not dns:///name:port");
  }
  demo_options options = options_of("a:1", "", ",", "");
  assert_refused(&options, LS_INVALID_ARGUMENT, "names no address");
  options = options_of("a:1", "", "c:1,d:1", "c:2");
  options.timeout_ms = 60000;
  assert_refused(&options, LS_INVALID_ARGUMENT,
                 "there are 2 addresses of delivery, but 1 for its operators");
}

static void the_system_knows_localhost(void **state) {
  (void)state;
  ls_error error = {0};
  demo_address_list list = {0};
  assert_true(demo_look_up("localhost", "5", &list, &error));
  assert_int_equal(list.count, 1); /* whichever families it has */
  assert_non_null(strstr(list.items[0], ":5"));
  assert_false(demo_look_up("nobody.invalid", "5", &list, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  demo_addresses addresses = {.orders = list};
  demo_addresses_clear(&addresses);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(operators_are_reached_where_the_services_are),
                                     cmocka_unit_test(a_name_stands_for_all_its_addresses),
                                     cmocka_unit_test(names_are_waited_for),
                                     cmocka_unit_test(the_wait_has_an_end),
                                     cmocka_unit_test(bad_lists_are_refused_at_once),
                                     cmocka_unit_test(the_system_knows_localhost)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
