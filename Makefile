# make run, make test, make lint, make up: each sets up what it needs first; `make help` lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install run up down mlflow docker-up docker-down test test-slow test-docker campaign coverage lint docs bench sbom format clean

UV := $(shell command -v uv || echo .uv/bin/uv)
BIN := .venv/bin

PORT ?= 8080
export AIRFLOW_HOME := $(CURDIR)/.airflow
export AIRFLOW__CORE__DAGS_FOLDER := $(CURDIR)/dags
export AIRFLOW__CORE__PLUGINS_FOLDER := $(CURDIR)/plugins
export AIRFLOW__CORE__LOAD_EXAMPLES := False
export AIRFLOW__CORE__EXECUTOR := LocalExecutor
# Each running task is a process with TensorFlow in it; a stage takes all cores by itself.
export AIRFLOW__CORE__PARALLELISM := 4
# A task's supervisor often notices only at its next heartbeat that the task has ended: by default after up to 5 s.
export AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL := 1
export AIRFLOW__API__HOST := 127.0.0.1
export AIRFLOW__API__PORT := $(PORT)
export AIRFLOW__API__BASE_URL := http://localhost:$(PORT)
export AIRFLOW__LOGGING__LOGGING_LEVEL := INFO

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/installed ## set up the environment from uv.lock (fetches uv when it is missing); GPU=1 for Nvidia's

.uv/bin/uv:
	@python=$$(command -v python3.11 || command -v python3); \
	echo "Fetching uv"; \
	"$$python" -m venv .uv 2>/dev/null && .uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9,<1' \
	|| { rm -rf .uv; "$$python" -m pip install --quiet --disable-pip-version-check --target .uv 'uv>=0.9,<1'; }

.venv/installed: pyproject.toml uv.lock | $(filter .uv/bin/uv,$(UV))
	@$(UV) sync --frozen --python 3.11 $(if $(GPU),--no-group cpu --extra gpu)
	@touch $@

run: install ## retrain once through Airflow; with sample data when dataset/ is empty
	@$(BIN)/python -m tools.run

up: install ## start Airflow on this machine, PORT=8080; prints address and login
	@tools/up.sh

down: ## stop what `make up` started
	@tools/down.sh

mlflow: PORT = 5000
mlflow: install ## show the runs and versions in MLflow, PORT=5000; the first time it fetches MLflow's pages
	@UV=$(UV) tools/mlflow.sh $(PORT)

docker-up: ## the same in containers, for real use; WORKERS=2 for Celery; writes secrets into .env; docs/how-to/operating.md
	@tools/docker-up.sh

docker-down: ## stop the containers; everything stays in its volumes
	@tools/docker-down.sh

# One process more than there are cores: many tests wait for a server or for a process that they killed. The tests of a file
# stay in one process, which makes what they share once; so do those of the folders that tests/conftest.py names.
TEST_PROCESSES ?= $(shell echo $$(( $$(nproc) + 1 )))
PYTEST := $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --durations=10

test: install ## run the tests on all cores; ARGS="tests/stages -k resize" runs some of them
	@$(PYTEST) $(ARGS)

test-slow: install ## run the campaigns at full length: kills, damaged files, nights and a browser through a real scheduler
	@$(PYTEST) -m slow $(ARGS)

SEED ?= 1-100
NIGHTS ?= 30

campaign: install ## live through simulated nights with faults and audit them: SEED=1-100 NIGHTS=30; the table is in campaign/
	@$(BIN)/python -m tests.campaign --seeds $(SEED) --nights $(NIGHTS) --out campaign $(ARGS)

test-docker: install ## run the containers for real: half an hour, Docker, 20 GB; WEIGHTS=FILE
	@$(BIN)/python -m pytest -p no:randomly -m docker tests/docker $(ARGS)

coverage: install ## run the tests, show the branches that they miss, and write htmlcov/
	@$(PYTEST) -m "not docker" --cov --cov-report=term:skip-covered --cov-report=html $(ARGS)

lint: install ## check style, types, the documentation with its links, and the lock file
	@$(UV) lock --check --quiet
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs: install ## build the documentation into site/; it needs no network
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "$(CURDIR)/site/index.html"

bench: install ## measure against the plain recipe: make bench DATASET=... ARGS="--weights FILE"; hours
	@test -n "$(DATASET)" || { echo "make bench: say where the data set is: make bench DATASET=path" >&2; exit 2; }
	@$(BIN)/python -m benchmarks "$(DATASET)" $(ARGS)

sbom: install ## write what the image and this environment consist of into sbom/, as CycloneDX
	@UV=$(UV) tools/sbom.sh sbom

format: install ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## remove the environment and Airflow's state, not data and models
	@rm -rf site sbom htmlcov .coverage* .venv .uv .airflow .mypy_cache .ruff_cache .pytest_cache
