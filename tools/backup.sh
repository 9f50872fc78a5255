#!/usr/bin/env bash
# Copies all that cannot be made again into a new folder: both databases, data set, models, MLflow's files, the proxy's keys
# and certificates, .env, settings.
# Usage: tools/backup.sh FOLDER     (the containers run; no run of a DAG does)
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:?Usage: tools/backup.sh FOLDER}
compose() { COMPOSE_PROFILES=celery tools/compose.sh "$@"; }
[[ ! -e $target ]] || { echo "$target is there already: choose a new folder" >&2; exit 2; }

# The tables of a data set name its files: both must be of one moment.
running=$(compose exec -T postgres psql --host /tmp --username postgres --dbname airflow --no-psqlrc --tuples-only --no-align \
  --command "SELECT dag_id || ' ' || run_id FROM dag_run WHERE state IN ('running', 'queued')")
if [[ -n $running ]]; then
  echo "A run is going on ($running): wait until it has ended, then back up" >&2
  exit 3
fi

umask 077
partial=$target.partial
rm -rf "$partial"
mkdir -p "$partial"
for database in airflow mlflow; do
  compose exec -T postgres pg_dump --host /tmp --username postgres --format custom "$database" >"$partial/$database.dump"
done
compose run --rm --no-deps -T --entrypoint tar init --create --directory / --exclude '*.partial*' app/dataset app/models \
  var/lib/mlflow var/lib/proxy >"$partial/files.tar"
cp .env "$partial/env"
for settings in settings.env predictor.env; do
  [[ ! -e $settings ]] || cp "$settings" "$partial/$settings"
done
(cd "$partial" && sums=$(sha256sum -- *) && echo "$sums" >SHA256SUMS)
sync -f "$partial"
mv "$partial" "$target"
echo "Backed up to $target: $(du -sh "$target" | cut -f1). It holds the secrets of .env: keep it as you keep these."
