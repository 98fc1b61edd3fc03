#!/usr/bin/env bash
# Makes the database where there is none, with POSTGRES_PASSWORD_FILE for POSTGRES_USER, runs the scripts of
# /docker-entrypoint-initdb.d in it, and becomes the server.
set -euo pipefail
[[ ${1:-} != -* ]] || set -- postgres "$@"
if [[ ! -s $PGDATA/PG_VERSION ]]; then
  initdb --pgdata "$PGDATA" --username "${POSTGRES_USER:=postgres}" --pwfile "$POSTGRES_PASSWORD_FILE" \
    --encoding UTF8 --locale C.UTF-8 --auth-local trust --auth-host scram-sha-256
  printf 'host all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
  pg_ctl --pgdata "$PGDATA" --wait start -o "-c listen_addresses=''"
  export POSTGRES_USER
  for script in /docker-entrypoint-initdb.d/*; do
    # shellcheck disable=SC1090 # which script is not known here
    case $script in
      *.sh) if [[ -x $script ]]; then "$script"; else source "$script"; fi ;;
      *.sql) psql --no-psqlrc --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 --file "$script" ;;
    esac
  done
  pg_ctl --pgdata "$PGDATA" --wait --mode fast stop
fi
exec "$@" -c listen_addresses='*'
