"""Photographs in DICOM files: the pixels, and what a table of labels has of a patient. Nothing that names a person is kept.

Read are VL Photographic, Dermoscopic Photography and Secondary Capture images of one frame: uncompressed, RLE, JPEG and
JPEG 2000; grey levels and colours of 8 to 16 bits. Of the elements about the patient only the id, age, sex, anatomic site and
the lesion's tracking are read at all; pydicom passes over the others.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from skinlesion.data.images import jpeg
from skinlesion.data.images.anatomy import site_of

Pixels = npt.NDArray[np.uint8]
Levels = npt.NDArray[Any]
"""Stored numbers, uint8 or uint16."""

_CLASSES: Final = {
    "1.2.840.10008.5.1.4.1.1.77.1.4": "VL Photographic Image",
    "1.2.840.10008.5.1.4.1.1.77.1.7": "Dermoscopic Photography Image",
    "1.2.840.10008.5.1.4.1.1.77.1.2": "VL Microscopic Image",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image",
    "1.2.840.10008.5.1.4.1.1.7.2": "Multi-frame Grayscale Byte Secondary Capture Image",
    "1.2.840.10008.5.1.4.1.1.7.3": "Multi-frame Grayscale Word Secondary Capture Image",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture Image",
}
_NATIVE: Final = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_RLE: Final = "1.2.840.10008.1.2.5"
_JPEG: Final = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70))
_JPEG_2000: Final = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203))

_ELEMENTS: Final = (
    "SOPClassUID", "Modality", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "WindowCenter", "WindowWidth",
    "RescaleIntercept", "RescaleSlope", "ICCProfile", "BurnedInAnnotation", "RedPaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableData",
    "PatientID", "IssuerOfPatientID", "PatientAge", "PatientSex", "BodyPartExamined", "AnatomicRegionSequence",
    "TrackingID", "TrackingUID",
)  # fmt: skip
"""The elements that are read. The patient's name, the birth date and the rest are passed over."""

_PIXEL_DATA: Final = (0x7FE0, 0x0010)
_MOST_BEFORE_PIXELS: Final = 4_000_000  # bytes; a colour profile is the largest thing that photographs have there
_MOST_ELEMENTS: Final = 10_000
_UNDEFINED: Final = 0xFFFFFFFF
_COLOURS: Final = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
_GREY: Final = ("MONOCHROME1", "MONOCHROME2")
_AGE: Final = re.compile(r"(\d{1,3})([DWMY])")
_YEARS: Final = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


class NotRead(Exception):
    """A DICOM file is not a picture that is read; the message says why and what to do."""


@dataclass(frozen=True)
class Subject:
    """What a table of labels has of a picture's subject. `patient` and `lesion` are as in the file: they may name a person."""

    patient: str = ""
    lesion: str = ""
    age: float = float("nan")
    sex: str = ""
    site: str = ""


def is_dicom(content: bytes) -> bool:
    """Return whether a file is DICOM, with or without its preamble."""
    return content[128:132] == b"DICM" or content[:2] in (b"\x02\0", b"\x08\0")


