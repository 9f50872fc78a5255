"""What clients ask and are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.measured import metrics_record
from tests.prediction.real_server import Models, Served, drawn, probabilities, problem, served, wait_until

from skinlesion.data.labels.classes import LABELS
from skinlesion.prediction.serving.documents import Model, Predictions
from skinlesion.registry.versions import FIGURES


def test_each_image_gets_a_decision_with_its_reason_and_the_models_probabilities(
    shared: Served, two_classifiers: Path
) -> None:
    images = [drawn(seed) for seed in range(3)]
    answer = shared.predict(*images).raise_for_status().json()
    Predictions.model_validate(answer, extra="forbid")
    assert answer["model"] == {"version": "run-a", "number": 1}
    assert "Not a medical device" in answer["notice"]
    for expected, said in zip(probabilities(two_classifiers / "a", images), answer["predictions"], strict=True):
        assert [said["probabilities"][label] for label in LABELS] == pytest.approx(expected.tolist(), abs=1e-6)
        assert said["label"] == LABELS[int(np.argmax(expected))]
        assert (said["decision"] == "malignant") == (expected[1] >= 0.2)
        assert said["reason"]
    assert [said["file"] for said in answer["predictions"]] == ["image0.jpg", "image1.jpg", "image2.jpg"]


def test_an_image_that_cannot_be_used_does_not_keep_the_others_from_their_answers(shared: Served) -> None:
    answer = shared.predict(drawn(1), b"no image").json()
    Predictions.model_validate(answer, extra="forbid")
    assert "probabilities" in answer["predictions"][0]
    assert answer["predictions"][1] == {
        "file": "image1.jpg",
        "refused": "not a readable image (its content is of no known image format)",
    }


def test_when_no_image_can_be_used_the_answer_is_a_problem_that_says_why(shared: Served) -> None:
    found = problem(shared.predict(b"no image", b""), 422)
    assert found["detail"].startswith("image0.jpg: not a readable image")
    assert [one["refused"] for one in found["refused"]][1] == "the file is empty"


def test_the_model_that_answers_is_described_with_its_operating_point_and_limits(shared: Served) -> None:
    model = shared.model()
    Model.model_validate(model, extra="forbid")
    assert (model["version"], model["number"]) == ("run-a", 1)
    rule = model["decision_rule"]
    assert (rule["malignant_threshold"], rule["target_sensitivity"]) == (0.2, 0.95)
    assert rule["chosen"] == "chosen to find 95% of the malignant images"
    assert model["warnings"], "a model that was not evaluated says so"
    assert model["limits"]["images"] == 64
    assert len(model["sha256"]) == 3


def test_headline_and_card_are_those_of_the_candidate_in_service(models: Models) -> None:
    candidate = models.folder / "candidates" / "run-a"
    candidate.mkdir(parents=True)
    metrics_record(balanced_accuracy=0.71, images=9).write(candidate / "metrics.json")
    (candidate / "model_card.md").write_text("# Model card\n<script>alert(1)</script>")
    with served(models.folder) as server:
        model = server.model()
        assert (model["figures"]["headline"]["balanced_accuracy"]["text"], model["figures"]["images"]) == ("0.710", 9)
        assert set(model["figures"]["headline"]) == set(FIGURES)
        page = server.client.get("v1/model/card.html")
        assert "<h1>Model card" in page.text and page.headers["content-type"] == "text/html; charset=utf-8"
        card = server.client.get(model["card"])
        assert card.text.startswith("# Model card")
        assert card.headers["content-type"] == "text/plain; charset=utf-8"
        assert card.headers["x-content-type-options"] == "nosniff"


def test_without_a_card_there_is_none(shared: Served) -> None:
    assert shared.model()["card"] is None
    found = problem(shared.client.get("/v1/model/card"), 404)
    assert found["detail"] == "The model in service has no model card."


def test_metrics_count_requests_images_and_the_version(models: Models) -> None:
    with served(models.folder) as server:
        server.predict(drawn(1), b"no image")
        text = server.metrics()
        assert 'skinlesion_requests_total{method="POST",path="/v1/predict",status="200"} 1.0' in text
        assert "skinlesion_images_refused_total 1.0" in text
        assert 'skinlesion_model{version="run-a"} 1.0' in text
        server.client.get("/no/such/path")
        assert "/no/such" not in server.metrics(), "a client could fill the memory with paths"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/predict", 405),
        ("PUT", "/v1/model", 405),
        ("GET", "/static/../app.py", 404),
        ("GET", "/docs", 404),  # FastAPI's pages load scripts from elsewhere
    ],
)
def test_an_error_is_a_problem_document(shared: Served, method: str, path: str, status: int) -> None:
    problem(shared.client.request(method, path), status)


def test_the_description_of_the_api_has_an_example(shared: Served) -> None:
    described = shared.client.get("/openapi.json").json()
    ok = described["paths"]["/v1/predict"]["post"]["responses"]["200"]
    Predictions.model_validate(ok["content"]["application/json"]["example"], extra="forbid")


def test_a_bug_is_a_problem_document_and_its_traceback_goes_to_the_log(
    models: Models, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("skinlesion.prediction.serving.served_model.ServedModel.answer", broken)
    with served(models.folder) as server:
        assert "a bug" not in problem(server.predict(drawn(1)), 500)["detail"]
        wait_until(lambda: "RuntimeError: a bug" in caplog.text)
        assert server.status_of("/healthz") == 200
