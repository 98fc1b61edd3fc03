# Run by cpack before it makes packages of what was installed: documents are compressed, and the static library loses
# what only a debugger needs, as Debian has them.
file(GLOB_RECURSE files "${CPACK_TEMPORARY_INSTALL_DIRECTORY}/*")
foreach(file IN LISTS files)
  if(file MATCHES "/share/(man/.*[.][138]|doc/.*/changelog)$")
    execute_process(COMMAND gzip --best --no-name --force "${file}" COMMAND_ERROR_IS_FATAL ANY)
  elseif(file MATCHES "[.]a$")
    execute_process(COMMAND strip --strip-debug --remove-section=.comment --enable-deterministic-archives "${file}"
                    COMMAND_ERROR_IS_FATAL ANY)
  endif()
endforeach()
