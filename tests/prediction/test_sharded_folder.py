"""A folder that several processes predict: each a shard, then one table, as one process would have written it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.prediction.predicting_model import Killed, PredictingModel

from skinlesion.foundation.errors import DataError
from skinlesion.foundation.shard import Shard
from skinlesion.prediction.classifier import Prediction
from skinlesion.prediction.folder import BatchReport, image_files, predict_into, predict_shard, refused_beside

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
    return {"identity": identity, "advance": lambda count: None, "refused": lambda prediction: None}


def of_one_process(table: Path, images: Path) -> tuple[bytes, bytes]:
    alone = table.with_name(f"alone{table.suffix}")
    predict_into(alone, [images], Model(), **options())
    return alone.read_bytes(), refused_beside(alone).read_bytes()


def written(table: Path) -> tuple[bytes, bytes]:
    return table.read_bytes(), refused_beside(table).read_bytes()


@pytest.fixture(params=[".csv", ".parquet"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / "out" / f"table{request.param}"


def test_each_image_is_in_one_shard(images: Path) -> None:
    found = [path for shard in Shard.every(3) for path in image_files([images], shard)]
    assert sorted(found) == sorted(image_files([images]))


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
    assert merged == BatchReport(images=len(NAMES), done=0, kept=len(NAMES), refused=1)
    assert written(table) == of_one_process(table, images)
    assert {path.name for path in table.parent.iterdir() if path.name.startswith(".")} == set()


def test_a_killed_shard_goes_on_where_it_stopped(images: Path, table: Path) -> None:
    first, second = Shard.every(2)
    mine = len(list(image_files([images], first)))
    with pytest.raises(Killed):
        predict_shard(table, [images], Model(3), shard=first, **options())
    again = Model()
    report = predict_shard(table, [images], again, shard=first, **options())
    assert (report.done, report.kept, len(again.asked)) == (mine - 3, 3, mine - 3)
    predict_shard(table, [images], Model(), shard=second, **options())
    predict_into(table, [images], Model(0), **options())
    assert written(table) == of_one_process(table, images)


@pytest.mark.parametrize("torn", [b'{"key": "00', b'{"key": "0000000000000001", "file": "x"}'])
def test_what_a_shard_lacks_is_predicted_when_the_table_is_made(images: Path, table: Path, torn: bytes) -> None:
    first = Shard.every(2)[0]
    with pytest.raises(Killed):
        predict_shard(table, [images], Model(2), shard=first, **options())
    (part,) = table.parent.glob(".*")
    part.write_bytes(part.read_bytes() + torn)
    report = predict_into(table, [images], Model(), **options())
    assert (report.kept, report.done) == (2, len(NAMES) - 2)


def test_a_killed_merge_is_gone_on_with(images: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from skinlesion.prediction import folder as batch_prediction

    for shard in Shard.every(3):
        predict_shard(table, [images], Model(), shard=shard, **options())
    taken: list[Path] = []
    whole = batch_prediction._key

    def key(path: Path) -> int:
        if len(taken) == 5:
            raise Killed
        taken.append(path)
        return whole(path)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(batch_prediction, "_key", key)
        predict_into(table, [images], Model(0), **options())
    assert not table.exists()
    predict_into(table, [images], Model(0), **options())
    assert written(table) == of_one_process(table, images)


def test_images_that_changed_came_or_went_since_are_told_as_they_are_now(images: Path, table: Path) -> None:
    for shard in Shard.every(2):
        predict_shard(table, [images], Model(), shard=shard, **options())
    (images / "00.jpg").write_bytes(b"another picture")
    (images / "01.jpg").unlink()
    (images / "new.jpg").write_bytes(b"new")
    merging = Model()
    report = predict_into(table, [images], merging, **options())
    assert merging.asked == ["00.jpg", "new.jpg"]
    assert (report.images, report.kept) == (len(NAMES), len(NAMES) - 2)


def test_shards_of_another_model_are_not_taken_over(images: Path, table: Path) -> None:
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
    assert [path.name for path in table.parent.glob(".*")] == [f".{other.name}.1-of-2.shard"]


def test_two_processes_do_not_write_one_shard(images: Path, table: Path) -> None:
    shard = Shard.every(2)[0]

    class Second(Model):
        def __call__(self, files: Iterable[Path]) -> Iterator[Prediction]:
            with pytest.raises(DataError, match="Another process is writing"):
                predict_shard(table, [images], Model(), shard=shard, **options())
            return super().__call__(files)

    predict_shard(table, [images], Second(), shard=shard, **options())


def test_another_suffix_is_refused_before_anything_is_predicted(images: Path, tmp_path: Path) -> None:
    model = Model()
    with pytest.raises(DataError, match=r"expected a name ending in \.csv or \.parquet"):
        predict_shard(tmp_path / "table.xlsx", [images], model, shard=Shard.every(1)[0], **options())
    assert not model.asked
