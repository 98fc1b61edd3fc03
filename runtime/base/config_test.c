/* Tests of the configuration: what is taken, what is refused and in which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/config.h"
#include "runtime/base/log.h"

typedef struct test_config {
  const char *topic;
  const char *password;
  const char *password_file;
  const char *certificate;
  bool tls;
  int64_t port;
  int64_t offset;
  int64_t linger_ms;
  int64_t batch_bytes;
  int payload;
} test_config;

enum { PAYLOAD_FULL, PAYLOAD_ZERO };
enum { ACTION_MIGRATE = 1, ACTION_CREATE_TOPICS };

static const char *const payloads[] = {"full", "zero", NULL};

static const ls_option options[] = {
    {.flag = "topic",
     .env = "LOCKSTEP_TEST_TOPIC",
     .type = LS_OPTION_STRING,
     .offset = offsetof(test_config, topic),
     .default_text = "order-topic",
     .required = true,
     .group = "Kafka",
     .help = "Topic | of orders"},
    {.flag = "password",
     .env = "LOCKSTEP_TEST_PASSWORD",
     .type = LS_OPTION_STRING,
     .offset = offsetof(test_config, password),
     .path_offset = offsetof(test_config, password_file),
     .secret = true,
     .group = "Kafka",
     .help = "Password of the user"},
    {.flag = "certificate",
     .env = "LOCKSTEP_TEST_CERTIFICATE",
     .type = LS_OPTION_FILE,
     .offset = offsetof(test_config, certificate),
     .group = "TLS",
     .help = "Certificate"},
    {.flag = "tls",
     .env = "LOCKSTEP_TEST_TLS",
     .type = LS_OPTION_BOOL,
     .offset = offsetof(test_config, tls),
     .default_text = "true",
     .group = "TLS",
     .help = "Encrypt"},
    {.flag = "port",
     .env = "LOCKSTEP_TEST_PORT",
     .type = LS_OPTION_INT,
     .offset = offsetof(test_config, port),
     .default_text = "50051",
     .min = 1,
     .max = 65535,
     .group = "Server",
     .help = "Port"},
    {.flag = "offset",
     .type = LS_OPTION_INT,
     .offset = offsetof(test_config, offset),
     .group = "Server",
     .help = "Any number"},
    {.flag = "linger",
     .env = "LOCKSTEP_TEST_LINGER",
     .type = LS_OPTION_DURATION_MS,
     .offset = offsetof(test_config, linger_ms),
     .default_text = "5ms",
     .min = 0,
     .max = 3600000,
     .group = "Kafka",
     .help = "Wait"},
    {.flag = "batch",
     .env = "LOCKSTEP_TEST_BATCH",
     .type = LS_OPTION_SIZE_BYTES,
     .offset = offsetof(test_config, batch_bytes),
     .default_text = "1MiB",
     .group = "Kafka",
     .help = "Batch"},
    {.flag = "payload",
     .env = "LOCKSTEP_TEST_PAYLOAD",
     .type = LS_OPTION_ENUM,
     .offset = offsetof(test_config, payload),
     .choices = payloads,
     .default_text = "zero",
     .group = "Kafka",
     .help = "Payload"},
    {.flag = "migrate",
     .type = LS_OPTION_ACTION,
     .action = ACTION_MIGRATE,
     .group = "Actions",
     .help = "Migrate"},
    {.flag = "create-topics",
     .type = LS_OPTION_ACTION,
     .action = ACTION_CREATE_TOPICS,
     .group = "Actions",
     .help = "Create topics"},
};
enum { OPTIONS = sizeof options / sizeof options[0], MAX_ARGUMENTS = 8 };

static const ls_program program = {.name = "test-service",
                                   .version = "1.2.3",
                                   .summary = "tests options",
                                   .env_prefix = "LOCKSTEP_TEST_"};

static char secret_path[] = "/tmp/lockstep_config_test_XXXXXX";

static void write_secret(const char *content, size_t length) {
  FILE *file = fopen(secret_path, "w");
  assert_non_null(file);
  assert_int_equal(fwrite(content, 1, length, file), length);
  assert_int_equal(fclose(file), 0);
}

static bool parse(const char *const *arguments, test_config *config, int *action, ls_error *error) {
  char *argv[MAX_ARGUMENTS + 2] = {(char *)(uintptr_t) "test-service"};
  int argc = 1;
  for (; arguments[argc - 1]; argc++)
    argv[argc] = (char *)(uintptr_t)arguments[argc - 1];
  return ls_config_parse(options, OPTIONS, &program, argc, argv, config, action, error);
}

static test_config parse_well(const char *const *arguments) {
  test_config config;
  int action = 99;
  ls_error error;
  ls_error_clear(&error);
  if (!parse(arguments, &config, &action, &error))
    fail_msg("%s", error.message);
  assert_int_equal(action, LS_ACTION_RUN);
  return config;
}

#define ARGUMENTS(...) ((const char *const[MAX_ARGUMENTS + 1]){__VA_ARGS__})

static int clear_environment(void **state) {
  (void)state;
  return clearenv();
}

static void defaults(void **state) {
  (void)state;
  test_config config = parse_well(ARGUMENTS(NULL));
  assert_string_equal(config.topic, "order-topic");
  assert_string_equal(config.password, "");
  assert_string_equal(config.certificate, "");
  assert_true(config.tls);
  assert_int_equal(config.port, 50051);
  assert_int_equal(config.offset, 0);
  assert_int_equal(config.linger_ms, 5);
  assert_int_equal(config.batch_bytes, 1048576);
  assert_int_equal(config.payload, PAYLOAD_ZERO);
  ls_config_clear(options, OPTIONS, &config);
  assert_null(config.topic);
}

static void flag_beats_environment_beats_default(void **state) {
  (void)state;
  setenv("LOCKSTEP_TEST_PORT", "7", 1);
  setenv("LOCKSTEP_TEST_TOPIC", "from-env", 1);
  setenv("LOCKSTEP_TEST_TLS", "off", 1);
  setenv("LOCKSTEP_TEST_PAYLOAD", "full", 1);
  test_config config = parse_well(ARGUMENTS("--port", "8"));
  assert_int_equal(config.port, 8);
  assert_string_equal(config.topic, "from-env");
  assert_false(config.tls);
  assert_int_equal(config.payload, PAYLOAD_FULL);
  ls_config_clear(options, OPTIONS, &config);
}

static void ways_to_write_flags(void **state) {
  (void)state;
  test_config config =
      parse_well(ARGUMENTS("--no-tls", "--topic=a=b", "--linger", "2m", "--batch=64KiB",
                           "--offset=-9223372036854775808", "--port=1", "--port=2"));
  assert_false(config.tls);
  assert_string_equal(config.topic, "a=b");
  assert_int_equal(config.linger_ms, 120000);
  assert_int_equal(config.batch_bytes, 65536);
  assert_true(config.offset == INT64_MIN);
  assert_int_equal(config.port, 2);
  ls_config_clear(options, OPTIONS, &config);
  config = parse_well(ARGUMENTS("--no-tls", "--tls", "--linger=1h", "--batch", "4096"));
  assert_true(config.tls);
  assert_int_equal(config.linger_ms, 3600000);
  assert_int_equal(config.batch_bytes, 4096);
  ls_config_clear(options, OPTIONS, &config);
  config = parse_well(ARGUMENTS("--tls=no", "--linger=0", "--batch=2GiB"));
  assert_false(config.tls);
  assert_int_equal(config.linger_ms, 0);
  assert_int_equal(config.batch_bytes, INT64_C(2147483648));
  ls_config_clear(options, OPTIONS, &config);
}

static void empty_variables(void **state) {
  (void)state;
  setenv("LOCKSTEP_TEST_PORT", "", 1);
  setenv("LOCKSTEP_TEST_TLS", "", 1);
  setenv("LOCKSTEP_TEST_CERTIFICATE", "", 1);
  test_config config = parse_well(ARGUMENTS(NULL));
  assert_int_equal(config.port, 50051);
  assert_true(config.tls);
  ls_config_clear(options, OPTIONS, &config);
}

static void secrets_come_from_files_and_environment(void **state) {
  (void)state;
  write_secret("s3cret\n", 7);
  setenv("LOCKSTEP_TEST_PASSWORD_FILE", secret_path, 1);
  test_config config = parse_well(ARGUMENTS(NULL));
  assert_string_equal(config.password, "s3cret");
  assert_string_equal(config.password_file, secret_path);
  ls_config_clear(options, OPTIONS, &config);

  write_secret("two\nlines\r\n", 11);
  unsetenv("LOCKSTEP_TEST_PASSWORD_FILE");
  setenv("LOCKSTEP_TEST_PASSWORD", "other", 1);
  config = parse_well(ARGUMENTS("--password-file", secret_path));
  assert_string_equal(config.password, "two\nlines");
  assert_string_equal(config.password_file, secret_path);
  ls_config_clear(options, OPTIONS, &config);
  assert_null(config.password_file);
  config = parse_well(ARGUMENTS(NULL));
  assert_string_equal(config.password, "other");
  assert_string_equal(config.password_file, "");
  ls_config_clear(options, OPTIONS, &config);
}

static void secrets_are_read_again(void **state) {
  (void)state;
  ls_error error = {0};
  static const char *const contents[] = {"one\n", "", "two"};
  static const char *const expected[] = {"one", "", "two"};
  for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
    write_secret(contents[i], strlen(contents[i]));
    char *secret = ls_config_read_secret(secret_path, &error);
    assert_non_null(secret);
    assert_string_equal(secret, expected[i]);
    free(secret);
  }
  assert_null(ls_config_read_secret("/nowhere/x", &error));
  assert_int_equal(error.code, LS_INVALID_ARGUMENT);
  assert_string_equal(error.message, "/nowhere/x: must be a file that can be read: No such file or "
                                     "directory");
}

static void actions(void **state) {
  (void)state;
  test_config config;
  int action = 0;
  ls_error error;
  assert_true(parse(ARGUMENTS("--migrate"), &config, &action, &error));
  assert_int_equal(action, ACTION_MIGRATE);
  ls_config_clear(options, OPTIONS, &config);
  assert_true(parse(ARGUMENTS("--create-topics", "--topic="), &config, &action, &error));
  assert_int_equal(action, ACTION_CREATE_TOPICS);
  assert_string_equal(config.topic, "");
  ls_config_clear(options, OPTIONS, &config);
}

static void what_is_refused(void **state) {
  (void)state;
  static const struct {
    const char *variable; /* "NAME=value", or NULL */
    const char *arguments[4];
    const char *message;
  } cases[] = {
      {NULL, {"--prot=1"}, "--prot: unknown flag (see --help)"},
      {NULL, {"--no-port"}, "--no-port: unknown flag (see --help)"},
      {NULL, {"--topic-file", "x"}, "--topic-file: unknown flag (see --help)"},
      {NULL, {"run"}, "unexpected argument run: must be a flag (see --help)"},
      {NULL, {"--"}, "unexpected argument --: must be a flag (see --help)"},
      {NULL, {"--port"}, "--port: needs a value"},
      {NULL, {"--topic", "--tls"}, "--topic: needs a value"},
      {NULL, {"--port", "0"}, "--port=0: must be a whole number, from 1 to 65535"},
      {NULL, {"--port", "65536"}, "--port=65536: must be a whole number, from 1 to 65535"},
      {NULL, {"--port", "12x"}, "--port=12x: must be a whole number, from 1 to 65535"},
      {NULL, {"--port="}, "--port=: must be a whole number, from 1 to 65535"},
      {NULL, {"--port= 1"}, "--port= 1: must be a whole number, from 1 to 65535"},
      {NULL, {"--offset=1e3"}, "--offset=1e3: must be a whole number"},
      {NULL,
       {"--offset=9223372036854775808"},
       "--offset=9223372036854775808: must be a whole number"},
      {"LOCKSTEP_TEST_PORT=many",
       {NULL},
       "LOCKSTEP_TEST_PORT=many: must be a whole number, from 1 to 65535"},
      {NULL,
       {"--linger=5"},
       "--linger=5: must be a duration such as 250ms, 5s, 2m or 1h, from 0ms to 1h"},
      {NULL,
       {"--linger=61m"},
       "--linger=61m: must be a duration such as 250ms, 5s, 2m or 1h, from 0ms to 1h"},
      {NULL,
       {"--linger=-1s"},
       "--linger=-1s: must be a duration such as 250ms, 5s, 2m or 1h, from 0ms to 1h"},
      {NULL,
       {"--linger=9223372036854775807h"},
       "--linger=9223372036854775807h: must be a duration such as 250ms, 5s, 2m or 1h, from 0ms "
       "to 1h"},
      {NULL, {"--batch=1MB"}, "--batch=1MB: must be a size such as 4096, 64KiB, 16MiB or 1GiB"},
      {NULL, {"--batch=-1"}, "--batch=-1: must be a size such as 4096, 64KiB, 16MiB or 1GiB"},
      {NULL, {"--tls=maybe"}, "--tls=maybe: must be true or false"},
      {NULL, {"--no-tls=true"}, "--no-tls: takes no value"},
      {NULL, {"--migrate=1"}, "--migrate: takes no value"},
      {NULL,
       {"--migrate", "--create-topics"},
       "--migrate and --create-topics: only one of them at a time"},
      {NULL, {"--payload=half"}, "--payload=half: must be one of full, zero"},
      {NULL,
       {"--certificate=/nowhere/x"},
       "--certificate=/nowhere/x: must be a file that can be read: No such file or directory"},
      {NULL, {"--topic="}, "--topic or LOCKSTEP_TEST_TOPIC: required, but not set"},
      {"LOCKSTEP_TEST_TOPIC=", {NULL}, "--topic or LOCKSTEP_TEST_TOPIC: required, but not set"},
      {NULL,
       {"--password=s3cret"},
       "--password: a secret is not taken from the command line: use --password-file or "
       "LOCKSTEP_TEST_PASSWORD"},
      {"LOCKSTEP_TEST_PASSWORD_FILE=/nowhere/x",
       {NULL},
       "LOCKSTEP_TEST_PASSWORD_FILE=/nowhere/x: must be a file that can be read: No such file or "
       "directory"},
      {"LOCKSTEP_TEST_PASSWORD_FILE=/",
       {NULL},
       "LOCKSTEP_TEST_PASSWORD_FILE=/: must be a file that can be read: Is a directory"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    clearenv();
    if (cases[i].variable)
      putenv((char *)(uintptr_t)cases[i].variable);
    test_config config;
    int action = 99;
    ls_error error;
    ls_error_clear(&error);
    if (parse(cases[i].arguments, &config, &action, &error))
      fail_msg("taken: case %zu (%s)", i, cases[i].message);
    assert_string_equal(error.message, cases[i].message);
    assert_int_equal(error.code, LS_INVALID_ARGUMENT);
    assert_int_equal(action, 99);
    assert_null(config.topic); /* nothing to free */
  }
}

