"""Parse each DAG file as a fresh DAG processor would, and write what that took as JSON: python parse_dag.py FOLDER FILE...

A file is parsed in a process that was forked for it. Called by test_integrity.py.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

EMPTY_DAG = "from airflow.sdk import dag, task\n@dag\ndef empty():\n    pass\nempty()\n"


def load_airflow() -> None:
    """Load Airflow itself, and parse an empty DAG."""
    from airflow.dag_processing.dagbag import DagBag

    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY_DAG)
        assert list(DagBag(empty).dags) == ["empty"]


def parse(file: str) -> dict[str, Any]:
    """Parse the file after `load_airflow`."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk.execution_time import context

    touched: list[str] = []

    def note(what: str) -> Any:
        def get(name: str, *args: Any, **kwargs: Any) -> Any:
            touched.append(f"{what} {name}")
            return Mock()

        return get

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event in ("sqlite3.connect", "socket.connect"):
            touched.append(f"{event} {args[-1]}")

    context._get_variable, context._get_connection = note("Variable"), note("Connection")
    sys.addaudithook(watch)
    before = set(sys.modules)
    start = time.perf_counter()
    bag = DagBag(file)
    seconds = time.perf_counter() - start
    return {
        "dags": list(bag.dags),
        "import_errors": list(bag.import_errors.values()),
        "warnings": [line for lines in bag.captured_warnings.values() for line in lines],
        "imported": sorted({module.partition(".")[0] for module in set(sys.modules) - before}),
        "touched": touched,
        "seconds": round(seconds, 3),
    }


if __name__ == "__main__":
    load_airflow()
    for file in sys.argv[2:]:
        if child := os.fork():
            assert os.waitpid(child, 0)[1] == 0, file
        else:
            (Path(sys.argv[1]) / f"{Path(file).stem}.json").write_text(json.dumps(parse(file)))
            os._exit(0)
