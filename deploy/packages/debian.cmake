# cpack -G DEB: liblockstep-rpc0, liblockstep-dev and lockstep-services. deploy/packages/make-debs runs it, with the
# prefix /usr and Debian's flags.
set(LOCKSTEP_PACKAGE_CONTACT "lockstep <lockstep@example.org>" CACHE STRING
    "Who the Debian packages say maintains them")

# What Debian asks for beside the files themselves.
foreach(package IN ITEMS liblockstep-rpc0 liblockstep-dev lockstep-services)
  install(FILES debian/copyright debian/changelog
          DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/${package}"
          COMPONENT debian-${package} EXCLUDE_FROM_ALL)
endforeach()
install(FILES debian/liblockstep-rpc0.lintian-overrides
        DESTINATION "${CMAKE_INSTALL_DATADIR}/lintian/overrides"
        COMPONENT debian-liblockstep-rpc0 EXCLUDE_FROM_ALL RENAME liblockstep-rpc0)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME lockstep)
set(CPACK_PACKAGE_VENDOR lockstep)
set(CPACK_PACKAGE_CONTACT "${LOCKSTEP_PACKAGE_CONTACT}")
set(CPACK_PACKAGING_INSTALL_PREFIX "${CMAKE_INSTALL_PREFIX}")
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS "${CMAKE_CURRENT_SOURCE_DIR}/debian/compress.cmake")
set(CPACK_THREADS 0)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_COMPONENTS_ALL
    runtime debian-liblockstep-rpc0
    development debian-liblockstep-dev
    services debian-services debian-lockstep-services)
set(CPACK_COMPONENT_RUNTIME_GROUP library)
set(CPACK_COMPONENT_DEBIAN-LIBLOCKSTEP-RPC0_GROUP library)
set(CPACK_COMPONENT_DEVELOPMENT_GROUP headers)
set(CPACK_COMPONENT_DEBIAN-LIBLOCKSTEP-DEV_GROUP headers)
set(CPACK_COMPONENT_SERVICES_GROUP programs)
set(CPACK_COMPONENT_DEBIAN-SERVICES_GROUP programs)
set(CPACK_COMPONENT_DEBIAN-LOCKSTEP-SERVICES_GROUP programs)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)

set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME liblockstep-rpc0)
set(CPACK_DEBIAN_LIBRARY_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA "${CMAKE_CURRENT_SOURCE_DIR}/debian/library/triggers")
set(CPACK_DEBIAN_LIBRARY_DESCRIPTION "typed gRPC in C: the shared library
The runtime of gRPC servers and clients in plain C, on gRPC's C core: calls,
streams, deadlines, TLS, health and reflection. Typed code for it is written
by the plugin of protoc in liblockstep-dev.")

set(CPACK_DEBIAN_HEADERS_PACKAGE_NAME liblockstep-dev)
set(CPACK_DEBIAN_HEADERS_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_HEADERS_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_HEADERS_PACKAGE_DEPENDS
    "liblockstep-rpc0 (= ${PROJECT_VERSION}), libgrpc-dev, libprotobuf-c-dev, libprotobuf-dev, pkg-config, protobuf-c-compiler, protobuf-compiler")
set(CPACK_DEBIAN_HEADERS_DESCRIPTION "typed gRPC in C: headers and the generator
Everything to build gRPC servers and clients in plain C: headers, the static
library, the plugins protoc-gen-grpc-c and protoc-gen-c-messages of protoc,
a CMake package with a function that makes a library of .proto files, and
files for pkg-config.")

set(CPACK_DEBIAN_PROGRAMS_PACKAGE_NAME lockstep-services)
set(CPACK_DEBIAN_PROGRAMS_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PROGRAMS_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PROGRAMS_PACKAGE_DEPENDS "systemd | systemd-standalone-sysusers")
set(CPACK_DEBIAN_PROGRAMS_PACKAGE_RECOMMENDS ca-certificates)
set(CPACK_DEBIAN_PROGRAMS_DESCRIPTION "two services that stay in step over Kafka
order-service owns orders in a PostgreSQL database and tells of their changes
over Kafka; delivery-service keeps what it needs of them in a database of its
own. Both answer gRPC calls. Their systemd units are installed, but neither
enabled nor started: they need a database and settings first.")
set(maintainer_scripts)
foreach(script IN ITEMS conffiles postinst prerm postrm)
  list(APPEND maintainer_scripts "${CMAKE_CURRENT_SOURCE_DIR}/debian/services/${script}")
endforeach()
set(CPACK_DEBIAN_PROGRAMS_PACKAGE_CONTROL_EXTRA "${maintainer_scripts}")

include(CPack)
