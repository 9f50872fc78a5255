"""Photographs in DICOM files: their pixels are those of the same picture in another format, and no name is kept."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless
from tests.data.images.dicoms import JPEG_2000, JPEG_BASELINE, SECONDARY_CAPTURE, coded_as, dicom_of, region
from tests.data.images.pictures import drawn

from skinlesion.data.images.dicom import DicomFile
from skinlesion.data.images.file import ImageRefused, check_decodes, decode, decode_checked, read_header
from skinlesion.data.images.jpeg import with_colours

PIXELS = drawn(5)
GREY = np.asarray(Image.fromarray(PIXELS).convert("L"))
TWELVE = (GREY.astype(np.uint32) * 4095 // 255).astype(np.uint16)
GREY_RGB = np.repeat(GREY[..., None], 3, axis=2)
YBR = np.asarray(Image.fromarray(PIXELS).convert("YCbCr"))
JPEG = coded_as(PIXELS, "JPEG", quality=95)
FROM_JPEG = np.asarray(Image.open(io.BytesIO(JPEG)))
MARK = JPEG.index(b"\xff\xdb")
BARE = JPEG[:2] + JPEG[MARK:]  # no JFIF: what the colours are stands in the elements alone
RGB_JPEG = coded_as(PIXELS, "JPEG", quality=95, keep_rgb=True)


def halved() -> bytes:
    """Return the pixel data of YBR_FULL_422: two luminances, then the colours of both."""
    luma, blue, red = (YBR[..., at] for at in range(3))
    return np.stack([luma[:, ::2], luma[:, 1::2], blue[:, ::2], red[:, ::2]], axis=-1).tobytes()


READ: dict[str, tuple[bytes, Any, float]] = {
    "RGB": (dicom_of(PIXELS), PIXELS, 0),
    "without preamble": (dicom_of(PIXELS)[132:], PIXELS, 0),
    "secondary capture": (dicom_of(PIXELS, kind=SECONDARY_CAPTURE), PIXELS, 0),
    "implicit": (dicom_of(PIXELS, syntax=ImplicitVRLittleEndian), PIXELS, 0),
    "big endian": (dicom_of(PIXELS, syntax=ExplicitVRBigEndian), PIXELS, 0),
    "planes": (dicom_of(PIXELS, planar=1), PIXELS, 0),
    "16 bits": (dicom_of(PIXELS.astype(np.uint16) * 257), PIXELS, 0),
    "run length": (dicom_of(PIXELS, syntax=RLELossless), PIXELS, 0),
    "run length of 16 bits": (dicom_of(TWELVE, syntax=RLELossless, stored=12), GREY_RGB, 1),
    "YBR_FULL": (dicom_of(YBR, photometric="YBR_FULL"), PIXELS, 2),
    "YBR_FULL_422": (dicom_of(YBR, photometric="YBR_FULL_422", native=halved()), PIXELS, 6),
    "MONOCHROME2": (dicom_of(GREY), GREY_RGB, 0),
    "MONOCHROME1": (dicom_of(255 - GREY, photometric="MONOCHROME1"), GREY_RGB, 0),
    "12 bits": (dicom_of(TWELVE, stored=12), GREY_RGB, 1),
    "12 bits in a window": (
        dicom_of(TWELVE // 2, stored=12, WindowCenter="1024", WindowWidth="2048"), GREY_RGB, 1,
    ),
    "JPEG": (dicom_of(PIXELS, photometric="YBR_FULL_422", syntax=JPEG_BASELINE, coded=JPEG), FROM_JPEG, 0),
    "JPEG without a mark, YBR": (
        dicom_of(PIXELS, photometric="YBR_FULL_422", syntax=JPEG_BASELINE, coded=BARE), FROM_JPEG, 0,
    ),
    "JPEG that says YBR though its elements say RGB": (
        dicom_of(PIXELS, photometric="RGB", syntax=JPEG_BASELINE, coded=JPEG), FROM_JPEG, 0,
    ),
    "JPEG of RGB": (dicom_of(PIXELS, photometric="RGB", syntax=JPEG_BASELINE, coded=RGB_JPEG), PIXELS, 3),
    "grey JPEG, inverted": (
        dicom_of(GREY, photometric="MONOCHROME1", syntax=JPEG_BASELINE, coded=coded_as(255 - GREY, "JPEG", quality=95)),
        GREY_RGB, 4,
    ),
    "JPEG 2000": (
        dicom_of(PIXELS, photometric="YBR_RCT", syntax=JPEG_2000, coded=coded_as(PIXELS, "JPEG2000", no_jp2=True)),
        PIXELS, 0,
    ),
    "JPEG 2000 of 16 bits": (
        dicom_of(TWELVE * 16, syntax=JPEG_2000, coded=coded_as(TWELVE * 16, "JPEG2000", no_jp2=True)), GREY_RGB, 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_a_dicom_file_has_the_pixels_of_its_picture(kind: str) -> None:
    content, expected, tolerance = READ[kind]
    header = read_header(content)
    assert (header.format, header.width, header.height) == ("DICOM", 120, 90)
    small = check_decodes(content, header)
    assert min(small.shape[:2]) >= 64
    pixels = decode(content, header)
    assert (pixels.dtype.name, pixels.shape) == ("uint8", (90, 120, 3))
    assert np.abs(pixels.astype(int) - expected).mean() <= tolerance
    assert (decode_checked(content, header) == pixels).all()


REFUSED = {
    "two frames": (dicom_of(PIXELS, NumberOfFrames=2), "2 frames in one file; expected a still image"),
    "a CT": (dicom_of(TWELVE, stored=12, kind="1.2.840.10008.5.1.4.1.1.2"), "class 'CT Image Storage'; expected a photo"),
    "written on": (dicom_of(PIXELS, BurnedInAnnotation="YES"), "text is written into the picture"),
    "signed": (dicom_of(GREY, PixelRepresentation=1), "pixels with a sign"),
    "cut off": (dicom_of(PIXELS)[:-5000], r"does not decode whole \(its pixels have"),
    "cut off before the pixels": (dicom_of(PIXELS)[:600], "without pixel data|not a readable DICOM"),
    "lying about its size": (dicom_of(PIXELS, Rows=60000, Columns=60000), r"does not decode whole|pixels; at most"),
    "a JPEG of another size": (
        dicom_of(PIXELS, Rows=91, photometric="YBR_FULL", syntax=JPEG_BASELINE, coded=JPEG), "the picture in it is",
    ),
    "a JPEG cut off": (
        dicom_of(PIXELS, photometric="YBR_FULL", syntax=JPEG_BASELINE, coded=JPEG[: len(JPEG) // 2]), "does not decode whole",
    ),
    "a JPEG-LS": (dicom_of(PIXELS, syntax="1.2.840.10008.1.2.4.80", coded=JPEG), "which is not read: convert it"),
    "a deflated file": (
        dicom_of(PIXELS).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99", 1), "deflated|not a readable DICOM",
    ),
    "run lengths that end early": (
        dicom_of(PIXELS, syntax=RLELossless, coded=b"\x03" + bytes(63) + b"\x00\x01"), "does not decode whole",
    ),
    "palette without a table": (dicom_of(GREY, photometric="PALETTE COLOR"), "does not decode whole"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_picture_to_read_is_refused_with_what_to_do(kind: str) -> None:
    content, reason = REFUSED[kind]
    with pytest.raises(ImageRefused, match=reason):
        check_decodes(content, read_header(content))


def test_a_palette_is_looked_up() -> None:
    table = (np.arange(256, dtype=np.uint16) * 257).tobytes()
    names: dict[str, Any] = {f"{colour}PaletteColorLookupTable{part}": value for colour in ("Red", "Green", "Blue")
             for part, value in (("Descriptor", [256, 0, 16]), ("Data", table))}  # fmt: skip
    content = dicom_of(GREY, photometric="PALETTE COLOR", **names)
    assert (decode(content, read_header(content)) == GREY_RGB).all()


def test_of_a_patient_only_id_age_sex_site_and_lesion_are_read() -> None:
    content = dicom_of(
        PIXELS, PatientID="77-1", PatientAge="018M", PatientSex="F", BodyPartExamined="THIGH", TrackingID="left 3",
        AnatomicRegionSequence=region("Skin of lower back"),
    )  # fmt: skip
    subject = DicomFile(content).subject()
    assert (subject.patient, subject.age, subject.sex, subject.site) == ("77-1", 1.5, "female", "posterior torso")
    assert subject.lesion == "77-1\0left 3"
    assert "Doe" not in str(DicomFile(content)._data), "the name is not even read"
    assert DicomFile(dicom_of(PIXELS, BodyPartExamined="JANE DOE", PatientAge="old")).subject().site == ""


def test_the_colours_of_a_jpeg_without_a_mark_are_added_once() -> None:
    assert with_colours(JPEG, are_rgb=True) == JPEG
    assert with_colours(BARE, are_rgb=False) != BARE
