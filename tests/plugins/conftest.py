from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.model_house import house, model_files, no_model
from tests.plugins import models_folder, standalone_airflow
from tests.plugins.page_form import BrowserOf

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.testclient import TestClient

__all__ = ["house", "model_files", "no_model"]

USERS = {"ada": "admin", "uma": "user", "vic": "viewer"}
"""Name and role in Airflow."""


@pytest.fixture(scope="package")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[standalone_airflow.Airflow]:
    """A whole Airflow, for the tests that need its scheduler: each begins where the one before left it."""
    with standalone_airflow.running(tmp_path_factory.mktemp("airflow")) as found:
        yield found


@pytest.fixture(scope="session")
def airflow_app(airflow_database: Path) -> Iterator[FastAPI]:
    """Airflow's API server with its auth manager and this project's plugins."""
    os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] = ",".join(f"{name}:{role}" for name, role in USERS.items())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Airflow's own
        from airflow.api_fastapi.app import create_app, purge_cached_app

        app = create_app()
    yield app
    purge_cached_app()
    del os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"]


@pytest.fixture(scope="session")
def token_of(airflow_app: FastAPI) -> Callable[[str], str]:
    """Return a user's token, as Airflow's login gives it."""
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
    from starlette.testclient import TestClient

    passwords, tokens = SimpleAuthManager.get_passwords(), {}
    client = TestClient(airflow_app)
    for name in USERS:
        answer = client.post("/auth/token", json={"username": name, "password": passwords[name]})
        assert answer.status_code == 201, answer.text
        tokens[name] = answer.json()["access_token"]
    return tokens.__getitem__


@pytest.fixture
def browser_of(airflow_app: FastAPI, token_of: Callable[[str], str]) -> BrowserOf:
    """Return a client that is logged in as a browser is, by a cookie; nobody without a name.

    No DAG is paused at first: what other tests left in the database that they share would stand on the pages.
    """
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from starlette.testclient import TestClient

    with create_session() as session:
        session.query(DagModel).update({"is_paused": False})

    def browser(name: str | None = None, root_path: str = "") -> TestClient:
        cookies = {"_token": token_of(name)} if name else {}
        return TestClient(airflow_app, cookies=cookies, follow_redirects=False, root_path=root_path)

    return browser


@pytest.fixture
def ada(browser_of: BrowserOf) -> TestClient:
    return browser_of("ada")


@pytest.fixture
def uma(browser_of: BrowserOf) -> TestClient:
    return browser_of("uma")


@pytest.fixture
def vic(browser_of: BrowserOf) -> TestClient:
    return browser_of("vic")


@pytest.fixture
def nobody(browser_of: BrowserOf) -> TestClient:
    return browser_of()


@pytest.fixture
def empty_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder that the page shows, which is not there yet."""
    monkeypatch.setenv("SKINLESION_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def models(empty_models: Path) -> Path:
    """The models folder that the page shows: version 1 was in service, 2 is, 3 was judged and lost."""
    from skinlesion.registry.switch import promote

    folder = empty_models
    for run, passed in (("first", True), ("second", True), ("third", False)):
        number = models_folder.add(folder, run)
        models_folder.judge(folder, number, passed=passed)
        if passed:
            promote(folder, number, actor="grace", reason=f"It is {run}")
    return folder
