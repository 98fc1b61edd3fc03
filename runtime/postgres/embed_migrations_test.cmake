# Which migrations lockstep_embed_migrations takes, and what it says of the others. Run by ctest, with OUTPUT a
# folder to work in and SCRIPT the script that is tested.

cmake_minimum_required(VERSION 3.22)

# embed(EXPECTED NAME TEXT...): files of these names with these texts. EXPECTED is a part of what it says when it
# refuses them, or of what it makes.
function(embed expected)
  file(REMOVE_RECURSE ${OUTPUT})
  file(MAKE_DIRECTORY ${OUTPUT}/sql)
  while(ARGN)
    list(POP_FRONT ARGN name text)
    file(WRITE ${OUTPUT}/sql/${name} "${text}")
  endwhile()
  execute_process(COMMAND ${CMAKE_COMMAND} -DDIRECTORY=${OUTPUT}/sql -DSYMBOL=tried -DOUTPUT=${OUTPUT} -P ${SCRIPT}
                  ERROR_VARIABLE said RESULT_VARIABLE result)
  if(result EQUAL 0)
    file(READ ${OUTPUT}/tried.c said)
  endif()
  string(REGEX REPLACE "[ \n]+" " " said "${said}")
  string(FIND "${said}" "${expected}" at)
  if(at EQUAL -1)
    message(SEND_ERROR "expected \"${expected}\" in: ${said}")
  endif()
endfunction()

embed("{1, \"one\", (const char *)sql_1, 0}, }" 0001_one.sql "SELECT 1\n")
embed("sql_3, 0}, {4, \"four\", (const char *)sql_4, 3}, }"
      0003_three.sql "SELECT 1\n" 0004_four.sql "-- compatible-with: 3\nSELECT 1\n")
embed("sql_4, 0}, {5, \"five\", (const char *)sql_5, 3}, }" 0003_three.sql "SELECT 1\n"
      0004_four.sql "-- What it is for.\n" 0005_five.sql "-- compatible-with: 0003\n-- What it is for.\n")
set(misplaced "is the first line, and stands there once")
embed("${misplaced}" 0001_one.sql "SELECT 1\n" 0002_two.sql "-- Two.\n-- compatible-with: 1\n")
embed("${misplaced}" 0001_one.sql "SELECT 1\n" 0002_two.sql "-- compatible-with: 1\n-- compatible-with: 1\n")
embed("${misplaced}" 0001_one.sql "SELECT 1\n" 0002_two.sql "-- compatible-with 1\n")
embed("${misplaced}" 0001_one.sql "SELECT 1\n" 0002_two.sql "-- compatible-with: 1 and 2\n")
embed("no earlier migration's number" 0001_one.sql "-- compatible-with: 1\nSELECT 1\n")
embed("no earlier migration's number" 0001_one.sql "SELECT 1\n" 0003_three.sql "-- compatible-with: 2\n")
embed("numbered from 0001" 0001_one.sql "SELECT 1\n" 0001_two.sql "SELECT 1\n")
embed("is named like" one.sql "SELECT 1\n")
