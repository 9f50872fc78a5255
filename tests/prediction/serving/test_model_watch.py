"""Promotions, rollbacks and what must not be served, while requests keep coming."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import pytest

from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.network.classifier import save_model
from skinlesion.network.litert import LiteRTModel
from skinlesion.prediction.classifier import pixels_for_model
from skinlesion.registry import model_files

SWITCHES, SENDERS = 8, 3
LABELS = ("benign", "malignant", "unknown")
THRESHOLDS = {"a": 0.2, "b": 0.3}
"""The operating points of the versions."""


def version_of(served: Any) -> str:
    version: str = served.client.get("/v1/model").json()["version"]
    return version


def test_a_switch_drops_no_request_and_each_answer_is_of_the_version_that_it_names(
    models: Any, two_classifiers: Path, serve: Any, wait: Any, rule: dict[str, Any], drawn: Callable[..., bytes]
) -> None:
    images = [drawn(seed) for seed in range(4)]
    expected = {
        f"run-{name}": [
            LiteRTModel(two_classifiers / name / model_files.TFLITE)(
                pixels_for_model(image, max_pixels=10**8, min_side=32)
            )
            for image in images
        ]
        for name in ("a", "b")
    }
    done = threading.Event()

    with serve(models.folder) as served:

        def send(sender: int) -> list[str]:
            versions = []
            while not done.is_set():
                number = (sender + len(versions)) % len(images)
                response = served.predict(images[number])
                assert response.status_code == 200
                answer = response.json()
                version = answer["model"]["version"]
                found = [answer["predictions"][0]["probabilities"][label] for label in LABELS]
                assert found == pytest.approx(expected[version][number].tolist(), abs=1e-5)
                assert f"{THRESHOLDS[version[-1]]:.3f}" in answer["predictions"][0]["reason"]
                versions.append(version)
            return versions

        with ThreadPoolExecutor(SENDERS) as senders:
            sent = [senders.submit(send, sender) for sender in range(SENDERS)]
            try:
                for switch in range(SWITCHES):
                    name = "ba"[switch % 2]
                    models.switch_to(name, rule | {"malignant_threshold": THRESHOLDS[name]})
                    wait(lambda expected=f"run-{name}": version_of(served) == expected)
            finally:
                done.set()
            versions = [one.result() for one in sent]
    assert {version for of_sender in versions for version in of_sender} == {"run-a", "run-b"}


def test_a_server_without_a_model_starts_says_what_to_do_and_takes_one_up(
    empty_models: Any, serve: Any, wait: Any, problem: Any, rule: dict[str, Any], drawn: Callable[..., bytes]
) -> None:
    with serve(empty_models.folder, is_ready=False) as served:
        wait(lambda: "skinlesion run" in served.client.get("/readyz").text)
        for response in (served.client.get("/readyz"), served.predict(drawn(1)), served.client.get("/v1/model")):
            assert response.status_code == 503
            assert response.headers["retry-after"]
            assert "skinlesion models promote" in problem(response)["detail"]
        assert served.is_alive()
        assert served.client.get("/").status_code == 200
        empty_models.switch_to("a", rule)
        wait(lambda: served.client.get("/readyz").status_code == 200)
        assert served.predict(drawn(1)).status_code == 200


@pytest.mark.parametrize("file", [model_files.TFLITE, model_files.H5])
def test_an_altered_file_is_refused_with_both_hashes_and_the_old_model_goes_on_serving(
    models: Any, serve: Any, wait: Any, file: str, drawn: Callable[..., bytes], caplog: Any
) -> None:
    with serve(models.folder) as served:
        before = served.predict(drawn(1)).json()
        expected = sha256_of(models.two_classifiers / "b" / file)
        # Altered before it is in service: one byte in the middle.
        release = models.folder / "releases" / "000002"
        content = bytearray((models.two_classifiers / "b" / file).read_bytes())
        content[len(content) // 2] ^= 1
        models.switch_to("b", alter={file: bytes(content)})
        wait(lambda: served.client.get("/v1/model").json()["refused"])
        refused = served.client.get("/v1/model").json()["refused"]
        assert str(release / file) in refused
        assert expected in refused
        assert sha256_of(release / file) in refused
        assert served.predict(drawn(1)).json() == before
        assert 'skinlesion_model{version="run-a"} 1.0' in served.client.get("/metrics").text
        assert caplog.text.count("was altered") == 1, "said once, not every time that it looks"
        models.switch_to("b")
        wait(lambda: version_of(served) == "run-b")
        assert served.client.get("/v1/model").json()["refused"] == ""


def test_a_file_altered_in_place_is_noticed_and_what_is_in_memory_goes_on_serving(
    models: Any, serve: Any, wait: Any, drawn: Callable[..., bytes]
) -> None:
    with serve(models.folder) as served:
        before = served.predict(drawn(1)).json()
        path = models.releases[0] / model_files.TFLITE
        content = bytearray(path.read_bytes())
        content[-1] ^= 255
        path.write_bytes(content)
        wait(lambda: "was altered" in served.client.get("/v1/model").json()["refused"])
        assert served.predict(drawn(1)).json() == before


@pytest.mark.parametrize("content", [b"", b"no model at all"])
def test_a_file_that_is_no_model_is_refused(
    models: Any, serve: Any, wait: Any, content: bytes, drawn: Callable[..., bytes]
) -> None:
    with serve(models.folder) as served:
        models.switch_to("b", named={model_files.TFLITE: content})
        wait(lambda: served.client.get("/v1/model").json()["refused"])
        assert model_files.TFLITE in served.client.get("/v1/model").json()["refused"]
        assert served.predict(drawn(1)).json()["model"]["version"] == "run-a"


def test_a_rule_that_is_damaged_is_refused(models: Any, serve: Any, wait: Any, rule: dict[str, Any]) -> None:
    with serve(models.folder) as served:
        models.switch_to("b", {**rule, "malignant_threshold": "high"})
        wait(lambda: "malignant_threshold" in served.client.get("/v1/model").json()["refused"])
        models.switch_to("b", {**rule, "most_distance": 1.5})
        wait(lambda: "unlike the training images" in served.client.get("/v1/model").json()["refused"])
        assert version_of(served) == "run-a"


def test_when_nothing_is_in_service_any_more_the_last_model_goes_on_serving(models: Any, serve: Any, wait: Any) -> None:
    with serve(models.folder) as served:
        layout.release_in_service(models.folder).unlink()
        wait(lambda: "goes on serving" in served.client.get("/v1/model").json()["refused"])
        assert served.client.get("/readyz").status_code == 200


def test_a_keras_file_alone_is_not_in_service(empty_models: Any, serve: Any, wait: Any) -> None:
    path = layout.model_in_service(empty_models.folder)
    path.write_bytes((empty_models.two_classifiers / "a" / model_files.H5).read_bytes())
    with serve(empty_models.folder, is_ready=False) as served:
        wait(lambda: "skinlesion models promote" in served.client.get("/readyz").text)
        assert served.client.get("/readyz").status_code == 503


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_keras_file_that_carries_code_is_refused_by_predict(
    suffix: str, tmp_path: Path, rule: dict[str, Any]
) -> None:
    from skinlesion.foundation.errors import DataError
    from skinlesion.prediction.classifier import classifier_of

    harmful = keras.Sequential([keras.Input((224, 224, 3)), keras.layers.Lambda(lambda pixels: pixels)])
    save_model(harmful, tmp_path / f"model{suffix}")
    (tmp_path / "decision_rule.json").write_text(json.dumps(rule))
    with pytest.raises(DataError, match=f"model{suffix} cannot be loaded as a Keras model: .*Lambda"):
        classifier_of(tmp_path / f"model{suffix}")
