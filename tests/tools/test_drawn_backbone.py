"""The pictures and targets that the backbone of `weights=drawn` is trained on, and the file that the training writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tools.drawn_backbone.pictures import GROUPS, LESION_MEASURES, MEASURED, Pictures, draw_pictures
from tools.drawn_backbone.textures import MEASURES, SHAPES, TEXTURES, draw_abstract

from skinlesion.network.backbone import BackboneWeights, build_backbone

COSINE = len(LESION_MEASURES) + MEASURES.index("ground_cos")


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return draw_pictures(120, 48, seed=5, processes=1)


def test_the_same_seed_draws_the_same_pictures(pictures: Pictures) -> None:
    again = draw_pictures(120, 48, seed=5, processes=2)
    assert np.array_equal(pictures.pixels, again.pixels)
    assert np.array_equal(pictures.answers, again.answers)
    # A sum of floats may round differently where its array lies differently in memory.
    np.testing.assert_allclose(pictures.measures, again.measures, rtol=1e-4, atol=1e-5)


def test_each_picture_answers_the_questions_that_apply_to_it(pictures: Pictures) -> None:
    shows_lesion = pictures.answers[:, 0] >= 0
    assert 0.5 < shows_lesion.mean() < 0.7
    assert (pictures.answers[shows_lesion, 1:] == -1).all()
    assert (pictures.answers[~shows_lesion, 1] >= 0).all()
    assert (pictures.answers < np.array(GROUPS)).all()
    of_lesion = np.isfinite(pictures.measures[:, : len(LESION_MEASURES)])
    assert of_lesion[shows_lesion].all()
    assert not of_lesion[~shows_lesion].any()


def test_an_abstract_picture_is_drawn_as_its_labels_say() -> None:
    checked = 0
    for seed in range(200):
        picture, ground, _, shape, measures = draw_abstract(np.random.default_rng(seed), 64)
        if (
            SHAPES[shape] != "none"
            or TEXTURES[ground] != "stripes"
            or measures[MEASURES.index("ground_contrast")] < 0.3
        ):
            continue
        grey = picture.mean(2) - picture.mean()
        power = np.abs(np.fft.fft2(grey * np.outer(np.hanning(64), np.hanning(64)))) ** 2
        row, column = np.unravel_index(power[:32].argmax(), (32, 64))
        across, along = float(row), float(column - 64 if column > 32 else column)
        turn = np.arctan2(across, along)
        assert measures[MEASURES.index("ground_cos")] == pytest.approx(np.cos(2 * turn), abs=0.35)
        assert measures[MEASURES.index("ground_sin")] == pytest.approx(np.sin(2 * turn), abs=0.35)
        checked += 1
    assert checked >= 1


def test_targets_follow_what_a_batch_does_to_a_picture(pictures: Pictures) -> None:
    from tools.drawn_backbone.batches import ANSWERS, Batches, loss

    class Chance(np.random.Generator):
        """Turns and mirrors every piece, or none."""

        def __init__(self, value: float) -> None:
            super().__init__(np.random.PCG64(0))
            self.value = value

        def random(self) -> float:  # type: ignore[override]
            return self.value

    picture, measures = pictures.pixels[0], np.arange(MEASURED, dtype=np.float32)
    changed = measures.copy()
    assert np.array_equal(Batches(pictures, 48, 4, Chance(0.9))._seen(picture, changed), picture)
    assert np.array_equal(changed, measures)
    turned = Batches(pictures, 48, 4, Chance(0.1))._seen(picture, changed)
    assert np.array_equal(turned, picture[::-1, ::-1].transpose(1, 0, 2))
    assert changed[COSINE] == -measures[COSINE], "a transposition swaps the axes"

    batches = Batches(pictures, 32, 4, np.random.default_rng(0))
    pixels, targets = batches.draw()
    assert pixels.shape == (4, 32, 32, 3)
    assert -1 <= pixels.min() < pixels.max() <= 1
    right = np.where(targets[:, :ANSWERS] > 0, 50.0, -50.0)
    answer = np.concatenate((right, targets[:, ANSWERS : ANSWERS + MEASURED]), axis=1).astype(np.float32)
    assert np.asarray(loss(targets, answer)) == pytest.approx(0, abs=1e-4)
    assert (np.asarray(loss(targets, np.zeros_like(answer))) > 1).all()


@pytest.mark.slow
def test_a_training_writes_weights_that_a_backbone_takes(tmp_path: Path, pictures: Pictures) -> None:
    from tools.drawn_backbone.__main__ import trained, write_backbone

    path = tmp_path / "small.weights.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tools.drawn_backbone.__main__.PHASES", ((32, 128), (48, 128)))
        backbone = trained(pictures, pictures, draw_pictures(8, 224, 0, 1).pixels, 0, 1.0, path)
    assert path.with_name("part-small.weights.h5").is_file()
    write_backbone(backbone, draw_pictures(8, 224, 0, 1).pixels, path)
    assert path.stat().st_size <= 5_000_000
    read = build_backbone(BackboneWeights(path, "small")).get_weights()
    kernels = [value for value in backbone.get_weights() if value.ndim == 4]
    for written, kept in zip([value for value in read if value.ndim == 4], kernels, strict=True):
        assert written == pytest.approx(kept, rel=1e-3, abs=1e-6)
