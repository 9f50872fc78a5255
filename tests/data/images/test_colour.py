"""Pixels of another colour space than sRGB are converted, in every format and in each of the functions that decode."""

from __future__ import annotations

import io
import struct
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from tests.data.images.dicoms import JPEG_BASELINE, dicom_of
from tests.data.images.pictures import drawn, encoded, png_of
from tests.data.images.profiles import (
    ADOBE,
    ADOBE_RGB,
    DISPLAY_P3,
    P3,
    SRGB,
    SRGB_PRIMARIES,
    by_formula,
    grey_profile,
    ink_profile,
)
from tests.fuzz.test_damaged_images import chunks

from skinlesion.data.images.colour import CONVERTED, matrix_profile
from skinlesion.data.images.file import ImageRefused, Pixels, check_decodes, decode, decode_checked, read_header

PIXELS = drawn(5)
RGB = Image.fromarray(PIXELS)
GREY = RGB.convert("L")
EXPECTED = {"Adobe": by_formula(PIXELS, ADOBE, 563 / 256), "P3": by_formula(PIXELS, P3, None)}


def with_chunks(png: bytes, *added: tuple[bytes, bytes]) -> bytes:
    first, *others = chunks(png)
    return png_of([first, *added, *others])


def gamma(number: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(number * 100_000))


def primaries(numbers: tuple[float, ...]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(number * 100_000) for number in numbers))


def adobe_by_exif() -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    return encoded(RGB, "JPEG", quality=98, subsampling=0, exif=exif)


PNG = encoded(RGB, "PNG")
JPEG: dict[str, Any] = {"quality": 98, "subsampling": 0}
CONVERSIONS: dict[str, tuple[bytes, str]] = {
    "png, Adobe RGB": (encoded(RGB, "PNG", icc_profile=ADOBE_RGB), "Adobe"),
    "png, P3": (encoded(RGB, "PNG", icc_profile=DISPLAY_P3), "P3"),
    "jpeg, Adobe RGB": (encoded(RGB, "JPEG", icc_profile=ADOBE_RGB, **JPEG), "Adobe"),
    "progressive jpeg, P3": (encoded(RGB, "JPEG", icc_profile=DISPLAY_P3, progressive=True, **JPEG), "P3"),
    "tiff, P3": (encoded(RGB, "TIFF", icc_profile=DISPLAY_P3), "P3"),
    "webp, P3": (encoded(RGB, "WEBP", icc_profile=DISPLAY_P3, lossless=True), "P3"),
    "avif, P3": (encoded(RGB, "AVIF", icc_profile=DISPLAY_P3, quality=98, subsampling="4:4:4"), "P3"),
    "opaque alpha, P3": (encoded(RGB.convert("RGBA"), "PNG", icc_profile=DISPLAY_P3), "P3"),
    "exif says Adobe RGB": (adobe_by_exif(), "Adobe"),
    "png, chunks of Adobe RGB": (with_chunks(PNG, gamma(256 / 563), primaries(ADOBE)), "Adobe"),
    "png, chunk of P3": (with_chunks(PNG, primaries(P3)), "P3"),
    "dicom, P3": (dicom_of(PIXELS, ICCProfile=DISPLAY_P3 + b"\0" * (len(DISPLAY_P3) % 2)), "P3"),
    "dicom jpeg, P3": (
        dicom_of(PIXELS, photometric="YBR_FULL_422", syntax=JPEG_BASELINE, coded=encoded(RGB, "JPEG", **JPEG),
                 ICCProfile=DISPLAY_P3 + b"\0" * (len(DISPLAY_P3) % 2)),
        "P3",
    ),
}  # fmt: skip


def gate(content: bytes) -> Pixels:
    """Return what ingest, resize and the API make of a file, which must be the same."""
    header = read_header(content)
    check_decodes(content, header)
    pixels = decode(content, header)
    assert np.abs(decode_checked(content, header).astype(int) - pixels).max() <= 1
    return pixels


@pytest.mark.parametrize("kind", CONVERSIONS)
def test_other_colours_are_converted_and_the_format_says_so(kind: str) -> None:
    content, space = CONVERSIONS[kind]
    assert CONVERTED in read_header(content).format
    difference = np.abs(gate(content) - EXPECTED[space])
    assert difference.mean() < 1.6
    assert np.abs(PIXELS - EXPECTED[space]).mean() > 2 * difference.mean(), "unconverted it would be farther off"


