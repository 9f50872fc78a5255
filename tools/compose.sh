#!/usr/bin/env bash
# Calls Docker Compose, whichever of the two there is.
set -euo pipefail
if docker compose version >/dev/null 2>&1; then exec docker compose "$@"; fi
if command -v docker-compose >/dev/null; then exec docker-compose "$@"; fi
echo "Docker Compose is missing: install the plugin docker-compose-plugin or the program docker-compose" >&2
exit 1
