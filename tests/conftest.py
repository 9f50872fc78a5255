"""Airflow reads its settings when it is imported: tests get a home of their own before that, never the developer's."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]

if "airflow" in sys.modules:
    raise RuntimeError("Airflow was imported before tests/conftest.py could point it at a home of its own.")

_HOME = Path(tempfile.mkdtemp(prefix="skinlesion-airflow-"))

# What a developer's shell has set must not change what is tested.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW_", "SKINLESION_"))]:
    del os.environ[_name]

os.environ |= {
    "AIRFLOW_HOME": str(_HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME / 'airflow.db'}",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(_HOME / "logs"),
    # Airflow warns of what it makes up itself
    "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
    "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}
# Airflow puts plugins/ on the path of every component.
sys.path.append(str(PROJECT / "plugins"))


@pytest.fixture(scope="session")
def airflow_database() -> Path:
    """The database, at the installed Airflow's version."""
    airflow = Path(sys.executable).with_name("airflow")
    done = subprocess.run([airflow, "db", "migrate"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(os.environ["AIRFLOW_HOME"]) / "airflow.db"


@pytest.fixture(autouse=True)
def _level_of_the_packages_log() -> Iterator[None]:
    """The command line, called in the test's own process, sets it: `--quiet` would silence the tests that follow."""
    log = logging.getLogger("skinlesion")
    level = log.level
    yield
    log.setLevel(level)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_HOME, ignore_errors=True)
