"""What is not a number passes no guard: comparing it is always false, so a guard must ask for what holds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import pytest
from tests.two_classifiers import RULE

from skinlesion.data.images.file import ImageRefused
from skinlesion.foundation.errors import DataError
from skinlesion.network.litert import LiteRTModel
from skinlesion.prediction.classifier import Classifier, predict
from skinlesion.prediction.decision import DecisionRule
from skinlesion.promotion.gate import _calibration
from skinlesion.registry.group_decisions import NO_ANSWER
from skinlesion.stages.settings import PipelineConfig
from skinlesion.stages.train import _require_parity
from skinlesion.training.inner_fold import measure_inner_fold
from skinlesion.training.resumable import is_worth_keeping
from skinlesion.training.rows import ArraySource, Batches, Targets

NAN = float("nan")


class NoNumbers:
    """A model of one output whose answer for every image is not a number."""

    outputs = 1

    def run(self, image: object) -> list[np.ndarray]:
        return [np.full(3, NAN, np.float32)]


@pytest.fixture
def rule() -> DecisionRule:
    return DecisionRule.of(RULE, "the rule of the test")


def test_a_file_whose_probabilities_are_no_numbers_is_not_the_trained_model() -> None:
    # Lost before: such a file was written, registered and offered to the gate.
    expected = np.array([[0.2, 0.3, 0.5]], np.float32)
    with pytest.raises(RuntimeError, match=r"model\.h5 differ"):
        _require_parity("model.h5", expected, np.full_like(expected, NAN))
    _require_parity("model.h5", expected, expected)


@pytest.mark.parametrize("labels", [[0, 1, 2, 0], [0, 0, 0, 0]], ids=["all classes", "one class"])
def test_a_training_that_diverges_ends_with_what_to_do(labels: list[int]) -> None:
    # Lost before: a traceback of scikit-learn; with one class the epoch counted as worth keeping.
    inputs = keras.Input((2,))
    part = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", kernel_initializer="ones")(inputs))
    part.set_weights([np.full((2, 3), NAN, np.float32), np.zeros(3, np.float32)])
    targets = Targets(np.array(labels), np.ones(3, np.float32))
    batches = Batches(ArraySource(np.ones((4, 2), np.float32)), [targets], np.arange(4), 4)
    with pytest.raises(DataError, match="Lower `learning_rate`"):
        measure_inner_fold(part, batches)


@pytest.mark.parametrize("figures", [{"val_loss": NAN}, {"val_loss": 1.0, "val_malignant_auroc": NAN}])
def test_an_epoch_whose_figures_are_no_numbers_is_not_worth_keeping(figures: dict[str, float]) -> None:
    assert not is_worth_keeping([figures], [0.4, 2.0])
    assert not is_worth_keeping([{"val_loss": 1.0}, figures], None)
    assert is_worth_keeping([figures, {"val_loss": 1.0}], [0.4, 2.0])


def test_the_gate_does_not_take_a_calibration_error_that_is_no_number_for_none() -> None:
    # Lost before: max(0, NaN) is 0, so the criterion held.
    assert not _calibration(PipelineConfig.of({}), NAN, np.array([0.5, 0.9])).passed


def test_an_answer_that_is_no_number_is_not_called_benign(rule: DecisionRule, tmp_path: Path) -> None:
    # Lost before: an image for which the network gives no number was answered, with `benign`.
    assert [one.decision for one in rule.decide(np.full((1, 3), NAN))] == [NO_ANSWER]
    classifier = Classifier(cast(LiteRTModel, NoNumbers()), rule)
    pixels = np.zeros((224, 224, 3), np.uint8)
    with pytest.raises(ImageRefused, match="not a number"):
        classifier(pixels)
    with pytest.raises(DataError, match="not a number"):
        classifier(pixels)
    keras.utils.save_img(tmp_path / "one.png", np.random.default_rng(0).integers(0, 255, (90, 90, 3)))
    (found,) = predict([tmp_path / "one.png"], lambda: classifier, PipelineConfig.of({"min_image_side": 32}))
    assert found.answer is None
    assert "not a number" in found.refused


def test_no_setting_is_not_a_number() -> None:
    wrong: list[str] = []
    for name, field in PipelineConfig.model_fields.items():
        if field.annotation is float:
            for value in (NAN, math.inf, "nan"):
                settings: dict[str, Any] = {name: value}
                try:
                    PipelineConfig.of(settings)
                except DataError:
                    continue
                wrong.append(name)
    assert not wrong
