/* The server: options, services, addresses, polling threads, and the graceful end. */
#include "runtime/rpc/server.h"

#include <dirent.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/thread.h"
#include "runtime/rpc/core_locks.h"
#include "runtime/rpc/core_log.h"
#include "runtime/rpc/server_internal.h"

/* What is left of the grace time, at most, for connections to close after the last call has ended.
 */
enum { CLOSE_MS = 1000 };

/* How long a connection may take from being accepted to being known. */
enum { SETTLE_MS = 20 };

static void set_defaults(ls_rpc_server_options *options) {
  if (options->threads == 0)
    options->threads = 1;
  if (options->posted_requests == 0)
    options->posted_requests = 16;
  if (options->max_calls == 0)
    options->max_calls = 16384;
  if (options->max_streams == 0)
    options->max_streams = 1024;
  if (options->max_receive_bytes == 0)
    options->max_receive_bytes = 4 << 20;
  if (options->max_send_bytes == 0)
    options->max_send_bytes = 16 << 20;
  if (options->max_call_bytes == 0)
    options->max_call_bytes = 64 << 20;
  if (options->send_buffer_bytes == 0)
    options->send_buffer_bytes = 64 << 10;
  if (options->max_depth == 0)
    options->max_depth = 64;
}

/* Replaces a string by a copy; false when out of memory. */
static bool keep(const char **text) {
  if (*text == NULL)
    return true;
  *text = strdup(*text);
  return *text != NULL;
}

static int bounded(size_t value) {
  return value > INT32_MAX ? INT32_MAX : (int)value;
}

static grpc_server *create_core(const ls_rpc_server_options *options) {
  struct {
    const char *key;
    int value;
  } settings[] = {
      {GRPC_ARG_MAX_CONCURRENT_STREAMS, bounded(options->max_streams)},
      {GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, bounded(options->max_receive_bytes)},
      /* Answers are measured before they are handed over, with a better message. */
      {GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1},
      {GRPC_ARG_MAX_METADATA_SIZE, 16 << 10},
      /* A second server on the same port is a mistake to be told of, not to share with. */
      {GRPC_ARG_ALLOW_REUSEPORT, 0},
      /* A client that has gone without a word is noticed within a minute. */
      {GRPC_ARG_KEEPALIVE_TIME_MS, 40000},
      {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000},
      {GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000},
      {GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1},
      {GRPC_ARG_MAX_CONNECTION_AGE_MS, options->max_connection_age_ms > 0
                                           ? bounded((size_t)options->max_connection_age_ms)
                                           : INT_MAX},
  };
  enum { COUNT = sizeof settings / sizeof settings[0] };
  grpc_arg items[COUNT];
  for (size_t i = 0; i < COUNT; i++) {
    items[i].type = GRPC_ARG_INTEGER;
    items[i].key = (char *)(uintptr_t)settings[i].key;
    items[i].value.integer = settings[i].value;
  }
  grpc_channel_args arguments = {COUNT, items};
  return grpc_server_create(&arguments, NULL);
}

static void on_core_shut_down(ls_rpc_tag *tag, bool ok) {
  (void)ok;
  ls_rpc_server *server = LS_RPC_OWNER(tag, ls_rpc_server, shutdown_tag);
  pthread_mutex_lock(&server->lock);
  server->core_done = true;
  pthread_cond_broadcast(&server->changed);
  pthread_mutex_unlock(&server->lock);
}

