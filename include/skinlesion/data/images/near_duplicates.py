"""Near-duplicates: pairs of files of other content that show the same picture, each pair looked for once.

A picture is compared with all that were there before it: by perceptual hash and colour, which says which pairs are worth a
look, then by their pixels. What was found and what was compared lies in tables, pairs first, so a run that is killed
compares some pictures again and loses none. They lie in a folder named by the thresholds: with others, all is looked for
anew.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from skinlesion.data.images.file import ImageRefused, Pixels, read_header
from skinlesion.data.images.perceptual_hash import Looks, distances, orientations, parse_looks
from skinlesion.data.images.picture_match import FARTHEST_MOVE, LIKENESS_VERSION, SAME_PICTURE, grey_picture, likeness
from skinlesion.data.settings import DataSettings
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.components import smallest_connected
from skinlesion.foundation.progress import progress
from skinlesion.foundation.settings import fingerprint
from skinlesion.foundation.tables import Columns, empty, read_table, write_table
from skinlesion.foundation.workers import spread

log = logging.getLogger(__name__)

PAIR_COLUMNS: Final = {"first": "str", "second": "str", "likeness": "float32"}
"""Of pairs.parquet: two contents (SHA-256, the first is the smaller) that show one picture, and how alike they are."""

COMPARED_COLUMNS: Final = {"sha256": "str"}
"""Of compared.parquet: the contents that were compared with each other."""

# What is worth a look. Of 212 HAM10000 originals, all re-encoded, turned, mirrored and halved copies differ by up to 10
# bits and 2 grey levels, crops by 3 % on one side by up to 33 and 4, on each side by up to 37 and 11 (99 of 100: 29 and
# 8). Of 50 million pairs in HAM10000, 3,200 are as near as this.
MOST_BITS: Final = 32
MOST_COLOUR: Final = 10
MOST_ASPECT: Final = 1.1
"""Quotient of the two pictures' long side by short side; a crop by 3 % at both ends of a side changes it by 1.064."""

MOST_LOOKED_AT: Final = 32
"""Of the pictures nearest to one, so many are compared by pixels. In a crowd of copies one is enough to join it."""

_CONTENTS_BETWEEN_WRITES: Final = 4096
_HASHES_AT_ONCE: Final = 16_384  # times eight orientations: a megabyte, which a core's cache holds
_PICTURES_KEPT: Final = 4096  # decoded; 12 kB each


class _Pictures(NamedTuple):
    """What is known of each content: SHA-256, a file that holds it, its look, long side by short side. Sorted by green,
    so that the pictures of like colour are neighbours."""

    sha256: list[str]
    file: list[str]
    looks: Looks
    aspect: npt.NDArray[np.float64]


