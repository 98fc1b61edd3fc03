/* Names: letters are ASCII, whatever the locale. */
#include "gen/plugin/naming.h"

#include <stdlib.h>
#include <string.h>

static bool is_upper(char character) {
  return character >= 'A' && character <= 'Z';
}

static bool is_letter(char character) {
  return is_upper(character) || (character >= 'a' && character <= 'z');
}

static bool is_digit(char character) {
  return character >= '0' && character <= '9';
}

static char to_lower(char character) {
  if (is_upper(character))
    return (char)(character - 'A' + 'a');
  return character;
}

static char to_upper(char character) {
  if (character >= 'a' && character <= 'z')
    return (char)(character - 'a' + 'A');
  return character;
}

/* Writes one part of a name in snake case; returns the end. */
static char *snake_part(char *out, const char *part, size_t bytes) {
  bool after_upper = true; /* no underscore in front */
  for (size_t i = 0; i < bytes; i++) {
    if (is_upper(part[i]) && !after_upper)
      *out++ = '_';
    *out++ = to_lower(part[i]);
    after_upper = is_upper(part[i]);
  }
  return out;
}

/* Drops underscores and capitalizes what follows them; returns the end. */
static char *camel_part(char *out, const char *part, size_t bytes) {
  bool capitalize = true;
  for (size_t i = 0; i < bytes; i++) {
    if (part[i] == '_') {
      capitalize = true;
      continue;
    }
    *out = part[i];
    if (capitalize)
      *out = to_upper(part[i]);
    out++;
    capitalize = false;
  }
  return out;
}

typedef char *(*part_writer)(char *out, const char *part, size_t bytes);

static char *join_parts(gen_pool *pool, const char *full_name, part_writer write_part,
                        const char *separator) {
  /* A character becomes at most two, and so does a dot. */
  char *name = pool_alloc(pool, 2 * strlen(full_name) + 1);
  char *out = name;
  while (*full_name != '\0') {
    size_t bytes = strcspn(full_name, ".");
    if (bytes > 0 && out != name) {
      memcpy(out, separator, strlen(separator));
      out += strlen(separator);
    }
    out = write_part(out, full_name, bytes);
    full_name += bytes + (full_name[bytes] == '.');
  }
  *out = '\0';
  return name;
}

char *name_type(gen_pool *pool, const char *full_name) {
  return join_parts(pool, full_name, camel_part, "__");
}

char *name_type_prefix(gen_pool *pool, const char *full_name) {
  return join_parts(pool, full_name, snake_part, "__");
}

char *name_snake(gen_pool *pool, const char *name) {
  return join_parts(pool, name, snake_part, "_");
}

char *name_lower(gen_pool *pool, const char *name) {
  char *lower = pool_copy(pool, name, strlen(name));
  for (char *character = lower; *character != '\0'; character++)
    *character = to_lower(*character);
  return lower;
}

char *name_upper(gen_pool *pool, const char *name) {
  char *upper = pool_copy(pool, name, strlen(name));
  for (char *character = upper; *character != '\0'; character++)
    *character = to_upper(*character);
  return upper;
}

char *name_service(gen_pool *pool, const char *full_name) {
  return join_parts(pool, full_name, snake_part, "_");
}

char *name_file(gen_pool *pool, const char *path) {
  /* A name cannot start with a digit. */
  char *name = pool_format(pool, "%s%s", is_digit(*path) ? "file_" : "", path);
  for (char *character = name; *character != '\0'; character++)
    if (!is_letter(*character) && !is_digit(*character))
      *character = '_';
  return name;
}

char *name_base(gen_pool *pool, const char *path) {
  static const char *const suffixes[] = {".protodevel", ".proto"};
  size_t length = strlen(path);
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
    size_t suffix_length = strlen(suffixes[i]);
    if (length >= suffix_length && strcmp(path + length - suffix_length, suffixes[i]) == 0)
      return pool_copy(pool, path, length - suffix_length);
  }
  return pool_copy(pool, path, length);
}

bool name_is_identifier(const char *name) {
  if (!is_letter(*name) && *name != '_')
    return false;
  while (is_letter(*name) || is_digit(*name) || *name == '_')
    name++;
  return *name == '\0';
}

bool name_is_full_name(const char *name) {
  for (;;) {
    if (!is_letter(*name) && *name != '_')
      return false;
    while (is_letter(*name) || is_digit(*name) || *name == '_')
      name++;
    if (*name == '\0')
      return true;
    if (*name++ != '.')
      return false;
  }
}

bool name_is_path(const char *path) {
  if (*path == '\0' || *path == '/' || strstr(path, "*/") != NULL || strstr(path, "/*") != NULL)
    return false;
  for (const char *character = path; *character != '\0'; character++)
    if ((unsigned char)*character < 0x20 || strchr("\"\\<>?\x7f", *character) != NULL)
      return false;
  for (const char *part = path; part != NULL; part = strchr(part, '/')) {
    part += *part == '/';
    size_t bytes = strcspn(part, "/");
    if (bytes == 0 || (bytes == 1 && part[0] == '.') || (bytes == 2 && strncmp(part, "..", 2) == 0))
      return false;
  }
  return true;
}
