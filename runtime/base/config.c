/* Configuration from flags, environment and defaults: see config.h. */
#include "runtime/base/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/config_value.h"

/* No secret that we know of comes near it. */
enum { SECRET_BYTES = 64 * 1024, NAME_BYTES = 160 };

typedef struct config_parse {
  const ls_option *options;
  size_t option_count;
  void *config;
  int action;
  const ls_option *action_option;
  ls_error *error;
} config_parse;

static bool bad(config_parse *parse, const char *origin, const char *rule) {
  return ls_error_set(parse->error, LS_INVALID_ARGUMENT, false, NULL, "%.120s: %s", origin, rule);
}

/* What a missing default stands for. */
static const char *default_of(const ls_option *option) {
  if (option->default_text)
    return option->default_text;
  switch (option->type) {
  case LS_OPTION_BOOL:
    return "false";
  case LS_OPTION_INT:
  case LS_OPTION_DURATION_MS:
  case LS_OPTION_SIZE_BYTES:
    return "0";
  case LS_OPTION_ENUM:
    return option->choices[0];
  case LS_OPTION_STRING:
  case LS_OPTION_FILE:
  case LS_OPTION_ACTION:
    break;
  }
  return "";
}

static bool is_text(const ls_option *option) {
  return option->type == LS_OPTION_STRING || option->type == LS_OPTION_FILE;
}

/* Where the path of a secret's file is kept; NULL: nowhere. */
static const char **path_member(const ls_option *option, void *config) {
  return option->path_offset > 0 ? (const char **)((char *)config + option->path_offset) : NULL;
}

static bool keep_path(config_parse *parse, const ls_option *option, const char *origin,
                      const char *path) {
  const char **member = path_member(option, parse->config);
  if (!member)
    return true;
  char *copy = strdup(path);
  if (!copy)
    return ls_error_set(parse->error, LS_RESOURCE_EXHAUSTED, false, NULL, "%s: out of memory",
                        origin);
  free((void *)(uintptr_t)*member);
  *member = copy;
  return true;
}

static bool apply_defaults(config_parse *parse) {
  for (size_t i = 0; i < parse->option_count; i++) {
    const ls_option *option = &parse->options[i];
    if (is_text(option))
      *(const char **)config_member(option, parse->config) = NULL;
    if (option->path_offset > 0)
      *path_member(option, parse->config) = NULL;
  }
  for (size_t i = 0; i < parse->option_count; i++) {
    const ls_option *option = &parse->options[i];
    if (option->type == LS_OPTION_ACTION)
      continue;
    char origin[NAME_BYTES];
    snprintf(origin, sizeof origin, "default of %s", option->flag ? option->flag : option->env);
    if (!config_set(option, origin, default_of(option), parse->config, parse->error) ||
        !keep_path(parse, option, origin, ""))
      return false;
  }
  return true;
}

char *ls_config_read_secret(const char *path, ls_error *error) {
  char *content = malloc(SECRET_BYTES + 1);
  FILE *file = fopen(path, "re");
  if (!content) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "%.200s: out of memory", path);
    goto failed;
  }
  size_t length = file ? fread(content, 1, SECRET_BYTES + 1, file) : 0;
  if (!file || ferror(file)) {
    ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                 "%.200s: must be a file that can be read: %s", path, strerrordesc_np(errno));
    goto failed;
  }
  if (length > SECRET_BYTES || ls_text_has_nul(content, length)) {
    ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL,
                 "%.200s: must be a text file of at most 64KiB", path);
    goto failed;
  }
  /* The newline that editors and `echo` put at the end. */
  if (length > 0 && content[length - 1] == '\n')
    length--;
  if (length > 0 && content[length - 1] == '\r')
    length--;
  content[length] = '\0';
  (void)fclose(file); /* only read */
  return content;

failed:
  if (content)
    explicit_bzero(content, SECRET_BYTES + 1);
  free(content);
  if (file)
    (void)fclose(file);
  return NULL;
}

void ls_config_forget_secret(char *secret) {
  if (secret)
    explicit_bzero(secret, strlen(secret));
  free(secret);
}

static bool set_from_file(config_parse *parse, const ls_option *option, const char *origin,
                          const char *path) {
  ls_error reason = {0};
  char *content = ls_config_read_secret(path, &reason);
  if (!content)
    return ls_error_set(parse->error, reason.code, false, NULL, "%.120s=%s", origin,
                        reason.message);
  bool done = config_set(option, origin, content, parse->config, parse->error) &&
              keep_path(parse, option, origin, path);
  ls_config_forget_secret(content);
  return done;
}

