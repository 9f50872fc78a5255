"""The made-up sample: reproducible, in balance, safe to write, and worth learning from."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinlesion.data.labels.classes import LABELS
from skinlesion.data.labels.diagnosis import is_recognised, label_of
from skinlesion.data.sources.drawn.diagnoses import PATTERNS
from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view
from skinlesion.data.sources.drawn.sample import COLUMNS, SampleReport, sample_rows, write_sample
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.progress import Advance, watched_by

SMALL = (120, 90)
Sixty = tuple[Path, SampleReport]


def labels_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "diagnoses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def sixty(tmp_path_factory: pytest.TempPathFactory) -> Sixty:
    folder = tmp_path_factory.mktemp("sixty")
    return folder, write_sample(folder, images=60, seed=3, size=SMALL)


def test_a_sample_has_exactly_the_images_asked_for(sixty: Sixty) -> None:
    folder, report = sixty
    rows = labels_in(folder)
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len({row["image"] for row in rows}) == report.images == 60
    assert {path.name for path in (folder / "images").iterdir()} == {f"{row['image']}.jpg" for row in rows}
    assert {path.name for path in folder.iterdir()} == {"images", "diagnoses.csv"}
    assert report.lesions == len({row["lesion_id"] for row in rows})
    assert report.per_label == Counter(label_of(row["dx"]) for row in rows)
    pictures = files_in(folder / "images")
    assert {Image.open(io.BytesIO(content)).convert("RGB").size for content in pictures.values()} == {SMALL}
    assert len(set(pictures.values())) == 60, "views of a lesion differ"


def test_names_cannot_be_mistaken_for_real_isic_images(sixty: Sixty) -> None:
    for row in labels_in(sixty[0]):
        assert row["image"].startswith("ISIC_9") and len(row["image"]) == 12 and row["image"][5:].isdecimal()
        assert row["lesion_id"].startswith("IL_9") and len(row["lesion_id"]) == 10


def test_views_of_a_lesion_share_what_belongs_to_the_person(sixty: Sixty) -> None:
    lesions: dict[str, list[tuple[str, ...]]] = {}
    for row in labels_in(sixty[0]):
        lesions.setdefault(row["lesion_id"], []).append((row["dx"], row["age"], row["sex"], row["localization"]))
    assert {len(views) for views in lesions.values()} == {1, 2, 3}
    assert all(len(set(views)) == 1 for views in lesions.values())


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_sixty_images_give_every_class_at_least_six_lesions(seed: int) -> None:
    lesions = {row.lesion_id: label_of(row.dx) for row in sample_rows(60, seed)}
    counts = Counter(lesions.values())
    assert min(counts[label] for label in LABELS) >= 6
    assert counts["benign"] > counts["malignant"] > counts["unknown"]


def test_every_diagnosis_is_drawn_and_recognised() -> None:
    assert {row.dx for row in sample_rows(240, 0)} == set(PATTERNS)
    assert all(is_recognised(dx) for dx in PATTERNS)


@pytest.mark.parametrize("images", [1, 5, 60])
def test_a_smaller_or_equal_sample_is_the_beginning_of_a_larger_one_also_by_one_thread(
    sixty: Sixty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    write_sample(tmp_path, images=images, seed=3, size=SMALL)
    assert labels_in(tmp_path) == labels_in(sixty[0])[:images]
    pictures = files_in(tmp_path / "images")
    assert len(pictures) == images
    assert pictures.items() <= files_in(sixty[0] / "images").items()


def test_other_seeds_give_other_names_and_other_lesions(sixty: Sixty, tmp_path: Path) -> None:
    write_sample(tmp_path, images=12, seed=4, size=SMALL)
    here, there = labels_in(tmp_path), labels_in(sixty[0])
    for column in ("image", "lesion_id"):
        assert not {row[column] for row in here} & {row[column] for row in there}
    assert not set(files_in(tmp_path / "images").values()) & set(files_in(sixty[0] / "images").values())


def test_names_of_a_large_sample_are_unique_and_do_not_meet_those_of_other_seeds() -> None:
    names = [row.image for seed in (0, 1, 2) for row in sample_rows(4000, seed)]
    assert len(set(names)) == 12_000


@pytest.mark.parametrize("dx", sorted(PATTERNS))
@pytest.mark.parametrize("size", [(32, 32), (121, 87), (90, 160)])
def test_every_diagnosis_can_be_drawn_at_any_size(dx: str, size: tuple[int, int]) -> None:
    lesion = draw_lesion(dx, np.random.default_rng(5), size[1])
    picture = draw_view(lesion, np.random.default_rng(6), size)
    assert picture.shape == (size[1], size[0], 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 3


def test_progress_counts_up_to_all_images(tmp_path: Path) -> None:
    drawn: list[float] = []

    class Watcher:
        @contextmanager
        def watch(self, work: str, total: float, unit: str) -> Iterator[Advance]:
            assert total == 5
            yield drawn.append

    with watched_by(Watcher()):
        write_sample(tmp_path, images=5, size=SMALL)
    assert len(drawn) > 1
    assert sum(drawn) == 5


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("images/ISIC_0000000.jpg", r"expected .* found 1 file in .*images; .* name another folder"),
        ("diagnoses.csv", r"found .*diagnoses\.csv"),
    ],
)
def test_a_folder_with_pictures_or_labels_is_refused_and_left_alone(tmp_path: Path, file: str, message: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"mine")
    with pytest.raises(DataError, match=message):
        write_sample(tmp_path, images=1, size=SMALL)
    assert files_in(tmp_path) == {file: b"mine"}


def test_an_empty_checkout_of_the_folder_is_accepted_and_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    for kept in (".gitkeep", "images/.gitkeep", ".sample.partial/ISIC_9000000.jpg"):
        (tmp_path / kept).parent.mkdir(exist_ok=True)
        (tmp_path / kept).touch()
    assert write_sample(tmp_path, images=2, size=SMALL).images == 2
    assert {path.name for path in tmp_path.iterdir()} == {".gitkeep", "images", "diagnoses.csv"}


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset").touch()
    with pytest.raises(DataError, match="found a file"):
        write_sample(tmp_path / "dataset", images=1, size=SMALL)


def test_a_sample_that_failed_midway_leaves_nothing_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> int:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr("skinlesion.data.sources.drawn.sample.draw_view", full_disk)
        write_sample(tmp_path, images=5, size=SMALL)
    assert files_in(tmp_path) == {}
    assert write_sample(tmp_path, images=5, size=SMALL).images == 5


def features(path: Path) -> npt.NDArray[np.float32]:
    """Return what could be measured by hand: colour against the skin, spread of colours, asymmetry, edges."""
    picture = cv2.imread(str(path))
    assert picture is not None
    small = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32) + 8
    frame = np.concatenate([small[:8].reshape(-1, 3), small[-8:].reshape(-1, 3)])
    absorbed = np.log(small / np.median(frame, axis=0))
    edges = np.hypot(*np.gradient(absorbed[..., 1]))
    middle = absorbed[12:52, 12:52].reshape(-1, 3)
    hues = np.stack((middle[:, 2] - middle[:, 0], middle[:, 1] - middle[:, [0, 2]].mean(1)), axis=1)
    asymmetry = [np.abs(absorbed - absorbed[::-1]).mean(), np.abs(absorbed - absorbed[:, ::-1]).mean()]
    colours = [middle.mean(0), middle.std(0), np.quantile(middle, (0.05, 0.5, 0.95), axis=0).ravel()]
    return np.concatenate([*colours, hues.std(0), *np.quantile(hues, (0.02, 0.98), axis=0), asymmetry, [edges.std()]])


def test_the_classes_can_be_learned_but_are_not_given_away(tmp_path: Path) -> None:
    write_sample(tmp_path, images=120, seed=0, size=SMALL)
    rows = labels_in(tmp_path)
    truth = [label_of(row["dx"]) for row in rows]
    inputs = np.stack([features(tmp_path / "images" / f"{row['image']}.jpg") for row in rows])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, class_weight="balanced", max_iter=1000))
    lesions = [row["lesion_id"] for row in rows]
    predicted = cross_val_predict(model, inputs, truth, groups=lesions, cv=GroupKFold(5))
    assert 0.45 < balanced_accuracy_score(truth, predicted) < 0.98


def test_what_surrounds_the_lesion_says_nothing_about_the_diagnosis() -> None:
    lesions = [draw_lesion(dx, np.random.default_rng(1), 64) for dx in sorted(PATTERNS)]
    for view in range(5):
        margins = [draw_view(lesion, np.random.default_rng(view), (200, 64))[:, :12].astype(int) for lesion in lesions]
        assert all(np.abs(margin - margins[0]).max() <= 1 for margin in margins)