ls_rpc_server *ls_rpc_server_new(const ls_rpc_server_options *options, ls_error *error) {
  ls_rpc_server *server = calloc(1, sizeof *server);
  if (server == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, "", "out of memory");
    return NULL;
  }
  if (options != NULL)
    server->options = *options;
  set_defaults(&server->options);
  ls_rpc_tls *tls = &server->options.tls;
  bool kept = keep(&tls->certificate_file);
  kept = keep(&tls->key_file) && kept;
  kept = keep(&tls->authority_file) && kept;
  server->shutdown_tag.complete = on_core_shut_down;
  pthread_mutex_init(&server->lock, NULL);
  ls_condition_init(&server->changed);

  /* The core starts threads of its own here. */
  sigset_t signals;
  ls_thread_block_signals(&signals);
  ls_rpc_core_log_install();
  ls_rpc_core_locks_quicken();
  grpc_init();
  server->core = create_core(&server->options);
  pthread_sigmask(SIG_SETMASK, &signals, NULL);

  server->pollers = calloc(server->options.threads, sizeof *server->pollers);
  if (!kept) {
    free(server->pollers);
    server->pollers = NULL;
  }
  if (server->pollers == NULL) {
    ls_rpc_server_destroy(server);
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, "", "out of memory");
    return NULL;
  }
  for (unsigned i = 0; i < server->options.threads; i++) {
    ls_rpc_poller *poller = &server->pollers[i];
    poller->server = server;
    poller->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server->core, poller->queue, NULL);
  }
  return server;
}

bool ls_rpc_server_add_service(ls_rpc_server *server, const ls_rpc_service *service,
                               const ls_rpc_dispatch *dispatch, const void *handlers,
                               void *user_data, ls_error *error) {
  for (size_t i = 0; i < server->service_count; i++)
    if (strcmp(server->services[i]->name, service->name) == 0)
      return ls_error_set(error, LS_ALREADY_EXISTS, false, "", "service %s was added twice",
                          service->name);
  const ls_rpc_service **services =
      realloc(server->services, (server->service_count + 1) * sizeof *services);
  if (services == NULL)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, "", "out of memory");
  server->services = services;
  size_t count = server->entry_count + service->method_count;
  ls_rpc_method_entry *entries = realloc(server->entries, (count + 1) * sizeof *entries);
  if (entries == NULL)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, "", "out of memory");
  server->entries = entries;
  for (size_t i = 0; i < service->method_count; i++) {
    const ls_rpc_method *method = &service->methods[i];
    bool unary = method->kind == LS_RPC_UNARY || method->kind == LS_RPC_SERVER_STREAMING;
    void *registered = grpc_server_register_method(
        server->core, method->path, NULL,
        unary ? GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER : GRPC_SRM_PAYLOAD_NONE, 0);
    if (registered == NULL)
      return ls_error_set(error, LS_ALREADY_EXISTS, false, "", "method %s was added twice",
                          method->path);
    entries[server->entry_count++] =
        (ls_rpc_method_entry){method, &dispatch[i], handlers, user_data, registered};
  }
  server->services[server->service_count++] = service;
  return true;
}

size_t ls_rpc_server_service_count(const ls_rpc_server *server) {
  return server->service_count;
}

const ls_rpc_service *ls_rpc_server_service(const ls_rpc_server *server, size_t index) {
  return server->services[index];
}

bool ls_rpc_server_listen(ls_rpc_server *server, const char *address, int *port, ls_error *error) {
  grpc_server_credentials *credentials = ls_rpc_server_credentials(&server->options.tls, error);
  if (credentials == NULL)
    return false;
  int bound = grpc_server_add_http2_port(server->core, address, credentials);
  grpc_server_credentials_release(credentials);
  if (bound == 0)
    return ls_error_set(error, LS_UNAVAILABLE, false, "",
                        "cannot listen on %s: not an address of this host, or in use", address);
  int *ports = realloc(server->ports, (server->port_count + 1) * sizeof *ports);
  if (ports == NULL)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, "", "out of memory");
  server->ports = ports;
  server->ports[server->port_count++] = bound;
  if (port != NULL)
    *port = bound;
  return true;
}

static void *run_poller(void *arg) {
  ls_rpc_poller *poller = arg;
  ls_rpc_poll(poller->queue);
  return NULL;
}

