"""Grad-CAM's process: started when it is asked for, bounded, and gone when it hangs."""

from __future__ import annotations

import base64
import os
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from tests.measured import known
from tests.prediction.real_server import Models, Served, drawn, problem, served
from tests.prediction.serving.overlays import harmful_for_dark_images, when_released

from skinlesion.data.images.file import encode_jpeg

DARK = encode_jpeg(np.zeros((224, 224, 3), np.uint8), 90)


def ask(server: Served, *images: bytes, label: str | None = None) -> httpx.Response:
    files = [("images", ("a.jpg", image)) for image in images]
    return server.client.post("/v1/grad-cam", files=files, params={"label": label} if label else None, timeout=90)


def shown(response: httpx.Response) -> bytes:
    return base64.b64decode(response.raise_for_status().json()["image"].partition(",")[2])


def test_the_overlay_is_of_the_image_at_the_models_size_and_names_its_version(shared: Served) -> None:
    response = ask(shared, drawn(1), label="benign")
    answer = response.json()
    assert answer["model"] == {"version": "run-a", "number": 1}
    assert answer["label"] == "benign"
    assert known(cv2.imdecode(np.frombuffer(shown(response), np.uint8), cv2.IMREAD_COLOR)).shape == (224, 224, 3)


def test_an_overlay_that_hangs_or_dies_or_fails_is_a_problem_and_the_next_one_is_made(models: Models) -> None:
    processes = []
    with served(models.folder, overlay=harmful_for_dark_images, grad_cam_seconds=8) as server:
        for harm in ("unknown", "malignant", "benign"):
            found = problem(ask(server, DARK, label=harm), 503)
            assert found["type"] == "urn:problem:skinlesion:no-grad-cam"
            label, _, process = shown(ask(server, drawn(1))).partition(b" by ")
            assert label == b"malignant"
            processes.append(process)
            assert server.predict(drawn(1)).status_code == 200
    assert len(set(processes)) == 3, "what failed goes on, what died or hung is started anew"


def test_one_process_answers_one_after_the_other_and_ends_with_the_server(models: Models, tmp_path: Path) -> None:
    release = tmp_path / "release"
    release.touch()
    overlay = partial(when_released, release)
    with served(models.folder, overlay=overlay, grad_cam_waiting=2) as server, ThreadPoolExecutor(3) as threads:
        assert "grad_cams_total{" not in server.metrics(), "nothing was asked yet"
        first = shown(ask(server, drawn(1)))
        release.unlink()
        asked = {threads.submit(ask, server, drawn(1)) for _ in range(3)}
        (refused,), waiting = wait(asked, timeout=60, return_when=FIRST_COMPLETED)
        problem(refused.result(), 503)
        assert refused.result().headers["retry-after"] == "5"
        assert server.predict(drawn(1)).status_code == 200, "predictions go on beside it"
        release.touch()
        assert [shown(one.result()) for one in waiting] == [first, first], "the same process"
        process = int(first.rpartition(b" ")[2])
        os.kill(process, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_what_cannot_be_shown_is_refused(shared: Served) -> None:
    assert ask(shared, b"no image").status_code == 422
    assert ask(shared, drawn(1), label="benign or not").status_code == 422
    assert problem(ask(shared, drawn(1), drawn(2)), 422)["detail"] == "Expected one image, found 2."
