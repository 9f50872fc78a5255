"""Predictions of folders in one table: killed and resumed, whole or not there, the refused images beside it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.prediction.predicting_model import Killed, PredictingModel

from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import DatasetBusy
from skinlesion.prediction.classifier import Prediction
from skinlesion.prediction.folder import COLUMNS, PredictionCounts, predict_into, refused_beside
from skinlesion.prediction.image_files import count_images, image_files

PROBABILITIES = np.array([0.7, 0.2, 0.1], np.float32)


class Model(PredictingModel):
    """Says the same of every file."""

    def answer(self, file: Path) -> Prediction:
        return Prediction(file, PROBABILITIES, decision="malignant", reason="because")


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def run(table: Path, paths: list[Path], model: Model, identity: str = "model") -> PredictionCounts:
    return predict_into(table, paths, model, identity=identity)


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write(tmp_path / "images", "c.jpg", "a.jpg", "sub/d.PNG", "b.jpg", "notes.txt", ".hidden.jpg")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "out" / "predictions.csv"


def test_a_folder_is_read_through_in_order_and_what_is_no_image_left_out(images: Path) -> None:
    assert [path.name for path in image_files([images])] == ["a.jpg", "b.jpg", "c.jpg", "d.PNG"]
    assert count_images([images]) == 4


def test_an_image_comes_once_however_often_it_is_named(images: Path) -> None:
    named = [images, images / "sub", images / "a.jpg", images, images.parent / "images"]
    assert [path.name for path in image_files(named)] == ["a.jpg", "b.jpg", "c.jpg", "d.PNG"]


def test_a_path_that_is_missing_or_a_folder_without_images_is_said(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is missing"):
        image_files([images, tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"No image file in .*empty"):
        count_images([tmp_path / "empty"])


def test_the_table_has_a_row_an_image_and_nothing_else_is_left(images: Path, table: Path) -> None:
    assert run(table, [images], Model()) == PredictionCounts(images=4, done=4, kept=0, refused=0)
    found = rows(table)
    assert tuple(found[0]) == COLUMNS
    assert [row["image"] for row in found] == ["a", "b", "c", "d"]
    assert found[0] == {
        "image": "a", "benign": "0.700000", "malignant": "0.200000", "unknown": "0.100000", "label": "benign",
        "decision": "malignant", "reason": "because", "file": str(images / "a.jpg"),
    }  # fmt: skip
    assert [path.name for path in table.parent.iterdir()] == ["predictions.csv"]


def test_refused_images_are_listed_beside_the_table_with_their_reasons(images: Path, table: Path) -> None:
    write(images, "bad.jpg")
    assert run(table, [images], Model()).refused == 1
    assert rows(refused_beside(table)) == [{"file": str(images / "bad.jpg"), "reason": "not a readable image"}]
    assert len(rows(table)) == 4
    (images / "bad.jpg").unlink()
    run(table, [images], Model())
    assert not refused_beside(table).exists()


def test_parquet_has_the_same_rows(images: Path, table: Path) -> None:
    write(images, "bad.jpg")
    run(table.with_suffix(".parquet"), [images], Model())
    found = pd.read_parquet(table.with_suffix(".parquet"))
    assert tuple(found.columns) == COLUMNS
    assert list(found["image"]) == ["a", "b", "c", "d"]
    assert found["benign"].dtype == np.float32
    assert refused_beside(table).exists()


@pytest.mark.parametrize("kill_after", [0, 1, 3, 4])
def test_a_killed_run_is_gone_on_with_and_ends_as_if_it_had_not_been(
    images: Path, table: Path, tmp_path: Path, kill_after: int
) -> None:
    write(images, "bad.jpg")
    with pytest.raises(Killed):
        run(table, [images], Model(kill_after))
    assert not table.exists()
    rest = Model()
    assert run(table, [images], rest) == PredictionCounts(images=5, done=5 - kill_after, kept=kill_after, refused=1)
    assert len(rest.asked) == 5 - kill_after
    undisturbed = tmp_path / "undisturbed.csv"
    run(undisturbed, [images], Model())
    assert table.read_bytes() == undisturbed.read_bytes()
    assert refused_beside(table).read_bytes() == refused_beside(undisturbed).read_bytes()


@pytest.mark.parametrize("harm", [b"", b"PAR1", b"\0" * 2000])
def test_a_bucket_that_a_failing_disk_destroyed_is_predicted_again(images: Path, table: Path, harm: bytes) -> None:
    with pytest.raises(Killed):
        run(table, [images], Model(2))
    first = min(table.with_name(".predictions.csv.partial").glob("*.parquet"))
    first.write_bytes(harm)
    assert run(table, [images], Model()) == PredictionCounts(images=4, done=3, kept=1, refused=0)
    assert [row["image"] for row in rows(table)] == ["a", "b", "c", "d"]


def test_another_model_does_not_go_on_from_the_journal(images: Path, table: Path) -> None:
    with pytest.raises(Killed):
        run(table, [images], Model(2))
    assert run(table, [images], Model(), identity="another").kept == 0
    assert len(rows(table)) == 4


def test_only_images_that_changed_or_came_since_the_kill_are_predicted_anew(images: Path, table: Path) -> None:
    killed = Model(3)
    with pytest.raises(Killed):
        run(table, [images], killed)
    altered, removed, unaltered = killed.asked
    before = (images / "sub" if altered == "d.PNG" else images) / altered
    before.write_bytes(b"another picture")
    next(images.rglob(removed)).unlink()
    write(images, "aa.jpg")
    rest = Model()
    assert run(table, [images], rest) == PredictionCounts(images=4, done=3, kept=1, refused=0)
    assert {altered, "aa.jpg"} < set(rest.asked) and unaltered not in rest.asked
    there = ["a.jpg", "aa.jpg", "b.jpg", "c.jpg", "d.PNG"]
    assert [row["image"] for row in rows(table)] == [Path(name).stem for name in there if name != removed]


def test_an_earlier_table_stays_until_the_new_one_is_whole(images: Path, table: Path) -> None:
    run(table, [images], Model())
    before = table.read_bytes()
    write(images, "e.jpg")
    with pytest.raises(Killed):
        run(table, [images], Model(2))
    assert table.read_bytes() == before


def test_two_runs_do_not_write_one_table(images: Path, table: Path) -> None:
    class Second(Model):
        def __call__(self, files: Iterable[Path]) -> Iterator[Prediction]:
            with pytest.raises(DatasetBusy, match=r"works on .*predictions\.csv"):
                run(table, [images], Model())
            return super().__call__(files)

    run(table, [images], Second())
    assert len(rows(table)) == 4


def test_another_suffix_is_refused_before_anything_is_predicted(images: Path, tmp_path: Path) -> None:
    model = Model()
    with pytest.raises(DataError, match=r"expected a name ending in \.csv or \.parquet"):
        run(tmp_path / "table.xlsx", [images], model)
    assert not model.asked


def test_names_that_are_formulas_or_no_text_are_written_harmless(images: Path, table: Path) -> None:
    write(images, "=1+1.jpg")
    (Path(images) / b"\xff\xfe.jpg".decode(errors="surrogateescape")).write_bytes(b"x")
    run(table, [images], Model())
    names = [row["image"] for row in rows(table)]
    assert "'=1+1" in names
    assert "\\udcff\\udcfe" in names


def test_a_relative_path_is_gone_on_with_from_an_absolute_one(
    images: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Killed):
        run(table, [images], Model(2))
    monkeypatch.chdir(images.parent)
    assert run(table, [Path("images")], Model()).kept == 2
    assert rows(table)[0]["file"] == "images/a.jpg"


def test_answers_are_stored_while_a_run_works(images: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(Model):
        def answer(self, file: Path) -> Prediction:
            stored.append(len(list(table.with_name(".predictions.csv.partial").glob("*.parquet"))))
            return super().answer(file)

    stored: list[int] = []
    monkeypatch.setattr("skinlesion.prediction.folder.SECONDS_BETWEEN_COMMITS", 0)
    run(table, [images], Watched())
    assert stored[0] == 0 and stored[-1] > 0
