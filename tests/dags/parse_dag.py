"""Parse a DAG file as a fresh DAG processor would, and print what that took as JSON. Called by test_integrity.py."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

EMPTY_DAG = "from airflow.sdk import dag, task\n@dag\ndef empty():\n    pass\nempty()\n"


def parse(file: str) -> dict[str, Any]:
    """Parse the file after Airflow itself, and an empty DAG, are loaded."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk.execution_time import context

    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY_DAG)
        assert list(DagBag(empty).dags) == ["empty"]

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
    found = parse(sys.argv[1])
    Path(sys.argv[2]).write_text(json.dumps(found))