static void secret_given_twice_or_not_text(void **state) {
  (void)state;
  test_config config;
  int action;
  ls_error error;
  setenv("LOCKSTEP_TEST_PASSWORD", "hidden", 1);
  setenv("LOCKSTEP_TEST_PASSWORD_FILE", secret_path, 1);
  assert_false(parse(ARGUMENTS(NULL), &config, &action, &error));
  assert_string_equal(error.message, "LOCKSTEP_TEST_PASSWORD and LOCKSTEP_TEST_PASSWORD_FILE: "
                                     "only one of them may be set");
  unsetenv("LOCKSTEP_TEST_PASSWORD");
  write_secret("a\0b", 3);
  assert_false(parse(ARGUMENTS(NULL), &config, &action, &error));
  assert_non_null(strstr(error.message, ": must be a text file of at most 64KiB"));
}

static void unknown_variable(const char *name, void *arg) {
  strcat(arg, name);
  strcat(arg, ";");
}

static void typos_in_the_environment_are_found(void **state) {
  (void)state;
  setenv("LOCKSTEP_TEST_PROT", "1", 1);
  setenv("LOCKSTEP_TEST_PORT", "1", 1);
  setenv("LOCKSTEP_TEST_PORT_FILE", "1", 1); /* only secrets have one */
  setenv("LOCKSTEP_TEST_PASSWORD_FILE", "1", 1);
  setenv("LOCKSTEP_OTHER", "1", 1);
  char names[200] = "";
  ls_config_unknown_variables(options, OPTIONS, &program, unknown_variable, names);
  assert_string_equal(names, "LOCKSTEP_TEST_PROT;LOCKSTEP_TEST_PORT_FILE;");
}

