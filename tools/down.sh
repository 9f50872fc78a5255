#!/usr/bin/env bash
# What `make down` does: ends the process group that `make up` started.
set -euo pipefail
pid_file=$AIRFLOW_HOME/standalone.pid
if [[ ! -e $pid_file ]] || ! kill -0 "$(cat "$pid_file")" 2>/dev/null; then
  echo "Airflow is not running"
  rm -f "$pid_file"
  exit 0
fi
pid=$(cat "$pid_file")
kill -TERM -- "-$pid"
for _ in $(seq 60); do
  kill -0 -- "-$pid" 2>/dev/null || { rm -f "$pid_file"; echo "Airflow is stopped"; exit 0; }
  sleep 0.5
done
kill -KILL -- "-$pid"
rm -f "$pid_file"
echo "Airflow is stopped"
