from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from skinlesion.data.images.file import Pixels
from skinlesion.network import accelerator, quiet_tensorflow
from skinlesion.network.backbone import BackboneWeights
from skinlesion.network.classifier import build_classifier, frozen_part
from skinlesion.network.litert import LiteRTModel, converted
from skinlesion.stages.settings import PipelineConfig

CUT = "block_12_add"


@pytest.fixture(scope="module")
def frozen() -> Any:  # a Keras model, of which mypy knows no type
    built = build_classifier(PipelineConfig.of({"weights": "random"}), BackboneWeights(None, "random0"))
    return frozen_part(built, CUT)


def test_tensorflow_in_batches_gives_what_litert_gives_image_by_image(
    frozen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator, "BATCH", 3)
    images = np.random.default_rng(0).integers(0, 256, (7, 224, 224, 3), dtype=np.uint8)
    found = np.stack(list(accelerator.in_batches(frozen, iter(images))))
    litert = LiteRTModel(converted(frozen))
    expected = np.stack([litert(image).astype(np.float16) for image in images])
    assert found.dtype == np.float16
    assert found.shape == (7, 14, 14, 96)
    assert np.abs(found.astype(np.float32) - expected).max() <= 1e-3 * max(1, np.abs(expected).max())


def test_images_are_asked_for_a_batch_at_a_time(frozen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "BATCH", 2)
    asked: list[int] = []

    def images() -> Iterator[Pixels]:
        for number in range(5):
            asked.append(number)
            yield np.zeros((224, 224, 3), dtype=np.uint8)

    results = accelerator.in_batches(frozen, images())
    next(results)
    assert asked == [0, 1]
    assert len(list(results)) == 4


def test_without_a_device_file_tensorflow_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "_DEVICE_FILES", ("no-such-device",))
    monkeypatch.setattr(quiet_tensorflow, "load", lambda: pytest.fail("imported TensorFlow"))
    assert not accelerator.is_there()


def test_a_device_that_tensorflow_cannot_use_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "_DEVICE_FILES", ("null",))
    assert not accelerator.is_there()
