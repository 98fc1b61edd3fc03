# How a folder declares its unit tests: fast, no server, one executable each.
#
#   lockstep_add_unit_test(NAME base_queue_test SOURCES queue_test.c LIBRARIES lockstep_base)

if(LOCKSTEP_TESTS)
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
endif()

# What ThreadSanitizer cannot judge: libraries that are not built with it.
set(LOCKSTEP_TSAN_SUPPRESSIONS "${CMAKE_CURRENT_LIST_DIR}/tsan.supp")

# Builds the executable NAME and registers it with ctest under the label "unit". Does nothing unless
# LOCKSTEP_TESTS is on.
function(lockstep_add_unit_test)
  if(NOT LOCKSTEP_TESTS)
    return()
  endif()
  cmake_parse_arguments(PARSE_ARGV 0 TEST "" "NAME" "SOURCES;LIBRARIES")
  if(NOT TEST_NAME OR NOT TEST_SOURCES)
    message(FATAL_ERROR "lockstep_add_unit_test: NAME and SOURCES are needed")
  endif()
  if(TEST_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "lockstep_add_unit_test: unknown arguments: ${TEST_UNPARSED_ARGUMENTS}")
  endif()
  add_executable(${TEST_NAME} ${TEST_SOURCES})
  target_link_libraries(${TEST_NAME} PRIVATE lockstep_warnings ${TEST_LIBRARIES} PkgConfig::CMOCKA
                        Threads::Threads)
  add_test(NAME ${TEST_NAME} COMMAND ${TEST_NAME})
  set_tests_properties(${TEST_NAME} PROPERTIES LABELS unit TIMEOUT 60)
  if(LOCKSTEP_SANITIZE MATCHES thread)
    # It makes a test up to ten times as slow.
    set_tests_properties(
      ${TEST_NAME} PROPERTIES TIMEOUT 300 ENVIRONMENT
                              "TSAN_OPTIONS=suppressions=${LOCKSTEP_TSAN_SUPPRESSIONS}")
  endif()
endfunction()
