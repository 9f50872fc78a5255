"""A person and a browser: log in, change the form, trigger, watch it finish, read the report, roll back.

Against `airflow standalone` behind a prefix, with a scheduler that really trains. With SCREENSHOTS=docs in the environment
the pictures of docs/ are taken.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from skinlesion.registry import history
from skinlesion.registry.snapshot import Registry
from skinlesion.sample import write_sample

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Page

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium"),
]

PROJECT = Path(__file__).resolve().parents[2]
PREFIX = "/lesions"
MINUTES = 60.0
STARTED, TRAINED = 5 * MINUTES, 15 * MINUTES
"""Seconds to wait for what takes a tenth of that on two free cores."""

TITLE = "Skin lesion models"
FAST = {
    "WEIGHTS": "random", "COPIES": "0", "HEAD_EPOCHS": "1", "EPOCHS": "1", "GATE_MIN_AUROC": "0",
    "GATE_MIN_SENSITIVITY": "0", "GATE_MAX_CALIBRATION_ERROR": "1", "GATE_BALANCED_ACCURACY_MARGIN": "1",
    "GATE_SENSITIVITY_MARGIN": "1", "GATE_MAX_LATENCY": "60000",
}  # fmt: skip
"""A model that has learnt nothing passes too."""


def until(what: Callable[[], bool], seconds: float, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + seconds
    while not what():
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"Airflow ended or took too long; its log ends with\n{log.read_text()[-4000:]}")
        time.sleep(1)


@dataclass
class Airflow:
    """A running Airflow with version 1 in service, which the first night made."""

    address: str
    passwords: dict[str, str]
    models: Path
    wait: Callable[[Callable[[], bool]], None]

    def champion(self) -> int | None:
        champion = Registry.read(self.models).champion
        return champion.number if champion else None

    def wait_for_champion(self, number: int) -> None:
        self.wait(lambda: self.champion() == number)


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    import httpx

    folder = tmp_path_factory.mktemp("airflow")
    home, dataset, models, log = folder / "home", folder / "dataset", folder / "models", folder / "log"
    write_sample(dataset, images=int(os.environ.get("SAMPLE_IMAGES", "48")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://localhost:{port}{PREFIX}"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "SKINLESION_"))
    }
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "ada:admin,vic:viewer",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "SKINLESION_DATASET": str(dataset),
        "SKINLESION_MODELS": str(models),
        **{f"SKINLESION_{name}": value for name, value in FAST.items()},
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["airflow", "standalone"], env=environment, stdout=output, stderr=output, start_new_session=True
        )
    passwords_file = home / "simple_auth_manager_passwords.json.generated"

    def is_up() -> bool:
        try:
            health = httpx.get(f"{address}/api/v2/monitor/health", timeout=30).json()
        except (httpx.HTTPError, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "dag_processor")
        return all(health[part]["status"] == "healthy" for part in parts) and passwords_file.is_file()

    try:
        until(is_up, STARTED, process, log)
        passwords = json.loads(passwords_file.read_text())
        found = Airflow(address, passwords, models, lambda what: until(what, TRAINED, process, log))
        with httpx.Client(timeout=60) as client:
            login = {"username": "ada", "password": passwords["ada"]}
            token = client.post(f"{address}/auth/token", json=login).json()["access_token"]
            client.headers["authorization"] = f"Bearer {token}"
            for dag in ("skin_lesion_promote", "skin_lesion_retrain"):
                where = f"{address}/api/v2/dags/{dag}"
                until(lambda where=where: client.get(where).status_code == 200, STARTED, process, log)
                assert client.patch(where, json={"is_paused": False}).status_code == 200
        found.wait_for_champion(1)
        yield found
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(60)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


@pytest.fixture
def page() -> Iterator[Page]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1200, "height": 800})
        opened.set_default_timeout(2 * MINUTES * 1000)
        yield opened
        browser.close()


def log_in(page: Page, airflow: Airflow, name: str) -> None:
    page.goto(f"{airflow.address}/")
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(airflow.passwords[name])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name=TITLE).first.wait_for()


def open_form(page: Page, airflow: Airflow) -> None:
    page.goto(f"{airflow.address}/dags/skin_lesion_retrain")
    page.get_by_test_id("trigger-dag-button").click()
    page.get_by_role("dialog").get_by_role("button", name="Training").click()


def submit(page: Page, epochs: str) -> Any:
    """Send the form with so many epochs; give Airflow's answer."""
    field = page.locator("input[name=element_epochs]")
    field.fill(epochs)
    field.blur()
    page.wait_for_timeout(1000)
    picture(page, "trigger_form") if epochs == "2" else None
    with page.expect_response(lambda answer: answer.request.method == "POST" and "/dagRuns" in answer.url) as found:
        page.get_by_test_id("trigger-dag-submit").click()
    return found.value


