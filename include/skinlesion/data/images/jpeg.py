"""JPEG files decoded strictly: a picture that has lost something is refused, one that only breaks a rule of form is not.

libjpeg reports both as warnings, and only the first of a file. So what it warns of without losing a pixel is mended in a copy,
as libjpeg itself takes it, and the copy must decode without one warning:

- stray bytes between segments are skipped, unless they are a segment that has lost its marker, or may be the end of a
  quantisation table into which bytes came (its entries are never 0), and so are zeros after the data of a scan;
- another JFIF version than 1, and an Adobe colour transform that is not known, are read as the usual ones;
- the parameters of a scan that a sequential JPEG does not use (0, 0, 0 of some phones) are those that it should have;
- the end mark is missing, and every scan is there.

What then remains is lost picture: data that ends early, a bad Huffman code, a restart mark that is not where it should be.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final

import numpy as np
import numpy.typing as npt
import simplejpeg

_MARKER: Final = re.compile(rb"\xff+([^\x00\xff])")
_END_OF_SCAN: Final = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_START, _END, _SCAN, _JFIF, _ADOBE = 0xD8, 0xD9, 0xDA, 0xE0, 0xEE
_QUANTISATION: Final = 0xDB
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE: Final = (0xC2, 0xC6, 0xCA, 0xCE)
_LOSSLESS: Final = (0xC3, 0xC7, 0xCB, 0xCF)
_ALONE: Final = (0x01, *range(0xD0, 0xD9))  # markers without a segment
_TRANSFORM: Final = {3: 1, 4: 2}  # what libjpeg assumes: YCbCr, YCCK


def decode_strictly(content: bytes, colours: str, *, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return the pixels, uint8 (height, width, channels), reduced as far as both sides stay as large as asked.

    Raises what simplejpeg raises of a file that is damaged.
    """
    try:
        return _decoded(content, colours, height, width)
    except ValueError:
        copy = mended(content)
        if copy == content:
            raise
        return _decoded(copy, colours, height, width)


def _decoded(content: bytes, colours: str, height: int, width: int) -> npt.NDArray[np.uint8]:
    pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
        content, colours, min_height=height, min_width=width, strict=True
    )
    return pixels


def mended(content: bytes) -> bytes:
    """Return the file as libjpeg takes it where it only breaks a rule of form; see the module's text."""
    frame, components, kind = 0, 0, _START
    scans: list[bytes] = []
    parts, place, adobe = [b"\xff\xd8"], 2, -1
    while (found := _MARKER.search(content, place)) and found[1][0] != _END:
        stray = content[place : found.start()]
        if _is_lost_segment(stray) or (kind == _QUANTISATION and stray and 0 not in stray):
            return content
        kind, place = found[1][0], found.end()
        if kind in _ALONE:
            continue
        end = place + int.from_bytes(content[place : place + 2], "big")
        segment = bytearray(content[place:end])
        if len(segment) < 2 or len(segment) != end - place:
            return content
        if kind in _FRAMES and len(segment) >= 8:
            frame, components = kind, segment[7]
        elif kind == _JFIF and segment[2:7] == b"JFIF\0" and len(segment) > 8:
            segment[7] = 1
        elif kind == _ADOBE and segment[2:7] == b"Adobe" and len(segment) >= 14:
            adobe = len(parts)
        elif kind == _SCAN:
            if frame not in _PROGRESSIVE and frame not in _LOSSLESS:
                segment[-3:] = b"\0\x3f\0"
            scans.append(bytes(segment))
        parts.append(bytes([0xFF, kind]) + bytes(segment))
        place = end
        if kind == _SCAN:
            following = _END_OF_SCAN.search(content, place)
            end = following.start() if following else len(content)
            data = content[place:end].rstrip(b"\0")
            parts.append(data + b"\0" if data.endswith(b"\xff") else data)
            place = end
    if found is None and not _all_there(scans, components, frame in _PROGRESSIVE):
        return content
    if adobe >= 0 and components in _TRANSFORM and parts[adobe][15] not in (0, _TRANSFORM[components]):
        parts[adobe] = parts[adobe][:15] + bytes([_TRANSFORM[components]]) + parts[adobe][16:]
    return b"".join(parts) + b"\xff\xd9"


def _is_lost_segment(stray: bytes) -> bool:
    """Return whether stray bytes are a segment whose marker was damaged: after at most two bytes its length is that of the rest."""
    return any(int.from_bytes(stray[start : start + 2], "big") == len(stray) - start > 2 for start in range(3))


def _all_there(scans: list[bytes], components: int, is_progressive: bool) -> bool:
    """Return whether the scans bring every coefficient of every component to its last bit."""
    finished: dict[int, set[int]] = defaultdict(set)
    for scan in scans:
        first, last, bits = scan[-3:]
        for place in range(3, 3 + 2 * scan[2], 2):
            if bits & 0x0F == 0 or not is_progressive:
                finished[scan[place]].update(range(first, last + 1))
    return len(finished) == components > 0 and all(
        len(coefficients) == 64 or not is_progressive for coefficients in finished.values()
    )


def with_colours(content: bytes, *, are_rgb: bool) -> bytes:
    """Return a JPEG of three components that says what its colours are (RGB or YCbCr), where it does not say so itself."""
    head = content[: content.find(b"\xff\xda")]
    if b"JFIF\0" in head or b"\xff\xee\0\x0eAdobe" in head or content[:2] != b"\xff\xd8":
        return content
    return content[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([0 if are_rgb else 1]) + content[2:]
