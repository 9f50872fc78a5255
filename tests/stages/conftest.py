"""A small procedural data set that tests copy, and ways to look at what stages leave on disk."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from skinlesion.data.catalog import read_catalog
from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view
from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.foundation import layout
from skinlesion.foundation.stage_report import StageReport
from skinlesion.stages.pipeline import run_stage
from skinlesion.stages.settings import PipelineConfig

IMAGES = 18
"""Few enough that augment makes one copy of each in this process."""

DATA_SIDE = ("ingest", "resize", "augment", "organize")

Snapshot = dict[str, tuple[str, int]]


class DataSet:
    """A data set that a test may change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.labels = folder / "diagnoses.csv"

    def rows(self) -> list[dict[str, str]]:
        with self.labels.open(newline="") as file:
            return list(csv.DictReader(file))

    def write_rows(self, rows: list[dict[str, str]]) -> None:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with self.labels.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def relabel(self, images: set[str], **values: str) -> None:
        self.write_rows([row | values if row["image"] in images else row for row in self.rows()])

    def add(self, image: str, content: bytes, suffix: str = ".jpg", **values: str) -> Path:
        path = self.put(image + suffix, content)
        self.write_rows([*self.rows(), {"image": image, "dx": "nv", "lesion_id": f"IL_of_{image}", **values}])
        return path

    def put(self, file: str, content: bytes) -> Path:
        path = self.original(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def remove_row(self, image: str) -> None:
        self.write_rows([row for row in self.rows() if row["image"] != image])

    def original(self, file: str) -> Path:
        return layout.images(self.folder) / file

    def catalog(self) -> Any:
        return read_catalog(self.folder).set_index("image")

    def refusals(self) -> dict[str, str]:
        catalog = self.catalog()
        return catalog.loc[catalog["refused"] != "", "refused"].to_dict()

    def images_of(self, split: str) -> list[str]:
        catalog = self.catalog()
        return list(catalog.index[catalog["split"] == split])


def copy_tree(source: Path, target: Path) -> None:
    """Copy with times and hard links."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def take_snapshot(folder: Path) -> Snapshot:
    """Give path -> (SHA-256, mtime in ns) of every file."""
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def take_results(folder: Path) -> dict[str, str]:
    """Give path -> SHA-256 of what stages leave for others; their own tables hold times, so they are left out."""
    return {
        path: digest
        for path, (digest, _) in take_snapshot(folder).items()
        if not path.startswith(("tables/", "images/"))
    }


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """No test here cuts the power; tests/foundation/test_atomic.py holds that files are flushed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(os, "sync", lambda: None)
        yield


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never change it; take `dataset`."""
    folder = tmp_path_factory.mktemp("sample") / "dataset"
    write_sample(folder, images=IMAGES, size=(120, 90))
    return folder


@pytest.fixture
def dataset(sample: Path, tmp_path: Path) -> DataSet:
    copy_tree(sample, tmp_path / "dataset")
    return DataSet(tmp_path / "dataset")


@pytest.fixture(scope="session")
def few_images(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first six images of the sample. Never change it; take `few`."""
    whole, small = DataSet(sample), DataSet(tmp_path_factory.mktemp("few") / "dataset")
    layout.images(small.folder).mkdir(parents=True)
    rows = whole.rows()[:6]
    for row in rows:
        shutil.copy2(whole.original(f"{row['image']}.jpg"), layout.images(small.folder))
    small.write_rows(rows)
    return small.folder


@pytest.fixture
def few(few_images: Path, tmp_path: Path) -> DataSet:
    """Six images, for what does not need many."""
    copy_tree(few_images, tmp_path / "dataset")
    return DataSet(tmp_path / "dataset")


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., PipelineConfig]:
    def make(**settings: Any) -> PipelineConfig:
        given = {"dataset": tmp_path / "dataset", "models": tmp_path / "models", "weights": "random", "workers": 2}
        return PipelineConfig.of(given | settings)

    return make


@pytest.fixture(scope="session")
def run_data_side() -> Callable[[PipelineConfig], dict[str, StageReport]]:
    return lambda config: {stage: run_stage(stage, config) for stage in DATA_SIDE}


@pytest.fixture(scope="session")
def undisturbed(sample: Path, tmp_path_factory: pytest.TempPathFactory, run_data_side: Any) -> Path:
    """The sample after one run of the data side. Never change it."""
    folder = tmp_path_factory.mktemp("undisturbed") / "dataset"
    copy_tree(sample, folder)
    run_data_side(PipelineConfig.of({"dataset": folder, "models": folder.parent / "models", "weights": "random"}))
    return folder


@pytest.fixture(scope="session")
def few_undisturbed(few_images: Path, tmp_path_factory: pytest.TempPathFactory, run_data_side: Any) -> Path:
    """The six images after one run of the data side. Never change it."""
    folder = tmp_path_factory.mktemp("few_undisturbed") / "dataset"
    copy_tree(few_images, folder)
    run_data_side(PipelineConfig.of({"dataset": folder, "models": folder.parent / "models", "weights": "random"}))
    return folder


@pytest.fixture
def processed(undisturbed: Path, tmp_path: Path, config: Any) -> DataSet:
    """A copy of the data set after one run of the data side, up to date."""
    copy_tree(undisturbed, tmp_path / "dataset")
    run_stage("ingest", config())  # the copies' ctime is new
    return DataSet(tmp_path / "dataset")


@pytest.fixture(scope="session")
def snapshot() -> Callable[[Path], Snapshot]:
    return take_snapshot


@pytest.fixture(scope="session")
def results() -> Callable[[Path], dict[str, str]]:
    return take_results


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """Draws a lesion: RGB uint8 (height, width, 3)."""

    def draw(seed: int, size: tuple[int, int] = (120, 90)) -> np.ndarray:
        return draw_view(draw_lesion("nv", np.random.default_rng(seed), 90), np.random.default_rng(seed), size)

    return draw


@pytest.fixture(scope="session")
def jpeg(picture: Callable[..., np.ndarray]) -> Callable[..., bytes]:
    """Gives the bytes of a drawn JPEG; another seed, another picture."""
    return lambda seed, size=(120, 90): cv2.imencode(".jpg", picture(seed, size)[..., ::-1])[1].tobytes()