static bool apply_environment(config_parse *parse) {
  for (size_t i = 0; i < parse->option_count; i++) {
    const ls_option *option = &parse->options[i];
    if (!option->env || option->type == LS_OPTION_ACTION)
      continue;
    const char *value = getenv(option->env);
    if (value && *value == '\0' && !is_text(option))
      value = NULL;
    if (option->secret) {
      char name[NAME_BYTES];
      snprintf(name, sizeof name, "%s_FILE", option->env);
      const char *path = getenv(name);
      if (path && *path != '\0') {
        if (value && *value != '\0')
          return ls_error_set(parse->error, LS_INVALID_ARGUMENT, false, NULL,
                              "%s and %s: only one of them may be set", option->env, name);
        if (!set_from_file(parse, option, name, path))
          return false;
        continue;
      }
    }
    if (value && !config_set(option, option->env, value, parse->config, parse->error))
      return false;
  }
  return true;
}

typedef enum flag_form { FLAG_PLAIN, FLAG_NEGATED, FLAG_FILE } flag_form;

/* The option that `name` (without the dashes) is a flag of, and in which form. */
static const ls_option *find_flag(const config_parse *parse, const char *name, size_t length,
                                  flag_form *form) {
  for (size_t i = 0; i < parse->option_count; i++) {
    const ls_option *option = &parse->options[i];
    if (!option->flag)
      continue;
    size_t flag_length = strlen(option->flag);
    if (length == flag_length && strncmp(name, option->flag, length) == 0) {
      *form = FLAG_PLAIN;
      return option;
    }
    if (option->type == LS_OPTION_BOOL && length == flag_length + 3 &&
        strncmp(name, "no-", 3) == 0 && strncmp(name + 3, option->flag, flag_length) == 0) {
      *form = FLAG_NEGATED;
      return option;
    }
    if (option->secret && length == flag_length + 5 &&
        strncmp(name, option->flag, flag_length) == 0 &&
        strncmp(name + flag_length, "-file", 5) == 0) {
      *form = FLAG_FILE;
      return option;
    }
  }
  return NULL;
}

static bool take_action(config_parse *parse, const ls_option *option, const char *origin,
                        const char *value) {
  if (value)
    return bad(parse, origin, "takes no value");
  if (parse->action_option && parse->action_option != option)
    return ls_error_set(parse->error, LS_INVALID_ARGUMENT, false, NULL,
                        "--%s and --%s: only one of them at a time", parse->action_option->flag,
                        option->flag);
  parse->action_option = option;
  parse->action = option->action;
  return true;
}

static bool refuse_secret(config_parse *parse, const ls_option *option) {
  return ls_error_set(parse->error, LS_INVALID_ARGUMENT, false, NULL,
                      "--%s: a secret is not taken from the command line: use --%s-file%s%s",
                      option->flag, option->flag, option->env ? " or " : "",
                      option->env ? option->env : "");
}

static bool apply_flag(config_parse *parse, int argc, char *const *argv, int *at) {
  const char *argument = argv[(*at)++];
  if (strncmp(argument, "--", 2) != 0 || argument[2] == '\0')
    return ls_error_set(parse->error, LS_INVALID_ARGUMENT, false, NULL,
                        "unexpected argument %.120s: must be a flag (see --help)", argument);
  const char *name = argument + 2;
  const char *equals = strchr(name, '=');
  size_t length = equals ? (size_t)(equals - name) : strlen(name);
  const char *value = equals ? equals + 1 : NULL;
  char origin[NAME_BYTES];
  snprintf(origin, sizeof origin, "--%.*s", length < 120 ? (int)length : 120, name);
  flag_form form;
  const ls_option *option = find_flag(parse, name, length, &form);
  if (!option)
    return bad(parse, origin, "unknown flag (see --help)");
  if (option->type == LS_OPTION_ACTION)
    return take_action(parse, option, origin, value);
  if (form == FLAG_NEGATED)
    return value ? bad(parse, origin, "takes no value")
                 : config_set(option, origin, "false", parse->config, parse->error);
  if (option->type == LS_OPTION_BOOL)
    return config_set(option, origin, value ? value : "true", parse->config, parse->error);
  if (option->secret && form == FLAG_PLAIN)
    return refuse_secret(parse, option);
  if (!value) {
    if (*at >= argc || strncmp(argv[*at], "--", 2) == 0)
      return bad(parse, origin, "needs a value");
    value = argv[(*at)++];
  }
  return form == FLAG_FILE ? set_from_file(parse, option, origin, value)
                           : config_set(option, origin, value, parse->config, parse->error);
}

