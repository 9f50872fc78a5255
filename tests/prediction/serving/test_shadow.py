"""The newest candidate is asked about the same pictures, and nobody but the log hears it: answers stay as they are."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.prediction.real_server import Served, add_candidate, drawn, probabilities, served, wait_until
from tests.training_record import write_training_record

from skinlesion.data.images.file import Pixels
from skinlesion.data.labels.classes import LABELS
from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.prediction.classifier import Answer, Classifier
from skinlesion.prediction.log.reading import forget, read_log
from skinlesion.prediction.serving import shadow
from skinlesion.prediction.serving.settings import ServerSettings
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.register import register
from skinlesion.registry.signature import key_folder, make_keys, signature_path
from skinlesion.registry.switch import promote


def is_shadow(server: Served, run: str) -> bool:
    return f'skinlesion_shadow{{version="{run}"}} 1.0' in server.metrics()


def counted(server: Served) -> tuple[float, float]:
    """Return how many answers of the candidate were noted, and how many dropped."""
    lines = dict(line.rsplit(" ", 1) for line in server.metrics().splitlines() if not line.startswith("#"))
    return float(lines["skinlesion_shadow_answers_total"]), float(lines["skinlesion_shadow_dropped_total"])


def test_the_candidate_is_asked_about_the_same_picture_and_followed_until_it_is_in_service(
    waiting: Path, two_classifiers: Path, tmp_path: Path
) -> None:
    log, images = tmp_path / "log", [drawn(1), drawn(2)]
    with served(waiting, log=str(log), shadow=True) as server:
        wait_until(lambda: is_shadow(server, "run-b"))
        server.predictions(*images, case="4711")
        wait_until(lambda: counted(server) == (2, 0))
        answers, beside = read_log(log), read_log(log, of_shadow=True)
        assert set(answers["version"]) == {"run-a"} and set(beside["version"]) == {"run-b"}
        assert beside["beside"].tolist() == answers["id"].tolist()
        for name in ("at", "picture", "file", "case", "brightness", "width"):
            assert beside[name].tolist() == answers[name].tolist()
        for table, name in ((answers, "a"), (beside, "b")):
            expected = np.stack(probabilities(two_classifiers / name, images))
            assert table[list(LABELS)].to_numpy() == pytest.approx(expected, abs=1e-5)
        promote(waiting, 2, actor="test", reason="test")
        server.wait_for("run-b")
        wait_until(lambda: "skinlesion_shadow{" not in server.metrics())
        server.predictions(*images)
        add_candidate(waiting, two_classifiers, "a", "run-c")
        wait_until(lambda: is_shadow(server, "run-c"))
        server.predictions(drawn(3))
        wait_until(lambda: counted(server) == (3, 0))
    assert read_log(log, of_shadow=True)["version"].tolist() == ["run-b", "run-b", "run-c"]
    assert len(read_log(log)) == 5
    assert forget(log, "4711") == 2
    assert read_log(log, of_shadow=True)["version"].tolist() == ["run-c"], (
        "what was said beside a forgotten answer is forgotten too"
    )


def test_it_is_off_by_default_and_cannot_be_on_without_a_log(waiting: Path, tmp_path: Path) -> None:
    with served(waiting, log=str(tmp_path / "log")) as server:
        server.predictions(drawn(1))
        assert counted(server) == (0, 0)
    assert read_log(tmp_path / "log", of_shadow=True).empty
    with pytest.raises(DataError, match=r"Setting `shadow` .*SKINLESION_SERVE_LOG"):
        ServerSettings.of({"shadow": True})


@pytest.mark.parametrize("damage", ["altered", "missing", "no model", "forged"])
def test_a_damaged_candidate_is_named_and_no_answer_knows_of_it(
    waiting: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    candidate = Candidate(layout.candidate(waiting, "run-b"))
    content, said = candidate.tflite.read_bytes(), f"{candidate.tflite} was altered"
    if damage == "altered":
        candidate.tflite.write_bytes(content[:-1])
    elif damage == "missing":
        candidate.tflite.unlink()
        said = f"{candidate.tflite} is missing"
    elif damage == "no model":  # registered as it is
        candidate.tflite.write_bytes(b"no model")
        write_training_record(candidate)
        register(waiting, candidate)
        said = f"{candidate.tflite} is not a model that LiteRT can run"
    else:
        monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
        make_keys(key_folder())
        path = signature_path(waiting, 2)
        path.parent.mkdir()
        path.write_bytes(b"{}")
        said = f"{path} of version 2 does not verify"
    with served(waiting, log=str(tmp_path / "log"), shadow=True) as server:
        wait_until(lambda: f"No candidate is in the shadow: {said}" in caplog.text)
        assert server.predictions(drawn(1))[0]["logged"]
        assert counted(server) == (0, 0)
        if damage in ("altered", "missing"):
            candidate.tflite.write_bytes(content)
            wait_until(lambda: is_shadow(server, "run-b"))
    assert caplog.text.count("No candidate is in the shadow") == 1


def test_what_the_candidate_is_too_slow_for_or_fails_at_is_dropped_and_counted(
    waiting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shadow, "MOST_WAITING", 2)
    ask, goes_on = Classifier.__call__, threading.Event()

    def slow(self: Classifier, image: Pixels, sha256: str | None = None) -> Answer:
        if threading.current_thread().name == "shadow" and sha256 is not None:
            goes_on.wait(20)
            if sha256 == failing:
                raise RuntimeError("a bug of this candidate")
        return ask(self, image, sha256)

    failing = ""
    monkeypatch.setattr(Classifier, "__call__", slow)
    with served(waiting, log=str(tmp_path / "log"), shadow=True) as server:
        wait_until(lambda: is_shadow(server, "run-b"))
        for seed in range(6):
            server.predictions(drawn(seed))
        assert counted(server)[1] >= 3, "one is asked about, two wait"
        goes_on.set()
        wait_until(lambda: sum(counted(server)) == 6)
        failing = sha256_of(drawn(1))
        noted, dropped = counted(server)
        server.predictions(drawn(1))
        server.predictions(drawn(2))
        wait_until(lambda: counted(server) == (noted + 1, dropped + 1))
    assert "a bug of this candidate" in caplog.text
    assert len(read_log(tmp_path / "log")) == 8 and len(read_log(tmp_path / "log", of_shadow=True)) == noted + 1
