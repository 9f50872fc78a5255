"""The last accepted catalog, and what its pictures look like: what a new catalog is compared with."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from skinlesion.data import catalog as contract
from skinlesion.data.checks import distribution
from skinlesion.data.checks.distribution import Counts
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.tables import read_table

log = logging.getLogger(__name__)

COMPARED: Final = ("image", "file", "sha256", "label", "split", "source", "refused")
"""Columns of the accepted catalog that the checks look at."""

SOURCES_KEPT: Final = 100
"""Sources with pictures of their own; the rest are kept together, so that a free-text column fills no disk."""

OTHERS: Final = "(other sources)"
"""Stands for the sources that are too small to be judged alone."""

VERSION: Final = 1


@dataclass(frozen=True)
class Look:
    """What the pictures of a source look like: all of them, and those that looked otherwise when a person accepted them."""

    all: dict[str, Counts] = field(default_factory=distribution.nothing)
    excused: dict[str, Counts] = field(default_factory=distribution.nothing)


@dataclass(frozen=True)
class AcceptedData:
    """The catalog in force.

    Attributes:
        version: its data version.
        rows: its accepted rows, columns `COMPARED`.
        contents: SHA-256 of every file that it knows, refused ones too.
        looks: by source; empty where they are not stored.
    """

    version: str
    rows: pd.DataFrame
    contents: pd.Series
    looks: dict[str, Look]


def read_accepted(dataset: Path) -> AcceptedData | None:
    """Give what a new catalog is compared with; None where there is none, or none that can be read."""
    path = layout.catalog(dataset)
    if not path.is_file():
        return None
    try:
        rows = read_table(path, {name: contract.COLUMNS[name] for name in COMPARED})
    except (OSError, ValueError, pa.ArrowException) as error:
        log.warning("%s cannot be read (%s): there is nothing to compare the new catalog with", path, error)
        return None
    version = contract.data_version(rows)
    accepted = contract.accepted(rows).reset_index(drop=True)
    return AcceptedData(version, accepted, rows["sha256"], _read_looks(_path(dataset, version)))


def is_in_force(dataset: Path, catalog: pd.DataFrame) -> bool:
    """Tell whether this is the catalog in force. That is read column by column: two would not be held in memory."""
    path = layout.catalog(dataset)
    try:
        return path.is_file() and all(
            read_table(path, {name: dtype})[name].equals(catalog[name]) for name, dtype in contract.COLUMNS.items()
        )
    except (OSError, ValueError, pa.ArrowException):
        return False


def is_among(values: pd.Series, others: pd.Series) -> pd.Series:
    """Tell of each text whether it is one of the others. `Series.isin` takes seconds for a million texts."""
    wanted, found = (pa.chunked_array(pa.array(texts.astype("str"), pa.large_string())) for texts in (values, others))
    return pd.Series(pc.is_in(wanted, found.combine_chunks()).to_numpy(), index=values.index)


def looks_of(images: pd.DataFrame, excused: pd.Series, before: dict[str, Look]) -> dict[str, Look]:
    """Give the look of each source once these images are accepted.

    images: a column `source` and what `distribution.count` needs. excused: of each image, whether it came in a night of
    which a person accepted the look; a source without such images keeps those of before. A night that passed by itself
    excuses nothing: the looks could creep away night by night.
    """
    sources = images["source"].value_counts()
    kept = set(sources.index[:SOURCES_KEPT])
    source = images["source"].where(images["source"].isin(kept), OTHERS)
    looks = {}
    for name, part in images.groupby(source, sort=True):
        odd = part[excused.loc[part.index]]
        known = distribution.count(odd) if len(odd) else before.get(str(name), Look()).excused
        looks[str(name)] = Look(distribution.count(part), known)
    return looks


def write_looks(dataset: Path, version: str, looks: dict[str, Look], accepted: AcceptedData | None) -> None:
    """Write the looks of a new catalog under its data version, before the catalog itself; those in force stay.

    So the looks of the catalog in force are there, whenever the process is killed.
    """
    stored = {
        source: {"all": distribution.as_json(look.all), "excused": distribution.as_json(look.excused)}
        for source, look in looks.items()
    }
    path = _path(dataset, version)
    atomic.write_if_changed(path, json.dumps({"version": VERSION, "sources": stored}).encode())
    needed = {path, *([_path(dataset, accepted.version)] if accepted else [])}
    for other in set(path.parent.glob("*.json")) - needed:
        other.unlink(missing_ok=True)
    atomic.remove_partials(path.parent)


def _read_looks(path: Path) -> dict[str, Look]:
    try:
        stored = json.loads(path.read_text())
        if stored["version"] != VERSION:
            return {}
        return {
            source: Look(distribution.from_json(look["all"]), distribution.from_json(look["excused"]))
            for source, look in stored["sources"].items()
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _path(dataset: Path, version: str) -> Path:
    return layout.tables(dataset, "data_checks") / f"{version}.json"
