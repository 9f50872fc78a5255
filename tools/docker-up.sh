#!/usr/bin/env bash
# What `make docker-up` does: secrets, image, containers; waits until all are healthy, prints addresses and login.
# WORKERS=2: on Celery, with so many workers beside the training worker. WEIGHTS=FILE: ImageNet's weights, put in the image.
# DOMAIN=lesions.example.org: open to others under this name, with a certificate for it.
set -euo pipefail
compose=$PWD/tools/compose.sh
docker info >/dev/null 2>&1 || { echo "Docker does not answer: is its daemon running, and may you use it?" >&2; exit 1; }

tools/write-secrets.sh
setting() { sed -n "s/^$1=//p" .env | tail -1; }
put() { { grep -v "^$1=" .env || true; echo "$1=$2"; } >.env.partial && mv .env.partial .env; }
umask 077
# Settings lie beside .env, each with the file to start from in deploy/
own_file() { [[ -n $(setting "$1") ]] || { [[ -e $2 ]] || install -m 600 "deploy/$2" "$2"; put "$1" "$2"; }; }
own_file SETTINGS settings.env
own_file PREDICTOR_SETTINGS predictor.env
if [[ -n ${WORKERS:-} ]]; then
  put EXECUTOR "$([[ $WORKERS == 0 ]] && echo LocalExecutor || echo CeleryExecutor)"
  put COMPOSE_PROFILES "$([[ $WORKERS == 0 ]] || echo celery)"
  put WORKERS "$WORKERS"
  # Tasks at once: with Celery each worker says how many it takes, the others wait in Redis
  put PARALLELISM "$([[ $WORKERS == 0 ]] && echo 4 || echo $((WORKERS * 4 + 4)))"
  # Two a worker, so that one that is slower or later takes fewer; 64 is the most
  put SHARDS "$([[ $WORKERS == 0 ]] && echo 1 || echo $((WORKERS < 32 ? WORKERS * 2 : 64)))"
fi
if [[ -n ${DOMAIN:-} ]]; then
  put DOMAIN "$DOMAIN"
  # A public authority asks for the name on these ports
  for default in BIND=0.0.0.0 HTTP_PORT=80 HTTPS_PORT=443; do
    [[ -n $(setting "${default%%=*}") ]] || put "${default%%=*}" "${default#*=}"
  done
fi
domain=$(setting DOMAIN) port=${HTTPS_PORT:-$(setting HTTPS_PORT)}
domain=${domain:-localhost} port=${port:-8443}
export SITE_URL=${SITE_URL:-$(setting SITE_URL)}
[[ $port == 443 ]] && usual= || usual=:$port
export SITE_URL=${SITE_URL:-https://$domain$usual}
export CADDYFILE_SHA256=$(sha256sum <deploy/Caddyfile | cut -d " " -f 1)
workers=$(setting WORKERS)
export COMPOSE_PROFILES=$(setting COMPOSE_PROFILES)

if [[ -n ${WEIGHTS:-} ]]; then
  [[ -f $WEIGHTS ]] || { echo "WEIGHTS: there is no file $WEIGHTS" >&2; exit 2; }
  rm -f deploy/weights/*.h5
  install -m 644 "$WEIGHTS" deploy/weights/
fi

echo "Building the image; the first time takes some minutes"
export GIT_REVISION=$(git rev-parse HEAD 2>/dev/null || true)
log=$(mktemp)
"$compose" build init >"$log" 2>&1 || { tail -30 "$log" >&2; exit 1; }
# The older builder prints the step with its text as well
grep -aoE '^(#[0-9]+ [0-9.]+ )?THE IMAGE HOLDS NO .*' "$log" | head -1 || true
rm -f "$log"

echo "Starting"
scale=()
[[ ${workers:-0} == 0 ]] || scale=(--scale "worker=$workers")
"$compose" up --detach --remove-orphans "${scale[@]}"

# Not `up --wait`: the older docker-compose has none.
state() { docker inspect --format '{{.Name}} {{.State.Status}} {{.State.ExitCode}} {{if .State.Health}}{{.State.Health.Status}}{{end}}' \
  $("$compose" ps --all --quiet 2>/dev/null || "$compose" ps --quiet); }
for _ in $(seq 150); do
  waiting=$(state | awk '!($2 == "running" && $4 == "healthy") && !($1 ~ /[-_]init[-_]/ && $2 == "exited" && $3 == 0) {print substr($1, 2)}')
  [[ -z $waiting ]] && break
  sleep 2
done
if [[ -n $waiting ]]; then
  echo "Not healthy after five minutes:" $waiting >&2
  echo "Their logs: $compose logs SERVICE" >&2
  exit 1
fi

user=$(setting ADMIN_USER)
echo "Airflow:   $SITE_URL/   login ${user:-admin} / $(setting ADMIN_PASSWORD)"
echo "MLflow:    $SITE_URL/mlflow/   login admin / $(setting MLFLOW_PASSWORD)"
echo "Predictor: $SITE_URL/predictor/   token $(setting PREDICTOR_TOKEN)"
if [[ $domain == localhost || -n $(setting CERTIFICATES) ]]; then
  echo "The certificate is of the proxy's own authority, which a browser does not know yet. To trust it, import the file of:"
  echo "  tools/compose.sh exec -T proxy cat /var/lib/proxy/caddy/pki/authorities/local/root.crt >authority.crt"
fi
echo "Switch on skin_lesion_retrain there: it then runs every night at 02:00 UTC. Stop with: make docker-down"
