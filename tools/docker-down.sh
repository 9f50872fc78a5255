#!/usr/bin/env bash
# What `make docker-down` does: stops and removes the containers. Data, models and databases stay in their volumes.
set -euo pipefail
COMPOSE_PROFILES=celery tools/compose.sh down --remove-orphans
