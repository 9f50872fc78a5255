from __future__ import annotations

import resource
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from tests.data.images.pictures import drawn, encoded, png_of
from tests.strange_files import flipped

from skinlesion.data.images.file import (
    ImageRefused,
    Pixels,
    check_decodes,
    check_header,
    decode,
    decode_checked,
    encode_jpeg,
    read_header,
    to_model_size,
)

PIXELS = drawn(5)
RGB = Image.fromarray(PIXELS)
GREY = RGB.convert("L")
GREY_PIXELS = np.repeat(np.asarray(GREY)[..., None], 3, axis=2)
SIXTEEN = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)
PALETTE = RGB.convert("P")
RGBA = RGB.convert("RGBA")
ONE_TRANSPARENT = RGBA.copy()
ONE_TRANSPARENT.putpixel((3, 3), (1, 2, 3, 0))


def by_opencv(suffix: str, pixels: npt.NDArray[np.uint8 | np.uint16]) -> bytes:
    return cv2.imencode(suffix, pixels[..., ::-1])[1].tobytes()


def gate(content: bytes) -> Pixels:
    """Do what ingest and resize do with a file."""
    header = read_header(content)
    check_header(header, max_pixels=10**8, min_side=32)
    check_decodes(content, header)
    return decode(content, header)


JPEG = encoded(RGB, "JPEG", quality=95)

