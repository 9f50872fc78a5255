"""Grad-CAM's process: started when it is asked for, bounded, and gone when it hangs."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from overlays import dies_for_benign, fails_for_benign, quick, slow, slow_for_benign


def ask(served: Any, image: bytes, **options: Any) -> Any:
    return served.client.post("/v1/grad-cam", files=[("images", ("a.jpg", image))], timeout=90, **options)


def shown(response: Any) -> bytes:
    assert response.status_code == 200, response.text
    return base64.b64decode(response.json()["image"].partition(",")[2])


def test_the_overlay_is_of_the_image_at_the_models_size_and_names_its_version(
    shared: Any, drawn: Callable[..., bytes]
) -> None:
    response = ask(shared, drawn(1), params={"label": "benign"})
    answer = response.json()
    assert answer["model"] == {"version": "run-a", "number": 1}
    assert answer["label"] == "benign"
    pixels = cv2.imdecode(np.frombuffer(shown(response), np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape == (224, 224, 3)


@pytest.mark.parametrize("overlay", [slow_for_benign, dies_for_benign, fails_for_benign])
def test_an_overlay_that_hangs_or_dies_is_a_problem_and_the_next_one_is_made(
    overlay: Any, models: Any, serve: Any, drawn: Callable[..., bytes], problem: Any
) -> None:
    with serve(models.folder, overlay=overlay, grad_cam_seconds=5) as served:
        response = ask(served, drawn(1), params={"label": "benign"})
        assert response.status_code == 503
        assert problem(response)["type"] == "urn:problem:skinlesion:no-grad-cam"
        assert shown(ask(served, drawn(1))).startswith(b"malignant by ")
        assert served.predict(drawn(1)).status_code == 200


def test_a_process_is_started_once_and_answers_go_on_beside_it(
    models: Any, serve: Any, drawn: Callable[..., bytes]
) -> None:
    with serve(models.folder, overlay=slow) as served, ThreadPoolExecutor(2) as threads:
        assert not any(
            "grad_cams_total" in line and "made" in line for line in served.client.get("/metrics").text.splitlines()
        )
        first = shown(ask(served, drawn(1)))
        waiting = threads.submit(ask, served, drawn(1))
        start = time.monotonic()
        assert served.predict(drawn(1)).status_code == 200
        assert time.monotonic() - start < 1
        assert shown(waiting.result()) == first, "the same process"


def test_more_than_may_wait_are_told_to_come_again(
    models: Any, serve: Any, drawn: Callable[..., bytes], problem: Any
) -> None:
    with serve(models.folder, overlay=slow, grad_cam_waiting=2) as served, ThreadPoolExecutor(5) as threads:
        shown(ask(served, drawn(1)))
        responses = list(threads.map(lambda _: ask(served, drawn(1)), range(5)))
        statuses = sorted(response.status_code for response in responses)
        assert statuses[0] == 200
        assert statuses[-1] == 503
        refused = next(response for response in responses if response.status_code == 503)
        assert refused.headers["retry-after"] == "5"
        problem(refused)


def test_what_cannot_be_shown_is_refused(shared: Any, drawn: Callable[..., bytes], problem: Any) -> None:
    assert ask(shared, b"no image").status_code == 422
    assert ask(shared, drawn(1), params={"label": "benign or not"}).status_code == 422
    two = [("images", ("a.jpg", drawn(1))), ("images", ("b.jpg", drawn(2)))]
    response = shared.client.post("/v1/grad-cam", files=two)
    assert response.status_code == 422
    assert problem(response)["detail"] == "Expected one image, found 2."


def test_the_process_ends_with_the_server(models: Any, serve: Any, drawn: Callable[..., bytes]) -> None:
    with serve(models.folder, overlay=quick) as served:
        process = int(shown(ask(served, drawn(1))).rpartition(b" ")[2])
        os.kill(process, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
