"""Which pictures a model learnt from: hashes that travel with it, without names, so that an answer about one of them says so.

A model knows the pictures that it learnt from, so what it says about one of them shows nothing of what it does on others.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

import numpy as np
import numpy.typing as npt

from skinlesion.data.images.file import Pixels
from skinlesion.data.images.perceptual_hash import (
    Descriptors,
    descriptor_of,
    distances,
    orientations,
    parse_descriptors,
)
from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError

Learnt = Literal["same file", "nearly the same picture", "no", ""]
"""Whether a model learnt from a picture; empty where its files do not tell."""

SENTENCES: Final[dict[Learnt, str]] = {
    "same file": "This picture was among those that the model learnt from: the answer does not show what it does on others.",
    "nearly the same picture": "A picture nearly the same as this one was among those that the model learnt from: the answer "
    "does not show what it does on others.",
    "no": "",
    "": "",
}

MOST_BITS: Final = 16
MOST_COLOUR: Final = 4
"""Bits of the perceptual hash and grey levels of the mean colour by which pictures may differ that are nearly the same. Re-encoded,
turned, mirrored and halved copies differ by at most 10 and 2. Of 1,500 images of HAM10000 none is as near to an image of another
lesion, and 12 are to one of the same lesion."""


@dataclass(frozen=True)
class LearntPictures:
    """The pictures that a model learnt from.

    Attributes:
        contents: uint64 (n,), sorted: the beginnings of the files' SHA-256.
        descriptors: of the pictures that have one.
    """

    contents: npt.NDArray[np.uint64]
    descriptors: Descriptors

    @classmethod
    def of(cls, sha256: Iterable[str], looks: Iterable[str]) -> Self:
        """Return pictures by the SHA-256 of their files and by their descriptors, of which some may be empty."""
        contents = np.array(sorted({int(one[:16], 16) for one in sha256}), dtype=np.uint64)
        return cls(contents, parse_descriptors(sorted({look for look in looks if look})))

    def of_picture(self, sha256: str, pixels: Pixels) -> Learnt:
        """Return whether a picture is one of these. sha256: of its file, in hex digits; pixels: RGB uint8, of any size."""
        key = np.uint64(int(sha256[:16], 16))
        at = int(np.searchsorted(self.contents, key))
        if at < len(self.contents) and self.contents[at] == key:
            return "same file"
        look = descriptor_of(pixels)
        if not look or not len(self.descriptors):
            return "no"
        seen = parse_descriptors([look])
        colours = self.descriptors.colour.astype(np.int16) - seen.colour.astype(np.int16)
        near = np.abs(colours).max(axis=1) <= MOST_COLOUR
        bits = distances(self.descriptors.signs[near], orientations(seen.signs)[0])
        return "nearly the same picture" if (bits <= MOST_BITS).any() else "no"

    def write(self, path: Path) -> None:
        """Write them as an .npz file, whole or not at all."""
        with atomic.replacing(path) as partial, partial.open("wb") as file:
            np.savez(
                file,
                allow_pickle=False,
                contents=self.contents,
                signs=self.descriptors.signs,
                colour=self.descriptors.colour,
            )

    @classmethod
    def read(cls, content: bytes, where: str) -> Self:
        """Return what `write` wrote. Raises DataError that names `where` if it is damaged."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                signs, colour = arrays["signs"].astype(np.uint64), arrays["colour"].astype(np.uint8)
                found = cls(
                    arrays["contents"].astype(np.uint64), Descriptors(signs.reshape(-1, 2), colour.reshape(-1, 3))
                )
        except Exception as error:  # NumPy raises errors of the zip file, of the array and of its name
            raise DataError(
                f"{where} cannot be read ({error}): expected the hashes of the pictures that the model learnt from. If the "
                "pipeline wrote the file, train again with `force`."
            ) from None
        if len(found.descriptors.signs) != len(found.descriptors.colour):
            raise DataError(f"{where} does not fit: its hashes and colours are not of the same pictures.")
        return found
