"""What a file is by its first bytes, whatever its suffix; the name of the image in it; what to do about one that is not read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from skinlesion.foundation.regular_file import open_file

SUFFIXES: Final = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif",
        ".heic", ".heif", ".hif", ".avif", ".jp2", ".j2k", ".jpf", ".jpx", ".dcm", ".dicom",
    }
)  # fmt: skip
"""The suffixes of image files, in lower case. A file with another suffix, or none, is an image if its first bytes say so."""

HEAD: Final = 512
"""Bytes at the beginning of a file that say what it is."""

_IMAGE: Final = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0|II[*+]\0|MM\0[*+]|RIFF.{4}WEBP|GIF8[79]a"
    rb"|.{4}ftyp(?:heic|heix|heim|heis|mif1|msf1|avif|avis)|\0\0\0\x0cjP  \r\n|\xff\x4f\xff\x51|.{128}DICM"
    # DICOM without the 128 bytes of its preamble: the first element is of group 2 or 8
    rb"|[\x02\x08]\0[\x00\x01\x05\x08\x16]\0(?:UL|UI|CS|OB|[\x02-\x40]\0\0\0)",
    re.DOTALL,
)

_EXPORT: Final = "export it as PNG, TIFF or JPEG"
_NOT_READ: Final = (
    (rb"8BPS", "a Photoshop file", _EXPORT),
    (rb"%PDF", "a PDF document", "export its picture as PNG"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript file", _EXPORT),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL file", _EXPORT),
    (rb".{4}ftypcrx|FUJIFILMCCD-RAW|IIRO|IIRS|IIU\0", "a camera's raw file", _EXPORT),
    (rb"gimp xcf|SIMPLE  =|\x76\x2f\x31\x01|qoif|P[1-7]\s", "a picture of a format that is not read", _EXPORT),
    (rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<svg", "a drawing (SVG)", "export it as PNG"),
    (
        rb"PK\x03\x04|Rar!|7z\xbc\xaf|\x1f\x8b|.{257}ustar",
        "an archive or an office document",
        "take the images out of it",
    ),
    (rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI |\0\0\x01\xba", "a video", "export one frame as PNG"),
)
_IN_PLACE: Final = (
    (rb"version https://git-lfs", "a pointer of Git LFS in the place of the image", "fetch the image (git lfs pull)"),
    (rb"(?i)\s*<(?:!doctype html|html|head)", "a web page in the place of the image", "download the image again"),
    (rb"(?i)\s*(?:<\?xml|<error|\{)", "a server's answer in the place of the image", "download the image again"),
    (rb"\0{512}", "zeros in the place of the image", "copy it again"),
)
_UNREAD: Final = tuple((re.compile(pattern, re.DOTALL), what, remedy) for pattern, what, remedy in _NOT_READ)

_RAW_SUFFIXES: Final = frozenset(
    {".nef", ".cr2", ".cr3", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw"}
)
_SUFFIX: Final = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,7}")


def is_image(head: bytes) -> bool:
    """Return whether a file that begins so is an image of a format that is read."""
    return _IMAGE.match(head) is not None


def why_unread(head: bytes, name: str = "") -> str:
    """Return what a file is that shows something and is not read, and what to do; empty for an image, a text or the like."""
    if os.path.splitext(name)[1].lower() in _RAW_SUFFIXES:
        return f"a camera's raw file, which is not read: {_EXPORT}"
    if is_image(head):
        return ""
    found = next(((what, remedy) for pattern, what, remedy in _UNREAD if pattern.match(head)), None)
    return "" if found is None else f"{found[0]}, which is not read: {found[1]}"


def what_instead(head: bytes) -> str:
    """Return what a file with the name of an image holds instead of one, and what to do; empty where nobody knows."""
    found = next(((what, remedy) for pattern, what, remedy in _IN_PLACE if re.match(pattern, head)), None)
    return why_unread(head) or ("" if found is None else f"{found[0]}: {found[1]}")


def head_of(path: Path | str) -> bytes:
    """Return the first bytes of a file. Raises OSError, as `open_file` does."""
    with open_file(path) as file:
        return file.read(HEAD) or b""


def image_name(file: Path | str) -> str:
    """Return the name of the image in a file: that of the file without folders and suffix.

    What follows the last dot of a number, as in a DICOM file named by its UID, is no suffix.
    """
    name = os.fspath(file).rpartition("/")[2]
    stem, suffix = os.path.splitext(name)
    return stem if _SUFFIX.fullmatch(suffix) else name
