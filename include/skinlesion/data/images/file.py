"""One image file: its header, whether it decodes whole, and its pixels at the size of the model's input."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from skinlesion.data.images import jpeg
from skinlesion.data.images.colour import DISPLAY_P3, cmyk_to_srgb, colours_of, printable_text, to_srgb
from skinlesion.data.images.dicom import DicomFile, NotRead, is_dicom
from skinlesion.data.images.formats import HEAD, what_instead
from skinlesion.data.images.heic import HeicFile, is_heic
from skinlesion.data.settings import IMAGE_SIDE

Pixels = npt.NDArray[np.uint8]

SMALL_SIDE: Final = 64
"""Pixels on the short side of what `check_decodes` returns, at least, where the file has so many."""

_JPEG: Final = ("JPEG", "MPO")  # MPO: a phone's JPEG with a preview image behind the first
FORMATS: Final = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "AVIF", "JPEG2000")
"""The formats that Pillow may open (MPO is opened as JPEG). No others are tried: PostScript would start Ghostscript."""

_BY_OPENCV: Final = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
_RAW_DICOM: Final = "DICOM pixels"
_HEIC: Final = "HEIC"
_INK_SET, _SUBFILE, _DNG = 332, 254, 50706  # TIFF's tags

_OPENCV_REDUCED: Final = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_MODES_OPENCV_READS: Final = ("RGB", "L")
_MODES_PILLOW_CONVERTS: Final = ("P", "CMYK", "YCbCr", "RGBA", "LA", "PA", "I;16", "I;16L", "I;16B")
_MODES_WITH_ALPHA: Final = ("RGBA", "LA", "PA")

# `check_header` compares the size in the header with the limit before anything is decoded. Pillow's own limit would warn
# below ours, and above it raise an error that does not name the size.
Image.MAX_IMAGE_PIXELS = None

# Many images are read with one thread a core; OpenCV's own threads would compete with them.
cv2.setNumThreads(1)


class ImageRefused(Exception):
    """The image cannot be used; the message is the reason, for the catalog and the report."""


@dataclass(frozen=True)
class ImageHeader:
    """The header of an image file. Sizes are in pixels, as stored (before EXIF rotation).

    Attributes:
        format: the format, and what was made of its colours, for people: `PNG`, `JPEG, converted from Display P3`.
        coding: the format of the pixels: that of the picture in a DICOM file.
        has_exif: whether the file has EXIF data, which may ask for a rotation.
        profile: the ICC profile by which the colours are converted to sRGB; empty where they are sRGB.
    """

    format: str
    width: int
    height: int
    mode: str
    has_exif: bool = False
    coding: str = ""
    profile: bytes = b""

    @property
    def is_jpeg(self) -> bool:
        """Return whether the pixels are a JPEG, whatever the file's name."""
        return self.coding in _JPEG


def read_header(content: bytes) -> ImageHeader:
    """Return the header of an image file. Raises ImageRefused when it is no image, or of a kind that cannot be used."""
    if not content:
        raise ImageRefused("the file is empty")
    if is_dicom(content):
        return _header_of_dicom(content)
    return _header_of_heic(content) if is_heic(content) else _header(content)


def _header_of_heic(content: bytes) -> ImageHeader:
    try:
        heic = HeicFile(content)
        colours = colours_of(Image.new(heic.mode, (1, 1)), heic.profile or (DISPLAY_P3 if heic.is_p3 else None))
    except Exception as error:  # as below
        raise ImageRefused(f"not a readable image ({_reason(error)})") from None
    return ImageHeader(_HEIC + colours.note, heic.width, heic.height, heic.mode, coding=_HEIC, profile=colours.profile)


def _header_of_dicom(content: bytes) -> ImageHeader:
    try:
        dicom = DicomFile(content)
        coded = dicom.plain_jpeg
    except NotRead as reason:
        raise ImageRefused(str(reason)) from None
    if coded is None:
        colours = colours_of(Image.new("RGB" if dicom.samples == 3 else "L", (1, 1)), dicom.profile)
        size = dicom.width, dicom.height
        return ImageHeader("DICOM" + colours.note, *size, "RGB", coding=_RAW_DICOM, profile=colours.profile)
    header = _header(coded, dicom.profile)
    if (header.width, header.height) != (dicom.width, dicom.height) or not header.is_jpeg:
        raise ImageRefused(
            f"its elements say a JPEG of {dicom.width}x{dicom.height} pixels; the picture in it is a {header.coding} of "
            f"{header.width}x{header.height}"
        )
    return replace(header, format="DICOM" + header.format.removeprefix(header.coding))


