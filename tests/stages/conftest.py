"""The drawn data set of these tests, which all test processes share, and the copies of it that a test may change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from jinja2 import Environment, FileSystemBytecodeCache
from tests.made_once import MakeOnce
from tests.small_backbone import built_small
from tests.stages.data_set import DataSet, copy_tree, run_data_side

from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.foundation import atomic
from skinlesion.stages.build import build
from skinlesion.stages.embed import embed

IMAGES = 18
"""Few enough that augment makes one copy of each in this process."""


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """No test here cuts the power; tests/foundation/test_atomic.py holds that files are flushed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(atomic, "flush_all", lambda folder: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _compile_each_template_once() -> Iterator[None]:
    """Ingest writes a page, and compiling its template takes a fifth of the time of an ingest of six images."""
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        kept = partial(Environment, bytecode_cache=FileSystemBytecodeCache(folder))
        patch.setattr("skinlesion.foundation.html_page.Environment", kept)
        yield


@pytest.fixture(scope="session")
def sample(make_once: MakeOnce) -> DataSet:
    """Return the images that the other data sets link to. Never change it."""

    def draw(folder: Path) -> None:
        write_sample(folder / "dataset", images=IMAGES, size=(120, 90))

    return DataSet(make_once("sample", draw) / "dataset")


@pytest.fixture
def dataset(sample: DataSet, tmp_path: Path) -> DataSet:
    return DataSet(tmp_path / "dataset").borrow(sample, sample.rows())


@pytest.fixture
def few(sample: DataSet, tmp_path: Path) -> DataSet:
    """Return six images, for what does not need many."""
    return DataSet(tmp_path / "dataset").borrow(sample, sample.rows()[:6])


@pytest.fixture
def closed(few: DataSet, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in images/ that cannot be listed. The listing is made to fail, since root may list everything."""
    folder, scandir = few.original("closed"), os.scandir
    folder.mkdir()

    def refuse(path: str | Path) -> object:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    return folder


@pytest.fixture(scope="session")
def undisturbed(make_once: MakeOnce, sample: DataSet) -> Path:
    """Return the six images after one run of the data side. Never change it; take `processed`."""

    def fill(folder: Path) -> None:
        run_data_side(DataSet(folder / "dataset").borrow(sample, sample.rows()[:6]).config())

    return make_once("undisturbed", fill) / "dataset"


@pytest.fixture
def processed(undisturbed: Path, tmp_path: Path) -> DataSet:
    """Return six images after one run of the data side, up to date."""
    copy_tree(undisturbed, tmp_path / "dataset")
    return DataSet(tmp_path / "dataset")


@pytest.fixture
def embedded(make_once: MakeOnce, undisturbed: Path, tmp_path: Path) -> Iterator[DataSet]:
    """Return the six images after build and embed, for a training of the head alone.

    Here, and in the builds of the test, the backbone is the small one.
    """
    with built_small():
        yield _embedded("embedded", make_once, undisturbed, tmp_path)


@pytest.fixture
def embedded_with_mobilenetv2(make_once: MakeOnce, undisturbed: Path, tmp_path: Path) -> DataSet:
    return _embedded("embedded_with_mobilenetv2", make_once, undisturbed, tmp_path)


def _embedded(made: str, make_once: MakeOnce, undisturbed: Path, place: Path) -> DataSet:
    def fill(folder: Path) -> None:
        copy_tree(undisturbed, folder / "dataset")
        config = DataSet(folder / "dataset", fine_tune="none").config()
        assert build(config).done == 1
        embed(config)

    for name in ("dataset", "models"):
        copy_tree(make_once(made, fill) / name, place / name)
    return DataSet(place / "dataset", fine_tune="none")
