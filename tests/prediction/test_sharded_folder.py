"""A folder that several processes predict: each a shard, then one table, as one process would write it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.prediction.predicting_model import Killed, PredictingModel

from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import DatasetBusy
from skinlesion.foundation.shard import Shard
from skinlesion.prediction.classifier import Prediction
from skinlesion.prediction.folder import PredictionCounts, predict_into, predict_shard, refused_beside

NAMES = [f"{place:02d}.jpg" for place in range(12)] + ["bad.jpg", "sub/03.jpg", "sub/deep/=1+1.png"]


class Model(PredictingModel):
    """Says of every file what its name says."""

    def answer(self, file: Path) -> Prediction:
        share = np.float32(len(str(file)) % 7 / 10)
        return Prediction(file, np.array([share, 1 - share, 0], np.float32), decision="benign", reason=file.name)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(name.encode())
    return tmp_path / "images"


def options(identity: str = "model") -> dict[str, Any]:
    return {"identity": identity}


def of_one_process(table: Path, images: Path) -> tuple[bytes, bytes]:
    alone = table.with_name(f"alone{table.suffix}")
    predict_into(alone, [images], Model(), **options())
    return alone.read_bytes(), refused_beside(alone).read_bytes()


def written(table: Path) -> tuple[bytes, bytes]:
    return table.read_bytes(), refused_beside(table).read_bytes()


@pytest.fixture(params=[".csv", ".parquet"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / "out" / f"table{request.param}"


def test_each_image_is_in_one_shard(images: Path, table: Path) -> None:
    model = Model()
    for shard in Shard.every(3):
        predict_shard(table, [images], model, shard=shard, **options())
    assert sorted(model.asked) == sorted(Path(name).name for name in NAMES)


def test_another_number_of_shards_goes_on_from_what_is_stored(images: Path, table: Path) -> None:
    predict_shard(table, [images], Model(), shard=Shard.every(2)[0], **options())
    stored = sum(predict_shard(table, [images], Model(), shard=shard, **options()).kept for shard in Shard.every(4))
    assert 0 < stored < len(NAMES)
    predict_into(table, [images], Model(0), **options())
    assert written(table) == of_one_process(table, images)


@pytest.mark.parametrize("count", [1, 3, 64])
def test_shards_give_the_bytes_of_one_process(images: Path, table: Path, count: int) -> None:
    reports = [
        predict_shard(table, [images], Model(), shard=shard, **options()) for shard in reversed(Shard.every(count))
    ]
    assert not table.exists()
    assert sum(report.done for report in reports) == len(NAMES)
    assert sum(report.refused for report in reports) == 1
    merging = Model()
    merged = predict_into(table, [images], merging, **options())
    assert merging.asked == []
    assert merged == PredictionCounts(images=len(NAMES), done=0, kept=len(NAMES), refused=1)
    assert written(table) == of_one_process(table, images)
    assert {path.name for path in table.parent.iterdir() if path.name.startswith(".")} == set()


def test_a_killed_shard_goes_on_where_it_stopped(images: Path, table: Path) -> None:
    first, second = Shard.every(2)
    with pytest.raises(Killed):
        predict_shard(table, [images], Model(3), shard=first, **options())
    again = Model()
    report = predict_shard(table, [images], again, shard=first, **options())
    assert (report.kept, report.done) == (3, report.images - 3) == (3, len(again.asked))
    predict_shard(table, [images], Model(), shard=second, **options())
    predict_into(table, [images], Model(0), **options())
    assert written(table) == of_one_process(table, images)


def test_what_a_shard_lacks_is_predicted_when_the_table_is_written(images: Path, table: Path) -> None:
    first = Shard.every(2)[0]
    with pytest.raises(Killed):
        predict_shard(table, [images], Model(2), shard=first, **options())
    report = predict_into(table, [images], Model(), **options())
    assert (report.kept, report.done) == (2, len(NAMES) - 2)
    assert written(table) == of_one_process(table, images)


def test_a_table_whose_writing_was_killed_is_written_again(
    images: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skinlesion.prediction import folder

    for shard in Shard.every(3):
        predict_shard(table, [images], Model(), shard=shard, **options())
    written_rows: list[Prediction] = []
    whole = folder._row

    def row(prediction: Prediction) -> tuple[str | float, ...]:
        if len(written_rows) == 5:
            raise Killed
        written_rows.append(prediction)
        return whole(prediction)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(folder, "_row", row)
        predict_into(table, [images], Model(0), **options())
    assert not table.exists()
    predict_into(table, [images], Model(0), **options())
    assert written(table) == of_one_process(table, images)


def test_only_images_that_changed_or_came_since_are_predicted_anew(images: Path, table: Path) -> None:
    for shard in Shard.every(2):
        predict_shard(table, [images], Model(), shard=shard, **options())
    (images / "00.jpg").write_bytes(b"another picture")
    (images / "01.jpg").unlink()
    (images / "new.jpg").write_bytes(b"new")
    merging = Model()
    report = predict_into(table, [images], merging, **options())
    assert sorted(merging.asked) == ["00.jpg", "new.jpg"]
    assert (report.images, report.kept) == (len(NAMES), len(NAMES) - 2)


def test_answers_of_another_model_are_not_used(images: Path, table: Path) -> None:
    for shard in Shard.every(2):
        predict_shard(table, [images], Model(), shard=shard, **options("another"))
    report = predict_into(table, [images], Model(), **options())
    assert (report.done, report.kept) == (len(NAMES), 0)
    assert written(table) == of_one_process(table, images)


@pytest.mark.parametrize("name", ["x.{}", "{}.csv", "{}.1-of-2.csv"])
def test_a_table_leaves_the_shards_of_another_alone(images: Path, table: Path, name: str) -> None:
    other = table.with_name(name.format(table.name))
    predict_shard(other, [images], Model(), shard=Shard.every(2)[0], **options())
    predict_into(table, [images], Model(), **options())
    assert [path.name for path in table.parent.glob(".*")] == [f".{other.name}.partial"]


def test_two_processes_do_not_write_one_shard(images: Path, table: Path) -> None:
    shard = Shard.every(2)[0]

    class Second(Model):
        def __call__(self, files: Iterable[Path]) -> Iterator[Prediction]:
            with pytest.raises(DatasetBusy, match="works on"):
                predict_shard(table, [images], Model(), shard=shard, **options())
            return super().__call__(files)

    predict_shard(table, [images], Second(), shard=shard, **options())


def test_another_suffix_is_refused_before_anything_is_predicted(images: Path, tmp_path: Path) -> None:
    model = Model()
    with pytest.raises(DataError, match=r"expected a name ending in \.csv or \.parquet"):
        predict_shard(tmp_path / "table.xlsx", [images], model, shard=Shard.every(1)[0], **options())
    assert not model.asked
