"""The data contract: one row an image, its group of pictures of one lesion, its side of the split."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.labels.classes import LABELS
from skinlesion.data.labels.diagnosis import is_recognised
from skinlesion.data.labels.picture_name import picture_of
from skinlesion.foundation.errors import DataError, LeakError
from skinlesion.foundation.tables import read_table, write_table

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

TRAIN: Final = "train"
HELD_OUT: Final = "held_out"
SPLITS: Final = (TRAIN, HELD_OUT)

COLUMNS: Final = {
    "image": "str",
    "file": "str",
    "sha256": "str",
    "size": "int64",
    "width": "int32",
    "height": "int32",
    "format": "str",
    "dx": "str",
    "label": "str",
    "lesion_id": "str",
    "patient_id": "str",
    "group": "str",
    "split": "str",
    "age": "float64",
    "sex": "str",
    "site": "str",
    "source": "str",
    "refused": "str",
}
"""Of catalog.parquet, sorted by image. `file` is relative to images/; `refused` is the reason, empty for an accepted
image; text that is not known is empty, numbers are 0 (age: NaN)."""

SPLIT_COLUMNS: Final = {"key": "str", "split": "str"}
"""Of split.parquet: every lesion, patient, image name and file content that was ever given a side keeps it."""


def catalog_path(dataset: Path) -> Path:
    """Give the path of the catalog of a dataset."""
    return dataset / "catalog.parquet"


def split_path(dataset: Path) -> Path:
    """Give the path of the table of decided sides."""
    return dataset / "split.parquet"


def read_catalog(dataset: Path) -> pd.DataFrame:
    """Read the catalog, columns `COLUMNS`. Raises DataError when ingest has not written one."""
    path = catalog_path(dataset)
    if not path.is_file():
        raise DataError(f"{path} is missing: expected the catalog that `skinlesion ingest` writes. Run ingest first.")
    return read_table(path, COLUMNS)


def write_catalog(dataset: Path, catalog: pd.DataFrame) -> bool:
    """Check the catalog against its contract and write it if it changed; tell whether it was written."""
    schema().validate(catalog, lazy=True)
    require_no_leak(catalog[catalog["refused"] == ""], ["group", "sha256"])
    return write_table(catalog_path(dataset), catalog, COLUMNS)


def accepted(catalog: pd.DataFrame) -> pd.DataFrame:
    """Give the rows that were not refused."""
    return catalog[catalog["refused"] == ""]


def data_version(catalog: pd.DataFrame) -> str:
    """Give 16 hex digits that name the accepted images, their labels and their sides."""
    rows = pd.util.hash_pandas_object(accepted(catalog)[["image", "sha256", "label", "split"]], index=False)
    return hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()[:16]


def schema() -> DataFrameSchema:
    """Give the contract of the catalog as a pandera schema."""
    import pandera.pandas as pa

    is_accepted_consistent = pa.Check(
        lambda table: (table["refused"] != "") | ((table["sha256"] != "") & table["split"].isin(SPLITS)),
        error="an accepted image has a hash and a side",
    )
    return pa.DataFrameSchema(
        {
            "image": pa.Column("str", pa.Check.str_length(min_value=1), unique=True),
            "label": pa.Column("str", pa.Check.isin(LABELS)),
            "split": pa.Column("str", pa.Check.isin((*SPLITS, ""))),
            **{
                name: pa.Column(dtype)
                for name, dtype in COLUMNS.items()
                if name not in ("image", "label", "split", "age")
            },
            "age": pa.Column("float64", pa.Check.in_range(0, 130), nullable=True),
        },
        checks=is_accepted_consistent,
        ordered=False,
        strict=True,
    )


def on_both_sides(rows: pd.DataFrame, key: str) -> list[str]:
    """Give the values of a key column that occur on both sides of the split, sorted; empty values are not compared.

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


def assign_groups(images: pd.DataFrame, pictures: pd.Series | None = None) -> pd.Series:
    """Give each image the name of its group: its lesion, else its patient, else itself; equal pictures are one group.

    An image and its smaller copy (`_downsampled`) count as one where they have no lesion and no patient.

    images: columns image, lesion_id, patient_id, sha256. pictures: the name of the picture each shows, aligned; without
    it each file content is one. Returns str, aligned with the rows.
    """
    own = pd.Series(
        np.where(
            images["lesion_id"] != "",
            "lesion:" + images["lesion_id"],
            np.where(
                images["patient_id"] != "", "patient:" + images["patient_id"], "image:" + picture_of(images["image"])
            ),
        ),
        index=images.index,
    )
    return _join(own, images["sha256"] if pictures is None else pictures)


def _join(groups: pd.Series, links: pd.Series) -> pd.Series:
    """Give each row the smallest group name that it is connected to through equal links."""
    linked = links.duplicated(keep=False) & (links != "")
    if not linked.any():
        return groups
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    group_codes, names = pd.factorize(groups, sort=True)
    link_codes, _ = pd.factorize(links[linked])
    size = len(names) + link_codes.max() + 1
    edges = (np.ones(linked.sum(), dtype=bool), (group_codes[linked.to_numpy()], len(names) + link_codes))
    _, component = connected_components(coo_array(edges, shape=(size, size)), directed=False)
    component = component[: len(names)]
    # Names are sorted, so the first of a component is its smallest.
    _, first = np.unique(component, return_index=True)
    smallest = np.asarray(names)[first][np.unique(component, return_inverse=True)[1]]
    return pd.Series(smallest[group_codes], index=groups.index, dtype="str")


