# shellcheck shell=bash
# Functions shared by the scripts in deploy/local and by tests/run: messages, deadlines, ports, caches
# and processes here; PostgreSQL, Kafka and the services in the files sourced at the end.
#
# Source it from a script that has set -euo pipefail. A function that can fail says why on stderr and
# returns non-zero; one that cannot go on calls fail, which ends the script.
#
# A component (postgres, kafka, order-1, ...) is one directory. Every process started here is recorded
# in its component's file "pid", and its output is in its file "log".

LOCKSTEP_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LOCKSTEP_CACHE=${LOCKSTEP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lockstep}

# Descriptor 9 holds the lock of with_lock and of state_lock; programs started here never inherit it.
LOCKSTEP_PORTS_TAKEN=" "

say() {
  printf '%s\n' "$*"
}

note() {
  printf '%s\n' "$*" >&2
}

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# usage_error TEXT: a wrong command line ends the script with the exit code of sysexits.h.
usage_error() {
  printf '%s: %s (see --help)\n' "${0##*/}" "$*" >&2
  exit 64
}

# print_help: the comment at the top of the running script, without its "#!" line.
print_help() {
  awk 'NR == 1 { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "$0"
}

# option_value NAME COUNT: refuses an option at the end of the command line that lacks its value.
option_value() {
  (($2 >= 2)) || usage_error "$1 needs a value"
}

