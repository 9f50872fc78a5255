"""Who may read the page, and who may change what is in service: Airflow's own login and roles decide."""

from __future__ import annotations

from typing import Final

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.models.dag import DagModel
from fastapi import Depends

PROMOTE: Final = "skin_lesion_promote"
"""The DAG that puts models in service: who may read it may read the page, who may edit it may do by hand what it does."""

RETRAIN: Final = "skin_lesion_retrain"
"""The DAG that learns from the labels: who may edit it may say on the page Review what they are."""

MAY_READ = Depends(requires_access_dag("GET", param_dag_id=PROMOTE))
MAY_SWITCH = Depends(requires_access_dag("PUT", param_dag_id=PROMOTE))
MAY_REVIEW = Depends(requires_access_dag("PUT", param_dag_id=RETRAIN))


def may_switch(user: BaseUser) -> bool:
    """Return whether `MAY_SWITCH` would let the user through."""
    return _may_edit(PROMOTE, user)


def may_review(user: BaseUser) -> bool:
    """Return whether `MAY_REVIEW` would let the user through."""
    return _may_edit(RETRAIN, user)


def _may_edit(dag_id: str, user: BaseUser) -> bool:
    dag = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return get_auth_manager().is_authorized_dag(method="PUT", details=dag, user=user)
