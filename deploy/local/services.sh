# shellcheck shell=bash
# The local stack: PostgreSQL, a broker, order-service and delivery-service, each a directory of the state
# directory: postgres/, kafka/ or embedded-kafka/, order-1/, delivery-1/, ... Sourced by lib.sh.
#
# A service's directory holds pid, log, address (gRPC) and metrics_address. The state directory also
# holds "lockstep-state", without which nothing is ever removed, and "env", which a shell can source.

SERVICE_START_SECONDS=60
SERVICE_STOP_SECONDS=30

# default_state_dir: root's home is closed to the user as whom PostgreSQL runs, so root's is elsewhere.
default_state_dir() {
  if [[ -n ${LOCKSTEP_STATE_DIR:-} ]]; then
    printf '%s' "$LOCKSTEP_STATE_DIR"
  elif ((EUID == 0)) && [[ -z ${XDG_STATE_HOME:-} ]]; then
    printf '/var/lib/lockstep/local'
  else
    printf '%s/lockstep/local' "${XDG_STATE_HOME:-$HOME/.local/state}"
  fi
}

# state_open DIR: makes the state directory, or recognises it.
state_open() {
  mkdir -p "$1"
  if [[ ! -f $1/lockstep-state ]]; then
    [[ -z $(ls -A "$1") ]] || fail "$1 is not empty and not a state directory of lockstep"
    printf 'The state of a local lockstep stack; deploy/local/down removes it.\n' >"$1/lockstep-state"
  fi
}

state_exists() {
  [[ -f $1/lockstep-state ]]
}

# state_lock DIR: one up or down at a time. The lock is on the directory itself and ends with the script.
state_lock() {
  exec 9<"$1"
  flock --wait 120 9 || fail "another up or down is at work on $1"
}

# services_of DIR [NAME]: the component directories of order and delivery, in order of their numbers.
services_of() {
  local directory
  for directory in "$1"/"${2:-order}"-[0-9]*; do
    [[ ! -d $directory ]] || printf '%s\n' "$directory"
  done | sort -V
  [[ -n ${2:-} ]] || services_of "$1" delivery
}

# components_of DIR: every component there is, servers first.
components_of() {
  local name
  for name in postgres kafka embedded-kafka; do
    [[ ! -d $1/$name ]] || printf '%s\n' "$1/$name"
  done
  services_of "$1"
}

# broker_of DIR: prints kafka or embedded, whichever the state directory has; nothing when neither.
broker_of() {
  if [[ -d $1/kafka ]]; then
    printf 'kafka'
  elif [[ -d $1/embedded-kafka ]]; then
    printf 'embedded'
  fi
}

# component_address DIR: where clients reach it.
component_address() {
  case ${1##*/} in
    postgres) printf '127.0.0.1:%s' "$(cat "$1/port" 2>/dev/null)" ;;
    kafka) printf '127.0.0.1:%s' "$(cat "$1/port" 2>/dev/null)" ;;
    *) cat "$1/address" 2>/dev/null || true ;;
  esac
}

# program NAME: the built program, or the end of the script.
program() {
  local path
  for path in "$LOCKSTEP_BUILD_DIR"/{order,delivery,deploy/local}/"$1"; do
    if [[ -x $path && -f $path ]]; then
      printf '%s' "$path"
      return 0
    fi
  done
  fail "there is no $1 in $LOCKSTEP_BUILD_DIR"
}

# build_programs DIR NAME...
build_programs() {
  local directory=$1
  shift
  if [[ ! -f $directory/build.ninja ]]; then
    cmake -S "$LOCKSTEP_ROOT" -B "$directory" -G Ninja -DLOCKSTEP_TESTS=OFF 9>&-
  fi
  cmake --build "$directory" --target "$@" 9>&-
}

# ---- the embedded broker: librdkafka's mock, kept in memory only ----

embedded_kafka_start() {
  local directory=$1 embedded
  process_running "$directory" && return 0
  embedded=$(program lockstep-embedded-kafka)
  mkdir -p "$directory"
  rm -f "$directory/ready" "$directory/address"
  process_start "$directory" "$embedded" --ready-file "$directory/ready"
  if ! process_ready "$directory" 20 test -s "$directory/ready"; then
    process_failed "$directory"
    process_kill "$directory"
    return 1
  fi
  awk 'NR == 1 { print $NF }' "$directory/ready" >"$directory/address"
}

# ---- order-service and delivery-service ----

# service_environment STATE_DIR NAME: what the service order or delivery is configured with, apart from its own addresses,
# as NAME=value lines for env(1).
service_environment() {
  local state=$1 name=$2
  postgres_environment "$state/postgres"
  printf 'KAFKA_BOOTSTRAP_SERVERS=%s\nMIGRATE_ON_START=false\n' "$(broker_address "$state")"
  case $name in
    order) printf 'PGUSER=order_service\nPGDATABASE=orders\n' ;;
    delivery)
      printf 'PGUSER=delivery_service\nPGDATABASE=delivery\nORDER_ADDRESS=%s\n' "$(order_target "$state")"
      printf 'KAFKA_GROUP_ID=%s\n' "${KAFKA_GROUP_ID:-delivery}"
      ;;
  esac
}

broker_address() {
  if [[ -d $1/kafka ]]; then
    kafka_address "$1/kafka"
  else
    cat "$1/embedded-kafka/address"
  fi
}

