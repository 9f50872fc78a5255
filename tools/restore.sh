#!/usr/bin/env bash
# Puts a backup of tools/backup.sh into the empty volumes of this checkout; then: make docker-up.
# Usage: tools/restore.sh FOLDER     (the containers are down; `tools/compose.sh down --volumes` empties the volumes)
set -euo pipefail
cd "$(dirname "$0")/.."
source=$(realpath "${1:?Usage: tools/restore.sh FOLDER}")
compose() { COMPOSE_PROFILES=celery tools/compose.sh "$@"; }
(cd "$source" && sha256sum --check --quiet SHA256SUMS) || { echo "$source is damaged or no backup" >&2; exit 2; }

umask 077
if [[ ! -e .env ]]; then
  cp "$source/env" .env
elif [[ $(grep ^FERNET_KEY= .env) != "$(grep ^FERNET_KEY= "$source/env")" ]]; then
  echo "FERNET_KEY in .env is not the backup's, so Airflow could not read its own connections: take $source/env as .env" >&2
  exit 2
fi
for settings in "$source"/*.env; do
  [[ -e ${settings##*/} || ! -e $settings ]] || cp "$settings" .
done
[[ -n $(docker images --quiet "$(sed -n 's/^IMAGE=//p' .env | grep . || echo skinlesion:latest)") ]] || compose build init

if [[ -n $(compose run --rm --no-deps -T --entrypoint find init /app/dataset /app/models -type f -not -name '.*' -print -quit) ]]; then
  echo "The volumes are not empty, and nothing is overwritten: tools/compose.sh down --volumes removes what they hold" >&2
  exit 3
fi
compose up --detach postgres
for _ in $(seq 60); do
  compose exec -T postgres pg_isready --quiet --host 127.0.0.1 --username postgres && break
  sleep 2
done
for database in airflow mlflow; do
  compose exec -T postgres pg_restore --host /tmp --username postgres --dbname "$database" --clean --if-exists \
    --exit-on-error <"$source/$database.dump"
done
compose run --rm --no-deps -T --entrypoint tar init --extract --directory / --no-overwrite-dir <"$source/files.tar"
compose down
echo "Restored from $source. Start with: make docker-up"
