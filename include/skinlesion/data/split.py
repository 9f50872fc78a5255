"""The split: which images belong to one lesion, and on which side of it, training or held out, they all are.

The side of a group of images is decided once, in ingest, and never changes when data is added.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.labels.image_name import full_size_name
from skinlesion.foundation.components import smallest_connected
from skinlesion.foundation.errors import LeakError

TRAIN: Final = "train"
HELD_OUT: Final = "held_out"
SPLITS: Final = (TRAIN, HELD_OUT)

DECISION_COLUMNS: Final = {"key": "str", "split": "str"}
"""The columns of split.parquet: every lesion, patient, image name and file content that was ever given a side keeps it."""


def on_both_sides(rows: pd.DataFrame, key: str) -> list[str]:
    """Return the values of a key column that occur on both sides of the split, sorted; empty values are not compared.

    rows: a table with a column `split` and the key column (`group`, a hash).
    """
    sides = rows[rows[key] != ""].groupby(key, sort=True)["split"].nunique()
    return [str(value) for value in sides.index[sides > 1]]


def require_no_leak(rows: pd.DataFrame, keys: Iterable[str]) -> None:
    """Raise LeakError when a value of a key column occurs on both sides of the split.

    rows: as for `on_both_sides`, with every key column.
    """
    for key in keys:
        both = on_both_sides(rows, key)
        if both:
            raise LeakError(
                f"{len(both)} values of `{key}` lie on both sides of the split, the first: {', '.join(both[:5])}. "
                "Expected each on one side. Training stops; please report this with the catalog."
            )


def assign_groups(images: pd.DataFrame, duplicates: pd.Series | None = None) -> pd.Series:
    """Return the name of each image's group, str, aligned: its lesion, else its patient, else the image itself.

    Groups that share a duplicate are one group. An image and its smaller copy (`_downsampled`) count as one image where
    they have no lesion and no patient.

    images: columns image, lesion_id, patient_id, sha256. duplicates: the name of the set of duplicates that each image is
    in, aligned, as `duplicate_sets` returns it; without it, images whose files are equal are duplicates.
    """
    return _joined(own_groups(images), images["sha256"] if duplicates is None else duplicates)


def own_groups(images: pd.DataFrame) -> pd.Series:
    """Return the name of the lesion, patient or image that each image belongs to by its table alone, str, aligned.

    images: columns image, lesion_id, patient_id.
    """
    names = np.where(
        images["lesion_id"] != "",
        "lesion:" + images["lesion_id"],
        np.where(
            images["patient_id"] != "", "patient:" + images["patient_id"], "image:" + full_size_name(images["image"])
        ),
    )
    return pd.Series(names, index=images.index, dtype="str")


def _joined(groups: pd.Series, links: pd.Series) -> pd.Series:
    """Return, for each row, the name that sorts first among the groups that equal links connect it with."""
    linked = links.duplicated(keep=False) & (links != "")
    if not linked.any():
        return groups
    group, names = pd.factorize(groups, sort=True)
    link, _ = pd.factorize(links[linked])
    # Groups have the smaller numbers, in the order of their names, so the smallest number is that of the first name.
    smallest = smallest_connected(group[linked.to_numpy()], len(names) + link, len(names) + link.max() + 1)
    return pd.Series(np.asarray(names)[smallest[group]], index=groups.index, dtype="str")


def assign_sides(
    images: pd.DataFrame, decided: pd.DataFrame, held_out_fraction: float, set_aside: pd.DataFrame | None = None
) -> tuple[pd.Series, pd.DataFrame]:
    """Return the side of each image, aligned, and the table of decisions with the new ones, sorted by key.

    Only groups without a side get one: what was decided stays. New groups are taken by their number of images, then by a
    hash of their name. Each goes to the side that keeps the held-out share of its diagnosis and source, and with it that
    of its class, nearest to the wanted one, counted in images. The second lesion of a class is held out, so that every
    class with two lesions is measured. When groups turn out to be one (a lesion id added later, duplicates), held-out
    wins: the training copies leave training, because an image can be left out of training but not unlearned.

    images: columns image, group, lesion_id, patient_id, sha256, dx, label, source. decided: `DECISION_COLUMNS`.
    set_aside: images that are not used now, columns as images. They count for no share, but their group keeps their side.
    """
    everyone = images if set_aside is None else pd.concat([images, set_aside])
    of_image, names = pd.factorize(everyone["group"])
    known_keys, side_of_key = pd.Index(decided["key"]), _side_codes(decided["split"])
    # The row of each key in `decided`, looked up kind by kind: a table of all keys of a million images takes 2 GB.
    lookups = [(keys, known_keys.get_indexer(pd.Index(keys))) for keys in _keys(everyone)]
    side_of_group = np.full(len(names), _UNDECIDED, dtype=np.int8)
    for _, row in lookups:
        known = row >= 0
        np.minimum.at(side_of_group, of_image[known], side_of_key[row[known]])
    used = of_image[: len(images)]
    is_new = side_of_group == _UNDECIDED
    if is_new[used].any():
        side_of_group = _decide_new(images, used, names, side_of_group, held_out_fraction)
    split = pd.Series(np.array(_BY_CODE)[side_of_group[used]], index=images.index, dtype="str")
    return split, _with_decisions(decided, side_of_key, lookups, side_of_group[of_image])


def decided_side(group: pd.DataFrame, decided: pd.DataFrame) -> str:
    """Return the side that was decided for the images of a group; empty if none was.

    group: columns as the images of `assign_sides`. decided: `DECISION_COLUMNS`.
    """
    found = set(decided.loc[decided["key"].isin(pd.concat(list(_keys(group)))), "split"])
    return next((side for side in _BY_CODE if side in found), "")


_BY_CODE: Final = (HELD_OUT, TRAIN)
"""Sides as numbers: where two were decided for one group, the smaller one wins."""

_UNDECIDED: Final = len(_BY_CODE)


def _side_codes(split: pd.Series) -> npt.NDArray[np.int8]:
    codes: npt.NDArray[np.int8] = (split.to_numpy() != HELD_OUT).astype(np.int8)
    return codes


def _keys(images: pd.DataFrame) -> Iterator[pd.Series]:
    """Yield, kind by kind, the keys by which an image's side is known again, aligned; empty where there is none."""
    yield "image:" + images["image"]
    full_size = full_size_name(images["image"])
    yield ("image:" + full_size).where(full_size != images["image"], "")  # a smaller copy is known again
    yield "file:" + images["sha256"]  # a renamed file is known again
    yield ("lesion:" + images["lesion_id"]).where(images["lesion_id"] != "", "")
    # A patient's id groups images only where there is no lesion id.
    yield ("patient:" + images["patient_id"]).where((images["patient_id"] != "") & (images["lesion_id"] == ""), "")


