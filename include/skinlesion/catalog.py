"""The data contract: one row an image, its group of pictures of one lesion, its side of the split."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from skinlesion.bucket_table import read_table, write_table
from skinlesion.diagnosis import LABELS
from skinlesion.errors import DataError, LeakError
from skinlesion.picture_name import picture_of

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
    A class's second lesion is held out, so that every class with two lesions is measured. When groups turn out to be one (a lesion id added later, equal files),
    held-out wins: the training copies leave training, since what was seen in training can be dropped but not unseen.
    """
    keys = _keys(images if set_aside is None else pd.concat([images, set_aside]))
    known = keys.merge(decided, on="key", how="inner").groupby("group")["split"].min()  # "held_out" < "train"
    sides = {str(group): str(side) for group, side in known.items()}
    sides.update(_decide_new(images, sides, held_out_fraction))
    split = images["group"].map(sides).astype("str")
    new = pd.DataFrame({"key": keys["key"], "split": keys["group"].map(sides)}).dropna().drop_duplicates("key")
    kept = decided[~decided["key"].isin(new["key"])]
    table = pd.concat([kept, new]).astype("str").sort_values("key", ignore_index=True)
    return split, table


def _keys(images: pd.DataFrame) -> pd.DataFrame:
    """Give the keys by which an image's side is known again: columns group, key."""
    names = [
        "image:" + images["image"],
        "image:" + picture_of(images["image"]),  # its smaller copy is known again
        "file:" + images["sha256"],  # a renamed file is known again
        ("lesion:" + images["lesion_id"]).where(images["lesion_id"] != "", ""),
        # A patient's id groups pictures only where there is no lesion id.
        ("patient:" + images["patient_id"]).where((images["patient_id"] != "") & (images["lesion_id"] == ""), ""),
    ]
    keys = pd.DataFrame({"group": np.tile(images["group"].to_numpy(), len(names)), "key": pd.concat(names).to_numpy()})
    return keys[keys["key"] != ""]


def _decide_new(images: pd.DataFrame, sides: dict[str, str], held_out_fraction: float) -> dict[str, str]:
    groups = images.groupby("group", sort=True).agg(
        images=("image", "size"), dx=("dx", "min"), label=("label", "min"), source=("source", "min")
    )
    is_known = groups.index.isin(list(sides))
    new = groups[~is_known]
    if new.empty:
        return {}
    strata: dict[tuple[str, str], _Share] = defaultdict(_Share)
    classes: dict[str, _Share] = defaultdict(_Share)
    for name, count, dx, label, source in groups[is_known].itertuples():
        for share in (strata[dx, source], classes[label]):
            share.add(count, held=sides[name] == HELD_OUT)
    # By size first: among mixed sizes small groups would fill every gap, and few lesions of many views be held out.
    order = sorted(new.itertuples(), key=lambda g: (g.images, hashlib.sha256(str(g.Index).encode()).digest()))
    decided: dict[str, str] = {}
    for name, count, dx, label, source in order:
        stratum, of_class = strata[dx, source], classes[label]
        if of_class.held == 0:
            hold = of_class.total > 0
        else:
            hold = stratum.lacks(count, held_out_fraction) + of_class.lacks(count, held_out_fraction) >= 0
        for share in (stratum, of_class):
            share.add(count, held=hold)
        decided[str(name)] = HELD_OUT if hold else TRAIN
    return decided


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
