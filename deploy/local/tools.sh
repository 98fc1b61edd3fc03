# shellcheck shell=bash
# What the build, the local stack and the tests need beyond this repository: how each part is found, and
# how it is installed. Sourced by deploy/local/dependencies and tests/run, after lib.sh.
#
# A part is found by what it gives (a command, a library, a header), not by a package's name, so that one
# that was installed in another way counts too.

BUF_VERSION=1.75.0
# Newest first; the first that the Go at hand can build is taken (1.8.7 is within reach of Go 1.19).
GRPCURL_VERSIONS="v1.9.3 v1.8.9 v1.8.7"
TOXIPROXY_VERSIONS="v2.12.0 v2.9.0 v2.5.0"

# One line per part: the Debian package, then how it is found.
# shellcheck disable=SC2034 # used by the scripts that source this
PRODUCT_PARTS="
gcc                       command gcc
libc6-dev                 header stdlib.h
cmake                     command cmake
ninja-build               command ninja
pkg-config                command pkg-config
libgrpc-dev               library grpc
libprotobuf-c-dev         library libprotobuf-c
protobuf-c-compiler       command protoc-c
protobuf-compiler         command protoc
libprotobuf-dev           header google/protobuf/descriptor.proto
libprotoc-dev             header google/protobuf/compiler/plugin.proto
librdkafka-dev            library rdkafka
libpq-dev                 library libpq
libmicrohttpd-dev         library libmicrohttpd
libssl-dev                library libcrypto
postgresql                check postgres_bin"

# shellcheck disable=SC2034
KAFKA_PARTS="
default-jre-headless      check java_command
maven                     check kafka_or_maven"

# shellcheck disable=SC2034
TEST_PARTS="
g++                       command g++
clang                     command clang
clang-format              command clang-format
clang-tidy                command clang-tidy
libclang-rt-14-dev        check clang_sanitizers
ccache                    command ccache
libcmocka-dev             library cmocka
kcat                      command kcat
shellcheck                command shellcheck
python3                   check python_recent
python3-venv              check python_venv
nodejs                    check buf_or_command node
npm                       check buf_or_command npm
golang-go                 check go_tools_or_go
libfaketime               check faketime_library"

# What tests/bench/run measures lockstep beside.
# shellcheck disable=SC2034
BENCH_PARTS="
libgrpc++-dev             library grpc++
protobuf-compiler-grpc    command grpc_cpp_plugin
nghttp2-client            command h2load
default-jdk-headless      command javac
maven                     command mvn"

kafka_or_maven() {
  kafka_installed || command -v mvn >/dev/null
}

clang_sanitizers() {
  local directory
  directory=$(clang --print-runtime-dir 2>/dev/null) || return 1
  compgen -G "$directory/libclang_rt.fuzzer*.a" >/dev/null
}