bool ls_rpc_server_start(ls_rpc_server *server, ls_error *error) {
  if (server->port_count == 0)
    return ls_error_set(error, LS_FAILED_PRECONDITION, false, "", "the server has no address");
  grpc_server_start(server->core);
  server->started = true;
  for (unsigned i = 0; i < server->options.threads; i++) {
    ls_rpc_poller *poller = &server->pollers[i];
    poller->owed = calloc(server->entry_count + 1, sizeof *poller->owed);
    if (poller->owed == NULL)
      return ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, "", "out of memory");
    for (size_t m = 0; m < server->entry_count; m++)
      for (unsigned n = 0; n < server->options.posted_requests; n++)
        if (!ls_rpc_call_post(poller, &server->entries[m]))
          return ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, "", "out of memory");
    if (!ls_rpc_call_post(poller, NULL))
      return ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, "", "out of memory");
  }
  for (unsigned i = 0; i < server->options.threads; i++) {
    char name[16];
    snprintf(name, sizeof name, "rpc-%u", i);
    if (!ls_thread_start(&server->pollers[i].thread, name, run_poller, &server->pollers[i], error))
      return false;
    server->started_pollers++;
  }
  return true;
}

void ls_rpc_server_drain(ls_rpc_server *server) {
  atomic_store(&server->draining, true);
}

size_t ls_rpc_server_active_calls(const ls_rpc_server *server) {
  return atomic_load(&server->active_calls);
}

/* Waits until no struct of a call is posted or in use and the core has let go of all; false when
 * that takes until `deadline_us`. */
static bool wait_until_idle(ls_rpc_server *server, int64_t deadline_us) {
  bool in_time = true;
  pthread_mutex_lock(&server->lock);
  while (in_time && (server->live_calls > 0 || !server->core_done))
    in_time = ls_condition_wait_until(&server->changed, &server->lock, deadline_us);
  bool idle = server->live_calls == 0 && server->core_done;
  pthread_mutex_unlock(&server->lock);
  return idle;
}

/* Waits for the calls in flight while new ones are still answered (with UNAVAILABLE): once the core
 * shuts down it answers nobody. */
static bool wait_for_calls(ls_rpc_server *server, int64_t deadline_us) {
  pthread_mutex_lock(&server->lock);
  /* Each released call changes live_calls, but only zero is signalled: look every few milliseconds.
   */
  while (atomic_load(&server->active_calls) > 0 && ls_clock_monotonic_us() < deadline_us)
    ls_condition_wait_until(&server->changed, &server->lock, ls_clock_monotonic_us() + 2000);
  pthread_mutex_unlock(&server->lock);
  return atomic_load(&server->active_calls) == 0;
}

/* Takes no more connections. The core can do so only while it shuts down, so this looks for the
 * listening sockets among the descriptors of the process. */
static void stop_listening(const ls_rpc_server *server) {
  DIR *descriptors = opendir("/proc/self/fd");
  if (descriptors == NULL)
    return;
  for (const struct dirent *entry; (entry = readdir(descriptors)) != NULL;) {
    char *end;
    int descriptor = (int)strtol(entry->d_name, &end, 10);
    if (end == entry->d_name || *end != '\0')
      continue; /* "." and ".." */
    int listening = 0;
    socklen_t size = sizeof listening;
    if (getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || !listening)
      continue;
    union {
      struct sockaddr any;
      struct sockaddr_in v4;
      struct sockaddr_in6 v6;
      struct sockaddr_storage room;
    } address = {.room = {0}};
    size = sizeof address;
    if (getsockname(descriptor, &address.any, &size) != 0)
      continue;
    int port = 0;
    if (address.any.sa_family == AF_INET)
      port = ntohs(address.v4.sin_port);
    else if (address.any.sa_family == AF_INET6)
      port = ntohs(address.v6.sin6_port);
    for (size_t i = 0; i < server->port_count; i++)
      if (port != 0 && port == server->ports[i])
        shutdown(descriptor, SHUT_RD);
  }
  closedir(descriptors);
}

