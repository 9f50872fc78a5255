"""Which of the two nightly DAGs is paused, and what therefore does not happen."""

from __future__ import annotations

from typing import NamedTuple

from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from sqlalchemy import select

from skin_lesion_page.access import PROMOTE, RETRAIN
from skinlesion.registry.snapshot import Registry


class Notice(NamedTuple):
    """What people should know of a DAG that is paused: its name, for a link, and sentences before and after it."""

    dag_id: str
    because: str
    remedy: str


def notices(registry: Registry) -> list[Notice]:
    """Return one notice for each of the two DAGs that is paused."""
    with create_session() as session:
        query = select(DagModel.dag_id).where(DagModel.dag_id.in_((RETRAIN, PROMOTE)), DagModel.is_paused)
        paused = set(session.scalars(query))
    found = []
    if PROMOTE in paused:
        newest = registry.versions[0] if registry.versions else None
        if newest is not None and newest.state == "candidate" and newest.verdict is None:
            # Airflow does not keep for a paused DAG what would have started it.
            remedy = "Switch it on, then trigger it once: what was trained before is not judged by itself."
            found.append(Notice(PROMOTE, f"Version {newest.number} waits for the gate, because", remedy))
        else:
            found.append(Notice(PROMOTE, "No new version will be judged, because", "Switch it on."))
    if RETRAIN in paused:
        found.append(Notice(RETRAIN, "No new version is trained at night, because", "Switch it on."))
    return found
