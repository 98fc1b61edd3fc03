/* The words, in two tables. */
#include "gen/plugin/words.h"

#include <stdlib.h>
#include <string.h>

/* Both in strcmp's order. */
static const char *const renamed_words[] = {
    "and",
    "and_eq",
    "asm",
    "auto",
    "bitand",
    "bitor",
    "bool",
    "break",
    "case",
    "catch",
    "char",
    "class",
    "compl",
    "const",
    "const_cast",
    "continue",
    "default",
    "delete",
    "do",
    "double",
    "dynamic_cast",
    "else",
    "enum",
    "explicit",
    "extern",
    "false",
    "float",
    "for",
    "friend",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "mutable",
    "namespace",
    "new",
    "not",
    "not_eq",
    "operator",
    "or",
    "or_eq",
    "private",
    "protected",
    "public",
    "register",
    "reinterpret_cast",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "static_cast",
    "struct",
    "switch",
    "template",
    "this",
    "throw",
    "true",
    "try",
    "typedef",
    "typeid",
    "typename",
    "union",
    "unsigned",
    "using",
    "virtual",
    "void",
    "volatile",
    "wchar_t",
    "while",
    "xor",
    "xor_eq",
};

/* Newer keywords of C and C++, and macros of compilers and of headers that are everywhere. */
static const char *const other_words[] = {
    "alignas",   "alignof",  "assert",   "char16_t", "char32_t",     "char8_t",   "co_await",
    "co_return", "co_yield", "complex",  "concept",  "consteval",    "constexpr", "constinit",
    "decltype",  "errno",    "export",   "i386",     "linux",        "mips",      "noexcept",
    "noreturn",  "nullptr",  "offsetof", "requires", "restrict",     "sparc",     "static_assert",
    "stderr",    "stdin",    "stdout",   "sun",      "thread_local", "typeof",    "typeof_unqual",
    "unix",      "va_arg",   "va_copy",  "va_end",   "va_start",
};

static int compare_word(const void *key, const void *element) {
  return strcmp(key, *(const char *const *)element);
}

static bool is_among(const char *word, const char *const *words, size_t count) {
  return bsearch(word, words, count, sizeof *words, compare_word) != NULL;
}

bool word_is_renamed(const char *word) {
  return is_among(word, renamed_words, sizeof renamed_words / sizeof *renamed_words);
}

bool word_is_reserved(const char *word) {
  return strncmp(word, "__", 2) == 0 || word_is_renamed(word) ||
         is_among(word, other_words, sizeof other_words / sizeof *other_words);
}
