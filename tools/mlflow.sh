#!/usr/bin/env bash
# What `make mlflow` does: MLflow's pages over the store under models/, for this machine alone, until Ctrl-C.
#
# The environment has MLflow's client alone, whose server has no pages. uv fetches the whole of MLflow once, into its own cache,
# in the versions of uv.lock.
set -euo pipefail
port=$1 models=${SKINLESION_MODELS:-models}
store=$models/mlflow/mlflow.db

if [[ -n ${MLFLOW_TRACKING_URI:-} ]]; then
  echo "MLFLOW_TRACKING_URI names a server, which has the runs: open $(sed -E 's#//[^/]*@#//#; s#[?].*##' <<<"$MLFLOW_TRACKING_URI")" >&2
  exit 2
fi
if [[ ! -e $store ]]; then
  echo "$store is missing: the first version that the gate judges writes it, for example with make run" >&2
  exit 2
fi
if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
  echo "Port $port is taken: choose another, for example make mlflow PORT=5001" >&2
  exit 1
fi

version=$(.venv/bin/python -c 'from importlib.metadata import version; print(version("mlflow-skinny"))')
locked=$("$UV" export --quiet --frozen --extra deployment --no-emit-project --no-hashes)
mlflow() {
  "$UV" tool run --quiet --python .venv/bin/python --constraints <(echo "$locked") --from "mlflow==$version" "$@"
}
# Once it was fetched, no registry is asked.
if mlflow --offline python -c '' 2>/dev/null; then
  offline=(--offline)
else
  offline=()
  echo "Fetching MLflow $version (a minute)"
fi
say_when_it_answers() {
  for _ in $(seq 240); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "http://127.0.0.1:$port/#/models/skin-lesion-classifier  (Ctrl-C ends it)"
      return
    fi
    sleep 0.5
  done
}
say_when_it_answers &
trap 'kill $! 2>/dev/null || true' EXIT
# No warnings of its packages, and no traceback of uvicorn's at Ctrl-C.
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false PYTHONWARNINGS=ignore
uri=sqlite:///$(realpath "$store")
mlflow "${offline[@]}" mlflow server --host 127.0.0.1 --port "$port" --workers 1 \
  --backend-store-uri "$uri" --registry-store-uri "$uri" --uvicorn-opts '--log-level critical'