def _header(content: bytes, profile: bytes | None = None) -> ImageHeader:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            tags = getattr(image, "tag_v2", {})
            steps = [step for table in getattr(image, "quantization", {}).values() for step in table]
            colours = colours_of(image, profile or _profile_of_jpeg_2000(content, str(image.format)))
            coding = str(image.format)
            header = ImageHeader(
                coding + colours.note,
                image.width,
                image.height,
                image.mode,
                bool(image.info.get("exif")),
                coding,
                colours.profile,
            )
            inks, is_preview = tags.get(_INK_SET, 1), _DNG in tags or bool(int(tags.get(_SUBFILE, 0)) & 1)
    except Exception as error:  # Pillow's decoders raise many kinds on damaged headers; each means "not readable"
        raise ImageRefused(what_instead(content[:HEAD]) or f"not a readable image ({_reason(error)})") from None
    if frames > 1:
        raise ImageRefused(f"{frames} frames in one file; expected a still image")
    if 0 in steps:  # a zeroed block: it decodes, to one colour
        raise ImageRefused("not a readable image (a JPEG quantisation table holds a zero)")
    if header.mode not in _MODES_OPENCV_READS + _MODES_PILLOW_CONVERTS:
        raise ImageRefused(f"pixels of mode {header.mode}; expected colour or grey levels of 8 or 16 bits")
    if is_preview:
        raise ImageRefused(
            "a camera's raw file, whose first picture is a small preview: export it as PNG, TIFF or JPEG"
        )
    if header.mode == "CMYK" and inks != 1:
        raise ImageRefused("inks other than cyan, magenta, yellow and black (InkSet 2): export it with the colours RGB")
    return header


def _profile_of_jpeg_2000(content: bytes, format: str) -> bytes | None:
    """Return the ICC profile of a JP2 file, which Pillow does not read; None where there is none."""
    at = content.find(b"colr\x02", 0, 10_000) if format == "JPEG2000" else -1
    return content[at + 7 : at - 4 + int.from_bytes(content[at - 4 : at], "big")] if at > 4 else None


def check_header(header: ImageHeader, *, max_pixels: int, min_side: int) -> None:
    """Raise ImageRefused when the image is too large or too small."""
    pixels = header.width * header.height
    if pixels > max_pixels:
        raise ImageRefused(f"{header.width}x{header.height} pixels; at most {max_pixels:,} are decoded")
    if min(header.width, header.height) < min_side:
        raise ImageRefused(f"{header.width}x{header.height} pixels; expected at least {min_side} on the short side")


