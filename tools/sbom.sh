#!/usr/bin/env bash
# What `make sbom` does: CycloneDX documents in a folder. lock.cdx.json: what uv.lock puts into the container image, each package
# with its hashes (the Dockerfile installs with the same options). environment.cdx.json: what is installed beside PYTHON.
set -euo pipefail
folder=${1:-sbom} python=${PYTHON:-.venv/bin/python}
mkdir -p "$folder"
sbom() {
  PYTHONWARNINGS=ignore .venv/bin/cyclonedx-py "$1" --no-validate --output-reproducible --pyproject pyproject.toml \
    --output-file "$2.partial" "${@:3}" 2>"$folder/log" || { cat "$folder/log" >&2; exit 1; }
  mv "$2.partial" "$2"
}
"$UV" export --quiet --frozen --no-dev --extra deployment --no-emit-project |
  sbom requirements "$folder/lock.cdx.json" -
sbom environment "$folder/environment.cdx.json" "$python"
rm -f "$folder/log"
echo "Written: $folder/lock.cdx.json and $folder/environment.cdx.json"