/* Once the core shuts down it resets each call that still comes in, which clients see as CANCELLED
 * and do not retry. Without connections there are no such calls, and clients see UNAVAILABLE. */
static void disconnect(ls_rpc_server *server) {
  stop_listening(server);
  grpc_server_cancel_all_calls(server->core);
  /* Those that were being set up when the others were closed. */
  int64_t until_us = ls_deadline_us(SETTLE_MS);
  pthread_mutex_lock(&server->lock);
  while (ls_condition_wait_until(&server->changed, &server->lock, until_us))
    continue;
  pthread_mutex_unlock(&server->lock);
  grpc_server_cancel_all_calls(server->core);
}

bool ls_rpc_server_shutdown(ls_rpc_server *server, int64_t grace_ms) {
  int64_t deadline_us = ls_deadline_us(grace_ms > 0 ? grace_ms : 0);
  ls_rpc_server_drain(server);
  if (!server->started || server->shut_down)
    return true;
  server->shut_down = true;
  bool graceful = server->started_pollers == 0 || wait_for_calls(server, deadline_us);

  disconnect(server);
  LS_RPC_RELEASE(&server->shutdown_tag);
  grpc_server_shutdown_and_notify(server->core, server->pollers[0].queue, &server->shutdown_tag);
  /* Where a thread could not be started, its queue is emptied here. */
  for (unsigned i = server->started_pollers; i < server->options.threads; i++) {
    grpc_completion_queue_shutdown(server->pollers[i].queue);
    ls_rpc_poll(server->pollers[i].queue);
  }
  if (server->started_pollers > 0) {
    /* Clients that do not close their connection are not waited for. */
    if (!wait_until_idle(server, ls_deadline_us(CLOSE_MS)))
      grpc_server_cancel_all_calls(server->core);
    while (!wait_until_idle(server, ls_deadline_us(5000)))
      LS_WARN("still waiting for handlers to end their calls",
              LS_UINT("active_calls", ls_rpc_server_active_calls(server)));
  }
  for (unsigned i = 0; i < server->started_pollers; i++)
    grpc_completion_queue_shutdown(server->pollers[i].queue);
  for (unsigned i = 0; i < server->started_pollers; i++)
    pthread_join(server->pollers[i].thread, NULL);
  return graceful;
}

/* The core wants a server that never ran to be shut down, too. */
static void shut_down_unstarted(ls_rpc_server *server) {
  if (server->pollers == NULL)
    return;
  LS_RPC_RELEASE(&server->shutdown_tag);
  grpc_server_shutdown_and_notify(server->core, server->pollers[0].queue, &server->shutdown_tag);
  for (unsigned i = 0; i < server->options.threads; i++) {
    grpc_completion_queue_shutdown(server->pollers[i].queue);
    ls_rpc_poll(server->pollers[i].queue);
  }
}

void ls_rpc_server_destroy(ls_rpc_server *server) {
  if (server == NULL)
    return;
  if (server->started)
    ls_rpc_server_shutdown(server, 0);
  else
    shut_down_unstarted(server);
  grpc_server_destroy(server->core);
  for (unsigned i = 0; server->pollers != NULL && i < server->options.threads; i++) {
    grpc_completion_queue_destroy(server->pollers[i].queue);
    ls_rpc_call_free_pool(&server->pollers[i]);
    free(server->pollers[i].owed);
  }
  grpc_shutdown();
  pthread_cond_destroy(&server->changed);
  pthread_mutex_destroy(&server->lock);
  free(server->pollers);
  free(server->ports);
  free(server->entries);
  free(server->services);
  free((char *)(uintptr_t)server->options.tls.certificate_file);
  free((char *)(uintptr_t)server->options.tls.key_file);
  free((char *)(uintptr_t)server->options.tls.authority_file);
  free(server);
}
