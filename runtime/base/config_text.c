/* What is made of the table for people: --help, the reference page, the line at start. */
#include <stdlib.h>
#include <string.h>

#include "runtime/base/config.h"
#include "runtime/base/config_value.h"
#include "runtime/base/log.h"

typedef void (*option_writer)(const ls_option *option, FILE *out);

static const char *group_of(const ls_option *option) {
  return option->group ? option->group : "Options";
}

/* Groups in the order of their first option, options in the order of the table. */
static void write_groups(const ls_option *options, size_t option_count,
                         void (*write_heading)(const char *group, FILE *out),
                         option_writer write_option, FILE *out) {
  for (size_t i = 0; i < option_count; i++) {
    bool seen = false;
    for (size_t before = 0; before < i && !seen; before++)
      seen = strcmp(group_of(&options[before]), group_of(&options[i])) == 0;
    if (seen)
      continue;
    write_heading(group_of(&options[i]), out);
    for (size_t j = i; j < option_count; j++) {
      if (strcmp(group_of(&options[j]), group_of(&options[i])) == 0)
        write_option(&options[j], out);
    }
  }
}

static const char *placeholder_of(const ls_option *option) {
  switch (option->type) {
  case LS_OPTION_STRING:
    return option->secret ? " PATH" : " TEXT";
  case LS_OPTION_INT:
    return " NUMBER";
  case LS_OPTION_DURATION_MS:
    return " DURATION";
  case LS_OPTION_SIZE_BYTES:
    return " SIZE";
  case LS_OPTION_ENUM:
    return " CHOICE";
  case LS_OPTION_FILE:
    return " PATH";
  case LS_OPTION_BOOL:
  case LS_OPTION_ACTION:
    break;
  }
  return "";
}

static void write_rule(const ls_option *option, FILE *out) {
  ls_buffer rule = LS_BUFFER_INIT;
  config_write_rule(option, &rule);
  if (rule.data)
    fputs(rule.data, out);
  ls_buffer_clear(&rule);
}

static bool has_default(const ls_option *option) {
  return option->default_text && *option->default_text != '\0' && !option->secret;
}

static void write_help_heading(const char *group, FILE *out) {
  fprintf(out, "\n%s:\n", group);
}

static void write_help_option(const ls_option *option, FILE *out) {
  fputs("  ", out);
  if (option->flag)
    fprintf(out, "--%s%s%s%s", option->type == LS_OPTION_BOOL ? "[no-]" : "", option->flag,
            option->secret ? "-file" : "", placeholder_of(option));
  if (option->env && option->type != LS_OPTION_ACTION)
    fprintf(out, "%s%s%s", option->flag ? "  " : "", option->env,
            option->secret ? " or its _FILE" : "");
  fprintf(out, "\n      %s", option->help);
  if (option->type != LS_OPTION_STRING && option->type != LS_OPTION_BOOL &&
      option->type != LS_OPTION_ACTION) {
    fputs("; ", out);
    write_rule(option, out);
  }
  if (option->required)
    fputs(" (required)", out);
  else if (has_default(option))
    fprintf(out, " (default: %s)", option->default_text);
  fputs("\n", out);
}

void ls_config_write_help(const ls_option *options, size_t option_count, const ls_program *program,
                          FILE *out) {
  fprintf(out,
          "%s: %s\n\n"
          "Usage: %s [flag]...\n\n"
          "A flag beats the environment variable beside it, which beats the default.\n",
          program->name, program->summary, program->name);
  write_groups(options, option_count, write_help_heading, write_help_option, out);
  fputs("\nOthers:\n"
        "  --help\n      Print this and exit\n"
        "  --version\n      Print name and version and exit\n"
        "  --config-reference\n      Print the reference of all options in Markdown and exit\n",
        out);
}

/* A bar would end the table's cell. */
static void write_cell(const char *text, FILE *out) {
  for (; *text; text++) {
    if (*text == '|')
      fputc('\\', out);
    fputc(*text, out);
  }
}