def assign_sides(
    images: pd.DataFrame, decided: pd.DataFrame, held_out_fraction: float, set_aside: pd.DataFrame | None = None
) -> tuple[pd.Series, pd.DataFrame]:
    """Decide the side of every group that has none yet; what was decided stays.

    images: columns image, group, lesion_id, patient_id, sha256, dx, label, source. decided: `SPLIT_COLUMNS`. set_aside: images
    that are not used now, columns as images: they count for no share, but their group keeps their side, and they its. Gives
    the side of each row of images, and the table of decisions with the new ones, sorted by key.

    New groups are taken by their number of images, then a hash of their name, and each goes to the side that keeps the
    held-out share of its diagnosis x source, and with it that of its class, nearest to the wanted one, counted in images.
    A class's second lesion is held out, so that every class with two lesions is measured. When groups turn out to be one (a lesion id added later, equal pictures),
    held-out wins: the training copies leave training, since what was seen in training can be dropped but not unseen.
    """
    everyone = images if set_aside is None else pd.concat([images, set_aside])
    of_image, names = pd.factorize(everyone["group"])
    known_keys, side_of_key = pd.Index(decided["key"]), _side_codes(decided["split"])
    # Where each key stands among the decided ones. Looked up kind by kind: a table of all keys of a million images
    # takes two gigabytes.
    lookups = [(keys, known_keys.get_indexer(pd.Index(keys))) for keys in _keys(everyone)]
    side_of_group = np.full(len(names), _UNDECIDED, dtype=np.int8)
    for _, place in lookups:
        known = place >= 0
        np.minimum.at(side_of_group, of_image[known], side_of_key[place[known]])
    used = of_image[: len(images)]
    is_new = side_of_group == _UNDECIDED
    if is_new[used].any():
        side_of_group = _decide_new(images, used, names, side_of_group, held_out_fraction)
    split = pd.Series(np.array(_BY_CODE)[side_of_group[used]], index=images.index, dtype="str")
    return split, _with_decisions(decided, side_of_key, lookups, side_of_group[of_image])


_BY_CODE: Final = (HELD_OUT, TRAIN)
"""Sides as numbers: of two that were decided for one group, the smaller one wins."""

_UNDECIDED: Final = len(_BY_CODE)


def _side_codes(split: pd.Series) -> npt.NDArray[np.int8]:
    codes: npt.NDArray[np.int8] = (split.to_numpy() != HELD_OUT).astype(np.int8)
    return codes


def _keys(images: pd.DataFrame) -> Iterator[pd.Series]:
    """Give, kind by kind, the keys by which an image's side is known again, aligned with the rows; empty for none."""
    yield "image:" + images["image"]
    picture = picture_of(images["image"])  # its smaller copy is known again
    yield ("image:" + picture).where(picture != images["image"], "")
    yield "file:" + images["sha256"]  # a renamed file is known again
    yield ("lesion:" + images["lesion_id"]).where(images["lesion_id"] != "", "")
    # A patient's id groups pictures only where there is no lesion id.
    yield ("patient:" + images["patient_id"]).where((images["patient_id"] != "") & (images["lesion_id"] == ""), "")


def _with_decisions(
    decided: pd.DataFrame,
    side_of_key: npt.NDArray[np.int8],
    lookups: Sequence[tuple[pd.Series, npt.NDArray[np.intp]]],
    side_of_image: npt.NDArray[np.int8],
) -> pd.DataFrame:
    """Give the table of decisions with those of these images' keys, sorted by key; the very table if it says so already.

    lookups: keys, and where each stands in the table (-1: nowhere); aligned with side_of_image.
    """
    now = np.full(len(decided), _UNDECIDED, dtype=np.int8)
    added = []
    is_decided = side_of_image != _UNDECIDED
    for keys, place in lookups:
        listed = is_decided & (place >= 0)
        np.minimum.at(now, place[listed], side_of_image[listed])
        missing = is_decided & (place < 0) & (keys != "").to_numpy()
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
    """Give the sides with those of the images' groups that had none. of_image: the place of each image's group in names."""
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
    # By size first: among mixed sizes small groups would fill every gap, and few lesions of many views be held out.
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
    """Give the value of each group's images that sorts first, object (groups,); of a group without images, any."""
    codes, distinct = pd.factorize(values, sort=True)
    first = np.full(groups, len(distinct) - 1)
    np.minimum.at(first, of_image, codes)
    values_of_groups: npt.NDArray[np.object_] = np.asarray(distinct, dtype=object)[first]
    return values_of_groups


@dataclass
class _Share:
    """Images of a class or a stratum, and how many of them are held out."""

    total: int = 0
    held: int = 0

    def add(self, images: int, *, held: bool) -> None:
        self.total += images
        self.held += images * held

    def lacks(self, images: int, fraction: float) -> float:
        """Give by how much the wanted number of held-out images is missed if half of these are: 0 is a toss-up."""
        return fraction * (self.total + images) - (self.held + images / 2)


def is_unmapped(dx: pd.Series) -> pd.Series:
    """Tell of each diagnosis whether it became `unknown` because nobody knows the code."""
    return ~dx.map({code: is_recognised(code) for code in dx.unique()}).astype(bool)