/* What a child that parses these arguments writes to its standard output. */
static void output_of(const char *argument, char *text, size_t bytes) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(fflush(stdout), 0);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    test_config config;
    int action = 99;
    bool done = parse(ARGUMENTS("--nonsense", argument), &config, &action, NULL);
    if (done)
      ls_config_clear(options, OPTIONS, &config);
    _exit(done && action == LS_ACTION_DONE ? 0 : 1);
  }
  close(ends[1]);
  size_t length = 0;
  ssize_t got;
  while ((got = read(ends[0], text + length, bytes - 1 - length)) > 0)
    length += (size_t)got;
  text[length] = '\0';
  close(ends[0]);
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
}

static void built_in_flags(void **state) {
  (void)state;
  static char text[16384];
  output_of("--version", text, sizeof text);
  assert_string_equal(text, "test-service 1.2.3\n");
  output_of("--help", text, sizeof text);
  assert_non_null(strstr(text, "Usage: test-service [flag]..."));
  for (size_t i = 0; i < OPTIONS; i++)
    assert_non_null(strstr(text, options[i].flag));
  assert_non_null(
      strstr(text, "\n  --[no-]tls  LOCKSTEP_TEST_TLS\n      Encrypt (default: true)\n"));
  assert_non_null(strstr(text, "\n  --port NUMBER  LOCKSTEP_TEST_PORT\n      Port; a whole number, "
                               "from 1 to 65535 (default: 50051)\n"));
  assert_non_null(strstr(text, "\n  --password-file PATH  LOCKSTEP_TEST_PASSWORD or its _FILE\n"));
  output_of("--config-reference", text, sizeof text);
  assert_non_null(strstr(text, "# Configuration of test-service\n"));
  assert_non_null(strstr(text, "\n## Kafka\n"));
  assert_null(strstr(strstr(text, "\n## Kafka\n") + 1, "\n## Kafka\n")); /* once */
  assert_non_null(strstr(text, "\n| `--topic` | `LOCKSTEP_TEST_TOPIC` | text | required | Topic "
                               "\\| of orders |\n"));
  assert_non_null(strstr(text, "\n| `--linger` | `LOCKSTEP_TEST_LINGER` | a duration such as "
                               "250ms, 5s, 2m or 1h, from 0ms to 1h | `5ms` | Wait |\n"));
  assert_non_null(strstr(text, "\n| `--password-file` | `LOCKSTEP_TEST_PASSWORD`, "
                               "`LOCKSTEP_TEST_PASSWORD_FILE` | secret text |  | Password of the "
                               "user |\n"));
}

