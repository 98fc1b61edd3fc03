# Writes SYMBOL.c and SYMBOL.h in OUTPUT from the .sql files of DIRECTORY. A script, run by
# lockstep_embed_migrations. The texts become arrays of bytes, so that no character needs care.
cmake_minimum_required(VERSION 3.22)
file(GLOB files ${DIRECTORY}/*.sql)
list(SORT files)

set(texts "")
set(entries "")
set(count 0)
set(previous 0)
set(numbers "")
foreach(file IN LISTS files)
  get_filename_component(name ${file} NAME_WE)
  if(NOT name MATCHES "^([0-9][0-9][0-9][0-9])_([a-z0-9_]+)$")
    message(FATAL_ERROR "${file}: a migration is named like 0001_what_it_does.sql")
  endif()
  set(title ${CMAKE_MATCH_2})
  string(REGEX REPLACE "^0+" "" number ${CMAKE_MATCH_1})
  if(number STREQUAL "" OR number EQUAL previous)
    message(FATAL_ERROR "${file}: migrations are numbered from 0001, each number once")
  endif()
  set(previous ${number})

  # Which older programs can work beside it (migrate.h): a word that is misplaced or misspelt must not be passed over.
  set(oldest 0)
  file(STRINGS ${file} declarations REGEX "compatible-with")
  if(declarations)
    file(STRINGS ${file} first LIMIT_COUNT 1)
    if(NOT declarations STREQUAL first OR NOT first MATCHES "^-- compatible-with: 0*([1-9][0-9]*)$")
      message(FATAL_ERROR "${file}: \"-- compatible-with: NUMBER\" is the first line, and stands there once")
    endif()
    set(oldest ${CMAKE_MATCH_1})
    if(NOT oldest IN_LIST numbers)
      message(FATAL_ERROR "${file}: it is compatible with ${oldest}, which is no earlier migration's number")
    endif()
  endif()
  list(APPEND numbers ${number})

  file(READ ${file} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  if(bytes MATCHES "0x00")
    message(FATAL_ERROR "${file}: a NUL byte in SQL")
  endif()
  string(REGEX REPLACE "((0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,))" "\\1\n    "
         bytes "${bytes}")
  string(APPEND texts "static const unsigned char sql_${number}[] = {\n    ${bytes}0x00};\n\n")
  string(APPEND entries "    {${number}, \"${title}\", (const char *)sql_${number}, ${oldest}},\n")
  math(EXPR count "${count} + 1")
endforeach()

set(note "/* Generated from the migrations in sql/; do not edit. */\n")
file(WRITE ${OUTPUT}/${SYMBOL}.h "${note}#ifndef LOCKSTEP_GENERATED_${SYMBOL}_H
#define LOCKSTEP_GENERATED_${SYMBOL}_H

#include \"runtime/postgres/migrate.h\"

extern const ls_pg_migration ${SYMBOL}[];
extern const size_t ${SYMBOL}_count;

#endif
")
file(WRITE ${OUTPUT}/${SYMBOL}.c "${note}#include \"${SYMBOL}.h\"

${texts}const ls_pg_migration ${SYMBOL}[] = {
${entries}};

const size_t ${SYMBOL}_count = ${count};
")
