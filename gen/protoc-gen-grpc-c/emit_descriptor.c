/* A file's own descriptor, what it depends on, and the names it defines. */
#include "gen/protoc-gen-grpc-c/emit.h"

enum { FILE_SOURCE_CODE_INFO = 9, BYTES_A_LINE = 16 };

typedef struct hex_lines {
  gen_text *out;
  size_t count;
} hex_lines;

static void emit_bytes(hex_lines *lines, wire_bytes bytes) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < bytes.size; i++, lines->count++) {
    uint8_t byte = bytes.data[i];
    char hex[] = {'0', 'x', digits[byte >> 4], digits[byte & 15], ',', '\0'};
    if (lines->count % BYTES_A_LINE == 0)
      text_string(lines->out, lines->count == 0 ? "    " : "\n    ");
    else
      text_string(lines->out, " ");
    text_string(lines->out, hex);
  }
}

/* The descriptor byte for byte, less what only compilers need: places and comments. */
static void emit_file_descriptor(gen_text *out, const schema_file *file) {
  text_format(out, "static const uint8_t %s_file_descriptor[] = {\n", file->identifier);
  hex_lines lines = {.out = out};
  wire_bytes rest = file->bytes;
  wire_field field;
  while (wire_next(&rest, &field))
    if (field.number != FILE_SOURCE_CODE_INFO)
      emit_bytes(&lines, field.whole);
  text_string(out, "\n};\n\n");
}

static void emit_dependencies(gen_text *out, const schema_file *file) {
  text_format(out, "static const ls_rpc_file *const %s_file_dependencies[] = {\n",
              file->identifier);
  for (size_t i = 0; i < file->dependency_count; i++)
    text_format(out, "    &%s_file,\n", file->dependencies[i]->identifier);
  text_string(out, "    NULL,\n};\n\n");
}

static void emit_symbols(gen_text *out, const schema_file *file) {
  text_format(out, "static const char *const %s_file_symbols[] = {\n", file->identifier);
  for (size_t i = 0; i < file->symbol_count; i++) {
    text_string(out, "    ");
    text_literal(out, file->symbols[i]);
    text_string(out, ",\n");
  }
  text_string(out, "    NULL,\n};\n\n");
}

void emit_descriptor_source(gen_text *out, const schema_file *file) {
  emit_file_descriptor(out, file);
  emit_dependencies(out, file);
  emit_symbols(out, file);
  gen_text name = {0};
  text_literal(&name, file->name);
  const text_hole holes[] = {{"file", file->identifier}, {"name", name.data}, {NULL, NULL}};
  text_fill(out,
            "const ls_rpc_file $file$_file = {\n"
            "    .name = $name$,\n"
            "    .descriptor = $file$_file_descriptor,\n"
            "    .descriptor_bytes = sizeof $file$_file_descriptor,\n"
            "    .dependencies = $file$_file_dependencies,\n"
            "    .symbols = $file$_file_symbols,\n"
            "};\n",
            holes);
  text_clear(&name);
}
