"""The last accepted catalog and the appearance of its images: what a new catalog is compared with."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field

from skinlesion.data import catalog as contract
from skinlesion.data.checks import distribution
from skinlesion.data.checks.distribution import Counts
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import Record, RecordPart
from skinlesion.foundation.tables import DamagedTable, read_table

log = logging.getLogger(__name__)

COMPARED: Final = ("image", "file", "sha256", "label", "split", "source", "refused")
"""The columns of the accepted catalog that the checks read."""

SOURCES_KEPT: Final = 100
"""Number of sources whose appearance is kept; the rest is kept together, so that a free-text column fills no disk."""

OTHERS: Final = "(other sources)"
"""Stands for the sources that are too small to be judged alone."""


Distributions = Annotated[dict[str, Counts], AfterValidator(distribution.of_these_bins)]
"""The number of images in each bin, by property."""


class Appearance(RecordPart):
    """The distributions of the properties of a source's images.

    Attributes:
        all: of all images.
        excused: of those that looked different when a person accepted them.
    """

    all: Distributions = Field(default_factory=distribution.nothing)
    excused: Distributions = Field(default_factory=distribution.nothing)


class Appearances(Record):
    """The appearance of each source of a catalog: tables/data_checks/<data version>.json."""

    sources: dict[str, Appearance]


@dataclass(frozen=True)
class AcceptedData:
    """The catalog in force.

    Attributes:
        version: its data version.
        rows: its accepted rows, columns `COMPARED`.
        contents: SHA-256 of every file that it has, refused ones too.
        appearances: by source; empty where they are not stored.
    """

    version: str
    rows: pd.DataFrame
    contents: pd.Series
    appearances: dict[str, Appearance]


def read_accepted(dataset: Path) -> AcceptedData | None:
    """Return what a new catalog is compared with; None where there is no catalog.

    Raises DataError for a damaged one: data that nothing is compared with would pass.
    """
    try:
        rows = read_table(layout.catalog(dataset), {name: contract.COLUMNS[name] for name in COMPARED})
    except FileNotFoundError:
        return None
    except DamagedTable as error:
        raise contract.damaged(error) from None
    version = contract.data_version(rows)
    accepted = contract.accepted(rows).reset_index(drop=True)
    return AcceptedData(version, accepted, rows["sha256"], _read_appearances(_path(dataset, version)))


def is_in_force(dataset: Path, catalog: pd.DataFrame) -> bool:
    """Return whether this is the catalog in force, which is read column by column to hold no second one in memory."""
    path = layout.catalog(dataset)
    try:
        return all(
            read_table(path, {name: dtype})[name].equals(catalog[name]) for name, dtype in contract.COLUMNS.items()
        )
    except OSError:
        return False


def is_among(values: pd.Series, others: pd.Series) -> pd.Series:
    """Return, for each text, whether it is one of the others. `Series.isin` takes seconds for a million texts."""
    wanted, found = (pa.chunked_array(pa.array(texts.astype("str"), pa.large_string())) for texts in (values, others))
    return pd.Series(pc.is_in(wanted, found.combine_chunks()).to_numpy(), index=values.index)


def appearances_of(images: pd.DataFrame, excused: pd.Series, before: dict[str, Appearance]) -> dict[str, Appearance]:
    """Return the appearance of each source once these images are accepted.

    A night that passed by itself excuses nothing: the appearance could drift away night by night.

    images: a column `source` and the columns that `distribution.count` needs. excused: for each image, whether it came in a
    night whose appearance a person accepted; a source without such images keeps those of `before`.
    """
    sources = images["source"].value_counts()
    kept = set(sources.index[:SOURCES_KEPT])
    source = images["source"].where(images["source"].isin(kept), OTHERS)
    appearances = {}
    for name, part in images.groupby(source, sort=True):
        odd = part[excused.loc[part.index]]
        known = distribution.count(odd) if len(odd) else before.get(str(name), Appearance()).excused
        appearances[str(name)] = Appearance(all=distribution.count(part), excused=known)
    return appearances


def write_appearances(
    dataset: Path, version: str, appearances: dict[str, Appearance], accepted: AcceptedData | None
) -> None:
    """Write the appearances of a new catalog under its data version, before the catalog itself; those in force stay.

    So the appearances of the catalog in force are there whenever the process is killed.
    """
    path = _path(dataset, version)
    atomic.write_if_changed(path, Appearances(sources=appearances).line().encode())
    needed = {path, *([_path(dataset, accepted.version)] if accepted else [])}
    for other in set(path.parent.glob("*.json")) - needed:
        other.unlink(missing_ok=True)
    atomic.remove_partials(path.parent)


def _read_appearances(path: Path) -> dict[str, Appearance]:
    try:
        return Appearances.read(path).sources
    except FileNotFoundError:
        return {}
    except (OSError, DataError) as error:
        log.warning("%s cannot be read (%s): new images are compared with the accepted files themselves", path, error)
        return {}


def _path(dataset: Path, version: str) -> Path:
    return layout.tables(dataset, "data_checks") / f"{version}.json"