def test_the_small_picture_of_ingest_is_converted_too() -> None:
    content = encoded(RGB, "PNG", icc_profile=ADOBE_RGB)
    assert np.abs(check_decodes(content, read_header(content)) - EXPECTED["Adobe"]).mean() < 1.6


UNCHANGED = {
    "an sRGB profile": encoded(RGB, "PNG", icc_profile=SRGB),
    "an sRGB profile of another maker": encoded(RGB, "PNG", icc_profile=matrix_profile("s", SRGB_PRIMARIES, None)),
    "the chunks of sRGB": with_chunks(PNG, gamma(0.45455), primaries(SRGB_PRIMARIES)),
    "the usual gamma": with_chunks(PNG, gamma(0.4545)),
    "sRGB beside a gamma": with_chunks(PNG, (b"sRGB", b"\0"), gamma(1.0)),
}


@pytest.mark.parametrize("kind", UNCHANGED)
def test_srgb_is_left_as_it_is(kind: str) -> None:
    assert read_header(UNCHANGED[kind]).format == "PNG"
    assert (gate(UNCHANGED[kind]) == PIXELS).all()


SIXTEEN = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)
OF_GREY = {
    "a profile": (encoded(GREY, "PNG", icc_profile=grey_profile(1.0)), 1),
    "a profile, 16 bits": (encoded(SIXTEEN, "PNG", icc_profile=grey_profile(1.0)), 1),
    "a gamma alone": (with_chunks(encoded(GREY, "PNG"), gamma(1.0)), 1.5),
}


@pytest.mark.parametrize("kind", OF_GREY)
def test_grey_levels_are_converted_too(kind: str) -> None:
    content, most = OF_GREY[kind]
    expected = by_formula(np.repeat(np.asarray(GREY)[..., None], 3, axis=2), SRGB_PRIMARIES, 1.0)
    assert np.abs(gate(content) - expected).mean() < most


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_inks_are_converted_by_their_profile(format: str) -> None:
    inks, profile = RGB.convert("CMYK"), ink_profile()
    content = encoded(inks, format, icc_profile=profile, **(JPEG if format == "JPEG" else {}))
    of_inks, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    opened = ImageCms.profileToProfile(inks, of_inks, srgb, outputMode="RGB")
    assert np.abs(gate(content).astype(int) - np.asarray(opened)).mean() < 3


def test_other_inks_than_the_usual_four_are_refused() -> None:
    with pytest.raises(ImageRefused, match="inks other than cyan"):
        read_header(encoded(RGB.convert("CMYK"), "TIFF", tiffinfo={332: 2}))


USELESS = {
    "rubbish": (encoded(RGB, "PNG", icc_profile=b"rubbish" * 40), "colour profile ignored"),
    "half a profile": (encoded(RGB, "JPEG", icc_profile=ADOBE_RGB[:200], **JPEG), "colour profile ignored"),
    "of inks": (encoded(RGB, "PNG", icc_profile=ink_profile()), "it is for CMYK, the pixels are RGB"),
    "of grey levels": (encoded(RGB, "PNG", icc_profile=grey_profile(1.0)), "it is for L, the pixels are RGB"),
    "of Lab": (
        encoded(RGB, "PNG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()), "it is for",
    ),
    "a gamma of zero": (with_chunks(PNG, gamma(0)), "a gamma of 0"),
    "primaries on a line": (with_chunks(PNG, primaries((0.3, 0.3) * 4)), "colour profile ignored"),
    "primaries of zero": (with_chunks(PNG, primaries((0.0,) * 8)), "colour profile ignored"),
}  # fmt: skip


@pytest.mark.parametrize("kind", USELESS)
def test_a_profile_that_cannot_be_used_is_said_and_ignored(kind: str) -> None:
    content, note = USELESS[kind]
    assert note in read_header(content).format
    assert np.abs(gate(content).astype(int) - PIXELS).mean() < 1.5


def test_many_different_profiles_take_little_time_and_memory() -> None:
    start = time.process_time()
    for number in range(100):
        profile = matrix_profile(f"{number}", ADOBE, 1.8 + number / 100)
        assert CONVERTED in read_header(encoded(RGB, "PNG", icc_profile=profile, compress_level=0)).format
    assert time.process_time() - start < 5
