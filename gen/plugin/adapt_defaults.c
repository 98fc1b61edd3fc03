/* Values that messages start with. protobuf-c writes six digits of a float and fifteen of a double,
 * a minus that is lost for zero, names for infinity and NaN that C does not have, and the least
 * int64 as two's complement has it. So it is given a number that stands for the value, and what it
 * writes of that is replaced. */
#include <string.h>

#include "gen/plugin/adapt.h"

/* Characters in a string literal that every compiler must take. */
enum { LITERAL_MAX = 4095 };

/* A number that stands for a value is 1.00001e+30, 1.00002e+30, …: six digits, of which the last is
 * not zero, since it would not be written. */
enum { FIRST_MARK = 100001, LAST_MARK = 999999 };
static const char mark_end[] = "e+30";

static size_t mark_of(size_t index) {
  return FIRST_MARK + index + index / 9;
}

/* The place of a mark's value among the literals. */
static size_t index_of(size_t mark) {
  return mark - FIRST_MARK - (mark - FIRST_MARK) / 10;
}

static const char *number_literal(gen_pool *pool, const char *value, bool is_float) {
  const char *suffix = is_float ? "f" : "";
  if (strcmp(value, "nan") == 0 || strcmp(value, "-nan") == 0)
    return pool_format(pool, "__builtin_nan%s(\"\")", suffix);
  if (strcmp(value, "inf") == 0 || strcmp(value, "-inf") == 0)
    return pool_format(pool, "%s__builtin_inf%s()", *value == '-' ? "-" : "", suffix);
  const char *point = strpbrk(value, ".eE") == NULL ? ".0" : "";
  return pool_format(pool, "%s%s%s", value, point, suffix);
}

static void mark(const adapt_file *file, field_descriptor *field, bool is_float,
                 const gen_path *path) {
  gen_adapter *adapter = file->adapter;
  size_t number = mark_of(adapter->literal_count);
  if (number > LAST_MARK) {
    adapt_fail(file, path, "field \"%s\" is one default value too many", field->name);
    return;
  }
  if (adapter->literal_count == adapter->literal_capacity) {
    size_t capacity = adapter->literal_capacity == 0 ? 64 : 2 * adapter->literal_capacity;
    const char **literals = pool_array(adapter->pool, capacity, sizeof *literals);
    if (adapter->literal_count > 0)
      memcpy(literals, adapter->literals, adapter->literal_count * sizeof *literals);
    adapter->literals = literals;
    adapter->literal_capacity = capacity;
  }
  adapter->literals[adapter->literal_count++] =
      number_literal(adapter->pool, field->default_value, is_float);
  field->default_value =
      pool_format(adapter->pool, "%zu.%05zu%s", number / 100000, number % 100000, mark_end);
}

/* How many bytes there are at most, where each escape of one has a backslash. */
static size_t literal_bytes(const char *value, bool escaped) {
  size_t bytes = 0;
  while (*value != '\0') {
    if (escaped && value[0] == '\\' && value[1] != '\0')
      value += strspn(value + 1, "01234567") >= 3 ? 3 : 1;
    value++;
    bytes++;
  }
  return bytes;
}

void adapt_default(const adapt_file *file, field_descriptor *field, const gen_path *path) {
  if (field->default_value == NULL || !field->has_type || !file->generate)
    return;
  switch (field->type) {
  case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_FLOAT:
    mark(file, field, true, path);
    break;
  case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_DOUBLE:
    mark(file, field, false, path);
    break;
  case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_STRING:
  case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_BYTES:
    if (literal_bytes(field->default_value,
                      field->type == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_BYTES) >
        LITERAL_MAX)
      adapt_fail(
          file, path,
          "the default value of field \"%s\" is longer than %d bytes, which is too long for C",
          field->name, LITERAL_MAX);
    break;
  default:
    break;
  }
}

static bool is_digit(char character) {
  return character >= '0' && character <= '9';
}

/* The literal for the mark at the start of `text`; NULL if there is none. */
static const char *literal_at(const gen_adapter *adapter, const char *text, size_t bytes) {
  size_t length = 7 + sizeof mark_end - 1;
  if (bytes < length || !is_digit(text[0]) || text[1] != '.' ||
      memcmp(text + 7, mark_end, sizeof mark_end - 1) != 0)
    return NULL;
  size_t number = (size_t)(text[0] - '0');
  for (size_t i = 2; i < 7; i++) {
    if (!is_digit(text[i]))
      return NULL;
    number = 10 * number + (size_t)(text[i] - '0');
  }
  if (number < FIRST_MARK || number % 10 == 0 || index_of(number) >= adapter->literal_count)
    return NULL;
  return adapter->literals[index_of(number)];
}

static bool starts_with(const char *text, size_t bytes, const char *prefix) {
  return bytes >= strlen(prefix) && memcmp(text, prefix, strlen(prefix)) == 0;
}

/* Where a line has the default value of a string: its literal, which protobuf-c puts at the end. */
static size_t literal_in_line(const char *line, size_t bytes) {
  static const char middle[] = "[] = \"";
  if (!starts_with(line, bytes, "char ") && !starts_with(line, bytes, "uint8_t "))
    return bytes;
  const char *found = memmem(line, bytes, middle, sizeof middle - 1);
  return found != NULL ? (size_t)(found - line) + sizeof middle - 1 : bytes;
}

static bool in_identifier(char character) {
  return is_digit(character) || character == '_' || (character >= 'A' && character <= 'Z') ||
         (character >= 'a' && character <= 'z');
}

static const char no_case[] = "__NOT_SET, {0}";

/* True when the text before is the start of a oneof's constant, where the union begins with a
 * struct. */
static bool begins_with_bytes(const gen_adapter *adapter, const char *line, size_t end) {
  size_t start = end;
  while (start > 0 && in_identifier(line[start - 1]))
    start--;
  return name_set_has(&adapter->bytes_first, pool_copy(adapter->pool, line + start, end - start));
}

static void adapt_line(const gen_adapter *adapter, gen_text *out, const char *line, size_t bytes) {
  static const char least[] = "-9223372036854775808ll";
  size_t literal = literal_in_line(line, bytes);
  for (size_t i = 0; i < bytes;) {
    const char *value = literal == bytes ? literal_at(adapter, line + i, bytes - i) : NULL;
    if (value != NULL) {
      text_string(out, value);
      i += 7 + sizeof mark_end - 1;
    } else if (literal == bytes && starts_with(line + i, bytes - i, least)) {
      text_string(out, "(-9223372036854775807ll - 1)");
      i += sizeof least - 1;
    } else if (literal == bytes && starts_with(line + i, bytes - i, no_case) &&
               begins_with_bytes(adapter, line, i)) {
      text_string(out, "__NOT_SET, {{0,NULL}}");
      i += sizeof no_case - 1;
    } else {
      if (i >= literal && line[i] == '?') /* no trigraphs */
        text_string(out, "\\");
      text_bytes(out, line + i++, 1);
    }
  }
}

void adapt_output(const gen_adapter *adapter, gen_text *out, const char *text, size_t bytes) {
  while (bytes > 0) {
    const char *end = memchr(text, '\n', bytes);
    size_t line = end != NULL ? (size_t)(end - text) + 1 : bytes;
    adapt_line(adapter, out, text, line);
    text += line;
    bytes -= line;
  }
}