class DicomFile:
    """The elements of a DICOM file, with its pixels still as they are stored. Raises NotRead for what is no picture to read."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        try:
            self._data, self._pixels_at, self._syntax, self._is_little, self._is_implicit = _elements(content)
        except NotRead:
            raise
        except Exception as error:  # pydicom raises many kinds on damaged files
            raise NotRead(f"not a readable DICOM file ({_words(error)})") from None
        try:
            self._require_picture()
        except NotRead:
            raise
        except Exception as error:  # an element holds no number where one is expected
            raise NotRead(f"not a readable DICOM file ({_words(error)})") from None

    def _require_picture(self) -> None:
        kind = str(self._data.get("SOPClassUID", "") or "")
        if kind and kind not in _CLASSES:
            from pydicom.uid import UID

            raise NotRead(
                f"a DICOM file of the class {UID(kind).name[:60]!r}; expected a photograph (VL Photographic, Dermoscopic "
                "Photography or Secondary Capture Image)"
            )
        if self._pixels_at < 0:
            raise NotRead("a DICOM file without pixel data")
        frames = int(self._data.get("NumberOfFrames", 1) or 1)
        if frames != 1:
            raise NotRead(f"{frames} frames in one file; expected a still image. Export the frame that is meant")
        if str(self._data.get("BurnedInAnnotation", "")).strip().upper() == "YES":
            raise NotRead(
                "its element BurnedInAnnotation says that text is written into the picture, which may name a person. Export it "
                "without the text"
            )
        self.width, self.height = int(self._data.Columns), int(self._data.Rows)
        self.samples = int(self._data.get("SamplesPerPixel", 1))
        self.photometric = str(self._data.get("PhotometricInterpretation", "MONOCHROME2")).strip().upper()
        self.allocated = int(self._data.get("BitsAllocated", 8))
        self.stored = int(self._data.get("BitsStored", self.allocated))
        expected = _COLOURS if self.samples == 3 else (*_GREY, "PALETTE COLOR")
        if self.samples not in (1, 3) or self.photometric not in expected:
            raise NotRead(
                f"{self.samples} samples a pixel of {self.photometric[:20]!r}; expected grey levels (MONOCHROME1, MONOCHROME2), "
                "RGB, YBR_FULL or PALETTE COLOR"
            )
        if self.allocated not in (8, 16) or not 8 <= self.stored <= self.allocated or self.width < 1 or self.height < 1:
            raise NotRead(
                f"{self.width}x{self.height} pixels of {self.stored} bits in {self.allocated}; expected 8 to 16 bits in 8 or 16"
            )
        if self._data.get("PixelRepresentation", 0):
            raise NotRead("pixels with a sign (PixelRepresentation 1), which no photograph has")
        if self._syntax not in (*_NATIVE, _RLE, *_JPEG, *_JPEG_2000):
            from pydicom.uid import UID

            raise NotRead(
                f"DICOM compressed as {UID(self._syntax).name[:60]!r}, which is not read: convert it to Explicit VR Little Endian "
                "(gdcmconv --raw, dcmconv)"
            )

    @property
    def profile(self) -> bytes | None:
        """The ICC profile of the pixels."""
        found = self._data.get("ICCProfile")
        return bytes(found) if found else None

    @cached_property
    def plain_jpeg(self) -> bytes | None:
        """The JPEG in the file, where its pixels mean what those of any JPEG mean; None for any other coding."""
        is_plain = self.photometric in ("RGB", "YBR_FULL", "YBR_FULL_422") or (
            self.photometric == "MONOCHROME2" and not self._display
        )
        if self._syntax not in _JPEG or not is_plain:
            return None
        coded = self._fragments()
        return coded if self.samples == 1 else jpeg.with_colours(coded, are_rgb=self.photometric == "RGB")

    def pixels(self) -> Pixels:
        """Return the pixels, RGB uint8 (height, width, 3). Raises NotRead where they are damaged or not all there."""
        try:
            levels = self._levels()
            if self.photometric == "PALETTE COLOR":
                from pydicom.pixels.processing import apply_color_lut

                entries = apply_color_lut(levels, self._data)
                shift = 8 if entries.dtype == np.uint16 else 0
                return (entries[..., :3] >> shift).astype(np.uint8)
        except NotRead:
            raise
        except Exception as error:  # as above
            raise NotRead(f"does not decode whole ({_words(error)})") from None
        eight = self._table()[levels]
        if self.samples == 1:
            return np.repeat(eight[..., None], 3, axis=2)
        if not self.photometric.startswith("YBR_FULL"):
            return eight
        return np.asarray(Image.fromarray(eight, "YCbCr").convert("RGB"), dtype=np.uint8)

    def subject(self) -> Subject:
        """Return what the file says of the patient and the lesion."""

        def text(name: str) -> str:
            return str(self._data.get(name, "") or "").strip()

        try:
            patient = text("PatientID")
            tracked = text("TrackingUID") or (f"{patient}\0{text('TrackingID')}" if text("TrackingID") else "")
            age = _AGE.fullmatch(text("PatientAge").upper())
            years = round(int(age[1]) * _YEARS[age[2]], 2) if age else float("nan")
            regions = self._data.get("AnatomicRegionSequence") or []
            words = [str(region.get("CodeMeaning", "")) for region in list(regions)[:1]]
            return Subject(
                patient=f"{text('IssuerOfPatientID')}\0{patient}".removeprefix("\0") if patient else "",
                lesion=tracked,
                age=years if years <= 130 else float("nan"),
                sex={"M": "male", "F": "female"}.get(text("PatientSex").upper(), ""),
                site=next((site for site in map(site_of, (*words, text("BodyPartExamined"))) if site), ""),
            )
        except Exception:  # an element that holds something else: the picture can be used without it
            return Subject()

    @cached_property
    def _display(self) -> tuple[float, float] | None:
        """The window of grey levels that is shown, its middle and its width; None for all of them."""
        middle, width = (_first_number(self._data.get(name)) for name in ("WindowCenter", "WindowWidth"))
        whole = 2.0**self.stored
        is_whole = abs(middle - whole / 2) <= 1 and abs(width - whole) <= 1
        return (middle, width) if width > 1 and not is_whole else None

    def _table(self) -> Pixels:
        """Return the 8 bits that are shown for each stored number."""
        numbers = np.arange(2**self.stored)
        if self.samples == 3 or self._display is None:
            shown = numbers * 255 // numbers[-1]
        else:
            middle, width = self._display
            slope = float(self._data.get("RescaleSlope", 1) or 1)
            intercept = float(self._data.get("RescaleIntercept", 0) or 0)
            share = (numbers * slope + intercept - (middle - 0.5)) / (width - 1) + 0.5
            shown = np.rint(share.clip(0, 1) * 255)
        table: Pixels = shown.astype(np.uint8)
        return np.invert(table) if self.photometric == "MONOCHROME1" else table

    def _levels(self) -> Levels:
        """Return the stored numbers, (height, width) or (height, width, 3)."""
        if self._syntax in _NATIVE:
            return self._native()
        coded = self._fragments()
        if self._syntax == _RLE:
            return self._run_length(coded)
        found = simplejpeg_levels(coded) if self._syntax in _JPEG else self._jpeg_2000(coded)
        self._require_size(found.shape[1], found.shape[0])
        if found.ndim != (2 if self.samples == 1 else 3):
            raise NotRead(
                f"the picture in it has the shape {found.shape}; its elements say {self.samples} samples a pixel"
            )
        return found

    def _jpeg_2000(self, coded: bytes) -> Levels:
        """Return the stored numbers. Pillow gives them with their highest bit as the highest of 8 or 16."""
        at = coded.find(b"\xff\x4f\xff\x51")
        precision = (coded[at + 42] & 0x7F) + 1
        with Image.open(io.BytesIO(coded), formats=["JPEG2000"]) as image:
            self._require_size(image.width, image.height)
            found = np.asarray(image)
        if found.dtype == np.uint8:
            return found if self.stored == 8 else found.astype(np.uint16) << (self.stored - 8)
        return found.astype(np.uint16) >> (16 - precision)

    def _require_size(self, width: int, height: int) -> None:
        if (width, height) != (self.width, self.height):
            raise NotRead(f"its elements say {self.width}x{self.height} pixels; the picture in it has {width}x{height}")

    def _native(self) -> Levels:
        at, length = self._pixel_value()
        is_halved = self.photometric == "YBR_FULL_422"
        wanted = self.width * self.height * (2 if is_halved else self.samples) * self.allocated // 8
        if length == _UNDEFINED or length < wanted or at + wanted > len(self._content):
            raise NotRead(
                f"does not decode whole (its pixels have {min(length, len(self._content) - at):,} bytes; "
                f"{self.width}x{self.height} need {wanted:,})"
            )
        order = "<" if self._is_little else ">"
        numbers = np.frombuffer(self._content, f"{order}u{self.allocated // 8}", wanted * 8 // self.allocated, at)
        if is_halved:
            if self.width % 2:
                raise NotRead("YBR_FULL_422 with an odd number of columns")
            pairs = numbers.reshape(self.height, self.width // 2, 4)
            luma = pairs[..., :2].reshape(self.height, self.width)
            levels = np.stack([luma, *(np.repeat(pairs[..., at], 2, axis=1) for at in (2, 3))], axis=-1)
        elif self.samples == 1:
            levels = numbers.reshape(self.height, self.width)
        elif int(self._data.get("PlanarConfiguration", 0) or 0):
            levels = numbers.reshape(3, self.height, self.width).transpose(1, 2, 0)
        else:
            levels = numbers.reshape(self.height, self.width, 3)
        shift = max(0, int(self._data.get("HighBit", self.stored - 1)) - self.stored + 1)
        return (levels >> shift) & (2**self.stored - 1) if shift or self.stored < self.allocated else levels

    def _run_length(self, coded: bytes) -> Levels:
        """Return the numbers of RLE: a plane for each byte of each sample, the highest byte first."""
        count, *starts = struct.unpack_from("<16I", coded)
        depth = self.allocated // 8
        if count != self.samples * depth:
            raise NotRead(f"does not decode whole ({count} planes; expected {self.samples * depth})")
        ends = [*starts[1:count], len(coded)]
        planes: list[Levels] = [
            # Pillow's own decoder of PackBits, bounded by the size of the plane
            np.asarray(Image.frombytes("L", (self.width, self.height), coded[start:end], "packbits", "L"))
            for start, end in zip(starts[:count], ends, strict=True)
        ]
        if depth == 2:
            planes = [high.astype(np.uint16) << 8 | low for high, low in zip(planes[::2], planes[1::2], strict=True)]
        levels: Levels = planes[0] if self.samples == 1 else np.stack(planes, axis=-1)
        return levels & (2**self.stored - 1) if self.stored < self.allocated else levels

    def _pixel_value(self) -> tuple[int, int]:
        """Return where the value of the pixel data begins, and the length that is given for it."""
        order = "<" if self._is_little else ">"
        at = self._pixels_at + 4
        if not self._is_implicit:
            at += 4
        (length,) = struct.unpack_from(f"{order}I", self._content, at)
        return at + 4, int(length)

    def _fragments(self) -> bytes:
        """Return the coded frame: the items of the pixel data after the table of offsets."""
        at, _ = self._pixel_value()
        items: list[bytes] = []
        while True:
            try:
                tag, length = struct.unpack_from("<II", self._content, at)
            except struct.error:
                raise NotRead("does not decode whole (the file ends within its pixel data)") from None
            at += 8
            if tag == 0xE0DDFFFE:
                break
            if tag != 0xE000FFFE or length > len(self._content) - at:
                raise NotRead("does not decode whole (its pixel data are cut off, or their lengths are wrong)")
            items.append(self._content[at : at + length])
            at += length
        if len(items) < 2:
            raise NotRead("a DICOM file without pixel data")
        return b"".join(items[1:])


def _first_number(value: Any) -> float:
    """Return the first number of an element that may have several; 0 where it has none."""
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return float(values[0] or 0) if len(values) else 0.0


def simplejpeg_levels(coded: bytes) -> Pixels:
    """Return the grey levels of a JPEG, uint8 (height, width)."""
    height, width, *_ = simplejpeg.decode_jpeg_header(coded)
    return jpeg.decode_strictly(coded, "GRAY", height=height, width=width)[..., 0]


def _elements(content: bytes) -> tuple[Any, int, str, bool, bool]:
    """Return the elements, where the pixel data begin (-1: nowhere), the transfer syntax, and how the elements are coded."""
    from pydicom import config, filereader
    from pydicom.tag import Tag

    config.settings.reading_validation_mode = config.IGNORE
    warnings.filterwarnings("ignore", module=r"pydicom\.")  # about damage, which is refused or does not matter
    file, seen, pixels_at = io.BytesIO(content[:_MOST_BEFORE_PIXELS]), 0, -1
    if b"1.2.840.10008.1.2.1.99" in content[:600]:  # inflated as a whole by pydicom, however large it becomes
        raise NotRead("a deflated DICOM file, which is not read: convert it to Explicit VR Little Endian (dcmconv +te)")

    def is_end(tag: Any, representation: str | None, length: int) -> bool:
        nonlocal seen
        seen += 1
        if seen > _MOST_ELEMENTS:
            raise NotRead(f"a DICOM file of more than {_MOST_ELEMENTS:,} elements, which no photograph has")
        return bool(tag >= Tag(*_PIXEL_DATA))

    has_preamble = content[128:132] == b"DICM"
    data = filereader.read_partial(
        file, is_end, force=not has_preamble, specific_tags=[Tag(name) for name in _ELEMENTS]
    )
    at = file.tell()
    is_little, is_implicit = bool(data.is_little_endian), bool(data.is_implicit_VR)
    group, element = (
        struct.unpack_from("<HH" if is_little else ">HH", content, at) if at + 4 <= len(content) else (0, 0)
    )
    if (group, element) == _PIXEL_DATA:
        pixels_at = at
    elif len(content) > _MOST_BEFORE_PIXELS and at + 8 >= _MOST_BEFORE_PIXELS:
        raise NotRead(f"more than {_MOST_BEFORE_PIXELS:,} bytes before its pixel data, which no photograph has")
    syntax = str(data.file_meta.get("TransferSyntaxUID", "") or "") if hasattr(data, "file_meta") else ""
    return data, pixels_at, syntax or _NATIVE[0 if is_implicit else 1], is_little, is_implicit


def _words(error: Exception) -> str:
    text = " ".join("".join(one if one.isprintable() else " " for one in str(error)).split())
    return text[:120] or type(error).__name__
