"""Promotions, rollbacks and what must not be served, while requests keep coming."""

from __future__ import annotations

import errno
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.prediction.real_server import Models, drawn, probabilities, problem, served, wait_until
from tests.registry.test_damage import BOTH, Harm
from tests.two_classifiers import RULE

from skinlesion.data.labels.classes import LABELS
from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.prediction.serving import model_watch, served_model
from skinlesion.registry import model_files

SENDERS = 3
THRESHOLDS = {"a": 0.2, "b": 0.3}
"""The operating points of the versions."""


@pytest.mark.parametrize("switches", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_a_switch_drops_no_request_and_each_answer_is_of_the_version_that_it_names(
    models: Models, two_classifiers: Path, switches: int
) -> None:
    images = [drawn(seed) for seed in range(4)]
    expected = {f"run-{name}": probabilities(two_classifiers / name, images) for name in ("a", "b")}
    done = threading.Event()

    with served(models.folder) as server:

        def send(sender: int) -> list[str]:
            versions: list[str] = []
            while not done.is_set():
                number = (sender + len(versions)) % len(images)
                answer = server.predict(images[number]).raise_for_status().json()
                version = answer["model"]["version"]
                found = [answer["predictions"][0]["probabilities"][label] for label in LABELS]
                assert found == pytest.approx(expected[version][number].tolist(), abs=1e-5)
                assert f"{THRESHOLDS[version[-1]]:.3f}" in answer["predictions"][0]["reason"]
                versions.append(version)
            return versions

        with ThreadPoolExecutor(SENDERS) as senders:
            sent = [senders.submit(send, sender) for sender in range(SENDERS)]
            try:
                for switch in range(switches):
                    name = "ba"[switch % 2]
                    models.switch_to(name, RULE | {"malignant_threshold": THRESHOLDS[name]})
                    server.wait_for(f"run-{name}")
            finally:
                done.set()
            versions = [one.result() for one in sent]
    assert {version for of_sender in versions for version in of_sender} == {"run-a", "run-b"}


def test_a_server_without_a_model_starts_says_what_to_do_and_takes_one_up(empty_models: Models) -> None:
    # A Keras file alone is not in service.
    shutil.copyfile(empty_models.two_classifiers / "a" / model_files.H5, layout.model_in_service(empty_models.folder))
    with served(empty_models.folder, is_ready=False) as server:
        wait_until(lambda: "skinlesion run" in server.client.get("/readyz").text)
        for response in (server.client.get("/readyz"), server.predict(drawn(1)), server.client.get("/v1/model")):
            assert "skinlesion models promote" in problem(response, 503)["detail"]
            assert response.headers["retry-after"]
        assert server.status_of("/healthz") == server.status_of("/") == 200
        empty_models.switch_to("a")
        wait_until(lambda: server.status_of("/readyz") == 200)
        assert server.predict(drawn(1)).status_code == 200


def test_a_program_is_told_that_the_model_is_being_loaded_and_when_to_come_again(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load, load = threading.Event(), served_model.load
    monkeypatch.setattr(model_watch, "load", lambda *given: may_load.wait(60) and load(*given))
    with served(models.folder, is_ready=False) as server:
        response = server.predict(drawn(1))
        assert problem(response, 503)["type"] == "urn:problem:skinlesion:loading"
        assert response.headers["retry-after"] == "1"
        may_load.set()
        wait_until(lambda: server.predict(drawn(1)).status_code == 200)


@pytest.mark.parametrize("file", [model_files.TFLITE, model_files.H5])
def test_an_altered_file_is_refused_with_both_hashes_and_the_old_model_goes_on_serving(
    models: Models, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    with served(models.folder) as server:
        before = server.prediction(drawn(1))
        content = bytearray((models.two_classifiers / "b" / file).read_bytes())
        content[len(content) // 2] ^= 1
        altered = models.switch_to("b", alter={file: bytes(content)}) / file
        refused = server.wait_for_refusal(str(altered))
        assert sha256_of(models.two_classifiers / "b" / file) in refused
        assert sha256_of(altered) in refused
        assert server.prediction(drawn(1)) == before
        assert 'skinlesion_model{version="run-a"} 1.0' in server.metrics()
        assert caplog.text.count("was altered") == 1, "said once, not every time that it looks"
        models.switch_to("b")
        server.wait_for("run-b")


def test_a_file_altered_in_place_is_noticed_and_what_is_in_memory_goes_on_serving(models: Models) -> None:
    with served(models.folder) as server:
        before = server.prediction(drawn(1))
        path = models.releases[0] / model_files.TFLITE
        content = bytearray(path.read_bytes())
        content[-1] ^= 255
        path.write_bytes(content)
        server.wait_for_refusal("was altered")
        assert server.prediction(drawn(1)) == before


def test_what_cannot_be_used_is_refused_and_the_old_model_goes_on_serving(models: Models) -> None:
    with served(models.folder) as server:
        for content in (b"", b"no model at all"):
            release = models.switch_to("b", named={model_files.TFLITE: content})
            assert model_files.TFLITE in server.wait_for_refusal(str(release))
        models.switch_to("b", RULE | {"malignant_threshold": "high"})
        server.wait_for_refusal("malignant_threshold")
        models.switch_to("b", RULE | {"most_distance": 1.5})
        server.wait_for_refusal("unlike the training images")
        assert server.predict(drawn(1)).json()["model"]["version"] == "run-a"
        layout.release_in_service(models.folder).unlink()
        server.wait_for_refusal("version run-a goes on serving")
        assert server.status_of("/readyz") == 200


DAMAGE: dict[str, Harm] = {
    what: BOTH[what]
    for what in (
        "half a record", "{}", "an empty record", "no record", "a record that is a folder", "no decision rule's file",
        "another decision rule in the record", "no .h5", "a link to itself",
    )
}  # fmt: skip


@pytest.mark.parametrize("harm", DAMAGE.values(), ids=DAMAGE)
def test_a_server_keeps_the_model_that_it_has_and_none_begins_to_answer_where_the_record_is_damaged(
    models: Models, harm: Harm
) -> None:
    """The server went on with the .h5 without its decision rule: a picture that was malignant became benign."""
    models.switch_to("b")
    with served(models.folder) as server:
        server.wait_for("run-b")
        before = server.prediction(drawn(1))
        harm(models.folder)
        server.wait_for_refusal("models rollback")
        assert server.prediction(drawn(1)) == before
        with served(models.folder, is_ready=False) as another:
            wait_until(lambda: "models rollback" in another.client.get("/readyz").text)
            assert problem(another.predict(drawn(1)), 503)["detail"] == another.client.get("/readyz").json()["detail"]
        models.switch_to("a")
        server.wait_for("run-a")


@pytest.mark.parametrize(
    ("owner", "name", "error"),
    [
        (Path, "read_bytes", OSError(errno.EIO, "Input/output error")),
        (model_watch, "load", RuntimeError("a bug")),
    ],
    ids=["a disk that fails", "an error of the program"],
)
def test_what_failed_for_a_while_is_tried_again(
    models: Models, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, error: Exception
) -> None:
    """A disk that failed once kept the server at the old model until the next switch."""
    work, failing = getattr(owner, name), threading.Event()

    def work_or_fail(path: Path, *more: object) -> object:
        if failing.is_set() and path.name in (model_files.TFLITE, models.folder.name):
            raise error
        return work(path, *more)

    monkeypatch.setattr(owner, name, work_or_fail)
    with served(models.folder) as server:
        failing.set()
        models.switch_to("b")
        server.wait_for_refusal(str(error.args[-1]))
        failing.clear()
        server.wait_for("run-b")