def check_decodes(content: bytes, header: ImageHeader) -> Pixels:
    """Decode the whole file; return a reduced image, RGB uint8 (height, width, 3).

    The short side is at least `SMALL_SIDE` where the file's is; EXIF rotation is not applied. Raises ImageRefused when any
    part of the file is missing or damaged. libjpeg-turbo reads every bit of a JPEG even when it scales to one eighth, and
    only its strict mode turns "corrupt data" into an error; Pillow and OpenCV fill the gap with grey and report nothing.
    """
    try:
        if header.coding == _RAW_DICOM:
            small = DicomFile(content).pixels()
        elif header.is_jpeg:
            content = _jpeg_in(content, header)
            scale = min(1.0, SMALL_SIDE / min(header.width, header.height))
            height, width = int(header.height * scale), int(header.width * scale)
            colours = "CMYK" if header.mode == "CMYK" else "RGB"
            small = jpeg.decode_strictly(content, colours, height=height, width=width)
            if header.mode == "CMYK":
                small = _by_pillow(content, header)
        else:
            if header.coding == "PNG":
                with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                    image.verify()  # the checksums, which Pillow ignores when it decodes
            small = _by_pillow(content, header)
    except ImageRefused:
        raise
    except NotRead as reason:
        raise ImageRefused(str(reason)) from None
    except Exception as error:  # as above: each decoder has its own
        raise ImageRefused(f"does not decode whole ({_reason(error)})") from None
    factor = min(small.shape[:2]) // SMALL_SIDE
    if factor >= 2:
        size = (small.shape[1] // factor, small.shape[0] // factor)
        small = cv2.resize(small, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return _in_srgb(small, header)


def decode(content: bytes, header: ImageHeader, side: int = IMAGE_SIDE) -> Pixels:
    """Return the pixels in sRGB, uint8 (height, width, 3), EXIF rotation applied.

    A JPEG may come smaller than stored, by 2, 4 or 8, as long as its short side stays at least `side`: libjpeg skips
    the fine detail that the resize would average away. Raises ImageRefused.
    """
    content = _jpeg_in(content, header)
    if header.mode in _MODES_OPENCV_READS and header.coding in (*_BY_OPENCV, "MPO"):
        reduction = _reduction(header, side) if header.is_jpeg else 1
        bgr = _by_opencv(content, _OPENCV_REDUCED[reduction])
        if bgr is None and header.is_jpeg:  # without its end mark, it suspends decoding
            bgr = _by_opencv(jpeg.mended(content), _OPENCV_REDUCED[reduction])
        if bgr is None:
            raise ImageRefused("does not decode")
        return _in_srgb(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False), header)
    try:
        if header.coding == _RAW_DICOM:
            return _in_srgb(DicomFile(content).pixels(), header)
        return _in_srgb(_by_pillow(content, header, upright=True), header)
    except NotRead as reason:
        raise ImageRefused(str(reason)) from None
    except (OSError, ValueError, SyntaxError, EOFError, RuntimeError) as error:
        raise ImageRefused(f"does not decode ({_reason(error)})") from None


def decode_checked(content: bytes, header: ImageHeader, side: int = IMAGE_SIDE) -> Pixels:
    """Return what `decode` returns, of a file that passes `check_decodes`. Raises ImageRefused.

    A plain JPEG takes one pass instead of two, and half the time: libjpeg-turbo gives the same pixels through simplejpeg,
    whose strict mode reports damage, as through OpenCV. Only OpenCV applies EXIF rotation.
    """
    if not header.is_jpeg or header.mode not in _MODES_OPENCV_READS or header.has_exif:
        check_decodes(content, header)
        return decode(content, header, side)
    factor = _reduction(header, side)
    height, width = -(-header.height // factor), -(-header.width // factor)
    try:
        pixels = jpeg.decode_strictly(_jpeg_in(content, header), "RGB", height=height, width=width)
    except Exception as error:  # as in `check_decodes`: damage, whatever it is called
        raise ImageRefused(f"does not decode whole ({_reason(error)})") from None
    return _in_srgb(pixels, header)


def to_model_size(pixels: Pixels, header: ImageHeader, side: int = IMAGE_SIDE) -> Pixels:
    """Return pixels that `decode` returned at the model's size, RGB uint8 (side, side, 3).

    As in the recipe, the aspect ratio is not kept. INTER_AREA averages over all pixels that become one. Where decoding has
    averaged already and fewer than two pixels become one, INTER_LINEAR is as good in a sixth of the time: on 600x450 JPEGs
    it differs by 0.69 grey levels from full decoding with INTER_AREA, and INTER_AREA differs by 0.67.
    """
    if pixels.shape[:2] == (side, side):
        return pixels
    was_reduced = sorted(pixels.shape[:2]) != sorted((header.height, header.width))
    method = cv2.INTER_LINEAR if was_reduced and max(pixels.shape[:2]) < 2 * side else cv2.INTER_AREA
    return cv2.resize(pixels, (side, side), interpolation=method).astype(np.uint8, copy=False)


def encode_jpeg(pixels: Pixels, quality: int) -> bytes:
    """Return the bytes of a JPEG file with these pixels, RGB uint8 (height, width, 3)."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    encoded, buffer = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise ValueError(f"OpenCV cannot encode an image of shape {pixels.shape}")
    return buffer.tobytes()


def _reduction(header: ImageHeader, side: int) -> int:
    """Return the factor by which a JPEG may be reduced while it is decoded: 8, 4, 2 or 1."""
    return next((factor for factor in (8, 4, 2) if min(header.width, header.height) >= factor * side), 1)


def _refuse_transparency(image: Image.Image) -> None:
    if image.mode in _MODES_WITH_ALPHA or "transparency" in image.info:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        if alpha.min() < 255:
            share = float((alpha < 255).mean())
            raise ImageRefused(f"{share:.1%} of the pixels are transparent; what lies behind them is not known")


def _jpeg_in(content: bytes, header: ImageHeader) -> bytes:
    """Return the JPEG in a DICOM file; any other content as it is."""
    if header.coding not in _JPEG or not is_dicom(content):
        return content
    return DicomFile(content).plain_jpeg or b""


def _by_opencv(content: bytes, flags: int) -> Pixels | None:
    found = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), flags)
    return None if found is None else found.astype(np.uint8, copy=False)


def _in_srgb(pixels: Pixels, header: ImageHeader) -> Pixels:
    return pixels if header.mode == "CMYK" else to_srgb(pixels, header.profile)


def _by_pillow(content: bytes, header: ImageHeader, *, upright: bool = False) -> Pixels:
    """Return the pixels as Pillow decodes them, RGB uint8; those of CMYK in sRGB. upright: whether EXIF rotation is applied."""
    whole = jpeg.mended(content) if header.is_jpeg else content
    with (
        HeicFile(content).decoded() if header.coding == _HEIC else Image.open(io.BytesIO(whole), formats=FORMATS)
    ) as opened:
        opened.load()
        _refuse_transparency(opened)
        image: Image.Image = ImageOps.exif_transpose(opened) if upright else opened
        if image.mode == "CMYK" and header.profile:
            return cmyk_to_srgb(image, header.profile)
        if "transparency" in image.info:  # none is transparent; Pillow warns of a palette with alpha otherwise
            image = image.convert("RGBA")
        return np.asarray(eight_bit(image).convert("RGB"), dtype=np.uint8)


def eight_bit(image: Image.Image) -> Image.Image:
    """Return an image of 16-bit grey levels with 8 bits, any other as it is."""
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its content is of no known image format"
    return printable_text(str(error), 200) or type(error).__name__
