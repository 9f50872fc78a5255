"""Which version a run of a DAG is about: the one that it trained and measured, or the one that it judged."""

from __future__ import annotations

from typing import Final

from airflow.models.xcom import XComModel
from airflow.utils.session import create_session

from skinlesion.registry.snapshot import Registry, Version

SAID_BY: Final = {"skin_lesion_retrain": ("evaluate", "return_value"), "skin_lesion_promote": ("gate", "judgement")}
"""The task and the key of its XCom that names the version, by DAG."""


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
