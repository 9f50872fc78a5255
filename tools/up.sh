#!/usr/bin/env bash
# What `make up` does: `airflow standalone` in the background; waits until it answers.
set -euo pipefail
export PATH="$PWD/.venv/bin:$PATH"
log=$AIRFLOW_HOME/standalone.log pid_file=$AIRFLOW_HOME/standalone.pid
passwords=$AIRFLOW_HOME/simple_auth_manager_passwords.json.generated
address=$AIRFLOW__API__BASE_URL
mkdir -p "$AIRFLOW_HOME"
python -m skinlesion.registry.signature  # the keys, once

if [[ -e $pid_file ]] && kill -0 "$(cat "$pid_file")" 2>/dev/null; then
  echo "Airflow runs already (process $(cat "$pid_file")): $address"
else
  if (exec 3<>"/dev/tcp/127.0.0.1/$AIRFLOW__API__PORT") 2>/dev/null; then
    echo "Port $AIRFLOW__API__PORT is taken: choose another, for example make up PORT=8081" >&2
    exit 1
  fi
  setsid airflow standalone >"$log" 2>&1 </dev/null &
  echo $! >"$pid_file"
  echo "Starting Airflow; its log is $log"
fi

for _ in $(seq 180); do
  if python - "$address/api/v2/monitor/health" <<'PYTHON' 2>/dev/null
import json, sys, urllib.request
health = json.load(urllib.request.urlopen(sys.argv[1], timeout=5))
parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
sys.exit(not all(health[part]["status"] == "healthy" for part in parts))
PYTHON
  then
    echo "Address:  $address"
    echo "Login:    $(python -c 'import json, sys; print(*(f"{user} / {word}" for user, word in json.load(open(sys.argv[1])).items()))' "$passwords")"
    echo "Switch on skin_lesion_retrain there: it then runs every night at 02:00 UTC, and skin_lesion_promote, which is on,"
    echo "judges what it has trained."
    echo "Stop with: make down"
    exit 0
  fi
  kill -0 "$(cat "$pid_file")" 2>/dev/null || { echo "Airflow ended; the end of $log:" >&2; tail -20 "$log" >&2; exit 1; }
  sleep 1
done
echo "Airflow does not answer after three minutes: see $log" >&2
exit 1
