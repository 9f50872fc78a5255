"""What a run of a DAG is about: the version that it trained and measured or judged, and why the run failed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from airflow.models.xcom import XComModel
from airflow.utils.session import create_session

from skin_lesion_failure import Failure, failure_of_run
from skinlesion.data.finding import CheckResult
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import Record
from skinlesion.registry.snapshot import Registry, Version

SAID_BY: Final = {"skin_lesion_retrain": ("evaluate", "return_value"), "skin_lesion_promote": ("gate", "judgement")}
"""The task and the key of its XCom that names the version, by DAG."""


class _DataReport(Record):
    """What is asked of a data report here; `skinlesion.data.report.contents`, which has all of it, needs pandas."""

    checks: tuple[CheckResult, ...]


def version_of_run(registry: Registry, dag_id: str, run_id: str) -> Version | None:
    """Return the version; None if the run has not come so far, is of another DAG, or worked in other folders."""
    if dag_id not in SAID_BY or not run_id:
        return None
    task_id, key = SAID_BY[dag_id]
    with create_session() as session:
        query = XComModel.get_many(run_id=run_id, dag_ids=dag_id, task_ids=task_id, key=key, limit=1)
        found = session.scalars(query).first()
        stated = XComModel.deserialize_value(found) if found is not None else None
    if not isinstance(stated, dict):
        return None
    named = (stated.get("version"), stated.get("run"))
    return next((version for version in registry.versions if (version.number, version.run) == named), None)


def failure_of(dag_id: str, run_id: str) -> Failure | None:
    """Return why a run failed; None if no task of it has failed since it was last cleared, or if it is of another DAG."""
    if not dag_id.startswith("skin_lesion_") or not run_id:
        return None
    with create_session() as session:
        return failure_of_run(dag_id, run_id, session)


def failed_data_report(dataset: Path, failure: Failure) -> Path | None:
    """Return the report on the data that made a run fail; None if the run failed otherwise, or a later run found something else."""
    page = layout.failed_data_report(dataset)
    if str(page) not in failure.sentence or not page.is_file():
        return None
    try:
        checks = _DataReport.read(page.with_suffix(".json")).checks
    except (OSError, DataError):
        return None
    is_meant = all(check.found in failure.sentence for check in checks if check.verdict == "failed")
    return page if is_meant else None
