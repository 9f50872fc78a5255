"""The search among the descriptors finds what comparing all with all finds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from skinlesion.data.images import near_duplicates
from skinlesion.data.images.near_duplicates import MOST_ASPECT, MOST_BITS, MOST_CANDIDATES, MOST_COLOUR
from skinlesion.data.images.perceptual_hash import BITS, distances, orientations, parse_descriptors


def planted(generator: np.random.Generator, count: int, copies: int, spread: float) -> pd.DataFrame:
    """Return contents with descriptors at random, and copies that differ by as much as copies may, or a little more."""
    signs = generator.integers(0, 256, (count, BITS // 8), dtype=np.uint8)
    colours = np.clip(generator.normal((195, 140, 145), spread, (count, 3)), 0, 255).astype(np.int64)
    of = generator.integers(0, count, copies)
    turned = orientations(signs[of].view(np.uint64))[np.arange(copies), generator.integers(0, 8, copies)]
    bits = np.unpackbits(turned.view(np.uint8), axis=1)
    for row, flips in enumerate(generator.integers(0, MOST_BITS + 4, copies)):
        bits[row, generator.choice(BITS, flips, replace=False)] ^= 1
    others = np.clip(colours[of] + generator.integers(-MOST_COLOUR - 2, MOST_COLOUR + 3, (copies, 3)), 0, 255)
    rows = np.vstack(
        [np.hstack([signs, colours.astype(np.uint8)]), np.hstack([np.packbits(bits, axis=1), others.astype(np.uint8)])]
    )
    names = generator.permutation(len(rows))
    return pd.DataFrame(
        {
            "file": [f"{name}.jpg" for name in names],
            "sha256": [f"{name:064x}" for name in names],
            "look": [row.tobytes().hex() for row in rows],
            "width": generator.integers(90, 110, len(rows)),
            "height": 100,
        }
    )


def compared_with_all(table: pd.DataFrame, is_new: np.ndarray) -> set[tuple[str, str]]:
    """Return the pairs that comparing each new content with all others before it gives; the known ones come first."""
    found = parse_descriptors(table["look"].tolist())
    colour, sha256 = found.colour.astype(np.int64), table["sha256"].tolist()
    sides = table[["width", "height"]].to_numpy(dtype=np.float64)
    aspect = sides.max(axis=1) / sides.min(axis=1)
    before = {name: position for position, name in enumerate(sorted(table.loc[is_new, "sha256"]))}
    pairs = set()
    for one in np.flatnonzero(is_new):
        bits = distances(found.signs, orientations(found.signs[one : one + 1])[0])
        near = []
        for other in np.flatnonzero(bits <= MOST_BITS):
            is_before = before.get(sha256[other], -1) < before[sha256[one]]
            is_like = np.abs(colour[other] - colour[one]).max() <= MOST_COLOUR
            if (
                is_before
                and is_like
                and max(aspect[one], aspect[other]) / min(aspect[one], aspect[other]) <= MOST_ASPECT
            ):
                near.append((int(bits[other]), sha256[other]))
        pairs |= {(min(sha256[one], name), max(sha256[one], name)) for _, name in sorted(near)[:MOST_CANDIDATES]}
    return pairs


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spread", [0, 5, 25, 120])
def test_the_search_by_colour_finds_the_pairs_that_comparing_all_finds(seed: int, spread: float) -> None:
    generator = np.random.default_rng(seed)
    table = planted(generator, 300, 60, spread)
    is_new = generator.random(len(table)) < (0.2, 1)[seed % 2]
    contents, rank = near_duplicates._contents(table, is_new)
    found = set()
    for position in np.flatnonzero(rank >= 0):
        for one, other in near_duplicates._candidates(int(position), contents=contents, rank=rank):
            found.add((contents.sha256[one], contents.sha256[other]))
    expected = compared_with_all(table, is_new)
    assert found == expected
    assert expected
