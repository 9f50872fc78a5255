#!/usr/bin/env bash
# Puts into .env (0600) each secret that docker-compose.yaml wants and .env lacks; what is there stays.
set -euo pipefail
umask 077
touch .env
chmod 600 .env
random() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }
want() { grep -q "^$1=." .env || printf '%s=%s\n' "$1" "$2" >>.env; }
want FERNET_KEY "$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')"
for name in JWT_SECRET API_SECRET_KEY MLFLOW_SECRET_KEY; do want "$name" "$(random 32)"; done
for name in POSTGRES_PASSWORD AIRFLOW_DB_PASSWORD MLFLOW_DB_PASSWORD REDIS_PASSWORD PREDICTOR_TOKEN; do
  want "$name" "$(random 24)"
done
for name in ADMIN_PASSWORD MLFLOW_PASSWORD; do want "$name" "$(random 12)"; done
