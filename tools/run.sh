#!/usr/bin/env bash
# What `make run` does: one run of skin_lesion_retrain, then of skin_lesion_promote, through Airflow on SQLite, without a
# scheduler.
set -euo pipefail
export PATH="$PWD/.venv/bin:$PATH"
log=$AIRFLOW_HOME/run.log
mkdir -p "$AIRFLOW_HOME"

if [[ ! -e dataset/diagnoses.csv && -z $(find -L dataset/images -type f -print -quit 2>/dev/null) ]]; then
  echo "dataset/ is empty: drawing sample data"
  skinlesion sample dataset
fi

weights=$(skinlesion weights --or-random)
settings=$(printf '{"weights": "%s"}' "$weights")
# Fine-tuning what is random on a few hundred images only does harm.
[[ $weights == random ]] && settings='{"weights": "random", "fine_tune": "none"}'

echo "Preparing Airflow's database"
airflow db migrate >"$log" 2>&1 || { tail -20 "$log" >&2; exit 1; }

echo "Running skin_lesion_retrain; the whole log is in $log"
# One line a stage for people; the log has the rest.
airflow dags test skin_lesion_retrain --conf "$settings" 2>&1 | tee "$log" \
  | grep --line-buffered -oE '^[^ ]+ \[info *\] (collect|examine|ingest|resize|augment|organize|build|embed|train|evaluate): seen=[^[]* s( \(nothing to do\))?|(head|tail|full) epoch [0-9]+ of [0-9]+: loss.*accuracy [0-9.]+|DataError: .*' \
  | sed -E 's/^[0-9TZ:.-]+ \[info *\] //' || true

run=$(grep -oE "run_id=manual__[^, ]+" "$log" | tail -1 | cut -d= -f2)
echo
airflow tasks states-for-dag-run skin_lesion_retrain "$run" --output plain 2>/dev/null \
  | awk 'NR == 1 || /skin_lesion_retrain/ {print $3 "\t" $4}' | sed 's/^task_id.*/task        state/' | expand -t 12
if ! grep -qE "DagRun Finished:.*state=success" "$log"; then
  echo "The run did not finish: see $log" >&2
  exit 1
fi

echo
echo "Running skin_lesion_promote; the whole log is in $log.promote"
airflow dags test skin_lesion_promote 2>&1 | tee "$log.promote" \
  | grep --line-buffered -oE '^[^ ]+ \[info *\] Version [0-9]+ .*\[skin_lesion_promote\]|DataError: .*' \
  | sed -E 's/^[0-9TZ:.-]+ \[info *\] //; s/ *\[skin_lesion_promote\]$//' || true
if ! grep -qE "DagRun Finished:.*state=success" "$log.promote"; then
  echo "The promotion did not finish: see $log.promote" >&2
  exit 1
fi
echo
skinlesion models list --count 5
echo
skinlesion metrics || echo "To put the newest candidate in service all the same: skinlesion models promote VERSION --reason ..."
