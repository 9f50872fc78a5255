"""A descriptor of an image in 19 bytes: a perceptual hash whose orientations follow from one, and the mean colour.

The hash is Zauner's pHash, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010): the signs of the
lowest frequencies of the image's cosine transform. A mirror image negates the odd frequencies and a quarter turn swaps
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
from skinlesion.data.images.orientation import ORIENTATIONS

Words = npt.NDArray[np.uint64]

BITS: Final = 128

LEAST_CONTRAST: Final = 2.0
"""Grey levels, standard deviation. The hash of an image with less is that of its noise."""

_SIDE: Final = 48  # pixels; a fourth of the finest wave's length, as in pHash
# Rows and columns below twelve without the constant and the 15 finest: 128 of them, as many with as without a swap.
_ROW, _COLUMN = np.array([(row, column) for row in range(12) for column in range(12) if 0 < row + column <= 17]).T
_SWAPPED = np.lexsort((_ROW, _COLUMN))  # where the frequency (column, row) stands
_WORDS: Final = BITS // 64
_BYTES: Final = BITS // 8 + 3


@dataclass(frozen=True)
class Descriptors:
    """The descriptors of n images: the signs of the hash, uint64 (n, 2), and the mean colour, RGB uint8 (n, 3)."""

    signs: Words
    colour: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.signs)


def descriptor_of(image: Pixels) -> str:
    """Return the descriptor of an image, RGB uint8 (height, width, 3), as 38 hex digits; empty if there is no contrast.

    The aspect ratio is not kept, so an image and its quarter turn have the same frequencies. Ingest stores the descriptor of
    each file: when the computation changes, the column of `examined_files.FILE_COLUMNS` must get another name, so that
    the files are read again.
    """
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    if grey.std() < LEAST_CONTRAST:
        return ""
    signs = cv2.dct(grey.astype(np.float32))[_ROW, _COLUMN] > 0
    colour = np.rint(cv2.mean(image)[:3]).astype(np.uint8)
    return np.packbits(signs).tobytes().hex() + colour.tobytes().hex()


def parse_descriptors(texts: Sequence[str]) -> Descriptors:
    """Return the descriptors that `descriptor_of` wrote. Raises ValueError when a text is none, or empty."""
    content = np.frombuffer(bytes.fromhex("".join(texts)), dtype=np.uint8)
    if content.size != len(texts) * _BYTES:
        raise ValueError(
            f"expected {2 * _BYTES} hex digits for each of {len(texts)} descriptors, got {2 * content.size}"
        )
    rows = content.reshape(-1, _BYTES)
    signs = np.ascontiguousarray(rows[:, : BITS // 8]).view(np.uint64)
    return Descriptors(signs, np.ascontiguousarray(rows[:, BITS // 8 :]))


def orientations(signs: Words) -> Words:
    """Return the hashes of all orientations of the images that have these, uint64 (n, 2) -> (n, 8, 2)."""
    upright = np.unpackbits(signs.view(np.uint8), axis=1).astype(np.bool_)
    all_bits = [
        bits ^ (mirrored & (_COLUMN % 2 == 1)) ^ (upside_down & (_ROW % 2 == 1))
        for bits in (upright, upright[:, _SWAPPED])
        for mirrored in (False, True)
        for upside_down in (False, True)
    ]
    packed = np.packbits(np.stack(all_bits, axis=1), axis=-1)
    return packed.reshape(len(signs), ORIENTATIONS * BITS // 8).view(np.uint64).reshape(-1, ORIENTATIONS, _WORDS)


def distances(known: Words, oriented: Words) -> npt.NDArray[np.uint8]:
    """Return by how many bits each known hash, (n, 2), differs from the nearest of one image's orientations, (8, 2)."""
    differing = np.zeros((ORIENTATIONS, len(known)), dtype=np.uint8)
    for word in range(_WORDS):
        differing += np.bitwise_count(known[:, word] ^ oriented[:, word, None])
    nearest: npt.NDArray[np.uint8] = differing.min(axis=0)
    return nearest
