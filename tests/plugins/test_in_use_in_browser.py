"""A model in use, all of it real: a server that answers, the monitor under a scheduler, a notice, the page, and a candidate in the shadow.

The weeks that must pass before an alarm are the one thing that is not real: the log's entries are moved into the past.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from tests.plugins.standalone_airflow import MONITOR, PROMOTE, RETRAIN, Airflow
from tests.plugins.test_notices import Webhook, webhook
from tests.plugins.test_page_in_browser import TITLE, frame_of, log_in, page, picture, pytestmark
from tests.prediction.real_server import drawn, serving_with_shadow, wait_until

from skinlesion.foundation import layout
from skinlesion.foundation.tables import read_table, write_table
from skinlesion.prediction.log.entries import COLUMNS
from skinlesion.prediction.log.journal import parts, store_closed
from skinlesion.registry.snapshot import Registry

if TYPE_CHECKING:
    import httpx
    from playwright.sync_api import Page

__all__ = ["page", "pytestmark", "webhook"]

PICTURES = 24
WEEK = 7 * 86_400_000_000  # microseconds


def darker(jpeg: bytes) -> bytes:
    """Return a picture as a lamp that is going out would show it."""
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return bytes(cv2.imencode(".jpg", pixels // 3)[1])


def ask(server: httpx.Client, image: bytes, case: str) -> None:
    files = {"images": ("a.jpg", image, "image/jpeg")}
    server.post("/v1/predict", files=files, data={"case": case}).raise_for_status()


def move_into_the_past(log: Path) -> None:
    """Move one half of the answers two weeks back and the other half one week."""
    store_closed(log)
    for path in parts(log).glob("*.parquet"):
        table = read_table(path, COLUMNS)
        write_table(path, table.assign(at=table["at"] - WEEK * (1 + np.arange(len(table)) % 2)), COLUMNS)


def test_darker_pictures_give_an_alarm_a_notice_and_what_to_do(airflow: Airflow, page: Page, webhook: Webhook) -> None:
    airflow.settle()
    with serving_with_shadow(airflow.models, airflow.prediction_log) as server:
        for number in range(2 * PICTURES):
            ask(server, darker(drawn(number)), f"dark{number}")
    move_into_the_past(airflow.prediction_log)
    address = {"schema": "http", "host": "127.0.0.1", "port": webhook.port}
    connection = {"connection_id": "skin_lesion_webhook", "conn_type": "http", **address}
    with airflow.client() as client:
        assert client.post("/api/v2/connections", json=connection).status_code == 201
    airflow.switch_on(MONITOR)
    for _ in range(2):
        run = airflow.trigger(MONITOR, monitor_cases=20)
        assert airflow.ended(MONITOR, run) == "success"
        assert airflow.tasks(MONITOR, run)["retrain"] == "skipped", "the change plan lets no alarm start a training"
    told = [notice["text"] for _, _, notice in webhook.posted if notice["event"] == "in_use"]
    found = layout.monitored(airflow.models).read_text()
    assert len([text for text in told if "Brightness lies" in text]) == 1, f"{told} of what the monitor found: {found}"

    log_in(page, airflow, "vic")
    page.get_by_role("link", name=TITLE).first.click()
    frame = frame_of(page)
    frame.get_by_role("link", name="In use").click()
    frame.get_by_text("Brightness lies").first.wait_for()
    frame.get_by_text("Look at where the pictures come from").first.wait_for()
    picture(page, "in_use_live", 1300)


def test_the_question_says_how_a_candidate_in_the_shadow_agrees_and_the_server_follows_the_answer(
    airflow: Airflow, page: Page
) -> None:
    airflow.settle()
    before = airflow.champion()
    airflow.switch_on(PROMOTE, is_on=False)  # the candidate is not judged before it has seen pictures
    night = airflow.trigger(RETRAIN, seed=7)
    airflow.wait(lambda: airflow.runs(RETRAIN)[night] == "success")
    waiting = Registry.read(airflow.models).versions[0]
    assert airflow.champion() == before != waiting.number
    with serving_with_shadow(airflow.models, airflow.prediction_log) as server:
        wait_until(lambda: f'skinlesion_shadow{{version="{waiting.run}"}} 1.0' in server.get("/metrics").text, 120)
        for number in range(PICTURES):
            ask(server, drawn(1000 + number), f"light{number}")
            time.sleep(0.1)
        wait_until(lambda: f"skinlesion_shadow_answers_total {PICTURES}.0" in server.get("/metrics").text, 60)
        late = [{"case": f"light{number}", "dx": ("nv", "mel", "bcc", "ak")[number % 4]} for number in range(PICTURES)]
        assert server.post("/v1/diagnoses", json={"diagnoses": late}).json() == {"noted": PICTURES}

        airflow.switch_on(PROMOTE)
        promotion = airflow.trigger(PROMOTE)
        airflow.wait(lambda: airflow.is_waiting(promotion))
        assert f"asked about {PICTURES} real pictures of {PICTURES} cases" in airflow.question(promotion)["body"]
        log_in(page, airflow, "ada")
        page.goto(f"{airflow.address}/dags/{PROMOTE}/runs/{promotion}/tasks/approval/required_actions")
        page.get_by_role("button", name="Approve").wait_for()
        page.get_by_text(f"asked about {PICTURES} real pictures").first.wait_for()
        picture(page, "approval_shadow", 1300)
        airflow.answer(promotion, "Approve")
        assert airflow.champion() == waiting.number
        wait_until(lambda: server.get("/v1/model").json()["version"] == waiting.run, 60)
    page.goto(f"{airflow.address}/skin-lesion-models/versions/{waiting.number}")
    page.get_by_text(f"{PICTURES} real pictures").first.wait_for()
    picture(page, "version_shadow", 1300)
    assert layout.shadowed(airflow.models).is_file()
    airflow.settle()
