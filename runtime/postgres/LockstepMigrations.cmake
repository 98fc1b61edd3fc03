# Puts a folder's migrations into a program.
#
#   lockstep_embed_migrations(TARGET lockstep_order DIRECTORY sql SYMBOL order_migrations)
#
# makes `extern const ls_pg_migration order_migrations[]` and `extern const size_t
# order_migrations_count` of DIRECTORY's files 0001_name.sql, 0002_…, and adds them to TARGET, which
# includes "order_migrations.h". Made again when a file is added, removed or changed. A file whose
# first line is "-- compatible-with: 3" lets programs that know migrations up to 0003 go on beside it.
set(LOCKSTEP_EMBED_MIGRATIONS_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/embed_migrations.cmake
    CACHE INTERNAL "What lockstep_embed_migrations runs")

function(lockstep_embed_migrations)
  cmake_parse_arguments(PARSE_ARGV 0 EMBED "" "TARGET;DIRECTORY;SYMBOL" "")
  if(NOT EMBED_TARGET OR NOT EMBED_DIRECTORY OR NOT EMBED_SYMBOL OR EMBED_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "lockstep_embed_migrations takes TARGET, DIRECTORY and SYMBOL")
  endif()
  get_filename_component(directory ${EMBED_DIRECTORY} ABSOLUTE BASE_DIR ${CMAKE_CURRENT_SOURCE_DIR})
  file(GLOB files CONFIGURE_DEPENDS ${directory}/*.sql)
  if(NOT files)
    message(FATAL_ERROR "lockstep_embed_migrations: no .sql files in ${directory}")
  endif()
  set(output ${CMAKE_CURRENT_BINARY_DIR}/migrations)
  # The folder's listing is an input too: a file that is removed changes the outcome.
  file(MAKE_DIRECTORY ${output})
  set(list ${output}/${EMBED_SYMBOL}.list)
  string(REPLACE ";" "\n" listing "${files}")
  file(CONFIGURE OUTPUT ${list} CONTENT "${listing}" @ONLY)
  add_custom_command(
    OUTPUT ${output}/${EMBED_SYMBOL}.c ${output}/${EMBED_SYMBOL}.h
    COMMAND ${CMAKE_COMMAND} -DDIRECTORY=${directory} -DSYMBOL=${EMBED_SYMBOL} -DOUTPUT=${output}
            -P ${LOCKSTEP_EMBED_MIGRATIONS_SCRIPT}
    DEPENDS ${files} ${list} ${LOCKSTEP_EMBED_MIGRATIONS_SCRIPT}
    COMMENT "Embedding migrations as ${EMBED_SYMBOL}"
    VERBATIM)
  target_sources(${EMBED_TARGET} PRIVATE ${output}/${EMBED_SYMBOL}.c ${output}/${EMBED_SYMBOL}.h)
  target_include_directories(${EMBED_TARGET} PRIVATE ${output})
  target_link_libraries(${EMBED_TARGET} PRIVATE lockstep_postgres)
endfunction()
