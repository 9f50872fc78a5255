"""Predictions of folders in one table: killed and resumed, whole or not there, by one process or by several, a shard each."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.data.images.dicoms import coded_as, dicom_of
from tests.data.images.pictures import drawn

from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import DatasetBusy
from skinlesion.foundation.shard import WHOLE, Shard
from skinlesion.prediction.classifier import Answer, Prediction, read_for_model
from skinlesion.prediction.folder import COLUMNS, PredictionCounts, predict_into, predict_shard, refused_beside
from skinlesion.prediction.image_files import count_images, image_files, other_files
from skinlesion.stages.settings import PipelineConfig

MANY = [f"{place:02d}.jpg" for place in range(6)] + ["bad.jpg", "sub/03.jpg", "sub/deep/=1+1.png"]


PIXELS = drawn(5)


class Killed(BaseException):
    """As by a signal: nothing that would tidy up after an error runs."""


class Model:
    """Refuses files called `bad...`, says of the others what their names say, and notes what it was asked."""

    def __init__(self, kill_after: int | None = None, meanwhile: Callable[[], object] | None = None) -> None:
        """meanwhile: called before each answer."""
        self.asked: list[str] = []
        self._kill_after = kill_after
        self._meanwhile = meanwhile

    def __call__(self, files: Iterable[Path]) -> Iterator[Prediction]:
        for file in files:
            if len(self.asked) == self._kill_after:
                raise Killed
            if self._meanwhile is not None:
                self._meanwhile()
            self.asked.append(file.name)
            if file.name.startswith("bad"):
                yield Prediction(file, None, "not a readable image")
            else:
                share = np.float32((len(file.name) + 1) % 7 / 10)
                probabilities = np.array([share, 1 - share, 0], np.float32)
                yield Prediction(file, Answer(probabilities, None, "malignant", f"{len(file.name)} letters"))


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def run(table: Path, images: Path, model: Model, identity: str = "model") -> PredictionCounts:
    return predict_into(table, [images], model, identity=identity)


def run_shard(table: Path, images: Path, model: Model, shard: Shard) -> PredictionCounts:
    return predict_shard(table, [images], model, shard=shard, identity="model")


def run_half(table: Path, images: Path, model: Model) -> PredictionCounts:
    return run_shard(table, images, model, Shard.every(2)[0])


def killed(table: Path, images: Path, after: int, shard: Shard = WHOLE) -> Model:
    """Return the model of a run that was killed after so many answers."""
    model = Model(after)
    with pytest.raises(Killed):
        run_shard(table, images, model, shard)
    assert not table.exists()
    return model


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def written(table: Path) -> tuple[bytes, bytes]:
    return table.read_bytes(), refused_beside(table).read_bytes()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder with four images."""
    return write(tmp_path / "images", "c.jpg", "a.jpg", "sub/d.PNG", "b.jpg", "notes.txt", ".hidden.jpg")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the images `MANY`."""
    return write(tmp_path_factory.mktemp("many"), *MANY)


@pytest.fixture(scope="module")
def of_one_process(many: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, bytes]]:
    """Return what one process writes of `many`, by the table's suffix."""
    tables = [tmp_path_factory.mktemp("alone") / f"predictions{suffix}" for suffix in (".csv", ".parquet")]
    for table in tables:
        run(table, many, Model())
    return {table.suffix: written(table) for table in tables}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "out" / "predictions.csv"


def test_a_folder_is_read_through_in_order_and_what_is_no_image_left_out(images: Path) -> None:
    assert [path.name for path in image_files([images])] == ["a.jpg", "b.jpg", "c.jpg", "d.PNG"]
    assert count_images([images]) == 4


