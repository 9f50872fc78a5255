"""ICC profiles for tests, and what a second implementation makes of colours."""

from __future__ import annotations

import io
import struct
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import ImageCms

from skinlesion.data.images.colour import Pixels, matrix_profile

ADOBE: Final = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
P3: Final = (0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
SRGB_PRIMARIES: Final = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
ADOBE_RGB: Final = matrix_profile("Adobe RGB (1998)", ADOBE, 563 / 256)
DISPLAY_P3: Final = matrix_profile("Display P3", P3, None)
SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def by_formula(pixels: Pixels, primaries: tuple[float, ...], gamma: float | None) -> npt.NDArray[np.float64]:
    """Return pixels of a colour space with sRGB's white in sRGB, 0..255, by the formulas of IEC 61966-2-1."""

    def to_xyz(of: tuple[float, ...]) -> npt.NDArray[np.float64]:
        white, *colours = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in zip(of[::2], of[1::2], strict=True))
        columns = np.array(colours).T
        return np.asarray(columns * np.linalg.solve(columns, white))

    share = pixels / 255.0
    light = (
        np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) if gamma is None else share**gamma
    )
    linear = (light @ (np.linalg.inv(to_xyz(SRGB_PRIMARIES)) @ to_xyz(primaries)).T).clip(0, 1)
    return np.asarray(255 * np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055))


def profile_of(kind: bytes, colours: bytes, connection: bytes, *tags: tuple[bytes, bytes]) -> bytes:
    """Return a profile of version 2 with a white point and these tags, each its name and its data."""
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", 63190, 65536, 54061)
    every = (*tags, (b"wtpt", white))
    place, data, directory = 128 + 4 + 12 * len(every), b"", struct.pack(">I", len(every))
    for key, value in every:
        directory += struct.pack(">4sII", key, place + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    size = place + len(data)
    head = struct.pack(">I4sI4s4s4s12s4s", size, b"", 0x02400000, kind, colours, connection, bytes(12), b"acsp")
    head += bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return head + bytes(128 - len(head)) + directory + data


def grey_profile(gamma: float) -> bytes:
    """Return a profile of grey levels."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(78)
    return profile_of(b"mntr", b"GRAY", b"XYZ ", (b"desc", text), (b"kTRC", curve))


def ink_profile() -> bytes:
    """Return a profile of CMYK with one table in which black ink takes all light and others their colour."""
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 2)] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    lightness = 0.9 * (1 - grid[:, 3]) * (1 - 0.8 * grid[:, :3].mean(axis=1))
    a, b = 0.3 * (grid[:, 1] - grid[:, 0]), 0.3 * (grid[:, 2] - grid[:, 0])
    table = np.stack([lightness * 255, 128 + 100 * a, 128 + 100 * b], axis=1).clip(0, 255).astype(np.uint8).tobytes()
    ramp = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    profile = profile_of(b"prtr", b"CMYK", b"Lab ", (b"A2B0", lut + ramp * 4 + table + ramp * 3))
    ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return profile
