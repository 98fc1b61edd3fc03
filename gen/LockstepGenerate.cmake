# lockstep_generate: from .proto files to a library of C. The tree and the installed package share this file.
#
#   lockstep_generate(TARGET name PROTO_ROOT dir [IMPORTS dir …] PROTOS path …
#                     [LIBRARIES target …] [RUNTIME target])
#
# Adds the static library `name` with what protobuf-c and protoc-gen-grpc-c make of each proto: messages
# (.pb-c.h) and services (.grpc-c.h). PROTOS are paths as imports spell them ("order/v1/order.proto");
# each is looked for under PROTO_ROOT, then under each of IMPORTS, then among lockstep's own (google/rpc,
# grpc/health, grpc/reflection), then beside protoc, where the google/protobuf ones are. LIBRARIES are
# those that have the code of what the protos import, if they do not themselves include it.
#
# What links the library links RUNTIME, too, which is lockstep::rpc unless said otherwise (an installed
# package has lockstep::rpc-static), and finds its headers by the proto's path. A proto is generated again
# when it, a proto that it imports, or the generator changes.
#
# LOCKSTEP_PLUGIN_DIR has the plugins to use where their targets are not built, or are for another machine.
#
# The target `name`_sources does the generating alone.

find_program(LOCKSTEP_PROTOC protoc DOC "The protobuf compiler" REQUIRED)
find_program(LOCKSTEP_PROTOC_GEN_C protoc-gen-c DOC "protobuf-c's plugin of protoc" REQUIRED)
get_filename_component(_lockstep_protoc_prefix "${LOCKSTEP_PROTOC}" REALPATH)
get_filename_component(_lockstep_protoc_prefix "${_lockstep_protoc_prefix}" DIRECTORY)
find_path(LOCKSTEP_PROTOC_INCLUDE_DIR google/protobuf/descriptor.proto
          HINTS "${_lockstep_protoc_prefix}/../include" DOC "Where protoc's own .proto files are"
          REQUIRED)

# Where "runtime/rpc/…" is, which generated headers include, and where lockstep's own protos are. Of an
# installed package lockstep::rpc knows the one, and lockstepConfig.cmake has said the other.
if(EXISTS "${CMAKE_CURRENT_LIST_DIR}/lockstepConfig.cmake")
  set(_lockstep_root "")
  set(_lockstep_proto_dir "${LOCKSTEP_PROTO_DIR}")
else()
  get_filename_component(_lockstep_root "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
  set(_lockstep_proto_dir "${_lockstep_root}/proto")
endif()
set(LOCKSTEP_ROOT "${_lockstep_root}" CACHE INTERNAL "")
set(LOCKSTEP_PROTO_DIR "${_lockstep_proto_dir}" CACHE INTERNAL "")

# Sets `variable` to the directory, of those given, that has `proto`.
function(_lockstep_find_proto variable proto)
  foreach(directory IN LISTS ARGN)
    if(EXISTS "${directory}/${proto}")
      set(${variable} "${directory}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  message(FATAL_ERROR "lockstep_generate: ${proto} is in none of: ${ARGN}")
endfunction()

function(lockstep_generate)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "TARGET;PROTO_ROOT;RUNTIME" "IMPORTS;PROTOS;LIBRARIES")
  foreach(required IN ITEMS TARGET PROTO_ROOT PROTOS)
    if(NOT arg_${required})
      message(FATAL_ERROR "lockstep_generate: ${required} is missing")
    endif()
  endforeach()
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "lockstep_generate: what is ${arg_UNPARSED_ARGUMENTS}?")
  endif()

  if(NOT arg_RUNTIME)
    set(arg_RUNTIME lockstep::rpc)
  endif()

  if(NOT LOCKSTEP_GENERATED_DIR) # called by a project that has this one as a part
    set(LOCKSTEP_GENERATED_DIR "${CMAKE_BINARY_DIR}/generated")
  endif()
  set(plugin_options)
  set(plugins)
  foreach(plugin IN ITEMS protoc-gen-grpc-c protoc-gen-c-messages)
    if(TARGET ${plugin})
      list(APPEND plugin_options "--plugin=${plugin}=$<TARGET_FILE:${plugin}>")
      list(APPEND plugins ${plugin})
    elseif(TARGET lockstep::${plugin} AND NOT LOCKSTEP_PLUGIN_DIR)
      list(APPEND plugin_options "--plugin=${plugin}=$<TARGET_FILE:lockstep::${plugin}>")
      list(APPEND plugins lockstep::${plugin})
    else()
      list(APPEND plugin_options "--plugin=${plugin}=${LOCKSTEP_PLUGIN_DIR}/${plugin}")
      list(APPEND plugins "${LOCKSTEP_PLUGIN_DIR}/${plugin}")
    endif()
  endforeach()

  set(roots)
  foreach(root IN LISTS arg_PROTO_ROOT arg_IMPORTS LOCKSTEP_PROTO_DIR LOCKSTEP_PROTOC_INCLUDE_DIR)
    get_filename_component(root "${root}" ABSOLUTE)
    list(APPEND roots "${root}")
  endforeach()
  list(REMOVE_DUPLICATES roots)
  list(TRANSFORM roots PREPEND "-I" OUTPUT_VARIABLE import_options)

  file(MAKE_DIRECTORY "${LOCKSTEP_GENERATED_DIR}")
  set(sources)
  set(outputs)
  foreach(proto IN LISTS arg_PROTOS)
    _lockstep_find_proto(root "${proto}" ${roots})
    string(REGEX REPLACE "\\.proto$" "" base "${proto}")
    set(stem "${LOCKSTEP_GENERATED_DIR}/${base}")
    # In protoc's order: Ninja wants the dependency file to begin with the first output.
    set(of_proto "${stem}.grpc-c.c" "${stem}.grpc-c.h" "${stem}.pb-c.c" "${stem}.pb-c.h")
    add_custom_command(
      OUTPUT ${of_proto}
      # Ours first: its errors say more than protobuf-c's about what protobuf-c cannot do.
      COMMAND "${CMAKE_COMMAND}" -E env "PROTOC_GEN_C=${LOCKSTEP_PROTOC_GEN_C}" "${LOCKSTEP_PROTOC}"
              ${plugin_options} ${import_options} "--grpc-c_out=${LOCKSTEP_GENERATED_DIR}"
              "--c-messages_out=${LOCKSTEP_GENERATED_DIR}" "--dependency_out=${stem}.d"
              "${root}/${proto}"
      DEPENDS "${root}/${proto}" ${plugins}
      DEPFILE "${stem}.d"
      COMMENT "Generating C from ${proto}"
      VERBATIM)
    list(APPEND outputs ${of_proto})
    list(APPEND sources "${stem}.pb-c.c" "${stem}.grpc-c.c")
  endforeach()

  # lockstep_rpc and lockstep_rpc_schemas link each other, so neither waits for the other: this target
  # is what both wait for.
  add_custom_target(${arg_TARGET}_sources DEPENDS ${outputs})
  add_library(${arg_TARGET} STATIC ${sources})
  add_dependencies(${arg_TARGET} ${arg_TARGET}_sources)
  if(LOCKSTEP_ROOT)
    target_include_directories(${arg_TARGET} PUBLIC "${LOCKSTEP_ROOT}")
  endif()
  target_include_directories(${arg_TARGET} SYSTEM PUBLIC "${LOCKSTEP_GENERATED_DIR}")
  target_link_libraries(${arg_TARGET} PUBLIC ${arg_LIBRARIES} ${arg_RUNTIME})
endfunction()
