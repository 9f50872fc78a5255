"""Which images stand in the queue, and what people see of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.labels.classes import LABELS, MALIGNANT
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


ASKED_AGAIN: Final = "Somebody who looked at it answered, and another reader is asked."
"""The reason of an image that nothing else speaks against."""


def set_aside(
    catalog: pd.DataFrame, prefixes: tuple[str, ...], settled: Collection[str], again: Collection[str]
) -> pd.DataFrame:
    """Return the rows that ingest refused for such a reason, whose file can be shown and which nobody settled.

    again: names of the images that come first, because another reader is asked.
    """
    is_asked = catalog["refused"].str.startswith(prefixes) & (catalog["sha256"] != "")
    return _first(catalog[is_asked & ~catalog["image"].isin(settled)], again)


def asked_again(doubted: pd.DataFrame, rows: pd.DataFrame, again: Collection[str]) -> pd.DataFrame:
    """Return the doubted images, and before them those of which another reader is asked, doubted or not.

    doubted: of `suspects.COLUMNS`. rows: the images with a diagnosis, as `suspects` takes them. again: names of images.
    """
    others = rows[rows["image"].isin(again) & ~rows["image"].isin(doubted["image"])]
    return _first(pd.concat([others.assign(suggested="", reason=ASKED_AGAIN), doubted], ignore_index=True), again)


def _first(rows: pd.DataFrame, again: Collection[str]) -> pd.DataFrame:
    return rows.iloc[np.argsort(~rows["image"].isin(again), kind="stable")]


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
    listed: pd.DataFrame, found: OutOfFold | None, images: pd.DataFrame, pooled: npt.NDArray[np.float32]
) -> list[Asked]:
    """Return the images of the list as they stand in the queue.

    listed: of `suspects.COLUMNS`. images: those with a diagnosis, as `suspects` takes them, then those without. found: of those with
    one, the out-of-fold probabilities. pooled: of all, the backbone's pooled activations.
    """
    places = pd.Series(np.arange(len(images)), index=images["image"]).loc[listed["image"]].to_numpy()
    return [
        Asked(
            **{name: row[name] for name in ("image", "dx", "label", "split", "suggested", "reason")},
            content=str(images["original"].iat[at]),
            probabilities={} if found is None else _likeliest(found.codes, found.probabilities[at]),
            lesion=lesion,
            neighbours=neighbours,
        )
        for at, row, (lesion, neighbours) in zip(
            places.tolist(), listed.to_dict("records"), _beside(images, pooled, places), strict=True
        )
    ]


def worth_most(
    pool: pd.DataFrame, labelled: pd.Series, again: Collection[str] = (), tried: Collection[str] = ()
) -> pd.DataFrame:
    """Return the images without a diagnosis in the order in which their labels are worth most, one of a lesion.

    First come those of which another reader is asked, then lesions of which no picture has a diagnosis; of each, first those
    whose probability of malignant is nearest to one half. Nothing that was tried beats chance in the AUROC; this gains most in balanced accuracy (docs/experiments.md).

    pool: columns group, sha256, and `LABELS` with the probabilities, NaN where no model was asked. labelled: the groups of the
    images with a diagnosis. again: the names of those of which another reader is asked. tried: the names of those
    of which somebody said only what they are not; they come last.
    """
    keys = pool.assign(
        tried=pool["image"].isin(tried), known=pool["group"].isin(labelled), apart=(pool[MALIGNANT] - 0.5).abs()
    )
    in_order = _first(keys.sort_values(["tried", "known", "apart", "sha256"], na_position="last"), again)
    return pool.loc[in_order.index[~in_order["group"].duplicated()]]


def of_pool(
    chosen: pd.DataFrame, version: int | None, images: pd.DataFrame, pooled: npt.NDArray[np.float32]
) -> list[Asked]:
    """Return images without a diagnosis as they stand in the queue.

    chosen: some of the pool, as `worth_most` takes it. version: that gave the probabilities; None if no model was asked. images,
    pooled: as for `of_suspects`.
    """
    places = pd.Series(np.arange(len(images)), index=images["image"]).loc[chosen["image"]].to_numpy()
    queue = []
    rows = zip(chosen.to_dict("records"), _beside(images, pooled, places), strict=True)
    for row, (lesion, neighbours) in rows:
        said = np.array([row[label] for label in LABELS], dtype=np.float64)
        is_said = version is not None and bool(np.isfinite(said).all())
        of_model = f" Version {version}, in service, gives malignant {row[MALIGNANT]:.0%}." if is_said else ""
        known = sorted({one.dx for one in lesion} - {""})
        of_lesion = f" Other pictures of its lesion are {' and '.join(known)}." if known else ""
        queue.append(
            Asked(
                image=row["image"],
                content=row["original"],
                dx="",
                label="",
                split="",
                suggested="",
                reason=f"It has no diagnosis, so nothing learns from it.{of_model}{of_lesion}",
                probabilities=_likeliest(LABELS, said) if is_said else {},
                lesion=lesion,
                neighbours=neighbours,
                version=version if is_said else None,
            )
        )
    return queue


def mixed(*parts: Sequence[Asked]) -> list[Asked]:
    """Return the images of all parts, each part in its order and spread evenly over the whole."""
    placed = [((place + 0.5) / len(part), one) for part in parts for place, one in enumerate(part)]
    return [one for _, one in sorted(placed, key=lambda each: each[0])]


def _beside(
    images: pd.DataFrame, pooled: npt.NDArray[np.float32], places: npt.NDArray[np.int64]
) -> list[tuple[tuple[Picture, ...], tuple[Picture, ...]]]:
    """Return, for each place, the lesion's other pictures, and the pictures with a diagnosis of other lesions that are most alike."""
    groups, _ = pd.factorize(images["group"])
    labelled = int((images["dx"] != "").sum())
    near = nearest(pooled[:labelled], groups[:labelled], pooled[places], groups[places])
    members = {group: np.asarray(at).tolist() for group, at in pd.Series(groups).groupby(groups).indices.items()}
    names, contents, dx = (images[name].astype(str).tolist() for name in ("image", "original", "dx"))

    def pictures(rows: list[int]) -> tuple[Picture, ...]:
        return tuple(Picture(image=names[at], content=contents[at], dx=dx[at]) for at in rows)

    lesions = ([one for one in members[groups[at]] if one != at] for at in places.tolist())
    return [
        (pictures(others[:PICTURES_OF_A_LESION]), pictures(alike))
        for others, alike in zip(lesions, near.tolist(), strict=True)
    ]


def nearest(
    pooled: npt.NDArray[np.float32],
    groups: npt.NDArray[np.int64],
    of_asked: npt.NDArray[np.float32],
    groups_asked: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Return, for each image that is asked, the rows of other groups whose activations are most alike, int64 (n, up to `NEIGHBOURS`).

    Alike by the cosine of the difference from the mean. Rows are compared in blocks: memory does not grow with their number.
    """
    mean = pooled.mean(axis=0)
    asked = _directions(of_asked, mean)
    best: Floats = np.empty((len(asked), 0))
    rows = np.empty((len(asked), 0), dtype=np.int64)
    for start in range(0, len(pooled), _BLOCK):
        alike = asked @ _directions(pooled[start : start + _BLOCK], mean).T
        alike[groups_asked[:, None] == groups[None, start : start + _BLOCK]] = -np.inf
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


def _likeliest(codes: Sequence[str], probabilities: Floats) -> dict[str, float]:
    order = np.argsort(-probabilities, kind="stable")
    return {codes[at]: round(float(probabilities[at]), 4) for at in order}