static bool check_required(config_parse *parse) {
  for (size_t i = 0; i < parse->option_count; i++) {
    const ls_option *option = &parse->options[i];
    if (!option->required || !is_text(option))
      continue;
    const char *value = *(const char **)config_member(option, parse->config);
    if (*value != '\0')
      continue;
    return ls_error_set(parse->error, LS_INVALID_ARGUMENT, false, NULL,
                        "%s%s%s%s%s: required, but not set", option->flag ? "--" : "",
                        option->flag ? option->flag : "",
                        option->secret && option->flag ? "-file" : "",
                        option->flag && option->env ? " or " : "", option->env ? option->env : "");
  }
  return true;
}

/* Anywhere on the command line, whatever else is wrong with it. */
static bool answer_built_in(const ls_option *options, size_t option_count,
                            const ls_program *program, int argc, char *const *argv) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
      ls_config_write_help(options, option_count, program, stdout);
      return true;
    }
    if (strcmp(argv[i], "--version") == 0) {
      printf("%s %s\n", program->name, program->version);
      return true;
    }
    if (strcmp(argv[i], "--config-reference") == 0) {
      ls_config_write_reference(options, option_count, program, stdout);
      return true;
    }
  }
  return false;
}

bool ls_config_parse(const ls_option *options, size_t option_count, const ls_program *program,
                     int argc, char *const *argv, void *config, int *action, ls_error *error) {
  config_parse parse = {.options = options,
                        .option_count = option_count,
                        .config = config,
                        .action = LS_ACTION_RUN,
                        .error = error};
  bool done = apply_defaults(&parse);
  if (done && answer_built_in(options, option_count, program, argc, argv)) {
    if (fflush(stdout) != 0) {
      done = ls_error_set(error, LS_INTERNAL, false, NULL, "standard output: %s", strerror(errno));
    } else {
      *action = LS_ACTION_DONE;
      return true;
    }
  }
  done = done && apply_environment(&parse);
  for (int at = 1; done && at < argc;)
    done = apply_flag(&parse, argc, argv, &at);
  if (done && parse.action == LS_ACTION_RUN)
    done = check_required(&parse);
  if (!done) {
    ls_config_clear(options, option_count, config);
    return false;
  }
  *action = parse.action;
  return true;
}

void ls_config_clear(const ls_option *options, size_t option_count, void *config) {
  for (size_t i = 0; i < option_count; i++) {
    if (!is_text(&options[i]))
      continue;
    char **member = config_member(&options[i], config);
    if (*member && options[i].secret)
      explicit_bzero(*member, strlen(*member));
    free(*member);
    *member = NULL;
    const char **path = path_member(&options[i], config);
    if (path) {
      free((void *)(uintptr_t)*path);
      *path = NULL;
    }
  }
}

static bool is_known_variable(const ls_option *options, size_t option_count, const char *name,
                              size_t length) {
  for (size_t i = 0; i < option_count; i++) {
    const char *env = options[i].env;
    if (!env || strncmp(name, env, strlen(env)) != 0)
      continue;
    size_t env_length = strlen(env);
    if (length == env_length || (options[i].secret && length == env_length + 5 &&
                                 strncmp(name + env_length, "_FILE", 5) == 0))
      return true;
  }
  return false;
}

void ls_config_unknown_variables(const ls_option *options, size_t option_count,
                                 const ls_program *program,
                                 void (*found)(const char *name, void *arg), void *arg) {
  if (!program->env_prefix)
    return;
  for (char **variable = environ; variable && *variable; variable++) {
    if (strncmp(*variable, program->env_prefix, strlen(program->env_prefix)) != 0)
      continue;
    size_t length = strcspn(*variable, "=");
    if (is_known_variable(options, option_count, *variable, length))
      continue;
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%.*s", length < sizeof name ? (int)length : (int)sizeof name - 1,
             *variable);
    found(name, arg);
  }
}
