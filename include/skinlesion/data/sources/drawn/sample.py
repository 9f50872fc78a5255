"""Write a sample of drawn dermoscopic images, so that `make run` and the tests work without a download.

Hair, bubbles, rulers, vignettes, skin tone and light are drawn without regard to the diagnosis. Nobody should draw a
conclusion about skin cancer from a model that was trained on these images.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from skinlesion.data.images.file import encode_jpeg
from skinlesion.data.labels.classes import BENIGN, LABELS, MALIGNANT, UNKNOWN
from skinlesion.data.labels.diagnosis import label_of
from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view
from skinlesion.foundation.atomic import PARTIAL_SUFFIX, flush_all, write_text
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.progress import progress
from skinlesion.foundation.spreadsheet import csv_text

# Lesion i has label LABEL_CYCLE[i % 10]; its diagnosis and number of photographs follow cycles of their own. The lengths of
# the first and the last have no common divisor, so the number of photographs says nothing about the label.
LABEL_CYCLE: Final = (
    BENIGN, MALIGNANT, UNKNOWN, BENIGN, BENIGN, MALIGNANT, BENIGN, UNKNOWN, MALIGNANT, BENIGN,
)  # fmt: skip
DX_CYCLE: Final = {
    BENIGN: ("nv", "nv", "bkl", "nv", "df", "nv", "vasc"),
    MALIGNANT: ("mel", "bcc", "mel", "scc", "mel", "bcc", "scc"),
    UNKNOWN: ("ak", "unk", "ak"),
}
VIEW_CYCLE: Final = (1, 2, 1, 1, 3, 1, 2)

SITES: Final = (
    "back", "lower extremity", "trunk", "upper extremity", "abdomen", "face", "chest", "foot", "neck", "scalp", "hand",
)  # fmt: skip
"""Body sites as in the column `localization` of HAM10000."""

COLUMNS: Final = ("image", "dx", "lesion_id", "age", "sex", "localization")

SEED_STRIDE: Final = 4099
NAME_STEP: Final = 618_033
"""Image k of seed s has number (s * SEED_STRIDE + k) * NAME_STEP modulo a million. Up to 4,099 images and 243 seeds no name
occurs twice, and the order of names says nothing (618,033 and a million have no common divisor)."""


@dataclass(frozen=True)
class SampleReport:
    """What `write_sample` made: number of images and lesions, and of images of each label."""

    folder: Path
    images: int
    lesions: int
    per_label: dict[str, int]


class SampleRow(NamedTuple):
    """A row of diagnoses.csv, and the lesion and photograph that its image shows."""

    image: str
    dx: str
    lesion_id: str
    age: str
    sex: str
    localization: str
    lesion: int
    view: int


def write_sample(folder: Path, images: int = 240, seed: int = 0, size: tuple[int, int] = (600, 450)) -> SampleReport:
    """Write `folder/images/ISIC_9xxxxxx.jpg` and `folder/diagnoses.csv`, and return the counts.

    The files depend on `images`, `seed` and `size` alone, and the first images of a larger sample are those of a smaller
    one. Until all are drawn they are in a hidden folder, so a run that was killed can simply be repeated.

    Args:
        folder: created if missing; must not hold images or a diagnoses.csv.
        images: number of images, 1 to 100,000: at most a tenth of the million names that begin with ISIC_9.
        seed: 0 or more.
        size: width, height in pixels.

    Raises:
        DataError: the folder holds data.
    """
    _refuse_occupied(folder)
    rows = sample_rows(images, seed)
    lesions = [list(views) for _, views in groupby(rows, key=lambda row: row.lesion)]
    staging = folder / f".sample{PARTIAL_SUFFIX}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, progress("sample", images) as advance:
            for count in pool.map(lambda views: _write_lesion(staging, views, seed, size), lesions):
                advance(count)
        (folder / "images").mkdir(exist_ok=True)
        flush_all(folder)
        for row in rows:
            os.replace(staging / f"{row.image}.jpg", folder / "images" / f"{row.image}.jpg")
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    write_text(folder / "diagnoses.csv", csv_text(COLUMNS, [row[:6] for row in rows]))
    labels = [label_of(row.dx) for row in rows]
    return SampleReport(folder, images, len(lesions), {label: labels.count(label) for label in LABELS})


def sample_rows(images: int, seed: int) -> list[SampleRow]:
    """Return the rows of the sample; the rows of a smaller sample are the first of a larger one."""
    rows: list[SampleRow] = []
    for lesion, dx, views in _quota():
        rng = np.random.default_rng((seed, lesion, 0))
        lesion_id = f"IL_9{(_number(seed, lesion) + 500_000) % 1_000_000:06d}"
        older = 8 if label_of(dx) != BENIGN else 0
        age = str(int(np.clip(5 * round((rng.normal(52 + older, 15)) / 5), 5, 85)))
        person = (
            age if rng.random() > 0.04 else "",
            ("female", "male")[rng.integers(2)] if rng.random() > 0.03 else "",
            SITES[rng.integers(len(SITES))],
        )
        for view in range(views):
            if len(rows) == images:
                return rows
            rows.append(SampleRow(f"ISIC_9{_number(seed, len(rows)):06d}", dx, lesion_id, *person, lesion, view))
    raise AssertionError("unreachable: the quota does not end")


def _quota() -> Iterator[tuple[int, str, int]]:
    """Yield the index, diagnosis and number of photographs of each lesion, without end."""
    seen = dict.fromkeys(LABELS, 0)
    lesion = 0
    while True:
        label = LABEL_CYCLE[lesion % len(LABEL_CYCLE)]
        cycle = DX_CYCLE[label]
        yield lesion, cycle[seen[label] % len(cycle)], VIEW_CYCLE[lesion % len(VIEW_CYCLE)]
        seen[label] += 1
        lesion += 1


def _number(seed: int, index: int) -> int:
    return (seed * SEED_STRIDE + index) * NAME_STEP % 1_000_000


def _refuse_occupied(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise DataError(f"sample: expected a folder at {folder}, found a file; give another name")
    labels = folder / "diagnoses.csv"
    pictures = folder / "images"
    found = []
    if labels.exists():
        found.append(str(labels))
    if pictures.is_dir():
        visible = sum(not path.name.startswith(".") for path in pictures.iterdir())
        if visible:
            found.append(f"{visible} file{'s' if visible > 1 else ''} in {pictures}")
    elif pictures.exists():
        found.append(f"a file at {pictures}")
    if found:
        raise DataError(
            f"sample: expected {folder} to hold neither images/ with files nor a diagnoses.csv,"
            f" found {' and '.join(found)}; made-up pictures must not mix with others:"
            " name another folder, or move these away"
        )


def _write_lesion(folder: Path, views: list[SampleRow], seed: int, size: tuple[int, int]) -> int:
    """Draw a lesion, write each photograph of it, and return their number."""
    index = views[0].lesion
    lesion = draw_lesion(views[0].dx, np.random.default_rng((seed, index, 1)), size[1])
    for row in views:
        picture = draw_view(lesion, np.random.default_rng((seed, index, 2, row.view)), size)
        (folder / f"{row.image}.jpg").write_bytes(encode_jpeg(picture, 90))
    return len(views)