static void log_has_all_but_secrets(void **state) {
  (void)state;
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  ls_log_set_output(ends[1]);
  ls_log_init("test", LS_LOG_INFO, LS_LOG_JSON);
  setenv("LOCKSTEP_TEST_PASSWORD", "s3cret", 1);
  setenv("LOCKSTEP_TEST_PROT", "1", 1);
  test_config config = parse_well(ARGUMENTS("--batch=65536", "--linger=90s"));
  ls_config_log(options, OPTIONS, &program, &config);
  ls_config_clear(options, OPTIONS, &config);
  static char text[8192];
  ssize_t length = read(ends[0], text, sizeof text - 1);
  assert_true(length > 0);
  text[length] = '\0';
  assert_non_null(strstr(text, "\"message\":\"configuration\",\"topic\":\"order-topic\","
                               "\"password\":\"set\",\"certificate\":\"\",\"tls\":true,"
                               "\"port\":50051,\"offset\":0,\"linger\":\"90s\","
                               "\"batch\":\"64KiB\",\"payload\":\"zero\"}\n"));
  assert_null(strstr(text, "s3cret"));
  assert_non_null(strstr(text, "\"variable\":\"LOCKSTEP_TEST_PROT\"}\n"));
  ls_log_set_output(STDERR_FILENO);
  close(ends[0]);
  close(ends[1]);
}

static int make_secret(void **state) {
  (void)state;
  int descriptor = mkstemp(secret_path);
  return descriptor < 0 ? -1 : close(descriptor);
}

static int remove_secret(void **state) {
  (void)state;
  return unlink(secret_path);
}

#define TEST(name) cmocka_unit_test_setup(name, clear_environment)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(defaults),
      TEST(flag_beats_environment_beats_default),
      TEST(ways_to_write_flags),
      TEST(empty_variables),
      TEST(secrets_come_from_files_and_environment),
      TEST(secrets_are_read_again),
      TEST(actions),
      TEST(what_is_refused),
      TEST(secret_given_twice_or_not_text),
      TEST(typos_in_the_environment_are_found),
      TEST(built_in_flags),
      TEST(log_has_all_but_secrets),
  };
  return cmocka_run_group_tests(tests, make_secret, remove_secret);
}