python_recent() {
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

python_venv() {
  venv_ready || python3 -c 'import ensurepip, venv' 2>/dev/null
}

# venv_home: the tests' virtual environment; its name changes with the requirements and with the Python.
venv_home() {
  local key
  key=$({
    cat "$LOCKSTEP_ROOT/tests/integration/requirements.txt"
    command -v python3
  } | cksum)
  printf '%s/python-%s' "$LOCKSTEP_CACHE" "${key%% *}"
}

venv_ready() {
  [[ -f $(venv_home)/complete && -x $(venv_home)/bin/python ]]
}

venv_make() {
  venv_ready && return 0
  local home
  home=$(venv_home)
  note "installing the tests' Python packages"
  rm -rf "$home"
  python3 -m venv "$home" &&
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
      --requirement "$LOCKSTEP_ROOT/tests/integration/requirements.txt" >&2 &&
    touch "$home/complete"
}

venv_install() {
  venv_ready || with_lock "$LOCKSTEP_CACHE/lock" venv_make
}

# The benchmark's packages go into the same environment.
plots_ready() {
  [[ -f $(venv_home)/plots-complete ]]
}

plots_make() {
  plots_ready && return 0
  note "installing the benchmark's Python packages"
  "$(venv_home)/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
    --requirement "$LOCKSTEP_ROOT/tests/bench/requirements.txt" >&2 &&
    touch "$(venv_home)/plots-complete"
}

plots_install() {
  plots_ready || with_lock "$LOCKSTEP_CACHE/lock" plots_make
}

buf_home() {
  printf '%s/buf-%s' "$LOCKSTEP_CACHE" "$BUF_VERSION"
}

buf_command() {
  printf '%s/node_modules/.bin/buf' "$(buf_home)"
}

buf_ready() {
  [[ -f $(buf_home)/complete ]]
}

buf_or_command() {
  buf_ready || command -v "$1" >/dev/null
}

buf_download() {
  buf_ready && return 0
  note "installing buf $BUF_VERSION"
  rm -rf "$(buf_home)"
  mkdir -p "$(buf_home)"
  npm install --silent --no-audit --no-fund --prefix "$(buf_home)" "@bufbuild/buf@$BUF_VERSION" >&2 &&
    "$(buf_command)" --version >/dev/null &&
    touch "$(buf_home)/complete"
}

buf_install() {
  buf_ready || with_lock "$LOCKSTEP_CACHE/lock" buf_download
}

grpcurl_command() {
  printf '%s/grpcurl/bin/grpcurl' "$LOCKSTEP_CACHE"
}

grpcurl_ready() {
  [[ -x $(grpcurl_command) ]]
}

# go_command: Go as found, also where its archive was unpacked by hand.
go_command() {
  command -v go || { [[ -x /usr/local/go/bin/go ]] && printf '/usr/local/go/bin/go'; }
}

go_tools_or_go() {
  { grpcurl_ready && toxiproxy_ready; } || go_command
}

# go_tool_build DIRECTORY PROGRAM PACKAGE VERSION...: into $LOCKSTEP_CACHE/DIRECTORY/bin/PROGRAM, from the first
# version that can be built.
go_tool_build() {
  local directory=$1 program=$2 package=$3 work version
  shift 3
  work=$(mktemp -d "$LOCKSTEP_CACHE/$directory.XXXXXX")
  for version in "$@"; do
    note "building $directory $version"
    if GOPATH=$work/go GOCACHE=$work/cache GOBIN=$work/bin GOFLAGS=-modcacherw "$(go_command)" install \
      "$package@$version" >"$work/log" 2>&1; then
      [[ -x $work/bin/$program ]] || mv "$work/bin/${package##*/}" "$work/bin/$program"
      mkdir -p "$LOCKSTEP_CACHE/$directory"
      rm -rf "${LOCKSTEP_CACHE:?}/$directory/bin"
      mv "$work/bin" "$LOCKSTEP_CACHE/$directory/bin"
      rm -rf "$work"
      return 0
    fi
  done
  tail -n 20 "$work/log" >&2
  rm -rf "$work"
  return 1
}

grpcurl_build() {
  # shellcheck disable=SC2086 # one word for each version
  grpcurl_ready || go_tool_build grpcurl grpcurl github.com/fullstorydev/grpcurl/cmd/grpcurl $GRPCURL_VERSIONS
}

grpcurl_install() {
  grpcurl_ready || with_lock "$LOCKSTEP_CACHE/lock" grpcurl_build
}

toxiproxy_command() {
  printf '%s/toxiproxy/bin/toxiproxy-server' "$LOCKSTEP_CACHE"
}

toxiproxy_ready() {
  [[ -x $(toxiproxy_command) ]]
}

toxiproxy_build() {
  # shellcheck disable=SC2086 # one word for each version
  toxiproxy_ready ||
    go_tool_build toxiproxy toxiproxy-server github.com/Shopify/toxiproxy/v2/cmd/server $TOXIPROXY_VERSIONS
}

toxiproxy_install() {
  toxiproxy_ready || with_lock "$LOCKSTEP_CACHE/lock" toxiproxy_build
}

# faketime_library: what is preloaded into a process whose clock is to jump.
faketime_library() {
  local library
  for library in /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/lib/faketime/libfaketimeMT.so.1 \
    /usr/local/lib/faketime/libfaketimeMT.so.1; do
    if [[ -f $library ]]; then
      printf '%s' "$library"
      return 0
    fi
  done
  return 1
}

# part_found HOW ARGUMENTS...
part_found() {
  local how=$1
  shift
  case $how in
    command) command -v "$1" >/dev/null ;;
    library) pkg-config --exists "$1" 2>/dev/null ;;
    header) [[ -f /usr/include/$1 || -f /usr/local/include/$1 ]] ;;
    check) "$@" >/dev/null ;;
  esac
}

# missing_packages PARTS: the packages of the parts that are not found, one a line.
missing_packages() {
  local package found
  while read -r package found; do
    # shellcheck disable=SC2086 # "how argument" is meant to be split
    [[ -z $package ]] || part_found $found || printf '%s\n' "$package"
  done <<<"$1"
}

# missing_downloads BROKER TESTS BENCH: what else is missing, one word a line: Kafka unless BROKER is embedded,
# the tests' tools if TESTS is yes, and the benchmark's (for which the tests' are needed) if BENCH is yes.
missing_downloads() {
  [[ $1 == embedded ]] || kafka_installed || printf 'kafka\n'
  if [[ $2 == yes ]]; then
    venv_ready || printf 'venv\n'
    buf_ready || printf 'buf\n'
    grpcurl_ready || printf 'grpcurl\n'
    toxiproxy_ready || printf 'toxiproxy\n'
  fi
  [[ $3 == no ]] || plots_ready || printf 'plots\n'
}

# The default cluster that Debian makes with the first PostgreSQL server is nothing that lockstep needs; if
# the server comes by this script, it comes without one.
CREATECLUSTER_SETTING=/etc/postgresql-common/createcluster.d/lockstep.conf

install_packages() {
  local status=0
  if [[ " $* " == *" postgresql "* && ! -e $CREATECLUSTER_SETTING ]]; then
    as_root mkdir -p "${CREATECLUSTER_SETTING%/*}"
    printf 'create_main_cluster = false\n' | as_root tee "$CREATECLUSTER_SETTING" >/dev/null
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends \
    -o DPkg::Lock::Timeout=120 "$@" >&2 || status=$?
  if [[ -e $CREATECLUSTER_SETTING ]]; then
    as_root rm -f "$CREATECLUSTER_SETTING"
    as_root rmdir --ignore-fail-on-non-empty "${CREATECLUSTER_SETTING%/*}"
  fi
  return "$status"
}
