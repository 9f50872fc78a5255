"""Files made to do harm through the readers of DICOM, ICC profiles, HEIC and JPEG: each is refused, quickly and in little memory."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import RLELossless
from tests.data.images.dicoms import JPEG_2000, JPEG_BASELINE, coded_as, dicom_of
from tests.data.images.pictures import drawn, encoded, png_of
from tests.data.images.profiles import ADOBE_RGB, DISPLAY_P3, grey_profile, ink_profile
from tests.fuzz.campaign import DAMAGES, Random, bounded
from tests.fuzz.test_damaged_images import chunks

from skinlesion.data.images.dicom import DicomFile, is_dicom
from skinlesion.data.images.file import ImageRefused, check_decodes, check_header, decode, read_header

PIXELS = drawn(5)
RGB = Image.fromarray(PIXELS)
JPEG = coded_as(PIXELS, "JPEG", quality=90)
DICOM = dicom_of(PIXELS)
PIXELS_AT = DICOM.rindex(b"\xe0\x7f\x10\x00")
HEIC = (Path(__file__).parents[1] / "data" / "images" / "phone.heic").read_bytes()

MOST_SECONDS = 5
MOST_MEGABYTES = 400


def gate(content: bytes) -> None:
    header = read_header(content)
    check_header(header, max_pixels=10**8, min_side=32)
    check_decodes(content, header)
    decode(content, header)
    if is_dicom(content):
        DicomFile(content).subject()


def refusal(content: bytes) -> str:
    """Return why the gate refuses a file, in a few words; nothing if it takes it."""
    try:
        gate(content)
    except ImageRefused as refused:
        assert len(str(refused)) < 300
        assert "\n" not in str(refused)
        return str(refused)
    return ""


def element(group: int, number: int, representation: bytes, value: bytes, length: int | None = None) -> bytes:
    head = struct.pack("<HH", group, number) + representation
    size = len(value) if length is None else length
    long = representation in (b"OB", b"OW", b"SQ", b"UN", b"UT")
    return head + (b"\0\0" + struct.pack("<I", size) if long else struct.pack("<H", size)) + value


def before_pixels(inserted: bytes) -> bytes:
    return DICOM[:PIXELS_AT] + inserted + DICOM[PIXELS_AT:]


def nested(depth: int) -> bytes:
    """Return sequences of undefined length within each other, in the sequence of anatomic regions."""
    opening = element(0x0008, 0x2218, b"SQ", b"", 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return opening * depth


def bomb_jpeg(side: int) -> bytes:
    place = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:place] + struct.pack(">HH", side, side) + JPEG[place + 4 :]


def huge_run_length() -> bytes:
    segment = b"\x81\x00" * 500_000  # 128 zeros each
    starts = [64, 64 + len(segment), 64 + 2 * len(segment)]
    return struct.pack("<16I", 3, *starts, *[0] * 12) + segment * 3


SMALL = np.zeros((64, 64, 3), dtype=np.uint8)

BOMBS = {
    "more pixels than are decoded": dicom_of(SMALL, Rows=65535, Columns=65535),
    "many pixels that are not there": dicom_of(SMALL, Rows=9000, Columns=9000),
    "a length beyond the end": DICOM[:PIXELS_AT] + DICOM[PIXELS_AT:].replace(b"OB\0\0", b"OB\0\0\xfe\xff\xff\x7f", 1),
    "an element longer than the file": before_pixels(element(0x0028, 0x2000, b"OB", b"", 0x7FFFFFFE)),
    "a million elements": DICOM[:PIXELS_AT] + element(0x7FDF, 0x1001, b"US", b"\0\0") * 10**6 + DICOM[PIXELS_AT:],
    "30 MB of elements": DICOM[:PIXELS_AT] + element(0x7FDF, 0x1001, b"UN", bytes(60_000)) * 500 + DICOM[PIXELS_AT:],
    "sequences within each other": DICOM[:PIXELS_AT] + nested(100_000),
    "sequences within each other, a few": DICOM[:PIXELS_AT] + nested(600) + DICOM[PIXELS_AT:],
    "a profile of 30 MB": dicom_of(SMALL, ICCProfile=bytes(30_000_000)),
    "a JPEG of more pixels than are decoded": dicom_of(
        SMALL, Rows=60000, Columns=60000, photometric="YBR_FULL", syntax=JPEG_BASELINE, coded=bomb_jpeg(60000)
    ),
    "a JPEG of other pixels than the elements say": dicom_of(
        PIXELS, photometric="YBR_FULL", syntax=JPEG_BASELINE, coded=bomb_jpeg(9000)
    ),
    "run lengths of 192 MB": dicom_of(PIXELS, syntax=str(RLELossless), coded=huge_run_length()),
    "a JPEG 2000 of other pixels": dicom_of(
        PIXELS, photometric="YBR_RCT", syntax=JPEG_2000, coded=coded_as(np.zeros((3000, 3000, 3), np.uint8), "JPEG2000", no_jp2=True)
    ),
    "a frame in 200,000 pieces": dicom_of(PIXELS, photometric="YBR_FULL", syntax=JPEG_BASELINE, coded=JPEG).replace(
        struct.pack("<HHI", 0xFFFE, 0xE000, len(JPEG) + len(JPEG) % 2), struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 200_000, 1
    ),
    "a sequence where text is expected": before_pixels(element(0x0028, 0x0004, b"SQ", b"", 0xFFFFFFFF)),
    "a JPEG of a million stray bytes": JPEG[:20] + b"\xff\x00" * 500_000 + JPEG[20:],
    "a JPEG of a million marks": JPEG[:2] + b"\xff\xd0" * 500_000 + JPEG[2:],
    "a JPEG of many comments": JPEG[:2] + b"\xff\xfe\x00\x02" * 300_000 + JPEG[2:],
    "a HEIC that says another size": HEIC.replace(struct.pack(">II", 120, 90), struct.pack(">II", 60000, 60000)),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_a_file_made_to_do_harm_takes_little_time_and_memory(kind: str) -> None:
    with bounded(MOST_SECONDS, MOST_MEGABYTES):
        refusal(BOMBS[kind])


def inflating_png() -> bytes:
    first, *others = chunks(encoded(RGB, "PNG"))
    return png_of([first, (b"iCCP", b"x\0\0" + zlib.compress(bytes(300_000_000))), *others])


def table_of(side: int) -> bytes:
    """Return a profile of CMYK whose table says that it has `side` points along each ink."""
    profile = ink_profile()
    place = profile.index(b"mft1") + 10
    return profile[:place] + bytes([side]) + profile[place + 1 :]


PROFILES = {
    "300 MB when inflated": inflating_png(),
    "a table of 4 billion points": encoded(RGB.convert("CMYK"), "TIFF", icc_profile=table_of(255)),
    "a curve of 4 billion points": encoded(
        RGB.convert("L"), "PNG", icc_profile=grey_profile(1.0).replace(b"curv\0\0\0\0\0\0\0\1", b"curv\0\0\0\0\xff\xff\xff\xff")
    ),
    "30 MB": encoded(RGB, "TIFF", icc_profile=ADOBE_RGB + bytes(30_000_000)),
    "tags that lie about their place": encoded(RGB, "PNG", icc_profile=ADOBE_RGB[:140] + b"\xff" * 40 + ADOBE_RGB[180:]),
    "a million tags": encoded(RGB, "PNG", icc_profile=ADOBE_RGB[:128] + struct.pack(">I", 10**6) + ADOBE_RGB[132:]),
}  # fmt: skip


@pytest.mark.parametrize("kind", PROFILES)
def test_a_profile_made_to_do_harm_is_ignored_or_refused(kind: str) -> None:
    with bounded(MOST_SECONDS, MOST_MEGABYTES):
        assert refusal(PROFILES[kind]) or "colour profile ignored" in read_header(PROFILES[kind]).format


def damaged(whole: bytes, random: Random) -> bytes:
    """Return the file damaged somewhere, half of the time near its beginning, where elements and profiles are."""
    damage = list(DAMAGES.values())[int(random.integers(len(DAMAGES)))]
    if random.random() < 0.5:
        return damage(whole, random)
    start = int(random.integers(140, 1500))
    return damage(whole[:start], random) + whole[start:]


WHOLE = {
    "DICOM": dicom_of(PIXELS, PatientID="1", PatientAge="045Y", TrackingID="2"),
    "DICOM with run lengths": dicom_of(PIXELS, syntax=str(RLELossless)),
    "DICOM with a JPEG": dicom_of(PIXELS, photometric="YBR_FULL_422", syntax=JPEG_BASELINE, coded=JPEG),
    "DICOM with a JPEG 2000": dicom_of(
        PIXELS, photometric="YBR_RCT", syntax=JPEG_2000, coded=coded_as(PIXELS, "JPEG2000", no_jp2=True)
    ),
    "HEIC": HEIC,
    "AVIF": encoded(RGB, "AVIF"),
    "JPEG 2000": encoded(RGB, "JPEG2000"),
    "JPEG with a profile": encoded(RGB, "JPEG", icc_profile=DISPLAY_P3),
    "TIFF of inks with a profile": encoded(RGB.convert("CMYK"), "TIFF", icc_profile=ink_profile()),
}


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("number", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_damage_to_a_file_ends_in_a_picture_or_a_reason(kind: str, number: int) -> None:
    random = np.random.default_rng(7)
    for _ in range(number):
        content = damaged(WHOLE[kind], random)
        start = time.monotonic()
        refusal(content)
        assert time.monotonic() - start < MOST_SECONDS


def test_the_largest_picture_that_is_decoded_needs_a_few_times_its_size() -> None:
    content = dicom_of(np.zeros((4000, 5000, 3), dtype=np.uint8))
    tracemalloc.start()
    try:
        gate(content)
        assert tracemalloc.get_traced_memory()[1] < 6 * len(content)
    finally:
        tracemalloc.stop()
