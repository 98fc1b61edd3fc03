/* The health service: a small table of services, and the streams of those who watch one. */
#include "runtime/rpc/health.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "grpc/health/v1/health.grpc-c.h"
#include "runtime/base/log.h"

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus serving_status;

#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name

typedef struct known_service {
  char *name;
  serving_status status;
} known_service;

/* A Watch call. Its thread may end it, and so may the one that shuts the health service down:
 * whoever takes it out of the list does. Freed when the call is done. */
typedef struct watcher {
  struct watcher *next, **link; /* `link` NULL: not in the list, and the call not to be touched */
  ls_rpc_health *health;
  ls_rpc_call *call;
  const char *service; /* the request's */
  serving_status told;
  bool is_full; /* nothing is sent until there is room again; then what holds by that time */
} watcher;

struct ls_rpc_health {
  pthread_mutex_t lock; /* of all below; a call may be sent to and ended with it held */
  known_service services[LS_RPC_HEALTH_MAX_SERVICES]; /* names never change or go */
  size_t service_count;
  watcher *watchers;
  bool is_shut_down;
};

ls_rpc_health *ls_rpc_health_new(ls_error *error) {
  ls_rpc_health *health = calloc(1, sizeof *health);
  char *server_name = strdup("");
  if (health == NULL || server_name == NULL) {
    free(health);
    free(server_name);
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory");
    return NULL;
  }
  pthread_mutex_init(&health->lock, NULL);
  health->services[health->service_count++] = (known_service){server_name, STATUS(NOT_SERVING)};
  return health;
}

void ls_rpc_health_destroy(ls_rpc_health *health) {
  if (health == NULL)
    return;
  for (size_t i = 0; i < health->service_count; i++)
    free(health->services[i].name);
  pthread_mutex_destroy(&health->lock);
  free(health);
}

/* --- All of these with the lock held --- */

static known_service *find(ls_rpc_health *health, const char *name) {
  for (size_t i = 0; i < health->service_count; i++)
    if (strcmp(health->services[i].name, name) == 0)
      return &health->services[i];
  return NULL;
}

static known_service *add(ls_rpc_health *health, const char *name) {
  char *copy = NULL;
  if (health->service_count < LS_RPC_HEALTH_MAX_SERVICES)
    copy = strdup(name);
  if (copy == NULL)
    return NULL;
  known_service *service = &health->services[health->service_count++];
  *service = (known_service){copy, STATUS(SERVICE_UNKNOWN)};
  return service;
}

/* The watcher is in the list. */
static void leave(watcher *w) {
  *w->link = w->next; // NOLINT(clang-analyzer-core.NullDereference): in the list, so it has a link
  if (w->next != NULL)
    w->next->link = w->link;
  w->link = NULL;
}

/* Tells the watcher what holds now, if it was told something else and there is room. */
static void tell(watcher *w) {
  const known_service *service = find(w->health, w->service);
  serving_status status = service != NULL ? service->status : STATUS(SERVICE_UNKNOWN);
  if (w->is_full || status == w->told)
    return;
  Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
  response.status = status;
  ls_rpc_send_result result = grpc_health_v1_health_watch_send(w->call, &response);
  if (result == LS_RPC_SENT || result == LS_RPC_SENT_FULL)
    w->told = status;
  /* A call that is closed is about to be cancelled. */
  w->is_full = result != LS_RPC_SENT;
}

/* Ends the watcher's call, after the last status if there is room for it. */
static void end(watcher *w) {
  tell(w);
  leave(w);
  if (w->is_full)
    ls_rpc_call_fail(w->call, LS_UNAVAILABLE, "the server is shutting down");
  else
    ls_rpc_call_finish(w->call, NULL);
}

/* --- The calls --- */

static void handle_check(ls_rpc_call *call, const Grpc__Health__V1__HealthCheckRequest *request,
                         void *user_data) {
  ls_rpc_health *health = user_data;
  pthread_mutex_lock(&health->lock);
  const known_service *service = find(health, request->service);
  Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
  response.status = service != NULL ? service->status : STATUS(SERVICE_UNKNOWN);
  pthread_mutex_unlock(&health->lock);
  if (service != NULL)
    grpc_health_v1_health_check_reply(call, &response);
  else
    ls_rpc_call_fail(call, LS_NOT_FOUND, "the server has no such service");
}

