"""A picture's look in 19 bytes: a perceptual hash that turns and mirrors with its picture, and its mean colour.

The hash is Zauner's pHash, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010): the signs of the
lowest frequencies of the picture's cosine transform. A mirror image negates the odd frequencies and a quarter turn swaps
rows and columns, so the hashes of all eight orientations follow from the bits of one. That needs zero as the threshold;
the usual implementations (imagehash.phash) take the median, and lose up to 28 of 144 bits to a mirror where this one
loses 4, at six times the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from skinlesion.data.images.file import Pixels

Words = npt.NDArray[np.uint64]

BITS: Final = 128

ORIENTATIONS: Final = 8
"""Four quarter turns, each also mirrored."""

LEAST_CONTRAST: Final = 2.0
"""Grey levels, standard deviation. The hash of a picture with less is that of its noise."""

_SIDE: Final = 48  # pixels; a fourth of the finest wave's length, as in pHash
# Rows and columns below twelve without the constant and the 15 finest: 128 of them, as many with as without a swap.
_ROW, _COLUMN = np.array([(row, column) for row in range(12) for column in range(12) if 0 < row + column <= 17]).T
_SWAPPED = np.lexsort((_ROW, _COLUMN))  # where the frequency (column, row) stands
_WORDS: Final = BITS // 64
_BYTES: Final = BITS // 8 + 3


@dataclass(frozen=True)
class Looks:
    """Of n pictures: the signs of the hash, uint64 (n, 2), and the mean colour, RGB uint8 (n, 3)."""

    signs: Words
    colour: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.signs)


def look_of(picture: Pixels) -> str:
    """Give the look of a picture, RGB uint8 (height, width, 3), as 38 hex digits; empty where there is no contrast.

    The aspect is not kept, so a picture and its quarter turn have the same frequencies. Ingest stores the look beside each
    file: where another one is computed here, its column there must get another name, so that the files are read again.
    """
    grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    if grey.std() < LEAST_CONTRAST:
        return ""
    signs = cv2.dct(grey.astype(np.float32))[_ROW, _COLUMN] > 0
    colour = np.rint(cv2.mean(picture)[:3]).astype(np.uint8)
    return np.packbits(signs).tobytes().hex() + colour.tobytes().hex()


def parse_looks(looks: Sequence[str]) -> Looks:
    """Give the looks that `look_of` wrote, none of them empty. Raises ValueError when one is something else."""
    content = np.frombuffer(bytes.fromhex("".join(looks)), dtype=np.uint8)
    if content.size != len(looks) * _BYTES:
        raise ValueError(f"expected {2 * _BYTES} hex digits for each of {len(looks)} looks, got {2 * content.size}")
    rows = content.reshape(-1, _BYTES)
    signs = np.ascontiguousarray(rows[:, : BITS // 8]).view(np.uint64)
    return Looks(signs, np.ascontiguousarray(rows[:, BITS // 8 :]))


def orientations(signs: Words) -> Words:
    """Give the hashes of the eight orientations of the pictures with these: uint64 (n, 2) -> (n, 8, 2)."""
    upright = np.unpackbits(signs.view(np.uint8), axis=1).astype(np.bool_)
    turned = [
        bits ^ (mirrored & (_COLUMN % 2 == 1)) ^ (upside_down & (_ROW % 2 == 1))
        for bits in (upright, upright[:, _SWAPPED])
        for mirrored in (False, True)
        for upside_down in (False, True)
    ]
    packed = np.packbits(np.stack(turned, axis=1), axis=-1)
    return packed.reshape(len(signs), ORIENTATIONS * BITS // 8).view(np.uint64).reshape(-1, ORIENTATIONS, _WORDS)


def distances(known: Words, turned: Words) -> npt.NDArray[np.uint8]:
    """Give by how many bits each known hash, (n, 2), differs from the nearest of one picture's orientations, (8, 2)."""
    differing = np.zeros((ORIENTATIONS, len(known)), dtype=np.uint8)
    for word in range(_WORDS):
        differing += np.bitwise_count(known[:, word] ^ turned[:, word, None])
    nearest: npt.NDArray[np.uint8] = differing.min(axis=0)
    return nearest