def find_near_duplicates(config: DataSettings, files: pd.DataFrame) -> pd.DataFrame:
    """Give the pairs of contents among these files that show one picture, `PAIR_COLUMNS`, sorted.

    files: columns file (relative to images/), sha256, look, width, height. A file without a look is in no pair. Equal
    files are one content and no pair. Without `near_duplicates` in the config there is none.
    """
    if not config.near_duplicates:
        return empty(PAIR_COLUMNS)
    tables, workers = DuplicateTables(layout.tables(config.dataset, "duplicates")), config.workers_used()
    readable = files[files["look"] != ""].drop_duplicates("sha256")
    pairs: pd.DataFrame
    pairs, compared = tables.read()
    known_at = pd.Index(compared).get_indexer(readable["sha256"])  # isin takes ten times as long
    if config.force:
        known_at[:] = -1
    is_new = known_at < 0
    if not is_new.any() and len(compared) == len(readable):
        return pairs
    contents = pd.Index(readable["sha256"])
    is_here = (contents.get_indexer(pairs["first"]) >= 0) & (contents.get_indexer(pairs["second"]) >= 0)
    found: pd.DataFrame = empty(PAIR_COLUMNS) if config.force else pairs.loc[is_here]
    known = readable.loc[~is_new, "sha256"].tolist()
    pictures, rank = _pictures(readable, is_new)
    todo = np.flatnonzero(rank >= 0)
    todo = todo[np.argsort(rank[todo])]
    read = lru_cache(_PICTURES_KEPT)(partial(_read, folder=layout.images(config.dataset), pictures=pictures))
    # With all pairs first: were those of files that are gone left out while these still count as compared, a kill in
    # between could lose them for ever.
    tables.write(pairs, known)
    tables.write(found, known)
    with progress("compare", len(todo), unit="pictures") as advance:
        for start in range(0, len(todo), _CONTENTS_BETWEEN_WRITES):
            batch = todo[start : start + _CONTENTS_BETWEEN_WRITES].tolist()
            near = spread(partial(_worth_a_look, pictures=pictures, rank=rank), batch, workers=workers, kind="threads")
            candidates: list[tuple[int, int]] = []
            for pairs_of_one in near:
                candidates += pairs_of_one
                advance(1)
            alike = spread(partial(_likeness, read=read), candidates, workers=workers, kind="threads")
            new, lost = _same_pictures(candidates, list(alike), pictures)
            found = pd.concat([found, new]).drop_duplicates(["first", "second"])
            found = found.sort_values(["first", "second"], ignore_index=True)
            known += [pictures.sha256[position] for position in batch if position not in lost]
            tables.write(found, known)
    tables.remove_others()
    return found


def _same_pictures(
    candidates: list[tuple[int, int]], alike: list[float | None], pictures: _Pictures
) -> tuple[pd.DataFrame, set[int]]:
    """Give the pairs that are one picture, and the pictures whose file is no longer what it was."""
    lost = {end for ends, how_alike in zip(candidates, alike, strict=True) if how_alike is None for end in ends}
    rows = [
        (pictures.sha256[one], pictures.sha256[other], how_alike)
        for (one, other), how_alike in zip(candidates, alike, strict=True)
        if how_alike is not None and how_alike >= SAME_PICTURE and not {one, other} & lost
    ]
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS)).astype(PAIR_COLUMNS), lost


def duplicate_sets(contents: pd.Series, pairs: pd.DataFrame) -> pd.Series:
    """Return the name of the set of duplicates that each file content is in, str, aligned.

    It is the smallest SHA-256 that pairs connect the content with. contents: SHA-256, or empty, which stays empty.
    """
    if pairs.empty:
        return contents.astype("str")
    names = np.unique(pairs[["first", "second"]].to_numpy(dtype=object))
    first, second = (np.searchsorted(names, pairs[end].to_numpy(dtype=object)) for end in ("first", "second"))
    set_of = dict(zip(names, names[smallest_connected(first, second, len(names))], strict=True))
    named = contents.map(set_of)
    return named.where(named.notna(), contents).astype("str")


class DuplicateTables:
    """pairs.parquet and compared.parquet, for these thresholds."""

    def __init__(self, folder: Path) -> None:
        thresholds = (MOST_BITS, MOST_COLOUR, MOST_ASPECT, MOST_LOOKED_AT, SAME_PICTURE, FARTHEST_MOVE)
        self._all = folder
        self.folder = folder / fingerprint([*thresholds, LIKENESS_VERSION])

    def read(self) -> tuple[pd.DataFrame, pd.Series]:
        """Give the pairs and the contents that were compared; nothing was compared where the pairs are lost."""
        pairs = self._read("pairs", PAIR_COLUMNS)
        compared = self._read("compared", COMPARED_COLUMNS)
        if pairs is None or compared is None:
            compared = empty(COMPARED_COLUMNS)
        return empty(PAIR_COLUMNS) if pairs is None else pairs, compared["sha256"]

    def write(self, pairs: pd.DataFrame, compared: list[str]) -> None:
        """Write the pairs, then the contents (SHA-256) among which they were looked for."""
        atomic.remove_partials(self.folder)
        write_table(self.folder / "pairs.parquet", pairs, PAIR_COLUMNS)
        write_table(self.folder / "compared.parquet", pd.DataFrame({"sha256": sorted(compared)}), COMPARED_COLUMNS)

    def remove_others(self) -> None:
        """Remove what was found with other thresholds."""
        for folder in self._all.iterdir():
            if folder != self.folder:
                shutil.rmtree(folder, ignore_errors=True)

    def _read(self, name: str, columns: Columns) -> pd.DataFrame | None:
        path = self.folder / f"{name}.parquet"
        try:
            return read_table(path, columns)
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException) as error:
            log.warning("Cannot read %s (%s); the pictures are compared again", path, error)
            return None