ACCEPTED = {
    "jpeg": (JPEG, PIXELS, 2),
    "progressive jpeg": (encoded(RGB, "JPEG", quality=95, progressive=True), PIXELS, 2),
    "jpeg stored as RGB": (encoded(RGB, "JPEG", quality=95, keep_rgb=True), PIXELS, 2),
    "grey jpeg": (encoded(GREY, "JPEG", quality=95), GREY_PIXELS, 2),
    "CMYK jpeg": (encoded(RGB.convert("CMYK"), "JPEG", quality=95), PIXELS, 2),
    "phone's jpeg with preview": (encoded(RGB, "MPO", save_all=True, append_images=[RGB], quality=95), PIXELS, 2),
    "png": (encoded(RGB, "PNG"), PIXELS, 0),
    "grey png": (encoded(GREY, "PNG"), GREY_PIXELS, 0),
    "16-bit grey png": (encoded(SIXTEEN, "PNG"), GREY_PIXELS, 0),
    "16-bit grey tiff": (encoded(SIXTEEN, "TIFF"), GREY_PIXELS, 0),
    "16-bit colour png": (by_opencv(".png", PIXELS.astype(np.uint16) * 257), PIXELS, 0),
    "opaque alpha png": (encoded(RGBA, "PNG"), PIXELS, 0),
    "opaque grey alpha png": (encoded(GREY.convert("LA"), "PNG"), GREY_PIXELS, 0),
    "palette png": (encoded(PALETTE, "PNG"), np.asarray(PALETTE.convert("RGB")), 0),
    "opaque palette png": (encoded(PALETTE, "PNG", transparency=b"\xff" * 256), np.asarray(PALETTE.convert("RGB")), 0),
    "gif": (encoded(PALETTE, "GIF"), np.asarray(PALETTE.convert("RGB")), 0),
    "grey gif": (encoded(GREY, "GIF"), GREY_PIXELS, 0),
    "bmp": (encoded(RGB, "BMP"), PIXELS, 0),
    "tiff": (encoded(RGB, "TIFF", compression="tiff_lzw"), PIXELS, 0),
    "webp": (encoded(RGB, "WEBP", lossless=True), PIXELS, 0),
    "opaque webp": (encoded(RGBA, "WEBP", lossless=True), PIXELS, 0),
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_a_still_opaque_picture_is_accepted_with_its_colours(kind: str) -> None:
    content, expected, tolerance = ACCEPTED[kind]
    pixels = gate(content)
    assert (pixels.dtype.name, pixels.shape) == ("uint8", (90, 120, 3))
    assert np.abs(pixels.astype(int) - expected).mean() <= tolerance


PNG = encoded(RGB, "PNG")

STORED_PNG = encoded(RGB, "PNG", compress_level=0)
QUANTISATION = JPEG.index(b"\xff\xdb") + 5

REFUSED = {
    "no bytes": (b"", r"the file is empty"),
    "text": (b"hello\n" * 99, r"not a readable image .*no known image format"),
    "a format that is not taken": (b"%PDF-1.7\n" + bytes(500), r"a PDF document, .*: export its picture as PNG"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", r"a pointer of Git LFS .*git lfs pull"),
    "a web page": (b"\n<!DOCTYPE html><html>", r"a web page in the place of the image: download the image again"),
    "an answer of S3": (b"<?xml version='1.0'?><Error><Code>AccessDenied", r"a server's answer in the place of"),
    "zeros": (bytes(5000), r"zeros in the place of the image"),
    "truncated png": (PNG[: len(PNG) // 2], r"does not decode whole"),
    "png with a byte flipped": (flipped(PNG, 900), r"does not decode whole"),
    "png whose pixels are wrong and still inflate": (flipped(STORED_PNG, 900), r"does not decode whole .*checksum"),
    "png without its end": (PNG[:-12], r"does not decode whole"),
    "jpeg with its quantisation zeroed": (
        JPEG[:QUANTISATION] + bytes(64) + JPEG[QUANTISATION + 64 :],
        r"quantisation table holds a zero",
    ),
    "animated gif": (encoded(PALETTE, "GIF", save_all=True, append_images=[GREY]), r"2 frames in one file"),
    "animated png": (encoded(RGB, "PNG", save_all=True, append_images=[GREY.convert("RGB")]), r"2 frames in one file"),
    "animated webp": (encoded(RGB, "WEBP", save_all=True, append_images=[RGB.rotate(9)]), r"2 frames in one file"),
    "tiff of two pages": (encoded(RGB, "TIFF", save_all=True, append_images=[GREY]), r"2 frames in one file"),
    "png with a transparent pixel": (encoded(ONE_TRANSPARENT, "PNG"), r"of the pixels are transparent"),
    "webp with a transparent pixel": (encoded(ONE_TRANSPARENT, "WEBP", lossless=True), r"pixels are transparent"),
    "png with a transparent colour": (encoded(RGB, "PNG", transparency=tuple(map(int, PIXELS[0, 0]))), r"transparent"),
    "transparent palette": (encoded(PALETTE, "PNG", transparency=bytes(256)), r"100\.0% of the pixels are transparent"),
    "one bit": (encoded(RGB.convert("1"), "PNG"), r"pixels of mode 1; expected colour or grey levels"),
    "floating point": (encoded(GREY.convert("F"), "TIFF"), r"pixels of mode F; expected"),
    "too small": (encoded(RGB.resize((200, 31)), "PNG"), r"200x31 pixels; expected at least 32 on the short side"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_damaged_or_has_no_meaning_is_refused_with_its_reason(kind: str) -> None:
    content, reason = REFUSED[kind]
    with pytest.raises(ImageRefused, match=reason):
        gate(content)


def damaged_contents() -> Iterator[bytes]:
    """Yield files of several formats with wrong bytes, many cut off; and a JPEG with one byte wrong, or cut off, anywhere."""
    draws = np.random.default_rng(0)
    for content in (JPEG, PNG, *(ACCEPTED[kind][0] for kind in ("gif", "tiff", "webp", "bmp", "CMYK jpeg"))):
        for _ in range(25):
            spoiled = bytearray(content)
            for place in draws.integers(0, len(spoiled), size=4):
                spoiled[place] = draws.integers(256)
            yield bytes(spoiled[: draws.integers(1, len(spoiled) + 1)] if draws.random() < 0.3 else spoiled)
    for place in range(0, len(JPEG), 97):
        yield from (flipped(JPEG, place), JPEG[: place + 1])


def test_damage_anywhere_in_a_file_is_refused_or_does_no_harm_also_when_decoded_and_checked_at_once() -> None:
    refused = 0
    for content in damaged_contents():
        expected, found = outcome(content, gate), outcome(content, at_once)
        if isinstance(expected, ImageRefused) or isinstance(found, ImageRefused):
            assert str(expected) == str(found) != ""
            refused += 1
        else:
            assert np.array_equal(expected, found)
            assert (found.dtype.name, found.ndim, found.shape[2]) == ("uint8", 3, 3)
    assert refused > 40


def at_once(content: bytes) -> Pixels:
    header = read_header(content)
    check_header(header, max_pixels=10**8, min_side=32)
    return decode_checked(content, header)


def outcome(content: bytes, way: Callable[[bytes], Pixels]) -> Pixels | ImageRefused:
    try:
        return way(content)
    except ImageRefused as refusal:
        return refusal


def test_a_decompression_bomb_is_refused_by_its_header_and_takes_no_memory() -> None:
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    content = png_of([(b"IHDR", header), (b"IDAT", zlib.compress(bytes(10**6))), (b"IEND", b"")])
    assert len(content) < 2000
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageRefused, match=r"20000x20000 pixels; at most 100,000,000 are decoded"):
        gate(content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 20_000  # KiB; decoded it would take 1.2 GB


TURNED = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_90),
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize(
    ("format", "mode", "options"),
    [
        ("JPEG", "RGB", {"quality": 95}),
        ("JPEG", "CMYK", {"quality": 95}),
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("TIFF", "RGB", {}),
        ("WEBP", "RGB", {"lossless": True}),
    ],
)
def test_exif_rotation_is_applied_whatever_the_format(
    orientation: int, format: str, mode: str, options: dict[str, Any]
) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    content = encoded(RGB.convert(mode), format, exif=exif, **options)
    pixels = gate(content)
    expected = np.asarray(TURNED[orientation](RGB)).astype(int)
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).mean() <= 2
    assert np.array_equal(at_once(content), pixels)


@pytest.mark.parametrize(
    ("size", "reduced_to"),
    [((1024, 1024), (256, 256)), ((600, 450), (225, 300)), ((1000, 450), (225, 500)), ((2400, 1800), (225, 300))],
)
def test_reduced_decoding_is_within_a_grey_level_of_full_decoding(
    size: tuple[int, int], reduced_to: tuple[int, int]
) -> None:
    content = encode_jpeg(drawn(11, size), 95)
    header = read_header(content)
    reduced = decode(content, header)
    assert reduced.shape[:2] == reduced_to
    full = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert full is not None
    expected = cv2.resize(full[..., ::-1], (224, 224), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(to_model_size(reduced, header) - expected).mean() <= 1


def test_an_image_is_never_decoded_smaller_than_the_model_needs() -> None:
    content = encode_jpeg(drawn(5, (900, 447)), 95)
    assert decode(content, read_header(content)).shape == (447, 900, 3)
    content = encode_jpeg(drawn(5, (900, 448)), 95)
    assert decode(content, read_header(content)).shape == (224, 450, 3)


def test_pixels_of_the_models_size_are_left_alone() -> None:
    pixels = drawn(5, (224, 224))
    assert to_model_size(pixels, read_header(encode_jpeg(pixels, 95))) is pixels


def test_a_png_is_decoded_whole_and_averaged_by_area() -> None:
    pixels = drawn(5, (600, 450))
    content = by_opencv(".png", pixels)
    header = read_header(content)
    expected = cv2.resize(pixels, (224, 224), interpolation=cv2.INTER_AREA)
    assert np.array_equal(to_model_size(decode(content, header), header), expected)


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@pytest.mark.parametrize(("size", "short"), [((600, 450), 64), ((1024, 1024), 64), ((90, 70), 64), ((50, 40), 40)])
def test_decoding_a_file_whole_gives_a_small_picture_of_it(format: str, size: tuple[int, int], short: int) -> None:
    image = Image.fromarray(drawn(5, size))
    content = encoded(image, format, quality=95)
    small = check_decodes(content, read_header(content))
    assert small.dtype == np.uint8
    assert short <= min(small.shape[:2]) < 2 * 64
    assert small.shape[1] / small.shape[0] == pytest.approx(size[0] / size[1], rel=0.03)
    expected = cv2.resize(np.asarray(image), small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - expected).mean() < 2


@pytest.mark.parametrize("size", [(120, 90), (225, 301), (600, 450), (449, 897), (1801, 913)])
@pytest.mark.parametrize(
    ("mode", "format", "options"),
    [
        ("RGB", "JPEG", {"subsampling": 0}),
        ("RGB", "JPEG", {"subsampling": 2, "progressive": True}),
        ("L", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGB", "PNG", {}),
    ],
)
def test_decoding_and_checking_at_once_gives_the_pixels_of_both_in_turn(
    size: tuple[int, int], mode: str, format: str, options: dict[str, Any]
) -> None:
    content = encoded(Image.fromarray(drawn(5, size)).convert(mode), format, **options)
    header = read_header(content)
    assert np.array_equal(decode_checked(content, header), decode(content, header))