# order_target DIR: one gRPC target for all order services.
order_target() {
  local addresses
  addresses=$(service_addresses "$1" order | paste -s -d ,)
  if [[ $addresses == *,* ]]; then
    printf 'ipv4:%s' "$addresses"
  else
    printf '%s' "$addresses"
  fi
}

# service_addresses STATE_DIR NAME [FILE]: one a line.
service_addresses() {
  local directory
  services_of "$1" "$2" | while read -r directory; do
    cat "$directory/${3:-address}" 2>/dev/null || true
  done
}

# service_run STATE_DIR NAME ARGUMENTS...: runs the service's program with its configuration, to its end; its
# output is shown only if it fails.
service_run() {
  local state=$1 name=$2 path output status=0
  shift 2
  path=$(program "$name-service")
  local -a environment
  mapfile -t environment < <(service_environment "$state" "$name")
  output=$(env "${environment[@]}" "$path" "$@" </dev/null 2>&1 9>&-) || status=$?
  if ((status != 0)); then
    note "$name-service $* failed with exit code $status:"
    tail -n 20 <<<"$output" | sed 's/^/  | /' >&2
  fi
  return "$status"
}

# service_serving PROGRAM ADDRESS: true when the health service at the address says SERVING.
service_serving() {
  timeout 5 "$1" --probe "$2" >/dev/null 2>&1 9>&-
}

# service_launch STATE_DIR NAME NUMBER: starts order-N or delivery-N without waiting. One that ran before keeps
# its addresses.
service_launch() {
  local state=$1 name=$2 directory=$1/$2-$3 port metrics_port path
  process_running "$directory" && return 0
  path=$(program "$name-service")
  mkdir -p "$directory"
  if [[ ! -s $directory/metrics_address ]]; then
    free_port port
    free_port metrics_port
    printf '127.0.0.1:%s\n' "$port" >"$directory/address"
    printf '127.0.0.1:%s\n' "$metrics_port" >"$directory/metrics_address"
  fi
  local -a environment
  mapfile -t environment < <(service_environment "$state" "$name")
  process_start "$directory" env "${environment[@]}" "LOG_FORMAT=${LOG_FORMAT:-json}" "LOG_LEVEL=${LOG_LEVEL:-info}" \
    "LISTEN_ADDRESS=$(<"$directory/address")" "METRICS_ADDRESS=$(<"$directory/metrics_address")" "$path"
}

# service_await DIR: waits until a launched service serves.
service_await() {
  local directory=$1 name=${1##*/} path
  path=$(program "${name%-*}-service")
  process_ready "$directory" "$SERVICE_START_SECONDS" service_serving "$path" "$(<"$directory/address")" && return 0
  process_failed "$directory"
  process_kill "$directory"
  # Its ports may have been taken in the meantime: the next start chooses anew.
  rm -f "$directory/address" "$directory/metrics_address"
  return 1
}

# services_stop DIRECTORY...: all at once, SIGTERM first.
services_stop() {
  local directory
  for directory in "$@"; do
    if process_signal "$directory" TERM; then
      process_signal "$directory" CONT || true
    fi
  done
  local deadline left
  deadline=$(($(now_ms) + SERVICE_STOP_SECONDS * 1000))
  for directory in "$@"; do
    left=$(((deadline - $(now_ms)) / 1000))
    if ! wait_until "$((left > 0 ? left : 0))" process_gone "$directory"; then
      note "${directory##*/} did not stop within $SERVICE_STOP_SECONDS s: killing it"
      process_kill "$directory"
    fi
    rm -f "$directory/pid"
  done
}

# component_stop DIR: whatever it is.
component_stop() {
  case ${1##*/} in
    postgres) postgres_stop "$1" ;;
    kafka) kafka_stop "$1" ;;
    embedded-kafka) process_stop "$1" TERM 10 ;;
    *) services_stop "$1" ;;
  esac
}

# state_write_env DIR: the file for people and scripts to source.
state_write_env() {
  local state=$1 name directory
  local -a orders deliveries
  mapfile -t orders < <(service_addresses "$state" order)
  mapfile -t deliveries < <(service_addresses "$state" delivery)
  {
    printf '# How to reach the local stack; written by deploy/local/up.\n'
    printf 'export ORDER_ADDRESS=%q\n' "${orders[0]}"
    printf 'export ORDER_ADDRESSES=%q\n' "${orders[*]}"
    printf 'export DELIVERY_ADDRESS=%q\n' "${deliveries[0]}"
    printf 'export DELIVERY_ADDRESSES=%q\n' "${deliveries[*]}"
    for name in order delivery; do
      printf 'export %s_METRICS_ADDRESSES=%q\n' "${name^^}" \
        "$(service_addresses "$state" "$name" metrics_address | paste -s -d ' ')"
      printf 'export %s_PIDS=%q\n' "${name^^}" "$(services_of "$state" "$name" | while read -r directory; do
        process_pid "$directory" && echo
      done | paste -s -d ' ')"
    done
    printf 'export KAFKA_BOOTSTRAP_SERVERS=%q\n' "$(broker_address "$state")"
    postgres_environment "$state/postgres" | while IFS='=' read -r name directory; do
      printf 'export %s=%q\n' "$name" "$directory"
    done
    for name in postgres kafka embedded-kafka; do
      [[ ! -d $state/$name ]] || printf 'export %s_PID=%q\n' "$(tr 'a-z-' 'A-Z_' <<<"$name")" \
        "$(process_pid "$state/$name")"
    done
  } >"$state/env.new"
  mv "$state/env.new" "$state/env"
}
