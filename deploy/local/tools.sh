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
KUBECONFORM_VERSIONS="v0.8.0 v0.6.4"
KUBE_SCORE_VERSIONS="v1.20.0 v1.16.1"
KUSTOMIZE_VERSIONS="v5.8.1 v5.1.1"

# What deploy/kubernetes is checked against: the releases of Kubernetes, and of the operators whose kinds it uses.
KUBERNETES_VERSIONS="v1.32.13 v1.33.13 v1.34.4"
KEDA_VERSION=v2.20.2
PROMETHEUS_OPERATOR_VERSION=v0.85.0
CERT_MANAGER_VERSION=v1.21.2
# Strimzi's definitions are made from its classes; its newest generator that runs on Java 17 reads these, too.
STRIMZI_VERSION=0.51.0
STRIMZI_GENERATOR_VERSION=0.45.0

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
default-jre-headless      check schemas_or_java
maven                     check schemas_or_maven
default-jdk-headless      command javac
libgrpc++-dev             library grpc++
make                      command make
abigail-tools             command abidiff
mandoc                    command mandoc
man-db                    command man
protobuf-compiler-grpc    command grpc_python_plugin
openssl                   command openssl
systemd                   command systemd-analyze
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

# go_missing MODULE: why the Go module in this folder cannot be built by the Go at hand (none is downloaded); nothing if
# it can.
go_missing() {
  local go wanted found
  go=$(go_command) || {
    printf 'no Go'
    return 0
  }
  wanted=$(awk '$1 == "go" { print $2 }' "$1/go.mod")
  found=$(GOTOOLCHAIN=local GOWORK=off "$go" env GOVERSION)
  [[ $(printf '%s\n' "$wanted" "${found#go}" | sort --version-sort | head -n 1) == "$wanted" ]] ||
    printf '%s is older than Go %s' "$found" "$wanted"
}

go_tools_or_go() {
  { grpcurl_ready && toxiproxy_ready && kubeconform_ready && kube_score_ready && kustomize_ready && schemas_ready &&
    compose_config_ready; } || go_command
}

# go_tool_build DIRECTORY PROGRAM PACKAGE VERSION...: into $LOCKSTEP_CACHE/DIRECTORY/bin/PROGRAM, from the first
# version that can be built. Builds with the same $LOCKSTEP_GO_BUILD_CACHE do what they have in common once.
go_tool_build() {
  local directory=$1 program=$2 package=$3 work version
  shift 3
  work=$(mktemp -d "$LOCKSTEP_CACHE/$directory.XXXXXX")
  for version in "$@"; do
    note "building $directory $version"
    if GOPATH=$work/go GOCACHE=${LOCKSTEP_GO_BUILD_CACHE:-$work/cache} GOBIN=$work/bin GOFLAGS=-modcacherw "$(go_command)" install \
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

# compose_config: reads deploy/compose.yaml as Docker Compose does (tests/units).
compose_config_ready() {
  "$LOCKSTEP_ROOT/tests/units/install-compose-config" --no-install >/dev/null
}

compose_config_install() {
  "$LOCKSTEP_ROOT/tests/units/install-compose-config" >/dev/null
}

kubeconform_command() {
  printf '%s/kubeconform/bin/kubeconform' "$LOCKSTEP_CACHE"
}

kubeconform_ready() {
  [[ -x $(kubeconform_command) ]]
}

kubeconform_build() {
  # shellcheck disable=SC2086 # one word for each version
  kubeconform_ready ||
    go_tool_build kubeconform kubeconform github.com/yannh/kubeconform/cmd/kubeconform $KUBECONFORM_VERSIONS
}

kubeconform_install() {
  kubeconform_ready || with_lock "$LOCKSTEP_CACHE/lock" kubeconform_build
}

kube_score_command() {
  printf '%s/kube-score/bin/kube-score' "$LOCKSTEP_CACHE"
}

kube_score_ready() {
  [[ -x $(kube_score_command) ]]
}

kube_score_build() {
  # shellcheck disable=SC2086 # one word for each version
  kube_score_ready || go_tool_build kube-score kube-score github.com/zegl/kube-score/cmd/kube-score $KUBE_SCORE_VERSIONS
}

kube_score_install() {
  kube_score_ready || with_lock "$LOCKSTEP_CACHE/lock" kube_score_build
}

kustomize_command() {
  printf '%s/kustomize/bin/kustomize' "$LOCKSTEP_CACHE"
}

kustomize_ready() {
  [[ -x $(kustomize_command) ]]
}

kustomize_build() {
  # shellcheck disable=SC2086 # one word for each version
  kustomize_ready || go_tool_build kustomize kustomize sigs.k8s.io/kustomize/kustomize/v5 $KUSTOMIZE_VERSIONS
}

kustomize_install() {
  kustomize_ready || with_lock "$LOCKSTEP_CACHE/lock" kustomize_build
}

# schemas_home: JSON schemas of what an API server takes; its name changes with the versions and with their maker.
schemas_home() {
  local key
  key=$({
    printf '%s\n' "$KUBERNETES_VERSIONS" "$KEDA_VERSION" "$PROMETHEUS_OPERATOR_VERSION" "$CERT_MANAGER_VERSION" \
      "$STRIMZI_VERSION" "$STRIMZI_GENERATOR_VERSION"
    cat "$LOCKSTEP_ROOT/tests/manifests/make-schemas"
  } | cksum)
  printf '%s/kubernetes-schemas-%s' "$LOCKSTEP_CACHE" "${key%% *}"
}

schemas_ready() {
  [[ -f $(schemas_home)/complete ]]
}

schemas_or_java() {
  schemas_ready || java_command
}

schemas_or_maven() {
  schemas_ready || command -v mvn
}

# go_module DIRECTORY MODULE@VERSION: the folder of the module's files, downloaded into DIRECTORY.
go_module() {
  GOPATH=$1 GOFLAGS=-modcacherw "$(go_command)" mod download -json "$2" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])'
}

