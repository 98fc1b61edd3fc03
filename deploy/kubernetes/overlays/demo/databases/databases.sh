#!/usr/bin/env bash
# Run by the image of PostgreSQL when its volume is empty: a role and a database for each service, neither of which may
# connect to the other's.
set -euo pipefail
create() { # ROLE DATABASE PASSWORD-FILE
  psql --no-psqlrc --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 --set role="$1" \
    --set database="$2" --set password="$(cat "$3")" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
CREATE DATABASE :"database" OWNER :"role";
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
SQL
}
create order_service orders /run/secrets/order/password
create delivery_service delivery /run/secrets/delivery/password
