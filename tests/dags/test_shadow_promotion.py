"""A candidate in the shadow of a real server, late diagnoses, and the promotion whose question says how the two agree."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.prediction.real_server import drawn, serving_with_shadow, wait_until
from tests.trained import config_of

from skinlesion.evaluation.in_use.record import ShadowRecord
from skinlesion.prediction.log.reading import read_log
from skinlesion.promotion.decide import Judgement, switch_to
from skinlesion.registry.snapshot import Registry

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

PICTURES = 24


class TaskInstance:
    """Keeps what the gate hands on."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.kept[key] = value


@pytest.mark.slow
def test_the_question_says_how_the_candidate_agrees_on_real_pictures_and_the_server_follows_the_answer(
    copy_of_trained: Path, bag: DagBag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, config = (
        tmp_path / "log",
        config_of(copy_of_trained, require_approval=True, prediction_log=str(tmp_path / "log")),
    )
    second = Registry.read(config.models).version(2).run
    with serving_with_shadow(config.models, log) as client:
        wait_until(lambda: f'skinlesion_shadow{{version="{second}"}} 1.0' in client.get("/metrics").text, 120)
        for number in range(PICTURES):
            files = {"images": ("a.jpg", drawn(number), "image/jpeg")}
            client.post("/v1/predict", files=files, data={"case": f"c{number}"}).raise_for_status()
            time.sleep(0.1)
        wait_until(lambda: f"skinlesion_shadow_answers_total {PICTURES}.0" in client.get("/metrics").text, 60)
        late = [{"case": f"c{number}", "dx": ("nv", "mel", "bcc", "ak")[number % 4]} for number in range(PICTURES)]
        assert client.post("/v1/diagnoses", json={"diagnoses": late}).json() == {"noted": PICTURES}

        tasks: Any = bag.dags["skin_lesion_promote"].task_dict
        gate, ti = tasks["gate"].python_callable, TaskInstance()
        names = gate.__globals__
        run = SimpleNamespace(dag_id="skin_lesion_promote", run_id="manual__1", triggering_user_name="ann")
        context = {"params": {"version": 2}, "ti": ti, "dag_run": run, "triggering_asset_events": {}}
        monkeypatch.setitem(names, "get_current_context", lambda: context)
        monkeypatch.setitem(names, "settings", lambda: config)
        gate()
        (found,) = ShadowRecord.known(config.models, 2)[0]
        assert (found.against, found.pictures, found.cases, found.not_asked) == (1, PICTURES, PICTURES, 0)
        answers, beside = read_log(log), read_log(log, of_shadow=True)
        assert found.differ == (answers["decision"] != beside["decision"]).sum() == found.diagnosed
        question = ti.kept["for_approval"]
        assert f"asked about {PICTURES} real pictures of {PICTURES} cases" in question
        assert found.alike.text in question and "| version 1 / version 2 |" in question
        assert question.index("asked about") < question.index("What the gate found:")

        judgement = Judgement.model_validate(ti.kept["judgement"])
        switch_to(config, judgement, actor="ann", reason="She read the question")
        wait_until(lambda: client.get("/v1/model").json()["version"] == second, 60)
        wait_until(lambda: "skinlesion_shadow{" not in client.get("/metrics").text, 60)
        files = {"images": ("a.jpg", drawn(1), "image/jpeg")}
        client.post("/v1/predict", files=files).raise_for_status()
    assert len(read_log(log)) == PICTURES + 1 and len(read_log(log, of_shadow=True)) == PICTURES
