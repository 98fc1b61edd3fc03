# shellcheck shell=bash
# What the scripts in tests/package share: the build that is installed, and where it is installed. Sourced after
# deploy/local/lib.sh.

PACKAGE_TARGETS=(lockstep_rpc_shared lockstep_rpc_static order-service delivery-service)

# package_build DIR: builds there what is installed; configures it if it is not yet.
package_build() {
  local -a options=(-DCMAKE_C_COMPILER=gcc -DLOCKSTEP_WERROR=ON -DLOCKSTEP_TESTS=OFF)
  if [[ ! -f $1/build.ninja ]]; then
    if command -v ccache >/dev/null; then
      options+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
    fi
    cmake -S "$LOCKSTEP_ROOT" -B "$1" -G Ninja "${options[@]}" || return 1
  fi
  cmake --build "$1" --parallel "${LOCKSTEP_JOBS:-$(nproc)}" --target "${PACKAGE_TARGETS[@]}"
}

# package_install BUILD PREFIX
package_install() {
  cmake --install "$1" --prefix "$2"
}

# package_library PREFIX: the shared library's file.
package_library() {
  local library
  library=$(find "$1" -name 'liblockstep-rpc.so.0' | head -n 1)
  [[ -n $library ]] && readlink -f "$library"
}
