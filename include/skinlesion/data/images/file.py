"""One image file: what its header says, whether it decodes whole, its pixels at the model's size."""

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
"""Names of image files, lower case. Files of other names are not looked into."""

SMALL_SIDE: Final = 64
"""Pixels; the short side that `check_decodes` gives at least, where the file has so many."""

_JPEG: Final = ("JPEG", "MPO")  # MPO: a phone's JPEG with a preview picture behind the first
FORMATS: Final = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
"""As Pillow's openers are called (MPO is opened as JPEG). Others are never tried: PostScript's would start Ghostscript."""

_OPENCV_REDUCED: Final = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_MODES_OPENCV_READS: Final = ("RGB", "L")
_MODES_PILLOW_CONVERTS: Final = ("P", "CMYK", "YCbCr", "RGBA", "LA", "PA", "I;16", "I;16L", "I;16B")
_MODES_WITH_ALPHA: Final = ("RGBA", "LA", "PA")

# This module is the gate: it looks at the header's size before anything is decoded (`check_header`), for any Pillow
# image of the process. Pillow's own limit would warn below ours and raise without telling the size above it.
Image.MAX_IMAGE_PIXELS = None

# Whoever reads many images has a thread a core; OpenCV's own threads would compete with them for one image.
cv2.setNumThreads(1)


class ImageRefused(Exception):
    """The image cannot be used; the message is the reason, for the catalog and the report."""


@dataclass(frozen=True)
class ImageHeader:
    """What an image file says of itself before it is decoded. Sizes in pixels, as stored (before EXIF rotation).

    has_exif: it has EXIF data, which may say that it is to be turned.
    """

    format: str
    width: int
    height: int
    mode: str
    has_exif: bool = False

    @property
    def is_jpeg(self) -> bool:
        """Tell whether the file is a JPEG, whatever its name."""
        return self.format in _JPEG


def read_header(content: bytes) -> ImageHeader:
    """Read the header of an image file. Raises ImageRefused when it is no image that has a meaning here."""
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
    """Refuse by size alone. Raises ImageRefused."""
    pixels = header.width * header.height
    if pixels > max_pixels:
        raise ImageRefused(f"{header.width}x{header.height} pixels; at most {max_pixels:,} are decoded")
    if min(header.width, header.height) < min_side:
        raise ImageRefused(f"{header.width}x{header.height} pixels; expected at least {min_side} on the short side")


def check_decodes(content: bytes, header: ImageHeader) -> Pixels:
    """Decode the file whole; give a small picture of it, RGB uint8 (height, width, 3), for what only needs its gist.

    Its short side is at least `SMALL_SIDE` where the file's is; EXIF rotation is not applied. Raises ImageRefused when any
    of the file is missing or damaged: libjpeg-turbo reads every bit of a JPEG even when it scales to one eighth, and only
    its strict mode turns "corrupt data" into an error; Pillow and OpenCV fill the hole with grey and say nothing.
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
                    image.verify()  # the checksums, which Pillow does not look at when it decodes
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
    """Give the pixels, RGB uint8 (height, width, 3), EXIF rotation applied.

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
    """Give what `decode` gives of a file that `check_decodes` has nothing against. Raises ImageRefused.

    For a plain JPEG that is one pass instead of two, and half the time: libjpeg-turbo gives the same pixels through
    simplejpeg, whose strict mode reports damage, as through OpenCV. OpenCV alone turns pictures as EXIF says.
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
    """Give RGB uint8 (side, side, 3) from the pixels that `decode` gave; as in the recipe, the aspect is not kept.

    INTER_AREA averages over all pixels that become one. Where decoding has averaged already and less than two pixels
    become one, INTER_LINEAR does as well in a sixth of the time: on 600x450 JPEGs it is 0.69 grey levels off full
    decoding with INTER_AREA, where INTER_AREA is 0.67 off.
    """
    if pixels.shape[:2] == (side, side):
        return pixels
    was_reduced = sorted(pixels.shape[:2]) != sorted((header.height, header.width))
    method = cv2.INTER_LINEAR if was_reduced and max(pixels.shape[:2]) < 2 * side else cv2.INTER_AREA
    return cv2.resize(pixels, (side, side), interpolation=method).astype(np.uint8, copy=False)


def encode_jpeg(pixels: Pixels, quality: int) -> bytes:
    """Give RGB uint8 (height, width, 3) as the bytes of a JPEG file."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    encoded, buffer = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise ValueError(f"OpenCV cannot encode an image of shape {pixels.shape}")
    return buffer.tobytes()


def _reduction(header: ImageHeader, side: int) -> int:
    """By how much a JPEG may be made smaller while it is decoded."""
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
    return np.asarray(_eight_bit(image).convert("RGB"), dtype=np.uint8)


def _eight_bit(image: Image.Image) -> Image.Image:
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its content is of no known image format"
    return str(error) or type(error).__name__
