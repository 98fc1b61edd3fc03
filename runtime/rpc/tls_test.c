/* TLS and mutual TLS with certificates made for the occasion, and their rotation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lockstep/test/v1/echo.grpc-c.h"
#include "runtime/base/log.h"
#include "runtime/rpc/credentials.h"
#include "runtime/rpc/health.h"
#include "runtime/rpc/rpc_test_support.h"

static char directory[] = "/tmp/lockstep-tls-XXXXXX";

/* A file in the directory; kept until the process ends. */
static const char *file(const char *name) {
  static char names[32][64];
  static size_t count;
  for (size_t i = 0; i < count; i++)
    if (strcmp(names[i] + strlen(directory) + 1, name) == 0)
      return names[i];
  assert_true(count < sizeof names / sizeof names[0]);
  snprintf(names[count], sizeof names[count], "%s/%s", directory, name);
  return names[count++];
}

static void run(const char *command) {
  if (system(command) != 0)
    fail_msg("failed: %s", command);
}

/* name.pem and name.key: an authority that signs itself. */
static void make_authority(const char *name) {
  char command[1024];
  snprintf(command, sizeof command,
           "cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
           " -days 2 -subj /CN=%s -keyout %s.key -out %s.pem 2>%s.log",
           directory, name, name, name, name);
  run(command);
}

/* name.pem and name.key: for localhost, signed by the authority. */
static void make_certificate(const char *name, const char *authority) {
  char command[2048];
  snprintf(command, sizeof command,
           "cd %s && openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
           " -subj /CN=%s -keyout %s.key -out %s.csr 2>%s.log &&"
           " printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' >%s.ext &&"
           " openssl x509 -req -in %s.csr -CA %s.pem -CAkey %s.key -CAcreateserial -days 2"
           " -extfile %s.ext -out %s.pem 2>>%s.log",
           directory, name, name, name, name, name, name, authority, authority, name, name, name);
  run(command);
}

static int make_all(void **state) {
  (void)state;
  ls_log_set_level(LS_LOG_ERROR); /* refused handshakes are logged as warnings */
  if (mkdtemp(directory) == NULL)
    return -1;
  make_authority("authority");
  make_authority("stranger");
  make_certificate("server", "authority");
  make_certificate("client", "authority");
  make_certificate("intruder", "stranger");
  make_certificate("renewed", "stranger");
  return 0;
}

static int remove_all(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", directory);
  run(command);
  return 0;
}

static void echo(ls_rpc_call *call, const Lockstep__Test__V1__Note *request, void *user_data) {
  (void)user_data;
  lockstep_test_v1_echo_service_echo_reply(call, request);
}

static ls_rpc_server *start_server(const ls_rpc_tls *tls, test_target *target) {
  static const lockstep_test_v1_echo_service_handlers handlers = {.echo = echo};
  const ls_rpc_server_options options = {.tls = *tls};
  ls_error error;
  ls_rpc_server *server = test_server_new(&options);
  assert_true(lockstep_test_v1_echo_service_register(server, &handlers, NULL, &error));
  *target = test_server_start(server);
  return server;
}

/* The code of a call on a connection of its own. */
static ls_code call_with(test_target target, const ls_rpc_channel_options *options) {
  ls_rpc_channel *channel = test_channel_new(target, options);
  Lockstep__Test__V1__Note request = LOCKSTEP__TEST__V1__NOTE__INIT;
  const ls_rpc_call_options call_options = {.timeout_ms = 10000};
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  lockstep_test_v1_echo_service_echo(channel, &request, &call_options, NULL, &status);
  ls_code code = status.code;
  ls_rpc_status_clear(&status);
  ls_rpc_channel_destroy(channel);
  return code;
}

static ls_rpc_channel_options client(const char *authority, const char *certificate,
                                     const char *key) {
  return (ls_rpc_channel_options){.tls = {.enabled = true,
                                          .authority_file = authority,
                                          .certificate_file = certificate,
                                          .key_file = key},
                                  .retry_attempts = 1};
}

static void server_is_checked(void **state) {
  (void)state;
  test_target target;
  const ls_rpc_tls tls = {
      .enabled = true, .certificate_file = file("server.pem"), .key_file = file("server.key")};
  ls_rpc_server *server = start_server(&tls, &target);

  ls_rpc_channel_options options = client(file("authority.pem"), NULL, NULL);
  assert_int_equal(call_with(target, &options), LS_OK);
  options.tls_server_name = "localhost";
  assert_int_equal(call_with(target, &options), LS_OK);
  options.tls_server_name = "order.example";
  assert_int_equal(call_with(target, &options), LS_UNAVAILABLE);
  options = client(file("stranger.pem"), NULL, NULL);
  assert_int_equal(call_with(target, &options), LS_UNAVAILABLE);
  options = client(NULL, NULL, NULL); /* the system's authorities do not know it either */
  assert_int_equal(call_with(target, &options), LS_UNAVAILABLE);
  const ls_rpc_channel_options plaintext = {.retry_attempts = 1};
  assert_int_equal(call_with(target, &plaintext), LS_UNAVAILABLE);
  test_stop(NULL, server);
}