def test_images_are_known_by_their_content_and_other_files_are_named(images: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in ("photo", "1.2.840.77", "elsewhere/linked.bin"):
        (tmp_path / name).write_bytes(coded_as(PIXELS, "JPEG") if name != "1.2.840.77" else dicom_of(PIXELS))
    (images / "linked").symlink_to(tmp_path / "elsewhere")
    (images / "photo").symlink_to(tmp_path / "photo")
    (tmp_path / "1.2.840.77").rename(images / "1.2.840.77")
    (images / "scan.pdf").write_bytes(b"%PDF-1.7")
    named = {path.name for path in image_files([images])}
    assert named == {"a.jpg", "b.jpg", "c.jpg", "d.PNG", "photo", "1.2.840.77", "linked.bin", "scan.pdf"}
    assert other_files([images]) == [str(images / "notes.txt")]


def test_a_dicom_file_that_is_named_by_its_uid_keeps_its_name(images: Path, table: Path) -> None:
    for number in range(3):
        (images / f"1.2.840.{number}").write_bytes(dicom_of(PIXELS))
    run(table, images, Model())
    assert {"1.2.840.0", "1.2.840.1", "1.2.840.2"} <= {row["image"] for row in rows(table)}


def test_a_prediction_says_that_a_profile_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.png").write_bytes(coded_as(PIXELS, "PNG", icc_profile=b"no profile"))
    read_for_model(tmp_path / "a.png", PipelineConfig.of({}))
    assert "a.png': colour profile ignored (" in caplog.text


def test_an_image_comes_once_however_often_it_is_named(images: Path) -> None:
    named = [images, images / "sub", images / "a.jpg", images, images.parent / "images"]
    assert [path.name for path in image_files(named)] == ["a.jpg", "b.jpg", "c.jpg", "d.PNG"]


def test_the_table_has_a_row_an_image_and_nothing_else_is_left(images: Path, table: Path) -> None:
    assert run(table, images, Model()) == PredictionCounts(images=4, done=4, kept=0, refused=0)
    found = rows(table)
    assert tuple(found[0]) == COLUMNS
    assert [row["image"] for row in found] == ["a", "b", "c", "d"]
    assert found[0] == {
        "image": "a", "benign": "0.600000", "malignant": "0.400000", "unknown": "0.000000", "label": "benign",
        "decision": "malignant", "reason": "5 letters", "learnt": "", "file": str(images / "a.jpg"),
    }  # fmt: skip
    assert [path.name for path in table.parent.iterdir()] == ["predictions.csv"]


def test_refused_images_are_listed_beside_the_table_with_their_reasons(images: Path, table: Path) -> None:
    write(images, "bad.jpg")
    assert run(table, images, Model()).refused == 1
    assert rows(refused_beside(table)) == [{"file": str(images / "bad.jpg"), "reason": "not a readable image"}]
    assert len(rows(table)) == 4
    (images / "bad.jpg").unlink()
    run(table, images, Model())
    assert not refused_beside(table).exists()


def test_parquet_has_the_same_rows(images: Path, table: Path) -> None:
    write(images, "bad.jpg")
    run(table.with_suffix(".parquet"), images, Model())
    found = pd.read_parquet(table.with_suffix(".parquet"))
    assert tuple(found.columns) == COLUMNS
    assert list(found["image"]) == ["a", "b", "c", "d"]
    assert found["benign"].dtype == np.float32
    assert refused_beside(table).exists()


@pytest.mark.parametrize("kill_after", [0, 4, 8])
def test_a_killed_run_is_gone_on_with_and_ends_as_if_it_had_not_been(
    many: Path, table: Path, of_one_process: dict[str, tuple[bytes, bytes]], kill_after: int
) -> None:
    with pytest.raises(Killed):
        run(table, many, Model(kill_after))
    rest = Model()
    done = len(MANY) - kill_after
    assert run(table, many, rest) == PredictionCounts(images=len(MANY), done=done, kept=kill_after, refused=1)
    assert len(rest.asked) == done
    assert written(table) == of_one_process[".csv"]


@pytest.mark.parametrize("harm", [b"", b"PAR1", b"\0" * 2000])
def test_a_bucket_that_a_failing_disk_destroyed_is_predicted_again(images: Path, table: Path, harm: bytes) -> None:
    killed(table, images, after=2)
    first = min(table.with_name(".predictions.csv.partial").glob("*.parquet"))
    first.write_bytes(harm)
    assert run(table, images, Model()) == PredictionCounts(images=4, done=3, kept=1, refused=0)
    assert [row["image"] for row in rows(table)] == ["a", "b", "c", "d"]


def test_another_model_does_not_go_on_from_the_journal(images: Path, table: Path) -> None:
    killed(table, images, after=2)
    assert run(table, images, Model(), identity="another") == PredictionCounts(images=4, done=4, kept=0, refused=0)
    assert len(rows(table)) == 4


def test_only_images_that_changed_or_came_since_the_kill_are_predicted_anew(images: Path, table: Path) -> None:
    altered, removed, unaltered = killed(table, images, after=3).asked
    before = (images / "sub" if altered == "d.PNG" else images) / altered
    before.write_bytes(b"another picture")
    next(images.rglob(removed)).unlink()
    write(images, "aa.jpg")
    rest = Model()
    assert run(table, images, rest) == PredictionCounts(images=4, done=3, kept=1, refused=0)
    assert {altered, "aa.jpg"} < set(rest.asked) and unaltered not in rest.asked
    there = ["a.jpg", "aa.jpg", "b.jpg", "c.jpg", "d.PNG"]
    assert [row["image"] for row in rows(table)] == [Path(name).stem for name in there if name != removed]


def test_an_earlier_table_stays_until_the_new_one_is_whole(images: Path, table: Path) -> None:
    run(table, images, Model())
    before = table.read_bytes()
    write(images, "e.jpg")
    with pytest.raises(Killed):
        run(table, images, Model(2))
    assert table.read_bytes() == before


@pytest.mark.parametrize("work", [run, run_half])
def test_two_processes_do_not_write_one_table_or_one_shard(
    images: Path, table: Path, work: Callable[[Path, Path, Model], PredictionCounts]
) -> None:
    def second() -> None:
        with pytest.raises(DatasetBusy, match=r"works on .*predictions\.csv"):
            work(table, images, Model())

    assert work(table, images, Model(meanwhile=second)).done > 0


def test_another_suffix_is_refused_before_anything_is_predicted(images: Path, tmp_path: Path) -> None:
    model = Model()
    for work in (predict_into, partial(predict_shard, shard=WHOLE)):
        with pytest.raises(DataError, match=r"expected a name ending in \.csv or \.parquet"):
            work(tmp_path / "table.xlsx", [images], model, identity="model")
    assert not model.asked


def test_names_that_are_formulas_or_no_text_are_written_harmless(images: Path, table: Path) -> None:
    write(images, "=1+1.jpg")
    (images / b"\xff\xfe.jpg".decode(errors="surrogateescape")).write_bytes(b"x")
    run(table, images, Model())
    names = [row["image"] for row in rows(table)]
    assert "'=1+1" in names
    assert "\\udcff\\udcfe" in names


def test_a_relative_path_is_gone_on_with_from_an_absolute_one(
    images: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(table, images, after=2)
    monkeypatch.chdir(images.parent)
    assert run(table, Path("images"), Model()).kept == 2
    assert rows(table)[0]["file"] == "images/a.jpg"


def test_answers_are_stored_while_a_run_works(images: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[int] = []
    buckets = table.with_name(".predictions.csv.partial")
    monkeypatch.setattr("skinlesion.prediction.folder.SECONDS_BETWEEN_COMMITS", 0)
    run(table, images, Model(meanwhile=lambda: stored.append(len(list(buckets.glob("*.parquet"))))))
    assert stored[0] == 0 and stored[-1] > 0


# Shards --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "suffix"), [(1, ".csv"), (3, ".csv"), (3, ".parquet"), (64, ".csv")])
def test_shards_give_the_bytes_of_one_process(
    many: Path, table: Path, of_one_process: dict[str, tuple[bytes, bytes]], count: int, suffix: str
) -> None:
    table, model = table.with_suffix(suffix), Model()
    reports = [run_shard(table, many, model, shard) for shard in reversed(Shard.every(count))]
    assert not table.exists()
    assert sorted(model.asked) == sorted(Path(name).name for name in MANY), "each image is in one shard"
    assert sum(report.done for report in reports) == len(MANY)
    assert sum(report.refused for report in reports) == 1
    assert run(table, many, Model(0)) == PredictionCounts(images=len(MANY), done=0, kept=len(MANY), refused=1)
    assert written(table) == of_one_process[suffix]
    assert set(table.parent.iterdir()) == {table, refused_beside(table)}


def test_another_number_of_shards_goes_on_from_what_is_stored(many: Path, table: Path) -> None:
    first = run_half(table, many, Model())
    reports = [run_shard(table, many, Model(), shard) for shard in Shard.every(4)]
    assert 0 < sum(report.kept for report in reports) == first.done < len(MANY)


def test_a_killed_shard_goes_on_where_it_stopped_and_the_last_step_predicts_what_is_missing(
    many: Path, table: Path, of_one_process: dict[str, tuple[bytes, bytes]]
) -> None:
    first, second = Shard.every(2)
    killed(table, many, 3, first)
    again = Model()
    report = run_shard(table, many, again, first)
    assert (report.kept, report.done) == (3, report.images - 3) == (3, len(again.asked))
    killed(table, many, 1, second)
    report = run(table, many, Model())
    assert (report.kept, report.done) == (len(again.asked) + 4, len(MANY) - len(again.asked) - 4)
    assert written(table) == of_one_process[".csv"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_that_could_not_be_written_is_written_without_another_prediction(
    many: Path, table: Path, of_one_process: dict[str, tuple[bytes, bytes]], suffix: str
) -> None:
    table = table.with_suffix(suffix)
    table.mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        run(table, many, Model())
    table.rmdir()
    run(table, many, Model(0))
    assert written(table) == of_one_process[suffix]


@pytest.mark.parametrize("name", ["x.predictions.csv", "predictions.csv.csv", "predictions.csv.1-of-2.csv"])
def test_a_table_leaves_the_shards_of_another_alone(images: Path, table: Path, name: str) -> None:
    run_shard(table.with_name(name), images, Model(), WHOLE)
    run(table, images, Model())
    assert [path.name for path in table.parent.glob(".*")] == [f".{name}.partial"]
