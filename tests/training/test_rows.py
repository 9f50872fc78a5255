from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.measured import known

from skinlesion.stages.settings import PipelineConfig
from skinlesion.training.inner_fold import auroc_error, choose_inner_fold, measure_inner_fold
from skinlesion.training.phases import batch_size_used, class_weights, diagnosis_targets
from skinlesion.training.resumable import is_worth_keeping, shortfall
from skinlesion.training.rows import ArraySource, Batches, OneViewAnEpoch, Targets


def epochs_of(
    views: list[int], batch_size: int = 4, seed: int = 0, new: npt.NDArray[np.bool_] | None = None
) -> OneViewAnEpoch:
    """Return epochs of rows whose input is their number; image i has views[i] rows."""
    images = np.repeat(np.arange(len(views)), views)
    rows = len(images)
    return OneViewAnEpoch(
        ArraySource(np.arange(rows, dtype=np.float32)[:, np.newaxis]),
        [Targets(images % 3, np.array([1, 2, 3], dtype=np.float32))],
        positions=np.arange(rows),
        batch_size=batch_size,
        images=images,
        seed=seed,
        new=new,
    )


@given(st.lists(st.integers(1, 4), min_size=1, max_size=20), st.integers(0, 50))
def test_an_epoch_takes_one_view_of_every_image(views: list[int], epoch: int) -> None:
    data = epochs_of(views)
    data.start_epoch(epoch)
    taken = np.concatenate([data[index][0][:, 0] for index in range(len(data))]).astype(int)
    images = np.repeat(np.arange(len(views)), views)
    assert sorted(images[taken]) == list(range(len(views)))


def test_every_orientation_is_taken_in_training_and_the_original_one_in_the_inner_fold() -> None:
    class Orientations:
        orientations = 8

        def take(self, positions: Any, orientations: Any) -> Any:
            return np.stack([positions, orientations], axis=1).astype(np.float16)

    rows = np.arange(5)
    targets = [Targets(np.zeros(5, dtype=np.int64), np.ones(3, dtype=np.float32))]
    training = OneViewAnEpoch(Orientations(), targets, rows, batch_size=2, images=rows, seed=0)
    seen = set()
    for epoch in range(40):
        training.start_epoch(epoch)
        seen |= {tuple(row) for index in range(len(training)) for row in training[index][0].tolist()}
    assert seen == {(row, orientation) for row in range(5) for orientation in range(8)}
    fixed = Batches(Orientations(), targets, rows, batch_size=2)
    assert [row for index in range(len(fixed)) for row in fixed[index][0].tolist()] == [[row, 0] for row in range(5)]


def test_an_epoch_depends_on_its_number_and_the_seed_not_on_those_before() -> None:
    first, second = epochs_of([2] * 10), epochs_of([2] * 10)
    for epoch in range(5):
        first.start_epoch(epoch)
    second.start_epoch(4)
    assert np.array_equal(first.order, second.order)
    second.start_epoch(3)
    assert not np.array_equal(first.order, second.order)
    other_seed = epochs_of([2] * 10, seed=1)
    other_seed.start_epoch(4)
    assert not np.array_equal(first.order, other_seed.order)


def test_batches_carry_one_hot_labels_and_their_classes_weights() -> None:
    source = ArraySource(np.arange(10, dtype=np.float16)[:, np.newaxis])
    targets = Targets(np.array([0, 1, 1, 1, 1, 1, 1, 1, 1, 2]), np.array([1, 2, 3], dtype=np.float32))
    batches = Batches(source, [targets], np.array([9, 0, 5]), batch_size=2)
    assert len(batches) == 2
    inputs, labels, weights = batches[0]
    assert inputs.dtype == np.float32
    assert inputs[:, 0].tolist() == [9, 0]
    assert labels.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert weights.tolist() == [3, 1]
    assert batches[1][0][:, 0].tolist() == [5]


