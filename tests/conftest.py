"""Airflow reads its settings when it is imported: tests get a home of their own before that, never the developer's."""

from __future__ import annotations

import gc
import json
import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from xdist.scheduler import LoadFileScheduling

from skinlesion.foundation.checksum import sha256_of
from tests.made_once import MakeOnce

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
    # A developer may have trained models in the project.
    "SKINLESION_MODELS": str(_HOME / "models"),
    # Gates of the tests are loose; the tests of the plan have plans of their own.
    "SKINLESION_CHANGE_PLAN": str(PROJECT / "tests" / "change_plan.yaml"),
}
# With TensorFlow and Airflow loaded, looking for unreachable objects as often as by default takes a twentieth of the time.
gc.set_threshold(50_000, 20, 20)
# Airflow puts plugins/ on the path of every component.
sys.path.append(str(PROJECT / "plugins"))


TOGETHER = ("dags", "plugins")
"""The folders whose files share what each test process would make anew: a parent of DAG runs, Airflow's API server."""

LONGEST = ("campaign", "end_to_end", "fuzz", "promotion", "serving", "stages", "tools")
"""The other folders that have files which take long."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest begin first, so that no process is still at one when the others have nothing left."""
    folders = {name: number for number, name in enumerate(TOGETHER)} | dict.fromkeys(LONGEST, len(TOGETHER))
    items.sort(key=lambda item: folders.get(item.path.parent.name, len(folders)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a test process all tests of a file, and those of a folder of `TOGETHER`."""
    if config.getvalue("dist") != "loadfile":
        return None

    def unit(test: str) -> str:
        file = Path(test.partition("::")[0])
        return str(file.parent if file.parent.name in TOGETHER else file)

    scheduler = LoadFileScheduling(config, log)
    scheduler._split_scope = unit
    return scheduler


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[MakeOnce]:
    """Return a function that gives a folder, which the first process that asks for the name fills with `fill(folder)`.

    The test processes share the folder, so tests must not change it: copy what a test writes to. A change is an error at
    the end of the run.
    """
    base = tmp_path_factory.getbasetemp()
    root = (base if worker_id == "master" else base.parent) / "made_once"
    root.mkdir(exist_ok=True)

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder, contents = root / name, root / f"{name}.json"
        with FileLock(root / f"{name}.lock"):
            if not contents.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed in it
                folder.mkdir()
                fill(folder)
                partial = contents.with_suffix(".part")  # whole or not at all: another process may be at its end
                partial.write_text(json.dumps(_files_in(folder)))
                partial.replace(contents)
        return folder

    yield make
    for contents in root.glob("*.json"):
        assert _files_in(contents.with_suffix("")) == json.loads(contents.read_text()), (
            f"A test changed {contents.stem}."
        )


def _files_in(folder: Path) -> dict[str, list[int]]:
    """Return the size and the time of change in nanoseconds of each file, by its path in the folder.

    Not of the notes of what a stage saw, which a stage with nothing to do may write anew: they are no results.
    """
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "quiet"]
    stats = {str(path.relative_to(folder)): path.stat() for path in files}
    return {path: [stat.st_size, stat.st_mtime_ns] for path, stat in sorted(stats.items())}


@pytest.fixture(scope="session")
def two_classifiers(make_once: MakeOnce) -> Path:
    """Return the folder of the untrained classifiers a/ and b/; see tests/two_classifiers.py."""
    from tests.two_classifiers import write_two_classifiers

    return make_once("two_classifiers", write_two_classifiers)


@pytest.fixture(scope="session")
def trained(make_once: MakeOnce) -> Path:
    """Return a folder with two trained models and their data set; see tests/trained.py. Take `copy_of_trained` to change it."""
    from tests.trained import write_trained

    return make_once("trained", write_trained)


@pytest.fixture
def copy_of_trained(trained: Path, tmp_path: Path) -> Path:
    from tests.trained import copy_trained

    return copy_trained(trained, tmp_path / "trained")


@pytest.fixture(scope="session")
def airflow_database(make_once: MakeOnce) -> Path:
    """Return the database of this test process, at the installed Airflow's version: a copy of one that was migrated once."""

    def migrate(folder: Path) -> None:
        environment = os.environ | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}"}
        airflow = Path(sys.executable).with_name("airflow")
        done = subprocess.run([airflow, "db", "migrate"], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    shutil.copyfile(make_once("airflow", migrate) / "airflow.db", _HOME / "airflow.db")
    return _HOME / "airflow.db"


@pytest.fixture(scope="session", autouse=True)
def _examine_equal_models_once() -> Iterator[None]:
    """Each file of a model is read by a process of its own before it is loaded; here one of equal content is so once."""
    from skinlesion.network import model_file

    examine, known = model_file._examine, dict[tuple[str, str], str | None]()

    def examined(path: Path) -> str | None:
        content = path.suffix, sha256_of(path)
        if content not in known:
            known[content] = examine(path)  # raises for a file that is refused, each time
        return known[content]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_file, "_examine", examined)
        yield


@pytest.fixture(autouse=True)
def _level_of_the_packages_log() -> Iterator[None]:
    """The command line, called in the test's own process, sets it: `--quiet` would silence the tests that follow."""
    log = logging.getLogger("skinlesion")
    level = log.level
    yield
    log.setLevel(level)


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(_HOME, ignore_errors=True)
