/* Reads lists of addresses, and looks names up. */
#include "deploy/local/demo_addresses.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "runtime/base/clock.h"
#include "runtime/base/shutdown.h"

enum { LOOK_AGAIN_MS = 500 };

static const char name_scheme[] = "dns:///";

bool demo_address_list_add(demo_address_list *list, const char *text, ls_error *error) {
  char *copy = strdup(text);
  char **items = realloc(list->items, (list->count + 1) * sizeof *items);
  if (items != NULL)
    list->items = items;
  if (copy == NULL || items == NULL) {
    free(copy);
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory");
  }
  list->items[list->count++] = copy;
  return true;
}

static void list_clear(demo_address_list *list) {
  for (size_t i = 0; i < list->count; i++)
    free(list->items[i]);
  free(list->items);
  *list = (demo_address_list){0};
}

void demo_addresses_clear(demo_addresses *addresses) {
  list_clear(&addresses->orders);
  list_clear(&addresses->order_operations);
  list_clear(&addresses->deliveries);
  list_clear(&addresses->delivery_operations);
}

static bool add_family(const struct addrinfo *all, int family, const char *port,
                       demo_address_list *found, ls_error *error) {
  for (const struct addrinfo *each = all; each != NULL; each = each->ai_next) {
    char host[NI_MAXHOST], address[NI_MAXHOST + NI_MAXSERV + 4];
    if (each->ai_family != family || getnameinfo(each->ai_addr, each->ai_addrlen, host, sizeof host,
                                                 NULL, 0, NI_NUMERICHOST) != 0)
      continue;
    snprintf(address, sizeof address, family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    if (!demo_address_list_add(found, address, error))
      return false;
  }
  return true;
}

bool demo_look_up(const char *name, const char *port, demo_address_list *found, ls_error *error) {
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  struct addrinfo *all = NULL;
  int failure = getaddrinfo(name, NULL, &hints, &all);
  if (failure != 0)
    return ls_error_set(error, LS_UNAVAILABLE, true, NULL, "%s: %s", name, gai_strerror(failure));
  size_t before = found->count;
  bool done = add_family(all, AF_INET, port, found, error);
  if (done && found->count == before)
    done = add_family(all, AF_INET6, port, found, error);
  freeaddrinfo(all);
  return done;
}

/* `text` behind the scheme: "name:port". */
static bool add_name(char *text, const demo_options *options, demo_lookup lookup,
                     demo_address_list *list, ls_error *error) {
  char *colon = strchr(text, ':');
  if (colon == NULL || colon == text || colon[1] == '\0' ||
      strspn(colon + 1, "0123456789") != strlen(colon + 1))
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "%s%s: not %sname:port",
                        name_scheme, text, name_scheme);
  *colon = '\0';
  size_t before = list->count;
  if (!lookup(text, colon + 1, list, error))
    return false;
  size_t found = list->count - before;
  if (found < (size_t)options->replicas)
    return ls_error_set(error, LS_UNAVAILABLE, true, NULL, "%s has %zu addresses, not %zu", text,
                        found, (size_t)options->replicas);
  return true;
}

static bool read_list(const char *text, const demo_options *options, demo_lookup lookup,
                      demo_address_list *list, ls_error *error) {
  char *copy = strdup(text);
  if (copy == NULL)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory");
  bool done = true;
  char *rest = copy;
  for (char *member; done && (member = strtok_r(rest, ",", &rest)) != NULL;) {
    bool is_name = strncmp(member, name_scheme, strlen(name_scheme)) == 0;
    done = is_name ? add_name(member + strlen(name_scheme), options, lookup, list, error)
                   : demo_address_list_add(list, member, error);
  }
  free(copy);
  if (done && list->count == 0)
    return ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "\"%s\" names no address", text);
  return done;
}

/* A service's own addresses and its operators'. */
static bool read_pair(const char *name, const char *text, const char *operations_text,
                      const demo_options *options, demo_lookup lookup, demo_address_list *own,
                      demo_address_list *operations, ls_error *error) {
  if (operations_text[0] == '\0')
    operations_text = text;
  if (!read_list(text, options, lookup, own, error) ||
      !read_list(operations_text, options, lookup, operations, error))
    return false;
  if (operations->count >= own->count)
    return true;
  /* Nobody would ask the others what they have counted. A name may get its addresses yet. */
  bool may_change = strstr(operations_text, name_scheme) != NULL;
  return ls_error_set(error, may_change ? LS_UNAVAILABLE : LS_INVALID_ARGUMENT, may_change, NULL,
                      "there are %zu addresses of %s, but %zu for its operators", own->count, name,
                      operations->count);
}

static bool find_now(const demo_options *options, demo_lookup lookup, demo_addresses *addresses,
                     ls_error *error) {
  demo_addresses_clear(addresses);
  return read_pair("order", options->order_addresses, options->order_operations_addresses, options,
                   lookup, &addresses->orders, &addresses->order_operations, error) &&
         read_pair("delivery", options->delivery_addresses, options->delivery_operations_addresses,
                   options, lookup, &addresses->deliveries, &addresses->delivery_operations, error);
}

bool demo_addresses_find(const demo_options *options, demo_lookup lookup, demo_addresses *addresses,
                         ls_error *error) {
  *addresses = (demo_addresses){0};
  int64_t deadline_ms = ls_clock_monotonic_ms() + options->timeout_ms;
  while (!find_now(options, lookup, addresses, error)) {
    if (error->code != LS_UNAVAILABLE)
      return false;
    if (ls_clock_monotonic_ms() >= deadline_ms) {
      error->code = LS_DEADLINE_EXCEEDED;
      return false;
    }
    if (ls_shutdown_wait(LOOK_AGAIN_MS))
      return ls_error_set(error, LS_CANCELLED, false, NULL, "interrupted");
    ls_error_clear(error);
  }
  return true;
}
