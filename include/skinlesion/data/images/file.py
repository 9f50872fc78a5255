"""One image file: its header, whether it decodes whole, and its pixels at the size of the model's input."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from skinlesion.data.settings import IMAGE_SIDE

Pixels = npt.NDArray[np.uint8]

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
"""The suffixes of image files, in lower case. Files with other suffixes are not opened."""

SMALL_SIDE: Final = 64
"""Pixels on the short side of what `check_decodes` returns, at least, where the file has so many."""

_JPEG: Final = ("JPEG", "MPO")  # MPO: a phone's JPEG with a preview image behind the first
FORMATS: Final = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
"""The formats that Pillow may open (MPO is opened as JPEG). No others are tried: PostScript would start Ghostscript."""

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
        has_exif: whether the file has EXIF data, which may ask for a rotation.
    """

    format: str
    width: int
    height: int
    mode: str
    has_exif: bool = False

    @property
    def is_jpeg(self) -> bool:
        """Return whether the file is a JPEG, whatever its name."""
        return self.format in _JPEG


def read_header(content: bytes) -> ImageHeader:
    """Return the header of an image file. Raises ImageRefused when it is no image, or of a kind that cannot be used."""
    if not content:
        raise ImageRefused("the file is empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            header = ImageHeader(str(image.format), image.width, image.height, image.mode, "exif" in image.info)
            steps = [step for table in getattr(image, "quantization", {}).values() for step in table]
    except Exception as error:  # Pillow's decoders raise many kinds on damaged headers; each means "not readable"
        raise ImageRefused(f"not a readable image ({_reason(error)})") from None
    if frames > 1:
        raise ImageRefused(f"{frames} frames in one file; expected a still image")
    if 0 in steps:  # a zeroed block: it decodes, to one colour
        raise ImageRefused("not a readable image (a JPEG quantisation table holds a zero)")
    if header.mode not in _MODES_OPENCV_READS + _MODES_PILLOW_CONVERTS:
        raise ImageRefused(f"pixels of mode {header.mode}; expected colour or grey levels of 8 or 16 bits")
    return header


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
        if header.is_jpeg:
            scale = min(1.0, SMALL_SIDE / min(header.width, header.height))
            height, width = int(header.height * scale), int(header.width * scale)
            colours = "CMYK" if header.mode == "CMYK" else "RGB"
            decoded = simplejpeg.decode_jpeg(content, colours, min_height=height, min_width=width, strict=True)
            small: Pixels = decoded
            if header.mode == "CMYK":
                with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                    small = np.asarray(image.convert("RGB"), dtype=np.uint8)
        else:
            if header.format == "PNG":
                with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                    image.verify()  # the checksums, which Pillow ignores when it decodes
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                image.load()
                _refuse_transparency(image)
                small = _rgb(image)
    except ImageRefused:
        raise
    except Exception as error:  # as above: each decoder has its own
        raise ImageRefused(f"does not decode whole ({_reason(error)})") from None
    factor = min(small.shape[:2]) // SMALL_SIDE
    if factor < 2:
        return small
    size = (small.shape[1] // factor, small.shape[0] // factor)
    return cv2.resize(small, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def decode(content: bytes, header: ImageHeader, side: int = IMAGE_SIDE) -> Pixels:
    """Return the pixels, RGB uint8 (height, width, 3), EXIF rotation applied.

    A JPEG may come smaller than stored, by 2, 4 or 8, as long as its short side stays at least `side`: libjpeg skips
    the fine detail that the resize would average away. Raises ImageRefused.
    """
    if header.mode in _MODES_OPENCV_READS:
        reduction = _reduction(header, side) if header.is_jpeg else 1
        bgr = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), _OPENCV_REDUCED[reduction])
        if bgr is None:
            raise ImageRefused("does not decode")
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.load()
            _refuse_transparency(image)
            return _rgb(ImageOps.exif_transpose(image))
    except (OSError, ValueError, SyntaxError) as error:
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
        pixels: Pixels = simplejpeg.decode_jpeg(content, "RGB", min_height=height, min_width=width, strict=True)
    except Exception as error:  # as in `check_decodes`: damage, whatever it is called
        raise ImageRefused(f"does not decode whole ({_reason(error)})") from None
    return pixels


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


def _rgb(image: Image.Image) -> Pixels:
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
    return str(error) or type(error).__name__
