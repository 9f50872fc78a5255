#!/bin/sh
# Starts Postgres without ever being root. The first start makes the cluster, a role and a database each for Airflow and
# MLflow; a password that was changed in .env is taken over by the next start.
set -eu
: "${PGDATA:?}" "${POSTGRES_PASSWORD:?}" "${AIRFLOW_DB_PASSWORD:?}" "${MLFLOW_DB_PASSWORD:?}"

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # Half a cluster of a start that was killed
  rm -rf "$PGDATA" "$PGDATA.partial"
  printf '%s' "$POSTGRES_PASSWORD" >/tmp/password
  initdb --pgdata "$PGDATA.partial" --username postgres --pwfile /tmp/password --encoding UTF8 --locale C.UTF-8 \
    --auth-local peer --auth-host scram-sha-256 --data-checksums >/dev/null
  rm /tmp/password
  echo "host all all all scram-sha-256" >>"$PGDATA.partial/pg_hba.conf"
  mv "$PGDATA.partial" "$PGDATA"
fi

# A killed container leaves this file, and its process number is another's now.
rm -f "$PGDATA/postmaster.pid"
pg_ctl --pgdata "$PGDATA" --wait --silent --options "-c listen_addresses='' -c unix_socket_directories=/tmp" start
sql() { psql --host /tmp --username postgres --dbname postgres --no-psqlrc --quiet --set ON_ERROR_STOP=1 "$@"; }
sql --set password="$POSTGRES_PASSWORD" <<'SQL'
ALTER ROLE postgres PASSWORD :'password';
SQL
for role in airflow mlflow; do
  [ "$role" = airflow ] && password=$AIRFLOW_DB_PASSWORD || password=$MLFLOW_DB_PASSWORD
  sql --set role="$role" --set password="$password" <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'role', :'role')
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'role') \gexec
REVOKE ALL ON DATABASE :"role" FROM PUBLIC;
SQL
done
pg_ctl --pgdata "$PGDATA" --wait --silent --mode fast stop

exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp -c max_connections=200
