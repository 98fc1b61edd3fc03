/* Words that cannot name a struct's member, or a type, in a header for C and C++. */
#ifndef LOCKSTEP_GEN_WORDS_H
#define LOCKSTEP_GEN_WORDS_H

#include <stdbool.h>

/* True for keywords of C and C++ (of any version, and GNU's), for words that compilers and common
 * headers define as macros, and for what starts with two underscores, which C keeps for itself.
 * `word` is in lower case, as all members are. */
bool word_is_reserved(const char *word);

/* True for those of them to which protobuf-c itself appends an underscore when a field is called
 * so. */
bool word_is_renamed(const char *word);

/* True for what common headers call something else, and would therefore not do as a type's name. */
bool word_is_reserved_type(const char *word);

/* True for what would not do as an enum's, whose tag has an underscore in front. */
bool word_is_reserved_tag(const char *word);

#endif
