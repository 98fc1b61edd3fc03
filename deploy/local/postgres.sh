# shellcheck shell=bash
# A private PostgreSQL instance in one directory: data/, log, pid, port, pgpass. Sourced by lib.sh.
#
# It listens on 127.0.0.1 and (where the path is short enough) on a socket in the directory, with generated
# passwords that libpq finds by PGPASSFILE. The databases "orders" and "delivery" belong to the roles
# order_service and delivery_service, and neither role may connect to the other's.

# postgres_bin: the directory of the newest server programs, version 13 or later.
postgres_bin() {
  local directory version best="" best_version=12
  for directory in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
    [[ -x $directory/postgres && -x $directory/initdb ]] || continue
    version=${directory%/bin}
    version=${version##*[/-]}
    if [[ $version =~ ^[0-9]+$ ]] && ((version > best_version)); then
      best=$directory best_version=$version
    fi
  done
  if [[ -z $best ]] && command -v initdb >/dev/null && command -v postgres >/dev/null; then
    best=$(dirname "$(command -v postgres)")
  fi
  [[ -n $best ]] || return 1
  printf '%s' "$best"
}

# postgres_as COMMAND...: the server refuses to run as root, so root hands it to another user.
postgres_as() {
  if ((EUID != 0)); then
    exec "$@"
  else
    exec setpriv --reuid="$(postgres_user)" --regid="$(postgres_user)" --init-groups -- "$@"
  fi
}

postgres_user() {
  if ((EUID != 0)); then
    id -un
  elif id postgres >/dev/null 2>&1; then
    printf 'postgres'
  else
    printf 'nobody'
  fi
}

postgres_password() {
  od -An -N 18 -tx1 /dev/urandom | tr -d ' \n'
}

# postgres_accepts DIR: true when the server takes connections.
postgres_accepts() {
  "$(postgres_bin)/pg_isready" --quiet --host 127.0.0.1 --port "$(<"$1/port")" --timeout 1 >/dev/null 2>&1
}

# postgres_psql DIR ARGUMENTS...: psql as the superuser.
postgres_psql() {
  local directory=$1
  shift
  PGPASSFILE=$directory/pgpass "$(postgres_bin)/psql" --no-psqlrc --quiet --host 127.0.0.1 \
    --port "$(<"$directory/port")" --username postgres --dbname postgres --set ON_ERROR_STOP=1 "$@"
}

# LOCKSTEP_POSTGRES_SETTINGS may hold more lines for postgresql.conf.
postgres_initialize() {
  local directory=$1 bin socket_directory order_password delivery_password superuser_password
  bin=$(postgres_bin) || fail "no PostgreSQL server programs found (run deploy/local/dependencies)"
  superuser_password=$(postgres_password)
  order_password=$(postgres_password)
  delivery_password=$(postgres_password)
  rm -rf "$directory/data"
  mkdir -p "$directory/data"
  chmod 755 "$directory"
  chmod 700 "$directory/data"
  if ((EUID == 0)); then
    chown "$(postgres_user)" "$directory/data"
    (postgres_as test -w "$directory/data") ||
      fail "the user $(postgres_user), as whom root runs PostgreSQL, cannot reach $directory: choose a directory whose parents others may enter"
  fi
  (umask 077 && printf '*:*:*:%s:%s\n' postgres "$superuser_password" order_service "$order_password" \
    delivery_service "$delivery_password" >"$directory/pgpass")
  # shellcheck disable=SC2016 # the inner shell expands it: initdb reads a password only from a file
  if ! (postgres_as bash -c '"$@" --pwfile <(cat)' initdb "$bin/initdb" --pgdata "$directory/data" \
    --username postgres --encoding UTF8 --locale C.UTF-8 --auth scram-sha-256 --no-sync \
    --no-instructions --data-checksums <<<"$superuser_password" >"$directory/log" 2>&1); then
    process_failed "$directory"
    fail "initdb failed"
  fi
  socket_directory=$directory/data
  ((${#socket_directory} < 80)) || socket_directory=""
  cat >>"$directory/data/postgresql.conf" <<CONFIGURATION
listen_addresses = '127.0.0.1'
unix_socket_directories = '$socket_directory'
max_connections = 100
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %u@%d %a '
${LOCKSTEP_POSTGRES_SETTINGS:-}
CONFIGURATION
  printf 'CREATE ROLE %s LOGIN PASSWORD '"'%s'"';\n' order_service "$order_password" \
    delivery_service "$delivery_password" >"$directory/databases.sql.new"
  cat >>"$directory/databases.sql.new" <<'SQL'
CREATE DATABASE orders OWNER order_service;
CREATE DATABASE delivery OWNER delivery_service;
REVOKE ALL ON DATABASE orders, delivery FROM PUBLIC;
SQL
  chmod 600 "$directory/databases.sql.new"
  # Its presence says that initdb is complete and that the databases are still to be made.
  mv "$directory/databases.sql.new" "$directory/databases.sql"
}

# postgres_forget_killed DIR: a killed server leaves lock files, and the next one refuses to start as long as a
# process of that id exists, be it a zombie that nobody collects. Those of a process that is no more, or is
# a zombie, are removed; PostgreSQL still checks the shared memory for itself.
postgres_forget_killed() {
  local file pid
  for file in "$1"/data/postmaster.pid "$1"/data/.s.PGSQL.*.lock; do
    if [[ -f $file ]] && read -r pid <"$file" && process_dead "$pid"; then
      rm -f "$file" "${file%.lock}"
    fi
  done
}

# postgres_start DIR: starts the instance kept in DIR, making it first where there is none; returns when
# it takes connections. An instance that runs already is left alone.
postgres_start() {
  local directory=$1 bin attempt port fixed=yes
  process_running "$directory" && return 0
  bin=$(postgres_bin) || fail "no PostgreSQL server programs found (run deploy/local/dependencies)"
  mkdir -p "$directory"
  directory=$(cd "$directory" && pwd)
  if [[ ! -f $directory/initialized && ! -f $directory/databases.sql ]]; then
    postgres_initialize "$directory"
  fi
  [[ -f $directory/port ]] || fixed=no
  for attempt in {1..20}; do
    if [[ $fixed == no ]]; then
      free_port port
      printf '%s\n' "$port" >"$directory/port"
    fi
    local -a command=("$bin/postgres" -D "$directory/data" -p "$(<"$directory/port")")
    if ((EUID == 0)); then
      command=(setpriv --reuid="$(postgres_user)" --regid="$(postgres_user)" --init-groups -- "${command[@]}")
    fi
    postgres_forget_killed "$directory"
    : >"$directory/log.new" && mv "$directory/log.new" "$directory/log"
    process_start "$directory" "${command[@]}"
    process_ready "$directory" 60 postgres_accepts "$directory" && break
    # A port taken in the meantime, or workers of a killed server still on their way out.
    if ((attempt < 20)) && process_gone "$directory" &&
      grep -Eq 'Address already in use|shared memory block' "$directory/log"; then
      continue
    fi
    process_failed "$directory"
    process_kill "$directory"
    return 1
  done
  if [[ -f $directory/databases.sql ]]; then
    postgres_psql "$directory" --file "$directory/databases.sql" >/dev/null || return 1
    mv "$directory/databases.sql" "$directory/initialized"
    : >"$directory/initialized"
  fi
}

# postgres_stop DIR: fast shutdown: sessions are ended, data is written.
postgres_stop() {
  process_stop "$1" INT 30
}

# postgres_kill DIR: SIGKILL to the server and all its sessions at once, as when the machine loses power
# but the page cache survives.
postgres_kill() {
  local pid child children
  if pid=$(process_pid "$1"); then
    kill -STOP "$pid" # so that it forks nobody between the look and the kill
    children=$(process_children "$pid")
    # shellcheck disable=SC2086 # one word for each process
    kill -KILL "$pid" $children 2>/dev/null || true
    for child in "$pid" $children; do
      wait_until 10 process_dead "$child" || fail "PostgreSQL's process $child survives SIGKILL"
    done
  fi
  rm -f "$1/pid"
}

# postgres_environment DIR: what libpq needs, as NAME=value lines (no database, no role).
postgres_environment() {
  printf 'PGHOST=127.0.0.1\nPGPORT=%s\nPGPASSFILE=%s\n' "$(<"$1/port")" "$(cd "$1" && pwd)/pgpass"
}