def test_with_two_targets_each_output_gets_its_own() -> None:
    classes = Targets(np.array([0, 1]), np.array([1, 2], dtype=np.float32))
    diagnoses = Targets(np.array([3, 0]), np.array([5, 6, 7, 8], dtype=np.float32))
    batches = Batches(ArraySource(np.zeros((2, 1))), [classes, diagnoses], np.arange(2), batch_size=2)
    _, one_hot, weights = batches[0]
    assert [part.tolist() for part in one_hot] == [[[1, 0], [0, 1]], [[0, 0, 0, 1], [1, 0, 0, 0]]]
    assert [part.tolist() for part in weights] == [[1, 2], [8, 5]]


def test_a_replaying_epoch_takes_every_new_image_and_so_many_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    views = [2] * 10
    new = np.repeat(np.arange(10), views) < 3
    monkeypatch.setattr("skinlesion.training.rows.REPLAYED", 4)
    data = epochs_of(views, new=new)
    replayed = set()
    for epoch in range(20):
        data.start_epoch(epoch)
        images = data.order // 2
        assert len(images) == len(set(images)) == 7
        assert {0, 1, 2} <= set(images)
        replayed |= set(images)
    assert replayed == set(range(10))
    monkeypatch.setattr("skinlesion.training.rows.REPLAYED", 100)
    everything = epochs_of(views, new=new)
    assert sorted(everything.order // 2) == list(range(10))


def test_the_diagnoses_are_targets_where_they_tell_more_than_the_classes() -> None:
    rows = pd.DataFrame(
        {"dx": ["mel", "bcc", "nv", "", "my own code"], "label": ["malignant"] * 2 + ["benign"] + ["unknown"] * 2}
    )
    targets = diagnosis_targets(rows, "none")
    assert targets is not None
    assert targets.numbers[3] == targets.numbers[4]
    assert len(targets.class_weights) == 4
    assert diagnosis_targets(rows[1:], "none") is None


def test_the_best_epoch_ranks_the_classes_best_then_has_the_lowest_loss_whatever_its_balanced_accuracy() -> None:
    def short(*figures: float) -> list[float]:
        names = ("val_loss", "val_balanced_accuracy", "val_malignant_auroc", "val_mean_auroc")
        return known(shortfall(dict(zip(names, figures, strict=True))))

    assert short(0.9, 0.6, 0.9, 0.9) < short(0.1, 0.7, 0.9, 0.8)
    assert short(0.1, 0.6, 0.9, 0.8) < short(0.2, 0.7, 0.9, 0.8)
    assert shortfall({"val_loss": 0.1, "val_mean_auroc": 0.75}) == [0.25, 0.1]
    assert shortfall({"val_loss": 0.1, "val_balanced_accuracy": 1.0}) == [0.0, 0.1], "a fold of one class"
    assert shortfall({}) is None


def epoch(score: float, loss: float = 0.5, error: float = 0.02) -> dict[str, float]:
    return {"val_loss": loss, "val_malignant_auroc": score, "val_mean_auroc": score, "val_auroc_error": error}


def test_of_epochs_that_the_fold_cannot_tell_apart_the_last_is_kept() -> None:
    assert is_worth_keeping([epoch(0.8)], before=None)
    assert is_worth_keeping([epoch(0.9), epoch(0.885, loss=0.9)], before=[0.3, 1.0])
    assert not is_worth_keeping([epoch(0.9), epoch(0.875)], before=[0.3, 1.0]), "more than one standard error worse"
    assert is_worth_keeping([epoch(0.9), epoch(0.86), epoch(0.89)], before=[0.3, 1.0])
    assert not is_worth_keeping([epoch(0.79)], before=[0.2, 0.5]), "worse than before training"
    assert not is_worth_keeping([epoch(0.9), epoch(0.885)], before=[0.11, 0.5]), "fallen back behind that"
    assert is_worth_keeping([{"loss": 1.0}], before=None), "nothing is measured"
    one_class = {"val_loss": 0.4, "val_balanced_accuracy": 1.0}
    assert not is_worth_keeping([one_class, one_class | {"val_loss": 0.5}], before=None), "the loss decides"


def test_the_error_of_an_auroc_is_that_of_the_published_example() -> None:
    # Hanley & McNeil 1982, table I and its text: 0.893 of 51 abnormal and 58 normal images
    assert auroc_error(0.893, 51, 58) == pytest.approx(0.032, abs=0.001)
    assert auroc_error(1.0, 5, 5) == 0


def training_rows(counts: dict[str, int], copies: int = 1) -> pd.DataFrame:
    """Return rows of so many images of each class, two of each lesion, with copies."""
    return pd.DataFrame([
        {"image": f"{label}{i}", "group": f"lesion:{label}{i // 2}", "label": label, "copy": copy}
        for label, count in counts.items() for i in range(count) for copy in range(copies + 1)
    ])  # fmt: skip


def test_the_inner_fold_takes_whole_lesions_of_every_class() -> None:
    rows = training_rows({"benign": 100, "malignant": 40, "unknown": 10})
    inner = choose_inner_fold(rows, 0.1)
    assert set(rows["group"][inner]).isdisjoint(rows["group"][~inner])
    shares = rows.assign(inner=inner).groupby("label")["inner"].mean()
    assert shares["benign"] == pytest.approx(0.1, abs=0.02)
    assert shares["unknown"] > 0


def test_a_class_with_one_lesion_stays_in_training() -> None:
    rows = training_rows({"benign": 20, "unknown": 2})
    inner = choose_inner_fold(rows, 0.2)
    assert set(rows["label"][inner]) == {"benign"}


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [("none", [1, 1, 0]), ("inverse", [0.625, 2.5, 0]), ("sqrt-inverse", [0.8333, 1.6667, 0])],
)
def test_class_weights_average_to_one_and_spare_a_missing_class(weighting: str, expected: list[float]) -> None:
    rows = training_rows({"benign": 40, "malignant": 10}, copies=0)
    weights = class_weights(rows, weighting)
    assert weights == pytest.approx(expected, abs=1e-3)
    assert np.mean(weights[rows["label"].map(["benign", "malignant", "unknown"].index)]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("images", "expected"), [(10_000, 64), (1280, 64), (200, 10), (7, 1)])