static void handle_list(ls_rpc_call *call, const Grpc__Health__V1__HealthListRequest *request,
                        void *user_data) {
  (void)request;
  ls_rpc_health *health = user_data;
  Grpc__Health__V1__HealthListResponse response = GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__INIT;
  Grpc__Health__V1__HealthListResponse__StatusesEntry entries[LS_RPC_HEALTH_MAX_SERVICES];
  Grpc__Health__V1__HealthListResponse__StatusesEntry *pointers[LS_RPC_HEALTH_MAX_SERVICES];
  Grpc__Health__V1__HealthCheckResponse values[LS_RPC_HEALTH_MAX_SERVICES];
  response.statuses = pointers;
  pthread_mutex_lock(&health->lock);
  for (size_t i = 0; i < health->service_count; i++) {
    grpc__health__v1__health_check_response__init(&values[i]);
    values[i].status = health->services[i].status;
    grpc__health__v1__health_list_response__statuses_entry__init(&entries[i]);
    entries[i].key = health->services[i].name;
    entries[i].value = &values[i];
    pointers[response.n_statuses++] = &entries[i];
  }
  pthread_mutex_unlock(&health->lock);
  grpc_health_v1_health_list_reply(call, &response);
}

static void on_watch_writable(ls_rpc_call *call, void *arg) {
  (void)call;
  watcher *w = arg;
  pthread_mutex_lock(&w->health->lock);
  w->is_full = false;
  if (w->link != NULL)
    tell(w);
  pthread_mutex_unlock(&w->health->lock);
}

static void on_watch_cancelled(ls_rpc_call *call, void *arg) {
  watcher *w = arg;
  pthread_mutex_lock(&w->health->lock);
  bool is_ours = w->link != NULL;
  if (is_ours)
    leave(w);
  pthread_mutex_unlock(&w->health->lock);
  if (is_ours)
    ls_rpc_call_fail(call, LS_CANCELLED, "the client has gone");
}

static void on_watch_done(ls_rpc_call *call, void *arg) {
  (void)call;
  free(arg);
}

static void handle_watch(ls_rpc_call *call, const Grpc__Health__V1__HealthCheckRequest *request,
                         void *user_data) {
  ls_rpc_health *health = user_data;
  watcher *w = malloc(sizeof *w);
  if (w == NULL) {
    ls_rpc_call_fail(call, LS_RESOURCE_EXHAUSTED, "out of memory");
    return;
  }
  *w = (watcher){.health = health, .call = call, .service = request->service};
  w->told = STATUS(UNKNOWN); /* nothing is that */
  ls_rpc_call_on_writable(call, on_watch_writable, w);
  ls_rpc_call_on_cancel(call, on_watch_cancelled, w);
  ls_rpc_call_on_done(call, on_watch_done, w);

  pthread_mutex_lock(&health->lock);
  w->next = health->watchers;
  w->link = &health->watchers;
  if (w->next != NULL)
    w->next->link = &w->next;
  health->watchers = w;
  if (health->is_shut_down)
    end(w);
  else
    tell(w);
  pthread_mutex_unlock(&health->lock);
}

bool ls_rpc_health_register(ls_rpc_health *health, ls_rpc_server *server, ls_error *error) {
  static const grpc_health_v1_health_handlers handlers = {
      .check = handle_check, .list = handle_list, .watch = handle_watch};
  return grpc_health_v1_health_register(server, &handlers, health, error);
}

/* --- The statuses --- */

void ls_rpc_health_set(ls_rpc_health *health, const char *name, bool serving) {
  pthread_mutex_lock(&health->lock);
  known_service *service = find(health, name);
  if (service == NULL)
    service = add(health, name);
  if (service != NULL && !health->is_shut_down) {
    service->status = serving ? STATUS(SERVING) : STATUS(NOT_SERVING);
    for (watcher *w = health->watchers; w != NULL; w = w->next)
      tell(w);
  }
  pthread_mutex_unlock(&health->lock);
  if (service == NULL)
    LS_ERROR("a service is not known to the health service: too many or out of memory",
             LS_STR("service", name));
}

void ls_rpc_health_shutdown(ls_rpc_health *health) {
  pthread_mutex_lock(&health->lock);
  health->is_shut_down = true;
  for (size_t i = 0; i < health->service_count; i++)
    health->services[i].status = STATUS(NOT_SERVING);
  while (health->watchers != NULL)
    end(health->watchers);
  pthread_mutex_unlock(&health->lock);
}