def picture(page: Page, name: str) -> None:
    """Take a picture for docs/, in few colours."""
    if "SCREENSHOTS" not in os.environ:
        return
    from PIL import Image

    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    taken.quantize(96).save(Path(os.environ["SCREENSHOTS"]) / f"{name}.png", optimize=True)


def frame_of(page: Page) -> FrameLocator:
    """The page within Airflow's."""
    return page.frame_locator(f"iframe[title='{TITLE}']")


def test_a_person_retrains_reads_the_report_and_rolls_back(airflow: Airflow, page: Page) -> None:
    wrong: list[str] = []
    page.on(
        "console", lambda said: wrong.append(f"{said.location['url']}: {said.text}") if said.type == "error" else None
    )
    log_in(page, airflow, "ada")

    open_form(page, airflow)
    answer = submit(page, "2.5")
    assert answer.status == 400
    page.get_by_text("2.5 is not of type 'integer'").first.wait_for()
    field = page.locator("input[name=element_epochs]")
    field.fill("501")
    field.blur()
    page.wait_for_timeout(1000)
    assert field.input_value() == "500"

    open_form(page, airflow)
    answer = submit(page, "2")
    assert answer.status == 200
    run = answer.json()["dag_run_id"]
    page.goto(f"{airflow.address}/dags/skin_lesion_retrain/runs/{run}")
    # A task's own "Success" is seen before the run's.
    airflow.wait(lambda: len(Registry.read(airflow.models).versions) == 2)
    page.get_by_text("Success").first.wait_for(timeout=TRAINED * 1000)
    page.get_by_role("link", name=TITLE).last.click()
    frame_of(page).get_by_role("heading", name="Version 2").wait_for()
    picture(page, "run_tab")

    airflow.wait_for_champion(2)
    page.get_by_role("link", name=TITLE).first.click()
    frame = frame_of(page)
    frame.get_by_text("Version 2 since").wait_for()
    picture(page, "models_page")

    frame.get_by_role("link", name="Version 2").first.click()
    frame.get_by_role("heading", name="Version 2").wait_for()
    assert frame.locator("tbody tr").first.inner_text().startswith("The files are those that were registered")
    picture(page, "model_version")
    report = frame.frame_locator("iframe")
    report.get_by_role("heading", level=1).wait_for()
    assert "Balanced accuracy" in report.locator("body").inner_text()
    report.get_by_role("link", name="data report").first.click()
    report.get_by_role(
        "heading", name="Training data", level=1
    ).wait_for()  # a link within the sandbox brings the login's cookie

    frame.get_by_role("link", name=TITLE).click()
    frame.get_by_text("Roll back to version 1…").click()
    frame.get_by_label("Reason").fill("It misses <b>more</b> melanomas")
    picture(page, "rollback")
    frame.get_by_role("button", name="Roll back").click()
    frame.get_by_text("Version 1 since").wait_for()
    frame.get_by_text("Why: It misses <b>more</b> melanomas.").wait_for()
    assert airflow.champion() == 1
    entry = history.read(airflow.models)[-1]
    assert (entry.what, entry.actor, entry.version, entry.previous) == ("rolled back", "ada", 1, 2)

    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.reload()
    dark = frame_of(page).locator(":root[data-mode=dark] body")
    dark.wait_for()
    assert dark.evaluate("body => getComputedStyle(body).backgroundColor") == "rgb(20, 25, 31)"
    picture(page, "models_page_dark")
    assert [line for line in wrong if "skin-lesion-models" in line] == []


def test_a_viewer_reads_and_is_offered_no_way_to_switch(airflow: Airflow, page: Page) -> None:
    log_in(page, airflow, "vic")
    page.get_by_role("link", name=TITLE).first.click()
    frame = frame_of(page)
    frame.get_by_role("heading", name="In service").wait_for()
    assert frame.locator("form").count() == 0
