"""Which images stand in the queue, and what people see of each."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.labels.diagnosis import label_of
from skinlesion.data.review.queue import Asked, Choice, Picture
from skinlesion.data.review.suspects import Floats, OutOfFold

TITLES: Final = {
    "mel": "melanoma",
    "nv": "nevus",
    "bcc": "basal cell carcinoma",
    "scc": "squamous cell carcinoma",
    "ak": "actinic keratosis",
    "akiec": "actinic keratosis or Bowen's disease",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "vasc": "vascular lesion",
    "unk": "none of the others",
}
"""The short codes in words. All of them but the last two can be given in any data set."""

OPEN: Final = ("the tables give it different diagnoses", "the same picture as ", "its file is another than ")
"""How the reasons begin for which ingest sets an image aside that a person can settle."""
UNLABELLED: Final = ("no row in ", "no table gives this image a diagnosis")
"""How the reasons begin of images that nobody has given a diagnosis."""

PICTURES_OF_A_LESION: Final = 8
NEIGHBOURS: Final = 4
_MOST_CHOICES: Final = 24
_BLOCK: Final = 20_000  # rows that are compared at a time


def choices(dx: pd.Series, actinic_keratosis: str) -> tuple[Choice, ...]:
    """Return the diagnoses that people may give: those of the data set, the most frequent first, then the short codes.

    dx: of the images that have one.
    """
    found = [str(one) for one in dx.value_counts().index if one not in ("", "unk", "unknown")]
    every = dict.fromkeys([*found[:_MOST_CHOICES], *(code for code in TITLES if code not in ("akiec", "unk"))])
    return tuple(Choice(dx=one, title=TITLES.get(one, one), label=label_of(one, actinic_keratosis)) for one in every)


def set_aside(catalog: pd.DataFrame, prefixes: tuple[str, ...], settled: Collection[str]) -> pd.DataFrame:
    """Return the rows that ingest refused for such a reason, whose file can be shown and of which nobody has said anything."""
    is_asked = catalog["refused"].str.startswith(prefixes) & (catalog["sha256"] != "")
    return catalog[is_asked & ~catalog["image"].isin(settled)]


def of_set_aside(rows: pd.DataFrame) -> list[Asked]:
    """Return these rows of the catalog as they stand in the queue."""
    return [
        Asked(
            image=row["image"],
            content=row["sha256"],
            dx=row["dx"],
            label=row["label"],
            split="",
            suggested="",
            reason=f"It is set aside: {row['refused']}.",
            probabilities={},
            lesion=(),
            neighbours=(),
        )
        for row in rows.to_dict("records")
    ]


def of_suspects(
    listed: pd.DataFrame, rows: pd.DataFrame, found: OutOfFold | None, pooled: npt.NDArray[np.float32]
) -> list[Asked]:
    """Return the images of the list as they stand in the queue.

    listed: of `suspects.COLUMNS`. rows: all images with a diagnosis, as `suspects` takes them. found, pooled: of the same rows,
    the out-of-fold probabilities and the backbone's pooled activations.
    """
    place = pd.Series(np.arange(len(rows)), index=rows["image"])
    places = place.loc[listed["image"]].to_numpy()
    groups, _ = pd.factorize(rows["group"])
    near = nearest(pooled, places, groups)
    members = {group: np.asarray(at).tolist() for group, at in rows.groupby("group").indices.items()}
    images, contents, dx = (rows[name].astype(str).tolist() for name in ("image", "original", "dx"))

    def picture(at: int) -> Picture:
        return Picture(image=images[at], content=contents[at], dx=dx[at])

    queue = []
    for number, (at, row) in enumerate(zip(places.tolist(), listed.to_dict("records"), strict=True)):
        others = [other for other in members[rows["group"].iat[at]] if other != at]
        queue.append(
            Asked(
                **{name: row[name] for name in ("image", "dx", "label", "split", "suggested", "reason")},
                content=contents[at],
                probabilities={} if found is None else _likeliest(found, found.probabilities[at]),
                lesion=tuple(map(picture, others[:PICTURES_OF_A_LESION])),
                neighbours=tuple(map(picture, near[number].tolist())),
            )
        )
    return queue


def nearest(
    pooled: npt.NDArray[np.float32], places: npt.NDArray[np.int64], groups: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return, for each place, the rows of other groups whose activations are most alike, int64 (n, up to `NEIGHBOURS`).

    Alike by the cosine of the difference from the mean. Rows are compared in blocks: memory does not grow with their number.
    """
    mean = pooled.mean(axis=0)
    asked = _directions(pooled[places], mean)
    best: Floats = np.empty((len(places), 0))
    rows = np.empty((len(places), 0), dtype=np.int64)
    for start in range(0, len(pooled), _BLOCK):
        alike = asked @ _directions(pooled[start : start + _BLOCK], mean).T
        alike[groups[places][:, None] == groups[None, start : start + _BLOCK]] = -np.inf
        here = np.argsort(-alike, axis=1, kind="stable")[:, :NEIGHBOURS]
        best = np.hstack([best, np.take_along_axis(alike, here, 1).astype(np.float64)])
        rows = np.hstack([rows, here + start])
        kept = np.argsort(-best, axis=1, kind="stable")[:, :NEIGHBOURS]
        best, rows = np.take_along_axis(best, kept, 1), np.take_along_axis(rows, kept, 1)
    is_other = np.isfinite(best).all(axis=0)
    return rows[:, is_other]


def _directions(pooled: npt.NDArray[np.float32], mean: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    apart = pooled - mean
    length = np.linalg.norm(apart, axis=1, keepdims=True)
    return (apart / np.where(length > 0, length, 1)).astype(np.float32)


def _likeliest(found: OutOfFold, probabilities: Floats) -> dict[str, float]:
    order = np.argsort(-probabilities, kind="stable")
    return {found.codes[at]: round(float(probabilities[at]), 4) for at in order}
