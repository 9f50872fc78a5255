"""What clients ask and are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.measured import metrics_record

from skinlesion.network.litert import LiteRTModel
from skinlesion.prediction.classifier import pixels_for_model
from skinlesion.prediction.serving.documents import Model, Predictions
from skinlesion.prediction.serving.served_model import MAIN_FIGURES

LABELS = ("benign", "malignant", "unknown")


def test_each_image_gets_a_decision_with_its_reason_and_the_models_probabilities(
    shared: Any, drawn: Callable[..., bytes], two_classifiers: Path
) -> None:
    images = [drawn(seed) for seed in range(3)]
    response = shared.predict(*images)
    assert response.status_code == 200
    answer = response.json()
    Predictions.model_validate(answer, extra="forbid")
    assert answer["model"] == {"version": "run-a", "number": 1}
    assert "Not a medical device" in answer["notice"]
    model = LiteRTModel(two_classifiers / "a" / "skin_lesion_classifier_trained.tflite")
    for image, said in zip(images, answer["predictions"], strict=True):
        expected = model(pixels_for_model(image, max_pixels=10**8, min_side=32))
        assert [said["probabilities"][label] for label in LABELS] == pytest.approx(expected.tolist(), abs=1e-6)
        assert said["label"] == LABELS[int(np.argmax(expected))]
        assert said["decision"] == "malignant" if expected[1] >= 0.2 else said["decision"] != "malignant"
        assert said["reason"]
    assert [said["file"] for said in answer["predictions"]] == ["image0.jpg", "image1.jpg", "image2.jpg"]


def test_an_image_that_cannot_be_used_does_not_keep_the_others_from_their_answers(
    shared: Any, drawn: Callable[..., bytes]
) -> None:
    answer = shared.predict(drawn(1), b"no image").json()
    Predictions.model_validate(answer, extra="forbid")
    assert "probabilities" in answer["predictions"][0]
    assert answer["predictions"][1] == {
        "file": "image1.jpg",
        "refused": "not a readable image (its content is of no known image format)",
    }


def test_when_no_image_can_be_used_the_answer_is_a_problem_that_says_why(shared: Any, problem: Any) -> None:
    response = shared.predict(b"no image", b"")
    assert response.status_code == 422
    found = problem(response)
    assert found["detail"].startswith("image0.jpg: not a readable image")
    assert [one["refused"] for one in found["refused"]][1] == "the file is empty"


def test_the_model_that_answers_is_described_with_its_operating_point_and_limits(shared: Any) -> None:
    model = shared.client.get("/v1/model").json()
    Model.model_validate(model, extra="forbid")
    assert (model["version"], model["number"]) == ("run-a", 1)
    assert model["decision_rule"] == {"malignant_threshold": 0.2, "target_sensitivity": 0.95}
    assert model["limits"]["images"] == 64
    assert len(model["sha256"]) == 2


def test_headline_and_card_are_those_of_the_candidate_in_service(models: Any, serve: Any, problem: Any) -> None:
    candidate = models.folder / "candidates" / "run-a"
    candidate.mkdir(parents=True)
    metrics_record(balanced_accuracy=0.71, images=9).write(candidate / "metrics.json")
    (candidate / "model_card.md").write_text("# Model card\n<script>alert(1)</script>")
    with serve(models.folder) as served:
        model = served.client.get("/v1/model").json()
        assert (model["figures"]["balanced_accuracy"], model["figures"]["images"]) == (0.71, 9)
        assert set(model["figures"]) == set(MAIN_FIGURES)
        card = served.client.get(model["card"])
        assert card.text.startswith("# Model card")
        assert card.headers["content-type"] == "text/plain; charset=utf-8"
        assert card.headers["x-content-type-options"] == "nosniff"


def test_without_a_card_there_is_none(shared: Any, problem: Any) -> None:
    assert shared.client.get("/v1/model").json()["card"] is None
    response = shared.client.get("/v1/model/card")
    assert response.status_code == 404
    assert problem(response)["detail"] == "The model in service has no model card."


def test_a_model_that_is_not_sure_abstains_and_says_so(
    empty_models: Any, serve: Any, unsure: dict[str, Any], drawn: Callable[..., bytes]
) -> None:
    empty_models.switch_to("a", unsure)
    with serve(empty_models.folder) as served:
        (said,) = served.predict(drawn(1)).json()["predictions"]
        assert said["decision"] == "unknown"
        assert said["reason"].startswith("Not sure enough")


def test_metrics_count_requests_images_and_the_version(models: Any, serve: Any, drawn: Callable[..., bytes]) -> None:
    with serve(models.folder) as served:
        served.predict(drawn(1), b"no image")
        text = served.client.get("/metrics").text
        assert 'skinlesion_requests_total{method="POST",path="/v1/predict",status="200"} 1.0' in text
        assert "skinlesion_images_refused_total 1.0" in text
        assert 'skinlesion_model{version="run-a"} 1.0' in text
        served.client.get("/no/such/path")
        assert "/no/such" not in served.client.get("/metrics").text, "a client could fill the memory with paths"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/predict", 405),
        ("PUT", "/v1/model", 405),
        ("GET", "/static/../app.py", 404),
    ],
)
def test_an_error_is_a_problem_document(shared: Any, problem: Any, method: str, path: str, status: int) -> None:
    response = shared.client.request(method, path)
    assert response.status_code == status
    problem(response)


def test_the_description_of_the_api_has_examples_and_loads_nothing_from_elsewhere(shared: Any) -> None:
    described = shared.client.get("/openapi.json").json()
    ok = described["paths"]["/v1/predict"]["post"]["responses"]["200"]
    Predictions.model_validate(ok["content"]["application/json"]["example"], extra="forbid")
    assert set(described["paths"]) == {
        "/v1/predict", "/v1/grad-cam", "/v1/model", "/v1/model/card", "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    assert shared.client.get("/docs").status_code == 404


def test_a_bug_is_a_problem_document_and_its_traceback_goes_to_the_log(
    models: Any,
    serve: Any,
    drawn: Callable[..., bytes],
    problem: Any,
    wait: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("skinlesion.prediction.serving.served_model.ServedModel.answer", broken)
    with serve(models.folder) as served:
        response = served.predict(drawn(1))
        assert response.status_code == 500
        assert "a bug" not in problem(response)["detail"]
        wait(lambda: "RuntimeError: a bug" in caplog.text)
        assert served.is_alive()