def _pictures(readable: pd.DataFrame, is_new: npt.NDArray[np.bool_]) -> tuple[_Pictures, npt.NDArray[np.int64]]:
    """Give the pictures, and of each its place in the order of the new ones, -1 for one that is known."""
    looks = parse_looks(readable["look"].tolist())
    order = np.argsort(looks.colour[:, 1], kind="stable")
    sides = readable[["width", "height"]].to_numpy(dtype=np.float64)
    rank = np.full(len(readable), -1, dtype=np.int64)
    rank[is_new] = np.argsort(np.argsort(readable["sha256"].to_numpy(dtype=object)[is_new]))
    pictures = _Pictures(
        sha256=readable["sha256"].iloc[order].tolist(),
        file=readable["file"].iloc[order].tolist(),
        looks=Looks(looks.signs[order], looks.colour[order]),
        aspect=(sides.max(axis=1) / sides.min(axis=1))[order],
    )
    return pictures, rank[order]


def _worth_a_look(position: int, *, pictures: _Pictures, rank: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Pair this picture with those before it whose look is nearest to its own; known ones come before all new ones."""
    signs, colour = pictures.looks.signs, pictures.looks.colour
    turned = orientations(signs[position : position + 1])[0]
    own, green = colour[position].astype(np.int16), colour[:, 1]
    first = int(np.searchsorted(green, max(0, own[1] - MOST_COLOUR), side="left"))
    last = int(np.searchsorted(green, min(255, own[1] + MOST_COLOUR), side="right"))
    of_name = pictures.sha256.__getitem__
    found = []
    for start in range(first, last, _HASHES_AT_ONCE):
        part = slice(start, min(last, start + _HASHES_AT_ONCE))
        bits = distances(signs[part], turned)
        near = np.flatnonzero((bits <= MOST_BITS) & (rank[part] < rank[position]))
        here = near + start
        is_like = np.abs(colour[here].astype(np.int16) - own).max(axis=1) <= MOST_COLOUR
        is_like &= np.abs(np.log(pictures.aspect[here] / pictures.aspect[position])) <= np.log(MOST_ASPECT)
        found += list(zip(bits[near][is_like].tolist(), here[is_like].tolist(), strict=True))
    nearest = [other for _, other in sorted(found)[:MOST_LOOKED_AT]]
    # Which one is laid on the other changes the likeness by a little; it must not depend on which came first.
    return [(min(position, other, key=of_name), max(position, other, key=of_name)) for other in nearest]


def _likeness(pair: tuple[int, int], *, read: Callable[[int], Pixels | None]) -> float | None:
    """Give how alike the two pictures are; None when one of the files is no longer what it was."""
    try:
        one, other = read(pair[0]), read(pair[1])
    except ImageRefused:  # strictly decoded before, so another decoder's opinion
        return 0.0
    return None if one is None or other is None else likeness(one, other)


def _read(position: int, *, folder: Path, pictures: _Pictures) -> Pixels | None:
    try:
        content = (folder / pictures.file[position]).read_bytes()
    except FileNotFoundError:
        return None
    if hashlib.sha256(content).hexdigest() != pictures.sha256[position]:
        return None
    return grey_picture(content, read_header(content))
