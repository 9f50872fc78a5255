"""What the numbers of a picture mean: colours of another space than sRGB are converted to it, everywhere in the same way.

A file says it by an ICC profile; a PNG without one by its chunks gAMA and cHRM; a camera's file without one by the mark of
Adobe RGB in its EXIF data. A file that says nothing is sRGB, and so is one whose profile changes no colour by more than
`SAME_COLOUR`: nothing is converted then. LittleCMS converts, with the perceptual intent.
"""

from __future__ import annotations

import io
import math
import struct
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

Pixels = npt.NDArray[np.uint8]

CONVERTED: Final = ", converted from "
"""Stands between the format of a file and its colour space, in the catalog, where its pixels were converted to sRGB."""

IGNORED: Final = ", colour profile ignored"
"""Stands after the format of a file whose profile cannot be used."""

CONVERSION_VERSION: Final = 1
"""Count it up when the conversion changes. The files derived from pictures that are converted are then made again."""

SAME_COLOUR: Final = 2
"""Grey levels. sRGB profiles of various makers differ from each other by no more."""

_LARGEST_PROFILE: Final = 4_000_000  # bytes; the profiles of printing presses have up to 2.7 million
_KEPT: Final = 32  # conversions

_SRGB_PRIMARIES: Final = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)  # x, y of white, red, green, blue
_ADOBE_PRIMARIES: Final = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_P3_PRIMARIES: Final = (0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
_SRGB_CURVE: Final = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_USUAL_GAMMA: Final = 1 / 2.2
_D50: Final = (0.9642, 1.0, 0.8249)
_BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_MODES: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_INTEROPERABILITY: Final = 0xA005


class Colours(NamedTuple):
    """What a file says of its colours.

    Attributes:
        profile: the ICC profile by which they are converted; empty where they are sRGB.
        note: what to say of it after the file's format, empty if there is nothing to say.
    """

    profile: bytes = b""
    note: str = ""


SRGB: Final = Colours()


class _Conversion(NamedTuple):
    """A colour space: the mode of its pictures, its name, and the transform to sRGB, None where it is sRGB."""

    mode: str
    name: str
    transform: ImageCms.ImageCmsTransform | None


def colours_of(image: Image.Image, profile: bytes | None = None) -> Colours:
    """Return the colours of an image that is open and perhaps not loaded. A profile that cannot be used is said and ignored.

    profile: an ICC profile from outside the image, which counts before the image's own.
    """
    profile = profile or image.info.get("icc_profile")
    try:
        profile = profile or _stated(image)
        if not profile:
            return SRGB
        conversion = _conversion(bytes(profile))
    except Exception as error:  # LittleCMS's own, and arithmetic on numbers that mean no colour
        reason = str(error) or type(error).__name__
        return Colours(note=f"{IGNORED} ({printable_text(reason, 60)})")
    is_cmyk = image.mode == "CMYK"
    if is_cmyk != (conversion.mode == "CMYK") or (conversion.mode == "L" and not image.mode.startswith(("L", "I;16"))):
        return Colours(note=f"{IGNORED} (it is for {conversion.mode}, the pixels are {image.mode})")
    if conversion.transform is None:
        return SRGB
    return Colours(bytes(profile), CONVERTED + (conversion.name or "a colour space without a name"))


def to_srgb(pixels: Pixels, profile: bytes) -> Pixels:
    """Return pixels, uint8 (height, width, 3), of these colours in sRGB; grey levels three times in those of a grey profile."""
    if not profile:
        return pixels
    conversion = _conversion(profile)
    assert conversion.transform is not None
    channels = pixels[..., 0] if conversion.mode == "L" else pixels
    return _applied(Image.fromarray(np.ascontiguousarray(channels)), conversion.transform)


def cmyk_to_srgb(image: Image.Image, profile: bytes) -> Pixels:
    """Return the pixels of a CMYK image in sRGB, uint8 (height, width, 3)."""
    transform = _conversion(profile).transform
    assert transform is not None
    return _applied(image, transform)


def printable_text(text: str, most: int) -> str:
    """Return so many characters of a text from a file, without those that cannot be printed."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:most]


def _applied(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Pixels:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return np.asarray(converted, dtype=np.uint8)


@lru_cache(_KEPT)
def _conversion(profile: bytes) -> _Conversion:
    """Return what a profile means. Raises many kinds of errors for one that is damaged."""
    if len(profile) > _LARGEST_PROFILE:
        raise ValueError(f"{len(profile):,} bytes")
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = opened.profile.xcolor_space.strip()
    if space not in _MODES:
        raise ValueError(f"it is for {space}")
    mode = _MODES[space]
    transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
    name = printable_text(ImageCms.getProfileDescription(opened), 40).replace(",", " ")
    return _Conversion(mode, name, None if _is_srgb(mode, transform) else transform)


def _is_srgb(mode: str, transform: ImageCms.ImageCmsTransform) -> bool:
    if mode == "CMYK":
        return False
    levels = np.linspace(0, 255, 16).astype(np.uint8)
    if mode == "L":
        lattice = np.arange(256, dtype=np.uint8)[None]
        before = np.repeat(lattice[..., None], 3, axis=2)
    else:
        lattice = before = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(64, 64, 3)
    after = _applied(Image.fromarray(np.ascontiguousarray(lattice)), transform)
    return int(np.abs(after.astype(np.int16) - before).max()) <= SAME_COLOUR


def _stated(image: Image.Image) -> bytes:
    """Return the profile of what a file says without a profile; empty where that is nothing, or sRGB."""
    info: dict[str | tuple[int, int], Any] = image.info
    if image.format == "PNG" and "srgb" not in info and ("gamma" in info or "chromaticity" in info):
        gamma = float(info.get("gamma", 0)) if "gamma" in info else None
        primaries = tuple(float(part) for part in info.get("chromaticity", _SRGB_PRIMARIES))
        return _png_profile(gamma, primaries)
    if b"R03" in (info.get("exif") or b""):
        interoperability = image.getexif().get_ifd(_INTEROPERABILITY)
        if str(interoperability.get(1, "")).startswith("R03"):  # "option file" of DCF: the camera's Adobe RGB
            return matrix_profile("Adobe RGB (EXIF)", _ADOBE_PRIMARIES, 563 / 256)
    return b""


def _png_profile(gamma: float | None, primaries: tuple[float, ...]) -> bytes:
    if gamma is not None and not 0.05 <= gamma <= 20:
        raise ValueError(f"a gamma of {gamma:g}")
    is_srgb = len(primaries) == 8 and np.allclose(primaries, _SRGB_PRIMARIES, atol=0.003)
    is_usual = gamma is None or math.isclose(gamma, _USUAL_GAMMA, abs_tol=0.01)
    if is_srgb and is_usual:
        return b""
    return matrix_profile("PNG gAMA cHRM", primaries, None if gamma is None else 1 / gamma)


@lru_cache(_KEPT)
def matrix_profile(name: str, primaries: tuple[float, ...], gamma: float | None) -> bytes:
    """Return the ICC profile (version 4) of a colour space.

    Args:
        name: its description.
        primaries: x and y of white, red, green and blue.
        gamma: the exponent that makes light of a number; None for sRGB's curve.

    Raises ValueError, ZeroDivisionError or LinAlgError where the primaries span no space.
    """
    white, *colours = (
        np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in zip(primaries[::2], primaries[1::2], strict=True)
    )
    columns = np.array(colours).T
    columns = columns * np.linalg.solve(columns, white)
    cone = _BRADFORD @ np.array(_D50) / (_BRADFORD @ white)
    adapted = np.linalg.inv(_BRADFORD) @ (cone[:, None] * (_BRADFORD @ columns))
    if not np.isfinite(adapted).all() or np.abs(adapted).max() > 4:
        raise ValueError("its primaries span no colour space")
    text = name.encode("utf-16-be")
    curve = b"para\0\0\0\0" + (
        struct.pack(">HH", 3, 0) + _fixed(*_SRGB_CURVE) if gamma is None else struct.pack(">HH", 0, 0) + _fixed(gamma)
    )
    tags = {
        b"desc": b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text,
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_D50),
        **{key: b"XYZ \0\0\0\0" + _fixed(*adapted[:, at]) for at, key in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    place, directory, data = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for key, value in tags.items():
        directory += struct.pack(">4sII", key, place + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    size = place + len(data)
    head = struct.pack(">I4sI4s4s4s12s4s", size, b"", 0x04200000, b"mntr", b"RGB ", b"XYZ ", bytes(12), b"acsp")
    return head + bytes(28) + _fixed(*_D50) + bytes(128 - len(head) - 40) + directory + data


def _fixed(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


DISPLAY_P3: Final = matrix_profile("Display P3", _P3_PRIMARIES, None)