static void write_reference_heading(const char *group, FILE *out) {
  fprintf(out,
          "\n## %s\n\n"
          "| Flag | Environment | Value | Default | What it does |\n"
          "| --- | --- | --- | --- | --- |\n",
          group);
}

static void write_reference_option(const ls_option *option, FILE *out) {
  fputs("| ", out);
  if (option->flag && option->type == LS_OPTION_BOOL)
    fprintf(out, "`--%s`, `--no-%s`", option->flag, option->flag);
  else if (option->flag)
    fprintf(out, "`--%s%s`", option->flag, option->secret ? "-file" : "");
  fputs(" | ", out);
  if (option->env && option->type != LS_OPTION_ACTION) {
    fprintf(out, "`%s`", option->env);
    if (option->secret)
      fprintf(out, ", `%s_FILE`", option->env);
  }
  fputs(" | ", out);
  if (option->secret)
    fputs("secret text", out);
  else if (option->type != LS_OPTION_ACTION)
    write_rule(option, out);
  fputs(" | ", out);
  if (option->required) {
    fputs("required", out);
  } else if (has_default(option)) {
    fputs("`", out);
    write_cell(option->default_text, out);
    fputs("`", out);
  }
  fputs(" | ", out);
  write_cell(option->help, out);
  fputs(" |\n", out);
}

void ls_config_write_reference(const ls_option *options, size_t option_count,
                               const ls_program *program, FILE *out) {
  fprintf(out,
          "# Configuration of %s\n\n"
          "Made by `%s --config-reference`; do not edit. A flag beats the environment, the\n"
          "environment beats the default. A value that breaks its rule stops the start with exit\n"
          "status %d.\n",
          program->name, program->name, LS_EXIT_CONFIG);
  write_groups(options, option_count, write_reference_heading, write_reference_option, out);
}

static void warn_unknown(const char *name, void *arg) {
  (void)arg;
  LS_WARN("unknown environment variable", LS_STR("variable", name));
}

typedef struct effective_value {
  char number[CONFIG_NUMBER_BYTES];
} effective_value;

static ls_log_field field_of(const ls_option *option, const void *config, effective_value *value) {
  const char *key = option->flag ? option->flag : option->env;
  const void *member = (const char *)config + option->offset;
  switch (option->type) {
  case LS_OPTION_STRING:
  case LS_OPTION_FILE: {
    const char *text = *(const char *const *)member;
    if (option->secret)
      return LS_STR(key, *text != '\0' ? "set" : "not set");
    return LS_STR(key, text);
  }
  case LS_OPTION_BOOL:
    return LS_BOOL(key, *(const bool *)member);
  case LS_OPTION_INT:
    return LS_INT(key, *(const int64_t *)member);
  case LS_OPTION_DURATION_MS:
  case LS_OPTION_SIZE_BYTES:
    config_format_number(option->type, *(const int64_t *)member, value->number);
    return LS_STR(key, value->number);
  case LS_OPTION_ENUM:
    return LS_STR(key, option->choices[*(const int *)member]);
  case LS_OPTION_ACTION:
    break;
  }
  return LS_LOG_END;
}

void ls_config_log(const ls_option *options, size_t option_count, const ls_program *program,
                   const void *config) {
  ls_log_field *fields = calloc(option_count + 1, sizeof *fields);
  effective_value *values = calloc(option_count + 1, sizeof *values);
  if (!fields || !values) {
    LS_WARN("configuration is not logged: out of memory");
  } else {
    size_t count = 0;
    for (size_t i = 0; i < option_count; i++) {
      if (options[i].type != LS_OPTION_ACTION) {
        fields[count] = field_of(&options[i], config, &values[count]);
        count++;
      }
    }
    fields[count] = LS_LOG_END;
    ls_log(LS_LOG_INFO, NULL, "configuration", fields);
  }
  free(fields);
  free(values);
  ls_config_unknown_variables(options, option_count, program, warn_unknown, NULL);
}
