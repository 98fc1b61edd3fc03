/* Configuration from one table: flags, environment, --help and the reference page are made of it.
 *
 * A flag beats the environment, the environment beats the default. `--flag value` and
 * `--flag=value`; BOOL: `--flag`, `--no-flag`, `--flag=true`. A secret is not taken from the
 * command line, where every user of the machine can read it: NAME in the environment, NAME_FILE in
 * the environment or
 * `--flag-file PATH` (the file's content without the newline at its end). An environment variable
 * that is empty counts as not set, except for STRING and FILE, where it is the empty text.
 *
 *   static const ls_option options[] = {
 *       {.flag = "listen", .env = "LOCKSTEP_ORDER_LISTEN", .type = LS_OPTION_STRING,
 *        .offset = offsetof(order_config, listen), .default_text = "127.0.0.1:50051",
 *        .group = "Server", .help = "Address of the gRPC server"},
 *       {.flag = "migrate", .type = LS_OPTION_ACTION, .action = ORDER_MIGRATE, .group = "Actions",
 *        .help = "Bring the database's schema up to date, then exit"}}; */
#ifndef LOCKSTEP_RUNTIME_BASE_CONFIG_H
#define LOCKSTEP_RUNTIME_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "runtime/base/error.h"

/* The exit status for a bad configuration (EX_CONFIG of sysexits.h). */
#define LS_EXIT_CONFIG 78

typedef enum ls_option_type {                        /* type of the struct's member */
                              LS_OPTION_STRING,      /* const char *, never NULL */
                              LS_OPTION_BOOL,        /* bool; true, yes, on, 1, false, no, off, 0 */
                              LS_OPTION_INT,         /* int64_t */
                              LS_OPTION_DURATION_MS, /* int64_t, milliseconds; 250ms, 5s, 2m, 1h, 0
                                                      */
                              LS_OPTION_SIZE_BYTES,  /* int64_t, bytes; 4096, 64KiB, 16MiB, 1GiB */
                              LS_OPTION_ENUM,        /* int, index into choices */
                              LS_OPTION_FILE,  /* const char *, never NULL; "" or a file that can be
                                                  read now */
                              LS_OPTION_ACTION /* no member: a flag that makes the program do
                                                  something else */
} ls_option_type;

typedef struct ls_option {
  const char *flag; /* "kafka-bootstrap-servers"; NULL: environment only */
  const char *env;  /* "KAFKA_BOOTSTRAP_SERVERS"; NULL: flag only */
  ls_option_type type;
  size_t offset;              /* of the member in the configuration struct */
  const char *default_text;   /* as a user would write it; NULL: "", false, 0, the first choice */
  int64_t min, max;           /* of INT, DURATION_MS, SIZE_BYTES; both 0: 0 and above, INT any */
  const char *const *choices; /* of ENUM, NULL-terminated */
  bool secret;                /* STRING only: never printed, never on the command line */
  size_t path_offset; /* of a secret: a const char * that is never NULL, for the path of the file
                         it was read from, "" without; 0: not kept */
  bool required;      /* STRING, FILE: must not be empty, unless the program runs an action */
  int action;         /* of ACTION: what *action becomes; above 0 */
  const char *group;  /* heading; options of a group stand together */
  const char *help;   /* a sentence without full stop; plain text */
} ls_option;

typedef struct ls_program {
  const char *name;    /* "order-service" */
  const char *version; /* "0.1.0" */
  const char *summary; /* one sentence for --help */
  const char
      *env_prefix; /* "LOCKSTEP_ORDER_": variables that begin so must be in the table; or NULL */
} ls_program;

enum {
  LS_ACTION_RUN = 0,  /* no action flag was given */
  LS_ACTION_DONE = -1 /* --help, --version or --config-reference has been printed: exit 0 */
};

/* Fills `config` (a struct that the offsets fit; overwritten, not freed). False:
 * LS_INVALID_ARGUMENT with one line that names the flag or variable, the value unless it is secret,
 * and the rule; the caller prints it and exits with LS_EXIT_CONFIG; nothing needs to be freed. Main
 * thread, before others start. */
bool ls_config_parse(const ls_option *options, size_t option_count, const ls_program *program,
                     int argc, char *const *argv, void *config, int *action, ls_error *error);

/* Reads a secret's file as the parser does, for those that change while the program runs: the
 * content without the newline at its end, for ls_config_forget_secret. NULL: LS_INVALID_ARGUMENT
 * with the path and the rule; LS_RESOURCE_EXHAUSTED. Any thread. */
char *ls_config_read_secret(const char *path, ls_error *error);

/* Overwrites a secret, or a copy of one, and frees it. NULL is fine. Any thread. */
void ls_config_forget_secret(char *secret);

/* Frees the strings of a parsed configuration and sets them to NULL. */
void ls_config_clear(const ls_option *options, size_t option_count, void *config);

/* Calls `found` for each environment variable that begins with the program's prefix and is no
 * option's: most likely a typo. */
void ls_config_unknown_variables(const ls_option *options, size_t option_count,
                                 const ls_program *program,
                                 void (*found)(const char *name, void *arg), void *arg);

/* Logs the effective settings in one line, secrets as "set" or "not set", and a warning for each
 * unknown variable. After ls_log_init. */
void ls_config_log(const ls_option *options, size_t option_count, const ls_program *program,
                   const void *config);

/* What --help and --config-reference print. */
void ls_config_write_help(const ls_option *options, size_t option_count, const ls_program *program,
                          FILE *out);
void ls_config_write_reference(const ls_option *options, size_t option_count,
                               const ls_program *program, FILE *out);

#endif
