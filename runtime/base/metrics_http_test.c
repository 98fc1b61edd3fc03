/* Tests of the metrics server over real sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "runtime/base/metrics_http.h"

typedef struct test_server {
  ls_metrics *metrics;
  ls_metrics_http *http;
  atomic_bool ready;
} test_server;

static bool is_ready(void *arg, ls_error *reason) {
  test_server *server = arg;
  return server->ready ||
         ls_error_set(reason, LS_UNAVAILABLE, true, NULL, "database is not reachable");
}

static int start(void **state) {
  static test_server server;
  ls_error error;
  server.metrics = ls_metrics_new(0);
  server.http = ls_metrics_http_start("127.0.0.1:0", server.metrics, is_ready, &server, &error);
  server.ready = true;
  *state = &server;
  return server.http ? 0 : -1;
}

static int stop(void **state) {
  test_server *server = *state;
  ls_metrics_http_stop(server->http);
  ls_metrics_destroy(server->metrics);
  return 0;
}

static int connect_to(int port) {
  int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_true(descriptor >= 0);
  struct timeval limit = {.tv_sec = 20};
  setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  assert_int_equal(connect(descriptor, (struct sockaddr *)&address, sizeof address), 0);
  return descriptor;
}

/* The whole answer to a request that ends the connection. */
static const char *ask(const test_server *server, const char *method, const char *path,
                       const char *body) {
  static char answer[65536];
  char request[512];
  int bytes = snprintf(request, sizeof request,
                       "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                       "Content-Length: %zu\r\n\r\n%s",
                       method, path, strlen(body), body);
  int descriptor = connect_to(ls_metrics_http_port(server->http));
  assert_int_equal(send(descriptor, request, (size_t)bytes, MSG_NOSIGNAL), bytes);
  size_t length = 0;
  ssize_t got;
  while ((got = recv(descriptor, answer + length, sizeof answer - 1 - length, 0)) > 0)
    length += (size_t)got;
  assert_int_equal(got, 0);
  answer[length] = '\0';
  close(descriptor);
  return answer;
}

static void assert_status(const char *answer, const char *status) {
  assert_memory_equal(answer, "HTTP/1.1 ", 9);
  assert_memory_equal(answer + 9, status, strlen(status));
}

static const char *body_of(const char *answer) {
  const char *end = strstr(answer, "\r\n\r\n");
  assert_non_null(end);
  return end + 4;
}

static void metrics_page(void **state) {
  test_server *server = *state;
  ls_counter_add(ls_metrics_counter(server->metrics, "a_total", "A.", NULL), 7);
  const char *answer = ask(server, "GET", "/metrics", "");
  assert_status(answer, "200 ");
  assert_non_null(
      strcasestr(answer, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  ls_buffer expected = LS_BUFFER_INIT;
  assert_true(ls_metrics_write(server->metrics, &expected));
  assert_string_equal(body_of(answer), expected.data);
  assert_non_null(strstr(body_of(answer), "\na_total 7\n"));
  ls_buffer_clear(&expected);
}

static void probes(void **state) {
  test_server *server = *state;
  assert_status(ask(server, "GET", "/healthz", ""), "200 ");
  const char *answer = ask(server, "GET", "/readyz", "");
  assert_status(answer, "200 ");
  assert_string_equal(body_of(answer), "ready\n");
  server->ready = false;
  answer = ask(server, "GET", "/readyz", "");
  assert_status(answer, "503 ");
  assert_string_equal(body_of(answer), "database is not reachable\n");
  assert_status(ask(server, "GET", "/healthz", ""), "200 ");
}

static void anything_else(void **state) {
  test_server *server = *state;
  assert_status(ask(server, "GET", "/", ""), "404 ");
  assert_status(ask(server, "GET", "/metrics/x", ""), "404 ");
  const char *answer = ask(server, "POST", "/metrics", "body");
  assert_status(answer, "405 ");
  assert_non_null(strcasestr(answer, "\r\nAllow: GET, HEAD\r\n"));
  answer = ask(server, "HEAD", "/healthz", "");
  assert_status(answer, "200 ");
  assert_string_equal(body_of(answer), "");
}

static bool is_answered(int descriptor, int timeout_ms) {
  struct pollfd entry = {.fd = descriptor, .events = POLLIN};
  char answer[1024];
  return poll(&entry, 1, timeout_ms) == 1 && recv(descriptor, answer, sizeof answer, 0) > 0;
}

/* Connections that stay open use up the bound; the next one waits until another ends. */
static void connections_are_bounded(void **state) {
  test_server *server = *state;
  enum { MORE_THAN_THE_BOUND = 60 };
  static const char request[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
  int descriptors[MORE_THAN_THE_BOUND];
  int opened = 0;
  bool answered = true;
  while (answered && opened < MORE_THAN_THE_BOUND) {
    int descriptor = connect_to(ls_metrics_http_port(server->http));
    descriptors[opened++] = descriptor;
    assert_true(send(descriptor, request, sizeof request - 1, MSG_NOSIGNAL) > 0);
    answered = is_answered(descriptor, 200);
  }
  assert_false(answered);
  assert_true(opened > 1);
  close(descriptors[0]);
  assert_true(is_answered(descriptors[opened - 1], 20000));
  for (int i = 1; i < opened; i++)
    close(descriptors[i]);
}

static void empty_address_is_off(void **state) {
  (void)state;
  ls_error error;
  ls_metrics *metrics = ls_metrics_new(0);
  ls_metrics_http *http = ls_metrics_http_start("", metrics, NULL, NULL, &error);
  assert_non_null(http);
  assert_int_equal(ls_metrics_http_port(http), 0);
  ls_metrics_http_stop(http);
  ls_metrics_http_stop(NULL);
  ls_metrics_destroy(metrics);
}

static void addresses_that_do_not_work(void **state) {
  (void)state;
  static const char *const addresses[] = {
      "nowhere", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "::1:9464",
  };
  ls_metrics *metrics = ls_metrics_new(0);
  for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
    ls_error error;
    ls_error_clear(&error);
    if (ls_metrics_http_start(addresses[i], metrics, NULL, NULL, &error))
      fail_msg("taken: %s", addresses[i]);
    assert_int_equal(error.code, LS_INVALID_ARGUMENT);
  }
  ls_error error;
  ls_metrics_http *first = ls_metrics_http_start("127.0.0.1:0", metrics, NULL, NULL, &error);
  assert_non_null(first);
  char same[32];
  snprintf(same, sizeof same, "127.0.0.1:%d", ls_metrics_http_port(first));
  assert_null(ls_metrics_http_start(same, metrics, NULL, NULL, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  assert_non_null(strstr(error.message, "Address already in use"));
  ls_metrics_http_stop(first);
  ls_metrics_destroy(metrics);
}

static void every_address(void **state) {
  (void)state;
  ls_error error;
  test_server server = {.metrics = ls_metrics_new(0)};
  server.http = ls_metrics_http_start(":0", server.metrics, NULL, NULL, &error);
  assert_non_null(server.http);
  assert_status(ask(&server, "GET", "/readyz", ""), "200 ");
  stop((void *[]){&server});
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(metrics_page),
      TEST(probes),
      TEST(anything_else),
      TEST(connections_are_bounded),
      cmocka_unit_test(empty_address_is_off),
      cmocka_unit_test(addresses_that_do_not_work),
      cmocka_unit_test(every_address),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