# number_option NAME VALUE MINIMUM MAXIMUM
number_option() {
  if ! [[ $2 =~ ^[0-9]{1,9}$ ]] || ((10#$2 < $3 || 10#$2 > $4)); then
    usage_error "$1 takes a number from $3 to $4, not \"$2\""
  fi
}

now_ms() {
  local now=$EPOCHREALTIME
  now=${now/[.,]/}
  printf '%s' "$((now / 1000))"
}

# wait_until SECONDS COMMAND...: runs the command every 50 ms until it succeeds; 1 when time is up.
wait_until() {
  local deadline
  deadline=$(($(now_ms) + $1 * 1000))
  shift
  until "$@"; do
    (($(now_ms) < deadline)) || return 1
    sleep 0.05
  done
}

# free_port NAME: sets the variable NAME to a TCP port on which nothing listens. Ports come from below the
# ephemeral range, so that no outgoing connection takes one between two starts of the same server.
free_port() {
  local -n chosen_port=$1
  local attempt candidate in_use
  in_use=" $(awk 'FNR > 1 { split($2, a, ":"); printf "%s ", a[2] }' /proc/net/tcp /proc/net/tcp6 2>/dev/null || true)"
  for ((attempt = 0; attempt < 1000; attempt++)); do
    candidate=$((15000 + SRANDOM % 17000))
    [[ $LOCKSTEP_PORTS_TAKEN != *" $candidate "* ]] || continue
    [[ $in_use != *" $(printf '%04X' "$candidate") "* ]] || continue
    LOCKSTEP_PORTS_TAKEN+="$candidate "
    # shellcheck disable=SC2034 # a name reference: the caller's variable
    chosen_port=$candidate
    return 0
  done
  fail "no free TCP port between 15000 and 32000"
}

# as_root COMMAND...: by sudo when the caller is not root.
as_root() {
  if ((EUID == 0)); then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "this needs root, and there is no sudo: $*"
  fi
}

# with_lock FILE COMMAND...: one at a time among all processes; FILE is created and stays. The command must not
# ask for the same lock again.
with_lock() {
  local file=$1
  shift
  mkdir -p "$(dirname "$file")"
  (
    flock 9
    "$@"
  ) 9>>"$file"
}

# ---- processes ----

# process_identity PID: "start-time state" from /proc, or 1 when there is no such process. Start time in
# ticks since boot tells a process from a later one that was given the same id.
process_identity() {
  local stat
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  local -a fields
  read -ra fields <<<"${stat##*) }"
  printf '%s %s' "${fields[19]}" "${fields[0]}"
}

# process_dead PID: true when there is no such process, or only its zombie.
process_dead() {
  local identity
  identity=$(process_identity "$1") || return 0
  [[ $identity == *" Z" ]]
}

# process_pid DIR: prints the id of the component's process while it runs; 1 when it does not.
process_pid() {
  local pid started boot identity
  { read -r pid started boot <"$1/pid"; } 2>/dev/null || return 1
  [[ $boot == "$(</proc/sys/kernel/random/boot_id)" ]] || return 1
  identity=$(process_identity "$pid") || return 1
  [[ $identity != *" Z" && ${identity% *} == "$started" ]] || return 1
  printf '%s' "$pid"
}

process_running() {
  process_pid "$1" >/dev/null
}

process_gone() {
  ! process_running "$1"
}

# process_start DIR COMMAND...: in a session of its own, so that Ctrl-C in the terminal does not reach it.
process_start() {
  local directory=$1 pid identity
  shift
  mkdir -p "$directory"
  setsid "$@" </dev/null >>"$directory/log" 2>&1 9>&- &
  pid=$!
  identity=$(process_identity "$pid") || identity="0 X" # gone already: never found running
  printf '%s %s %s\n' "$pid" "${identity% *}" "$(</proc/sys/kernel/random/boot_id)" >"$directory/pid.new"
  mv "$directory/pid.new" "$directory/pid"
  disown "$pid" 2>/dev/null || true
}

# process_signal DIR SIGNAL: to the one process; true when it runs.
process_signal() {
  local pid
  pid=$(process_pid "$1") && kill -s "$2" "$pid" 2>/dev/null
}

# process_children PID: prints the ids of the processes that it has started and that still run. Others end while this
# looks at them, which must not end the look: hence not by awk's own reading of the files.
process_children() {
  cat /proc/[0-9]*/stat 2>/dev/null |
    awk -v parent="$1" '{ pid = $1; sub(/^.*\) /, ""); if ($2 == parent) print pid }' || true
}

# process_signal_all DIR SIGNAL: to the process and to its children, to itself first, so that after a SIGSTOP it
# cannot start another one; true when it runs.
process_signal_all() {
  local pid
  pid=$(process_pid "$1") && kill -s "$2" "$pid" 2>/dev/null || return 1
  # shellcheck disable=SC2046 # one word for each process
  kill -s "$2" $(process_children "$pid") 2>/dev/null || true
}

# process_kill DIR: SIGKILL to the process and to all that it started in its session.
process_kill() {
  local pid
  if pid=$(process_pid "$1"); then
    kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
    wait_until 10 process_gone "$1" || fail "process $pid ($1) survives SIGKILL"
  fi
  rm -f "$1/pid"
}

# process_stop DIR SIGNAL SECONDS: asks, waits, and kills when time is up (and then says so). A paused
# process is resumed, or it would never hear of it.
process_stop() {
  if process_signal "$1" "$2"; then
    process_signal "$1" CONT || true
    if ! wait_until "$3" process_gone "$1"; then
      note "${1##*/} did not stop within $3 s of SIG$2: killing it"
      process_kill "$1"
    fi
  fi
  rm -f "$1/pid"
}

# process_failed DIR: says that a component did not come up and shows the end of its log.
process_failed() {
  local state="ended"
  process_running "$1" && state="does not answer"
  note "${1##*/} $state; the end of $1/log:"
  tail -n 20 "$1/log" 2>/dev/null | sed 's/^/  | /' >&2 || true
}

# ready_or_gone DIR COMMAND...: for wait_until: ends the wait as soon as the process is gone.
ready_or_gone() {
  local directory=$1
  shift
  "$@" || process_gone "$directory"
}

# process_ready DIR SECONDS COMMAND...: true once the command succeeds while the process still runs.
process_ready() {
  local directory=$1 seconds=$2
  shift 2
  wait_until "$seconds" ready_or_gone "$directory" "$@" && process_running "$directory"
}

# shellcheck source=deploy/local/postgres.sh
source "$LOCKSTEP_ROOT/deploy/local/postgres.sh"
# shellcheck source=deploy/local/kafka.sh
source "$LOCKSTEP_ROOT/deploy/local/kafka.sh"
# shellcheck source=deploy/local/services.sh
source "$LOCKSTEP_ROOT/deploy/local/services.sh"
