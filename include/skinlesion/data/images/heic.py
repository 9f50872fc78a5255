"""HEIC, the photographs of phones: the primary image of a file, by libheif.

pi-heif's own plugin for Pillow also reads the metadata and depth images of every file that it opens, and damaged ones end the
process there. So only the pixels and the colour profile are asked for here, of pi-heif's binding. libheif turns the image upright.
"""

from __future__ import annotations

from typing import Any, Final

import _pi_heif
from PIL import Image

_THREADS: Final = 1
_P3: Final = 12  # the primaries of Display P3 in ITU-T H.273
_PROFILES: Final = ("rICC", "prof")


class HeicFile:
    """The primary image of a HEIC file. Raises what libheif's binding raises of a file that is none (OSError, ValueError, ...).

    Attributes:
        width: in pixels.
        height: in pixels.
        mode: Pillow's mode: RGB or RGBA.
        profile: its ICC profile, if it has one.
        is_p3: whether it says without a profile that its colours are those of Display P3.
    """

    def __init__(self, content: bytes) -> None:
        # 8 bits a channel; without the bytes that fill up a line; no other decoder; libheif's limits of sizes hold
        images = _pi_heif.load_file(content, _THREADS, True, False, True, True, "", False)
        images = [image for image in images if image is not None]
        if not images:
            raise ValueError("there is no image in it")
        self._image: Any = next((image for image in images if image.primary), images[0])
        (self.width, self.height), self.mode = self._image.size_mode
        colours = self._image.color_profile or {}
        is_icc = colours.get("type") in _PROFILES
        self.profile: bytes | None = bytes(colours["data"]) if is_icc else None
        self.is_p3 = not is_icc and (colours.get("data") or {}).get("color_primaries") == _P3

    def decoded(self) -> Image.Image:
        """Return the image, upright."""
        data = self._image.data
        size, mode = self._image.size_mode
        return Image.frombytes(mode, size, bytes(data), "raw", mode, self._image.stride)


def is_heic(content: bytes) -> bool:
    """Return whether a file is HEIC."""
    return content[4:8] == b"ftyp" and content[8:12] in (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")
