/* The HTTP server for metrics and probes, on libmicrohttpd. */
#include "runtime/base/metrics_http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/base/log.h"
#include "runtime/base/thread.h"

enum { MAX_CONNECTIONS = 32, IDLE_SECONDS = 15, CONNECTION_BYTES = 16 * 1024, HOST_BYTES = 256 };

struct ls_metrics_http {
  struct MHD_Daemon *daemon; /* NULL: off */
  ls_metrics *metrics;
  ls_ready ready;
  void *ready_arg;
  int port;
};

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status,
                               const char *content_type, struct MHD_Response *response) {
  if (!response)
    return MHD_NO;
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
  MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  enum MHD_Result result = MHD_queue_response(connection, status, response);
  MHD_destroy_response(response);
  return result;
}

static enum MHD_Result respond_text(struct MHD_Connection *connection, unsigned status,
                                    const char *text) {
  char line[sizeof((ls_error *)0)->message + 2];
  int length = snprintf(line, sizeof line, "%s\n", text);
  return respond(connection, status, "text/plain; charset=utf-8",
                 MHD_create_response_from_buffer((size_t)length, line, MHD_RESPMEM_MUST_COPY));
}

static enum MHD_Result respond_metrics(struct MHD_Connection *connection, ls_metrics *metrics) {
  ls_buffer text = LS_BUFFER_INIT;
  if (!ls_metrics_write(metrics, &text)) {
    ls_buffer_clear(&text);
    return respond_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory");
  }
  struct MHD_Response *response =
      MHD_create_response_from_buffer(text.length, text.data, MHD_RESPMEM_MUST_FREE);
  if (!response)
    ls_buffer_clear(&text);
  return respond(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", response);
}

static enum MHD_Result respond_ready(struct MHD_Connection *connection,
                                     const ls_metrics_http *server) {
  ls_error reason;
  ls_error_clear(&reason);
  if (!server->ready || server->ready(server->ready_arg, &reason))
    return respond_text(connection, MHD_HTTP_OK, "ready");
  return respond_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                      reason.message[0] != '\0' ? reason.message : "not ready");
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_bytes, void **state) {
  static char seen;
  (void)version;
  (void)upload;
  if (*state != &seen) { /* the first call comes before the headers have been checked */
    *state = &seen;
    return MHD_YES;
  }
  if (*upload_bytes > 0) { /* a body nobody wants */
    *upload_bytes = 0;
    return MHD_YES;
  }
  const ls_metrics_http *server = arg;
  if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
    return respond_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "method not allowed");
  if (strcmp(url, "/metrics") == 0)
    return respond_metrics(connection, server->metrics);
  if (strcmp(url, "/healthz") == 0)
    return respond_text(connection, MHD_HTTP_OK, "ok");
  if (strcmp(url, "/readyz") == 0)
    return respond_ready(connection, server);
  return respond_text(connection, MHD_HTTP_NOT_FOUND, "not found");
}

static void log_daemon(void *arg, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));
static void log_daemon(void *arg, const char *format, va_list arguments) {
  char text[256];
  (void)arg;
  vsnprintf(text, sizeof text, format, arguments);
  text[strcspn(text, "\n")] = '\0';
  LS_WARN("metrics http", LS_STR("detail", text));
}

/* "host:port" and "[host]:port"; an empty host is every address. */
static bool split_address(const char *address, char host[HOST_BYTES], const char **port) {
  const char *colon = strrchr(address, ':');
  if (!colon)
    return false;
  const char *start = address;
  size_t length = (size_t)(colon - address);
  if (length >= 2 && *start == '[' && colon[-1] == ']') {
    start++;
    length -= 2;
  } else if (memchr(address, ':', length)) {
    return false; /* IPv6 without brackets: which colon is the port's? */
  }
  if (length >= HOST_BYTES)
    return false;
  memcpy(host, start, length);
  host[length] = '\0';
  *port = colon + 1;
  size_t digits = strspn(*port, "0123456789");
  return digits > 0 && digits <= 5 && (*port)[digits] == '\0' && strtol(*port, NULL, 10) <= 65535;
}

