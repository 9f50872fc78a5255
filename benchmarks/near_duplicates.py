"""The search for near-duplicates among many descriptors: what one more costs, and whether it finds what the full search finds.

`python -m benchmarks.near_duplicates`: a million descriptors, 5,000 planted copies of them, turned, mirrored and altered.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from benchmarks.growth import descriptors
from skinlesion.data.images import near_duplicates
from skinlesion.data.images.near_duplicates import MOST_BITS, MOST_CANDIDATES, MOST_COLOUR
from skinlesion.data.images.perceptual_hash import BITS, distances, orientations, parse_descriptors
from skinlesion.foundation.cores import cores_allowed
from skinlesion.foundation.workers import spread


def main(
    known: Annotated[int, typer.Option(help="Descriptors that were there before.")] = 1_000_000,
    copies: Annotated[int, typer.Option(help="Altered copies of some of them, which are new.")] = 5_000,
) -> None:
    """Print the milliseconds of one new image, the pairs found, and in how many images the full search finds others."""
    generator = np.random.default_rng(0)
    looks = descriptors(generator, known)
    looks += [_altered(generator, looks[position]) for position in generator.integers(0, known, copies)]
    table = pd.DataFrame({"look": looks, "width": 224, "height": 224})
    table = table.assign(file=table.index.astype(str), sha256=[f"{number:064x}" for number in range(len(table))])
    contents, rank = near_duplicates._contents(table, (np.arange(len(table)) >= known))
    new = np.flatnonzero(rank >= 0).tolist()
    start = time.process_time()
    found = {one: near_duplicates._candidates(one, contents=contents, rank=rank) for one in new}
    seconds = time.process_time() - start
    typer.echo(f"{1000 * seconds / copies:.2f} ms of processor for one more image at {known:,}")
    start = time.process_time()
    full = spread(partial(_full, contents=contents, rank=rank), new, workers=cores_allowed(), kind="threads")
    others = sum(sorted(found[one]) != sorted(pairs) for one, pairs in zip(new, full, strict=True))
    seconds = time.process_time() - start
    typer.echo(f"{1000 * seconds / copies:.2f} ms for one by the full search")
    typer.echo(
        f"{sum(map(len, found.values())):,} pairs found; {others} of {copies:,} images have other pairs by the full search"
    )


def _altered(generator: np.random.Generator, look: str) -> str:
    """Return the descriptor of a copy: in another orientation, with up to `MOST_BITS` other bits and other colours."""
    found = parse_descriptors([look])
    turned = orientations(found.signs)[0, generator.integers(0, 8)]
    bits = np.unpackbits(turned.view(np.uint8))
    bits[generator.choice(BITS, generator.integers(0, MOST_BITS + 1), replace=False)] ^= 1
    colour = found.colour[0].astype(int) + generator.integers(-MOST_COLOUR, MOST_COLOUR + 1, 3)
    return bytes(np.packbits(bits)).hex() + bytes(np.clip(colour, 0, 255).astype(np.uint8)).hex()


def _full(position: int, contents: near_duplicates._Contents, rank: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of a content with all before it whose hash and colour are near, the nearest ones."""
    bits = distances(contents.signs, orientations(contents.signs[position : position + 1])[0])
    near = np.flatnonzero((bits <= MOST_BITS) & (rank < rank[position]))
    colours = contents.channels[:, near].astype(int) - contents.channels[:, [position]]
    near = near[np.abs(colours).max(axis=0) <= MOST_COLOUR]
    nearest = sorted(zip(bits[near].tolist(), near.tolist(), strict=True))[:MOST_CANDIDATES]
    of_name = contents.sha256.__getitem__
    return [(min(position, one, key=of_name), max(position, one, key=of_name)) for _, one in nearest]


if __name__ == "__main__":
    typer.run(main)
