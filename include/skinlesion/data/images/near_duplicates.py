"""Near-duplicates: pairs of files of other content that are one image, each pair compared once.

An image is compared with all that were there before it: by perceptual hash and colour, which finds the candidates, then by
pixels. The pairs and what was compared are in tables, pairs written first, so a run that is killed compares some images
again and loses no pair. The tables are in a folder named by the thresholds: with other thresholds every image is compared
anew.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.images.file import ImageRefused, Pixels, read_header
from skinlesion.data.images.image_match import FARTHEST_MOVE, LEAST_LIKENESS, LIKENESS_VERSION, grey_image, likeness
from skinlesion.data.images.perceptual_hash import Words, distances, orientations, parse_descriptors
from skinlesion.data.settings import DataSettings
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.components import smallest_connected
from skinlesion.foundation.progress import progress
from skinlesion.foundation.regular_file import read_file, reason_of
from skinlesion.foundation.settings import fingerprint
from skinlesion.foundation.tables import Columns, empty, read_table, write_table
from skinlesion.foundation.workers import spread

log = logging.getLogger(__name__)

PAIR_COLUMNS: Final = {"first": "str", "second": "str", "likeness": "float32"}
"""The columns of pairs.parquet: two contents (SHA-256, the smaller one first) that are near-duplicates, and their likeness."""

COMPARED_COLUMNS: Final = {"sha256": "str"}
"""The columns of compared.parquet: the contents that were compared with each other."""

# Which pairs are candidates. Of 212 HAM10000 originals, all re-encoded, turned, mirrored and halved copies differ by up to 10
# bits and 2 grey levels, crops by 3 % on one side by up to 33 and 4, on each side by up to 37 and 11 (99 of 100: 29 and
# 8). Of 50 million pairs in HAM10000, 3,200 are as near as this.
MOST_BITS: Final = 32
MOST_COLOUR: Final = 10
MOST_ASPECT: Final = 1.1
"""Largest quotient of the two images' aspect ratios, long side by short side. A crop by 3 % at both ends of a side changes
the ratio by a factor of 1.064."""

MOST_CANDIDATES: Final = 32
"""Number of images, the nearest ones, with which an image is compared by pixels. One is enough to join many copies."""

_CONTENTS_BETWEEN_WRITES: Final = 4096
_HASHES_AT_ONCE: Final = 16_384  # times eight orientations: a megabyte, which a core's cache holds
_CELL: Final = (
    MOST_COLOUR + 1
)  # grey levels: images of like colour are in the same cell of a channel or in the next one
_CELLS: Final = 255 // _CELL + 1
_IMAGES_KEPT: Final = 4096  # decoded; 12 kB each


class _Contents(NamedTuple):
    """What is known of each content: SHA-256, a file that has it, its hash, its mean red, green and blue, long side by short side.

    They are sorted by the cell of their colour, a cube of red, green and blue. The hashes are no index: a copy may differ by
    32 of 128 bits, so whatever parts of a hash are looked up, of 16 bits all words that differ by 4 would be asked for, 2,517
    of 65,536 in each of eight parts and eight orientations, which is more than all hashes of a million images. The colours of
    two images are alike in one of some twenty to a hundred.

    Attributes:
        channels: uint8 (3, n).
        start: where each cell begins, in the order of the cells, and the end.
    """

    sha256: list[str]
    file: list[str]
    signs: Words
    channels: npt.NDArray[np.uint8]
    aspect: npt.NDArray[np.float64]
    start: npt.NDArray[np.int64]

    def like_in_colour(self, position: int) -> npt.NDArray[np.int64]:
        """Return the positions of the contents, this one too, of which no channel differs by more than `MOST_COLOUR`."""
        own = self.channels[:, position].astype(np.int64)
        low, high = np.maximum(own - MOST_COLOUR, 0), np.minimum(own + MOST_COLOUR, 255)
        (red, green, blue), (last_red, last_green, last_blue) = low // _CELL, high // _CELL
        lowest, width = low.astype(np.uint8), (high - low).astype(np.uint8)
        found = []
        for of_red in range(red, last_red + 1):
            for of_green in range(green, last_green + 1):
                row = (of_red * _CELLS + of_green) * _CELLS
                first, last = self.start[row + blue], self.start[row + last_blue + 1]
                # What is below the lowest becomes large, as these numbers have no sign.
                is_like = self.channels[0, first:last] - lowest[0] <= width[0]
                is_like &= self.channels[1, first:last] - lowest[1] <= width[1]
                is_like &= self.channels[2, first:last] - lowest[2] <= width[2]
                found.append(np.flatnonzero(is_like) + first)
        return np.concatenate(found)


def find_near_duplicates(config: DataSettings, files: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of near-duplicates among the contents of these files, `PAIR_COLUMNS`, sorted.

    Equal files are one content and no pair, and a file without a descriptor is in no pair. Without the setting
    `near_duplicates` there are no pairs.

    files: columns file (relative to images/), sha256, look (the descriptor), width, height.
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
    here = pd.Index(readable["sha256"])
    is_here = (here.get_indexer(pairs["first"]) >= 0) & (here.get_indexer(pairs["second"]) >= 0)
    found: pd.DataFrame = empty(PAIR_COLUMNS) if config.force else pairs.loc[is_here]
    known = readable.loc[~is_new, "sha256"].tolist()
    contents, rank = _contents(readable, is_new)
    todo = np.flatnonzero(rank >= 0)
    todo = todo[np.argsort(rank[todo])]
    read = lru_cache(_IMAGES_KEPT)(
        partial(_read, folder=layout.images(config.dataset), most=config.largest_file, contents=contents)
    )
    # With all pairs first: if the pairs of files that are gone were left out while these files still counted as compared, a
    # kill in between would lose the pairs for ever.
    tables.write(pairs, known)
    tables.write(found, known)
    with progress("compare", len(todo), unit="images") as advance:
        for start in range(0, len(todo), _CONTENTS_BETWEEN_WRITES):
            batch = todo[start : start + _CONTENTS_BETWEEN_WRITES].tolist()
            near = spread(partial(_candidates, contents=contents, rank=rank), batch, workers=workers, kind="threads")
            candidates: list[tuple[int, int]] = []
            for pairs_of_one in near:
                candidates += pairs_of_one
                advance(1)
            alike = spread(partial(_likeness, read=read), candidates, workers=workers, kind="threads")
            new, lost = _pairs_of(candidates, list(alike), contents)
            found = pd.concat([found, new]).drop_duplicates(["first", "second"])
            found = found.sort_values(["first", "second"], ignore_index=True)
            known += [contents.sha256[position] for position in batch if position not in lost]
            tables.write(found, known)
    tables.remove_others()
    return found


def _pairs_of(
    candidates: list[tuple[int, int]], alike: list[float | None], contents: _Contents
) -> tuple[pd.DataFrame, set[int]]:
    """Return the pairs of near-duplicates, and the positions of the contents whose file has changed since."""
    lost = {end for ends, how_alike in zip(candidates, alike, strict=True) if how_alike is None for end in ends}
    rows = [
        (contents.sha256[one], contents.sha256[other], how_alike)
        for (one, other), how_alike in zip(candidates, alike, strict=True)
        if how_alike is not None and how_alike >= LEAST_LIKENESS and not {one, other} & lost
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
    """The tables pairs.parquet and compared.parquet for the present thresholds."""

    def __init__(self, folder: Path) -> None:
        thresholds = (MOST_BITS, MOST_COLOUR, MOST_ASPECT, MOST_CANDIDATES, LEAST_LIKENESS, FARTHEST_MOVE)
        self._all = folder
        self.folder = folder / fingerprint([*thresholds, LIKENESS_VERSION])

    def read(self) -> tuple[pd.DataFrame, pd.Series]:
        """Return the pairs and the contents that were compared; none were compared where the pairs are lost."""
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
        """Remove the tables of other thresholds."""
        for folder in self._all.iterdir():
            if folder != self.folder:
                shutil.rmtree(folder, ignore_errors=True)

    def _read(self, name: str, columns: Columns) -> pd.DataFrame | None:
        path = self.folder / f"{name}.parquet"
        try:
            return read_table(path, columns)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s; the images are compared again", error)
            return None


def _contents(readable: pd.DataFrame, is_new: npt.NDArray[np.bool_]) -> tuple[_Contents, npt.NDArray[np.int64]]:
    """Return the contents, and the rank of each among the new ones, -1 for one that is known."""
    descriptors = parse_descriptors(readable["look"].tolist())
    red, green, blue = (descriptors.colour.astype(np.int64) // _CELL).T
    cell = (red * _CELLS + green) * _CELLS + blue
    order = np.argsort(cell, kind="stable")
    sides = readable[["width", "height"]].to_numpy(dtype=np.float64)
    rank = np.full(len(readable), -1, dtype=np.int64)
    rank[is_new] = np.argsort(np.argsort(readable["sha256"].to_numpy(dtype=object)[is_new]))
    contents = _Contents(
        sha256=readable["sha256"].iloc[order].tolist(),
        file=readable["file"].iloc[order].tolist(),
        signs=descriptors.signs[order],
        channels=np.ascontiguousarray(descriptors.colour[order].T),
        aspect=(sides.max(axis=1) / sides.min(axis=1))[order],
        start=np.searchsorted(cell[order], np.arange(_CELLS**3 + 1)),
    )
    return contents, rank[order]


def _candidates(position: int, *, contents: _Contents, rank: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return this content paired with the contents before it whose descriptors are nearest; known ones come first."""
    signs = contents.signs
    oriented = orientations(signs[position : position + 1])[0]
    like = contents.like_in_colour(position)
    like = like[rank[like] < rank[position]]
    of_name = contents.sha256.__getitem__
    found = []
    for start in range(0, len(like), _HASHES_AT_ONCE):
        here = like[start : start + _HASHES_AT_ONCE]
        bits = distances(signs[here], oriented)
        is_near = bits <= MOST_BITS
        near, here = bits[is_near], here[is_near]
        is_like = np.abs(np.log(contents.aspect[here] / contents.aspect[position])) <= np.log(MOST_ASPECT)
        found += list(zip(near[is_like].tolist(), here[is_like].tolist(), strict=True))
    nearest = [other for _, other in sorted(found)[:MOST_CANDIDATES]]
    # The likeness depends a little on which of the two is registered to the other, so that must not depend on the order of
    # arrival.
    return [(min(position, other, key=of_name), max(position, other, key=of_name)) for other in nearest]


def _likeness(pair: tuple[int, int], *, read: Callable[[int], Pixels | None]) -> float | None:
    """Return the likeness of the two images; None when the file of one has changed since it was examined."""
    try:
        one, other = read(pair[0]), read(pair[1])
    except ImageRefused:  # it passed strict decoding before, so the decoders disagree
        return 0.0
    return None if one is None or other is None else likeness(one, other)


def _read(position: int, *, folder: Path, most: int, contents: _Contents) -> Pixels | None:
    try:
        content = read_file(folder / contents.file[position], most=most)
    except OSError as error:
        reason_of(error)
        return None
    if sha256_of(content) != contents.sha256[position]:
        return None
    return grey_image(content, read_header(content))