def _with_decisions(
    decided: pd.DataFrame,
    side_of_key: npt.NDArray[np.int8],
    lookups: Sequence[tuple[pd.Series, npt.NDArray[np.intp]]],
    side_of_image: npt.NDArray[np.int8],
) -> pd.DataFrame:
    """Return the table of decisions with those for the keys of these images, sorted by key.

    It is `decided` itself if nothing changes. lookups: keys, and the row of each in the table (-1 if it has none), aligned
    with side_of_image.
    """
    now = np.full(len(decided), _UNDECIDED, dtype=np.int8)
    added = []
    is_decided = side_of_image != _UNDECIDED
    for keys, row in lookups:
        listed = is_decided & (row >= 0)
        np.minimum.at(now, row[listed], side_of_image[listed])
        missing = is_decided & (row < 0) & (keys != "").to_numpy()
        added.append(pd.DataFrame({"key": keys[missing], "split": side_of_image[missing]}))
    new = pd.concat(added).sort_values(["split", "key"]).drop_duplicates("key")
    changed = (now != _UNDECIDED) & (now != side_of_key)
    if new.empty and not changed.any():
        return decided
    codes = np.concatenate([np.where(changed, now, side_of_key), new["split"].to_numpy()])
    table = pd.DataFrame(
        {"key": pd.concat([decided["key"], new["key"]], ignore_index=True), "split": np.array(_BY_CODE)[codes]}
    )
    return table.astype("str").sort_values("key", ignore_index=True)


def _decide_new(
    images: pd.DataFrame,
    of_image: npt.NDArray[np.intp],
    names: pd.Index,
    side_of_group: npt.NDArray[np.int8],
    held_out_fraction: float,
) -> npt.NDArray[np.int8]:
    """Return the side of each group, with a decision for those of the images' groups that had none.

    of_image: the position of each image's group in names.
    """
    counts = np.bincount(of_image, minlength=len(names))
    dx, label, source = (_first_of_group(images[name], of_image, len(names)) for name in ("dx", "label", "source"))
    strata: dict[tuple[str, str], _Share] = defaultdict(_Share)
    classes: dict[str, _Share] = defaultdict(_Share)
    known = pd.DataFrame(
        {"dx": dx, "label": label, "source": source, "images": counts, "held": counts * (side_of_group == 0)}
    )[(side_of_group != _UNDECIDED) & (counts > 0)]
    for (of_dx, of_source), total, held in known.groupby(["dx", "source"])[["images", "held"]].sum().itertuples():
        strata[of_dx, of_source] = _Share(total, held)
    for of_label, total, held in known.groupby("label")[["images", "held"]].sum().itertuples():
        classes[of_label] = _Share(total, held)
    # By size first: in a mixed order small groups would fill every gap, and few lesions of many images be held out.
    new = np.flatnonzero((side_of_group == _UNDECIDED) & (counts > 0)).tolist()
    new.sort(key=lambda group: (counts[group], hashlib.sha256(str(names[group]).encode()).digest()))
    sides = side_of_group.copy()
    for group in new:
        stratum, of_class = strata[dx[group], source[group]], classes[label[group]]
        count = int(counts[group])
        if of_class.held == 0:
            hold = of_class.total > 0
        else:
            hold = stratum.lacks(count, held_out_fraction) + of_class.lacks(count, held_out_fraction) >= 0
        for share in (stratum, of_class):
            share.add(count, held=hold)
        sides[group] = _BY_CODE.index(HELD_OUT if hold else TRAIN)
    return sides


def _first_of_group(values: pd.Series, of_image: npt.NDArray[np.intp], groups: int) -> npt.NDArray[np.object_]:
    """Return, for each group, the value of its images that sorts first, object (groups,); any for a group without images."""
    codes, distinct = pd.factorize(values, sort=True)
    first = np.full(groups, len(distinct) - 1)
    np.minimum.at(first, of_image, codes)
    values_of_groups: npt.NDArray[np.object_] = np.asarray(distinct, dtype=object)[first]
    return values_of_groups


@dataclass
class _Share:
    """The number of images of a class or a stratum, and how many of them are held out."""

    total: int = 0
    held: int = 0

    def add(self, images: int, *, held: bool) -> None:
        self.total += images
        self.held += images * held

    def lacks(self, images: int, fraction: float) -> float:
        """Return by how much the wanted number of held-out images is missed if half of these are held out.

        At 0 both sides are equally good for them.
        """
        return fraction * (self.total + images) - (self.held + images / 2)
