# liblockstep-rpc, shared and static: the runtime as others link it, made of the objects that the tree's own
# libraries are made of.

set(no_metrics "$<FILTER:$<TARGET_OBJECTS:lockstep_rpc>,EXCLUDE,/(endpoint|rpc_metrics)[.]c>")
set(of_libc "/(held_writes|steady_waits)[.]c")
set(package_objects
    "$<FILTER:${no_metrics},EXCLUDE,${of_libc}>"
    "$<FILTER:$<TARGET_OBJECTS:lockstep_base>,INCLUDE,/(arena|clock|error|log|random|text|thread)[.]c>"
    "$<TARGET_OBJECTS:lockstep_rpc_schemas>")

# Writes that are not held, for programs whose sendmsg is to stay the C library's. Weak: in the static library
# they stand beside those that hold, and give way to them where the program asks for these.
add_library(lockstep_rpc_plain_writes OBJECT held_writes.c)
target_compile_definitions(
  lockstep_rpc_plain_writes
  PRIVATE "ls_rpc_hold_writes=__attribute__((weak)) ls_rpc_hold_writes"
          "ls_rpc_release_writes=__attribute__((weak)) ls_rpc_release_writes")
target_link_libraries(lockstep_rpc_plain_writes PRIVATE lockstep_warnings)

# Shared. It replaces nothing of the C library's. Only what lockstep-rpc.symbols names can be seen from outside;
# tests/package/symbols compares that with the installed headers.
set(symbols_file "${CMAKE_CURRENT_SOURCE_DIR}/lockstep-rpc.symbols")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${symbols_file}")
file(STRINGS "${symbols_file}" symbols REGEX "^[A-Za-z_]")
list(JOIN symbols ";\n    " symbols)
set(version_script "${CMAKE_CURRENT_BINARY_DIR}/lockstep-rpc.map")
file(CONFIGURE OUTPUT "${version_script}"
     CONTENT "LOCKSTEP_0.1 {\n  global:\n    ${symbols};\n  local:\n    *;\n};\n" @ONLY)

add_library(lockstep_rpc_shared SHARED ${package_objects}
            "$<TARGET_OBJECTS:lockstep_rpc_plain_writes>")
set_target_properties(
  lockstep_rpc_shared
  PROPERTIES OUTPUT_NAME lockstep-rpc
             EXPORT_NAME rpc
             VERSION ${PROJECT_VERSION}
             SOVERSION ${PROJECT_VERSION_MAJOR}
             LINKER_LANGUAGE C
             LINK_DEPENDS "${version_script}")
target_link_options(lockstep_rpc_shared PRIVATE "LINKER:--version-script=${version_script}"
                    LINKER:-Bsymbolic-functions LINKER:-z,defs)
target_link_libraries(lockstep_rpc_shared PRIVATE PkgConfig::GRPC PkgConfig::PROTOBUF_C
                                                  Threads::Threads ${CMAKE_DL_LIBS} m)

# Static. The order counts: what replaces the C library's functions is at the front, where the linker takes it only if
# it looks for sendmsg and syscall from the beginning; the plain writes are at the end, behind all who ask for either.
add_library(lockstep_rpc_static STATIC "$<FILTER:${no_metrics},INCLUDE,${of_libc}>"
            ${package_objects} "$<TARGET_OBJECTS:lockstep_rpc_plain_writes>")
set_target_properties(lockstep_rpc_static PROPERTIES OUTPUT_NAME lockstep-rpc EXPORT_NAME rpc-static
                                                     LINKER_LANGUAGE C)

# What they ask of a program that finds them installed; lockstepConfig.cmake finds the libraries named here.
foreach(library IN ITEMS lockstep_rpc_shared lockstep_rpc_static)
  target_include_directories(${library}
                             INTERFACE "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/lockstep>")
  target_link_libraries(${library} INTERFACE "$<INSTALL_INTERFACE:PkgConfig::LOCKSTEP_PROTOBUF_C>")
endforeach()
target_link_libraries(
  lockstep_rpc_static INTERFACE "$<INSTALL_INTERFACE:lockstep::grpc>"
                                "$<INSTALL_INTERFACE:Threads::Threads>" ${CMAKE_DL_LIBS} m)
set(replaces "$<NOT:$<BOOL:$<TARGET_PROPERTY:LOCKSTEP_PLAIN_LIBC>>>")
target_link_options(lockstep_rpc_static INTERFACE "$<${replaces}:LINKER:--undefined=syscall>"
                    "$<${replaces}:LINKER:--undefined=sendmsg>")