static void client_is_checked(void **state) {
  (void)state;
  test_target target;
  const ls_rpc_tls tls = {.enabled = true,
                          .certificate_file = file("server.pem"),
                          .key_file = file("server.key"),
                          .authority_file = file("authority.pem"),
                          .require_client_certificate = true};
  ls_rpc_server *server = start_server(&tls, &target);
  ls_rpc_channel_options options =
      client(file("authority.pem"), file("client.pem"), file("client.key"));
  assert_int_equal(call_with(target, &options), LS_OK);
  options = client(file("authority.pem"), NULL, NULL);
  assert_int_equal(call_with(target, &options), LS_UNAVAILABLE);
  options = client(file("authority.pem"), file("intruder.pem"), file("intruder.key"));
  assert_int_equal(call_with(target, &options), LS_UNAVAILABLE);
  test_stop(NULL, server);
}

static void probe_uses_tls(void **state) {
  (void)state;
  ls_error error;
  ls_rpc_health *health = ls_rpc_health_new(&error);
  ls_rpc_health_set(health, "", true);
  const ls_rpc_server_options options = {.tls = {.enabled = true,
                                                 .certificate_file = file("server.pem"),
                                                 .key_file = file("server.key")}};
  ls_rpc_server *server = test_server_new(&options);
  assert_true(ls_rpc_health_register(health, server, &error));
  test_target target = test_server_start(server);
  const ls_rpc_tls known = {.enabled = true, .authority_file = file("authority.pem")};
  assert_true(ls_rpc_health_probe(target.address, &known, "", 10000, &error));
  const ls_rpc_tls other = {.enabled = true, .authority_file = file("stranger.pem")};
  assert_false(ls_rpc_health_probe(target.address, &other, "", 10000, &error));
  assert_int_equal(error.code, LS_UNAVAILABLE);
  test_stop(NULL, server);
  ls_rpc_health_destroy(health);
}

typedef struct rotation {
  test_target target;
  ls_rpc_channel_options options;
} rotation;

static bool is_accepted(void *arg) {
  const rotation *r = arg;
  return call_with(r->target, &r->options) == LS_OK;
}

/* A rename is how a file is replaced without a moment in which it is half written. */
static void replace(const char *name, const char *by) {
  char command[512];
  snprintf(command, sizeof command, "cd %s && cp %s new && mv new %s", directory, by, name);
  run(command);
}

static void rotated_certificate_is_served(void **state) {
  (void)state;
  replace("current.pem", "server.pem");
  replace("current.key", "server.key");
  rotation r;
  const ls_rpc_tls tls = {.enabled = true,
                          .certificate_file = file("current.pem"),
                          .key_file = file("current.key"),
                          .reload_seconds = 1};
  ls_rpc_server *server = start_server(&tls, &r.target);
  const ls_rpc_channel_options before = client(file("authority.pem"), NULL, NULL);
  r.options = client(file("stranger.pem"), NULL, NULL);
  ls_rpc_channel *connected = test_channel_new(r.target, &before);
  Lockstep__Test__V1__Note request = LOCKSTEP__TEST__V1__NOTE__INIT;
  assert_true(lockstep_test_v1_echo_service_echo(connected, &request, NULL, NULL, NULL));
  assert_false(is_accepted(&r));

  replace("current.pem", "renewed.pem");
  replace("current.key", "renewed.key");
  assert_true(test_eventually(is_accepted, &r));
  assert_int_equal(call_with(r.target, &before), LS_UNAVAILABLE);
  /* Connections that there were go on. */
  assert_true(lockstep_test_v1_echo_service_echo(connected, &request, NULL, NULL, NULL));
  test_stop(connected, server);
}

static void mistakes_are_told(void **state) {
  (void)state;
  const struct {
    ls_rpc_tls tls;
    bool server;
    const char *told;
  } cases[] = {
      {{.enabled = true}, true, "needs a certificate file and a key file"},
      {{.enabled = true, .certificate_file = file("server.pem")}, true, "together"},
      {{.enabled = true, .key_file = file("client.key")}, false, "together"},
      {{.enabled = true,
        .certificate_file = file("server.pem"),
        .key_file = file("server.key"),
        .require_client_certificate = true},
       true,
       "no authority file"},
      {{.enabled = true, .certificate_file = file("none.pem"), .key_file = file("server.key")},
       true,
       "none.pem"},
      {{.enabled = true, .authority_file = file("none.pem")}, false, "none.pem"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    ls_error error;
    assert_false(ls_rpc_tls_check(&cases[i].tls, cases[i].server, &error));
    assert_int_equal(error.code, LS_FAILED_PRECONDITION);
    if (strstr(error.message, cases[i].told) == NULL)
      fail_msg("case %zu: %s", i, error.message);
  }
  const ls_rpc_tls off = {.certificate_file = file("none.pem")};
  ls_error error;
  assert_true(ls_rpc_tls_check(&off, true, &error));
  const ls_rpc_server_options options = {.tls = cases[0].tls};
  ls_rpc_server *server = test_server_new(&options);
  assert_false(ls_rpc_server_listen(server, "127.0.0.1:0", NULL, &error));
  assert_int_equal(error.code, LS_FAILED_PRECONDITION);
  ls_rpc_server_destroy(server);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(server_is_checked), cmocka_unit_test(client_is_checked),
      cmocka_unit_test(probe_uses_tls),    cmocka_unit_test(rotated_certificate_is_served),
      cmocka_unit_test(mistakes_are_told),
  };
  return cmocka_run_group_tests(tests, make_all, remove_all);
}