def test_few_images_make_smaller_batches(images: int, expected: int) -> None:
    assert batch_size_used(PipelineConfig.of({"batch_size": 64}), images) == expected


def test_the_inner_fold_is_measured_by_class_as_far_as_it_can_tell_them() -> None:
    class Part:
        def predict_on_batch(self, inputs: Any) -> Any:
            return inputs

    def measured(numbers: list[int], probabilities: list[list[float]]) -> dict[str, float]:
        targets = Targets(np.array(numbers), np.ones(3, dtype=np.float32))
        batches = Batches(ArraySource(np.array(probabilities)), [targets], np.arange(len(numbers)), batch_size=2)
        return measure_inner_fold(Part(), batches)

    found = measured([0, 1, 2], [[0.8, 0.1, 0.1], [0.5, 0.3, 0.2], [0.6, 0.2, 0.2]])
    assert found["val_malignant_auroc"] == 1.0
    assert found["val_mean_auroc"] == pytest.approx((1 + 1 + 0.75) / 3)
    assert "val_malignant_auroc" not in measured([0, 2], [[0.8, 0.1, 0.1], [0.2, 0.1, 0.7]])
    assert set(measured([1, 1], [[0.8, 0.1, 0.1]] * 2)) == {"val_loss", "val_balanced_accuracy"}
    assert measured([], np.empty((0, 3)).tolist()) == {}


def test_an_epoch_takes_only_the_rows_at_its_positions() -> None:
    images = np.array([0, 0, 1, 1])
    source = ArraySource(np.arange(9, dtype=np.float32)[:, np.newaxis])
    targets = Targets(np.arange(9) % 3, np.array([1, 2, 3], dtype=np.float32))
    data = OneViewAnEpoch(source, [targets], np.array([8, 3, 5, 1]), batch_size=4, images=images, seed=0)
    seen = set()
    for number in range(30):
        data.start_epoch(number)
        inputs, one_hot, _ = data[0]
        rows = inputs[:, 0].astype(int)
        assert one_hot.argmax(axis=1).tolist() == (rows % 3).tolist()
        assert sorted(row in (5, 1) for row in rows) == [False, True], "one view of each image"
        seen |= set(rows.tolist())
    assert seen == {8, 3, 5, 1}