static int bind_one(const struct addrinfo *address) {
  int descriptor =
      socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, address->ai_protocol);
  if (descriptor < 0)
    return -1;
  int on = 1;
  int off = 0;
  setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address->ai_family == AF_INET6)
    setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (bind(descriptor, address->ai_addr, address->ai_addrlen) == 0 &&
      listen(descriptor, MAX_CONNECTIONS) == 0)
    return descriptor;
  int saved_errno = errno;
  close(descriptor);
  errno = saved_errno;
  return -1;
}

/* A listening socket, or -1. */
static int bind_address(const char *text, ls_error *error) {
  char host[HOST_BYTES];
  const char *port;
  if (!split_address(text, host, &port)) {
    ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                 "metrics address %s: must be host:port or [IPv6]:port", text);
    return -1;
  }
  struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
  struct addrinfo *found = NULL;
  int failure = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &found);
  if (failure != 0) {
    ls_error_set(error, LS_UNAVAILABLE, failure == EAI_AGAIN, NULL, "metrics address %s: %s", text,
                 gai_strerror(failure));
    return -1;
  }
  int descriptor = -1;
  /* Every address: IPv6's takes IPv4 as well, so it is tried first. */
  for (int pass = host[0] != '\0' ? 1 : 0; pass < 2 && descriptor < 0; pass++) {
    for (const struct addrinfo *at = found; at && descriptor < 0; at = at->ai_next) {
      if (pass == 1 || at->ai_family == AF_INET6)
        descriptor = bind_one(at);
    }
  }
  if (descriptor < 0)
    ls_error_set(error, LS_UNAVAILABLE, errno == EADDRINUSE, NULL, "metrics address %s: %s", text,
                 strerror(errno));
  freeaddrinfo(found);
  return descriptor;
}

static int port_of(int descriptor) {
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage room;
  } address = {.room = {0}};
  socklen_t bytes = sizeof address;
  if (getsockname(descriptor, &address.any, &bytes) != 0)
    return 0;
  return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

static bool start_daemon(ls_metrics_http *server, int descriptor, ls_error *error) {
  sigset_t previous;
  ls_thread_block_signals(&previous);
  server->daemon = MHD_start_daemon(
      MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO | MHD_USE_ERROR_LOG, 0, NULL, NULL, handle,
      server, MHD_OPTION_EXTERNAL_LOGGER, log_daemon, NULL, MHD_OPTION_LISTEN_SOCKET, descriptor,
      MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
      (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
      MHD_OPTION_END);
  pthread_sigmask(SIG_SETMASK, &previous, NULL);
  return server->daemon ||
         ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "metrics http: cannot start");
}

ls_metrics_http *ls_metrics_http_start(const char *address, ls_metrics *metrics, ls_ready ready,
                                       void *ready_arg, ls_error *error) {
  ls_metrics_http *server = calloc(1, sizeof *server);
  if (!server) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "metrics http: out of memory");
    return NULL;
  }
  server->metrics = metrics;
  server->ready = ready;
  server->ready_arg = ready_arg;
  if (*address == '\0')
    return server;
  int descriptor = bind_address(address, error);
  if (descriptor < 0) {
    free(server);
    return NULL;
  }
  server->port = port_of(descriptor);
  /* From here the socket is the daemon's, also when it fails to start: whether it was closed then
   * depends on how far it came, and closing it twice could close another's. */
  if (!start_daemon(server, descriptor, error)) {
    free(server);
    return NULL;
  }
  return server;
}

int ls_metrics_http_port(const ls_metrics_http *server) {
  return server->port;
}

void ls_metrics_http_stop(ls_metrics_http *server) {
  if (!server)
    return;
  if (server->daemon)
    MHD_stop_daemon(server->daemon);
  free(server);
}