# strimzi_definitions DIRECTORY: Strimzi's custom resource definitions, as DIRECTORY/strimzi-*.yaml.
strimzi_definitions() {
  local directory=$1 kind
  local -a kinds=()
  cat >"$directory/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>lockstep</groupId>
  <artifactId>strimzi</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>io.strimzi</groupId>
      <artifactId>api</artifactId>
      <version>$STRIMZI_VERSION</version>
    </dependency>
    <dependency>
      <groupId>io.strimzi</groupId>
      <artifactId>crd-generator</artifactId>
      <version>$STRIMZI_GENERATOR_VERSION</version>
      <exclusions>
        <exclusion>
          <groupId>*</groupId>
          <artifactId>*</artifactId>
        </exclusion>
      </exclusions>
    </dependency>
  </dependencies>
</project>
POM
  mvn --batch-mode --quiet --file "$directory/pom.xml" -Dmaven.repo.local="$directory/repository" \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$directory/libs" || return 1
  for kind in kafka.Kafka nodepool.KafkaNodePool topic.KafkaTopic user.KafkaUser; do
    kinds+=("io.strimzi.api.kafka.model.$kind=$directory/strimzi-${kind##*.}.yaml")
  done
  # The generator's jar holds older copies of what the classes are built on: the newer go first.
  "$(java_command)" -cp "$directory/libs/api-$STRIMZI_VERSION.jar:$(printf '%s:' "$directory"/libs/[!c]*.jar)$(
    printf '%s' "$directory/libs/crd-generator-$STRIMZI_GENERATOR_VERSION.jar"
  )" io.strimzi.crdgenerator.CrdGenerator --yaml "${kinds[@]}"
}

# schemas_convert WORK: into WORK/schemas.
schemas_convert() {
  local work=$1 version directory
  local -a sources=()
  for version in $KUBERNETES_VERSIONS; do
    directory=$(go_module "$work/go" "k8s.io/kubernetes@$version") || return 1
    sources+=(--kubernetes "$version=$directory/api/openapi-spec/swagger.json")
  done
  directory=$(go_module "$work/go" "github.com/kedacore/keda/v2@$KEDA_VERSION") || return 1
  sources+=("$directory"/config/crd/bases/keda.sh_*.yaml)
  directory=$(go_module "$work/go" \
    "github.com/prometheus-operator/prometheus-operator@$PROMETHEUS_OPERATOR_VERSION") || return 1
  sources+=("$directory"/example/prometheus-operator-crd/monitoring.coreos.com_{servicemonitors,prometheusrules}.yaml)
  directory=$(go_module "$work/go" "github.com/cert-manager/cert-manager@$CERT_MANAGER_VERSION") || return 1
  sources+=("$directory"/deploy/crds/cert-manager.io_{certificates,issuers}.yaml)
  mkdir -p "$work/strimzi"
  strimzi_definitions "$work/strimzi" || return 1
  sources+=("$work"/strimzi/strimzi-*.yaml)
  "$(venv_home)/bin/python" "$LOCKSTEP_ROOT/tests/manifests/make-schemas" --output "$work/schemas" "${sources[@]}"
}

schemas_make() {
  schemas_ready && return 0
  local home work
  home=$(schemas_home)
  note "making schemas of Kubernetes $KUBERNETES_VERSIONS and of the operators' kinds"
  work=$(mktemp -d "$LOCKSTEP_CACHE/kubernetes-schemas.XXXXXX")
  if ! schemas_convert "$work" >"$work/log" 2>&1; then
    tail -n 20 "$work/log" >&2
    rm -rf "$work"
    return 1
  fi
  rm -rf "$home"
  mv "$work/schemas" "$home"
  touch "$home/complete"
  rm -rf "$work"
}

schemas_install() {
  schemas_ready || with_lock "$LOCKSTEP_CACHE/lock" schemas_make
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

# missing_packages PARTS: the packages of the parts that are not found, one a line, each once.
missing_packages() {
  local package found
  while read -r package found; do
    # shellcheck disable=SC2086 # "how argument" is meant to be split
    [[ -z $package ]] || part_found $found || printf '%s\n' "$package"
  done <<<"$1" | awk '!seen[$0]++'
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
    kubeconform_ready || printf 'kubeconform\n'
    kube_score_ready || printf 'kube_score\n'
    kustomize_ready || printf 'kustomize\n'
    schemas_ready || printf 'schemas\n'
    compose_config_ready || printf 'compose_config\n'
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
