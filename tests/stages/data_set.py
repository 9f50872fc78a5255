"""A small data set of drawn lesions that tests change, and ways to look at what stages leave on disk."""

from __future__ import annotations

import csv
import hashlib
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from skinlesion.data.catalog import read_catalog
from skinlesion.data.images.file import Pixels
from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view
from skinlesion.foundation import layout
from skinlesion.foundation.stage_report import StageReport
from skinlesion.stages.ingest import ingest
from skinlesion.stages.pipeline import run_stage
from skinlesion.stages.settings import PipelineConfig

Row = dict[str, str]
Snapshot = dict[str, tuple[str, int]]
Files = dict[str, tuple[bytes, int]]


class DataSet:
    """A data set that a test may change.

    The originals may be links to files that all tests share, since ingest would examine a copy again (it has another ctime).
    So originals are written by `put`, which replaces a link, and never through the link. The settings that are given here
    hold in each configuration that does not override them.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.settings = settings
        self.labels = folder / "diagnoses.csv"

    def config(self, **settings: Any) -> PipelineConfig:
        places = {"dataset": self.folder, "models": self.folder.parent / "models"}
        return PipelineConfig.of({**places, "weights": "random", "workers": 2, **self.settings, **settings})

    def borrow(self, source: DataSet, rows: list[Row]) -> DataSet:
        """Take these rows of another data set over, with links to its originals; return this data set."""
        layout.images(self.folder).mkdir(parents=True)
        for row in rows:
            file = f"{row['image']}.jpg"
            self.original(file).symlink_to(source.original(file))
        self.write_rows(rows)
        return self

    def rows(self) -> list[Row]:
        with self.labels.open(newline="") as file:
            return list(csv.DictReader(file))

    def write_rows(self, rows: list[Row]) -> None:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with self.labels.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def add_row(self, image: str, dx: str = "nv", **values: str) -> None:
        self.write_rows([*self.rows(), {"image": image, "dx": dx, **values}])

    def relabel(self, images: set[str], **values: str) -> None:
        self.write_rows([row | values if row["image"] in images else row for row in self.rows()])

    def add(self, image: str, content: bytes, suffix: str = ".jpg", **values: str) -> Path:
        self.add_row(image, **({"lesion_id": f"IL_of_{image}"} | values))
        return self.put(image + suffix, content)

    def put(self, file: str, content: bytes) -> Path:
        path = self.original(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        return path

    def touch(self, image: str) -> None:
        file = f"{image}.jpg"
        self.put(file, self.original(file).read_bytes())

    def remove_row(self, image: str) -> None:
        self.write_rows([row for row in self.rows() if row["image"] != image])

    def original(self, file: str) -> Path:
        return layout.images(self.folder) / file

    def catalog(self) -> pd.DataFrame:
        return read_catalog(self.folder).set_index("image")

    def column(self, name: str) -> dict[str, str]:
        """Return a column of the catalog by image."""
        return {str(image): str(value) for image, value in self.catalog()[name].items()}

    def of_image(self, image: str, *columns: str) -> list[str]:
        """Return what the catalog has in these columns of an image."""
        catalog = self.catalog()
        return [str(catalog.at[image, name]) for name in columns]

    def refusals(self) -> dict[str, str]:
        return {image: reason for image, reason in self.column("refused").items() if reason}

    def images_of(self, split: str) -> list[str]:
        return [image for image, side in self.column("split").items() if side == split]


def run_data_side(config: PipelineConfig) -> dict[str, StageReport]:
    return {stage: run_stage(stage, config) for stage in ("ingest", "resize", "augment", "organize")}


def ingest_killed_before_the_catalog(config: PipelineConfig) -> None:
    """Ingest up to the moment at which the catalog would be written."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("skinlesion.data.catalog.write_catalog", killed)
        ingest(config)


def calls_of(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[tuple[Any, ...]]:
    """Return a list that grows by the arguments of each call of a function, which goes on as before."""
    calls: list[tuple[Any, ...]] = []
    function = getattr(owner, name)

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, counted)
    return calls


def detail(report: StageReport, *keys: str) -> Any:
    """Return what the details of the report hold under these keys, each inside the one before."""
    value: Any = report.details
    for key in keys:
        value = value[key]
    return value


def copy_tree(source: Path, target: Path) -> None:
    """Copy with times and links of both kinds."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def files_in(folder: Path) -> Files:
    """Return name -> (content, mtime in ns) of the files in a folder, without those in its folders."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()}


def contents_of(folder: Path) -> dict[str, bytes]:
    return {name: content for name, (content, _) in files_in(folder).items()}


def snapshot(folder: Path) -> Snapshot:
    """Return path -> (SHA-256, mtime in ns) of every file but the notes of what was seen, which are no results."""
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent != layout.tables(folder, "quiet")
    }


def digests(folder: Path) -> dict[str, str]:
    """Return path -> SHA-256 of every file."""
    return {path: digest for path, (digest, _) in snapshot(folder).items()}


def results(folder: Path) -> dict[str, str]:
    """Return path -> SHA-256 of what stages leave for others; their own tables hold times, so they are left out."""
    return {path: digest for path, digest in digests(folder).items() if not path.startswith(("tables/", "images/"))}


def picture(seed: int, size: tuple[int, int] = (120, 90)) -> Pixels:
    """Draw a lesion, RGB uint8 (height, width, 3); another seed, another picture."""
    return draw_view(draw_lesion("nv", np.random.default_rng(seed), 90), np.random.default_rng(seed), size)


def as_jpeg(pixels: Pixels, quality: int = 95) -> bytes:
    """Return RGB pixels as the bytes of a JPEG."""
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def jpeg(seed: int, size: tuple[int, int] = (120, 90)) -> bytes:
    return as_jpeg(picture(seed, size))
