"""Files that are an image and something else at once: a page, a script, an archive, a document (polyglots)."""

from __future__ import annotations

import re
from typing import Final

from skinlesion.data.images.file import ImageRefused

_SCAN, _END_OF_JPEG = b"\xff\xda", b"\xff\xd9"
_PNG, _DATA, _END_OF_PNG = b"\x89PNG", b"IDAT", b"IEND"

_KINDS: Final = (
    (
        re.compile(rb"<(?:!doctype html|html[\s>]|script[\s>]|svg[\s>]|iframe[\s>])", re.IGNORECASE),
        "a web page or script",
    ),
    (re.compile(rb"<\?php\s", re.IGNORECASE), "a script"),
    (re.compile(rb"%PDF-[12]\."), "a PDF document"),
    (re.compile(rb"PK\x05\x06.{18}", re.DOTALL), "a ZIP archive"),
    (re.compile(rb"\x7fELF|^MZ", re.DOTALL), "a program"),
)
"""Patterns long enough not to turn up by chance; they are looked for outside the compressed picture."""


def refuse_hidden_content(content: bytes) -> None:
    """Refuse a file that is also something else. Raises ImageRefused.

    Nothing here would run it; but such a file was made to deceive, and what it shows is not to be trusted. Looked at are
    what comes before the picture's data (comments, metadata) and what comes after its end, where a phone may have left a
    preview or a film.
    """
    for part in _around_the_picture(content):
        for pattern, kind in _KINDS:
            if part and pattern.search(part):
                raise ImageRefused(f"holds {kind} beside the picture; expected an image file and nothing else")


def _around_the_picture(content: bytes) -> tuple[bytes, bytes]:
    if content.startswith(b"\xff\xd8"):
        start, end = content.find(_SCAN), -1
        if start >= 0:
            end = content.find(_END_OF_JPEG, start)
        return _cut(content, start, end + len(_END_OF_JPEG) if end >= 0 else -1)
    if content.startswith(_PNG):
        end = content.rfind(_END_OF_PNG)
        return _cut(content, content.find(_DATA), end + len(_END_OF_PNG) if end >= 0 else -1)
    return content[:4096], content[-4096:]


def _cut(content: bytes, start: int, end: int) -> tuple[bytes, bytes]:
    return content[: start if start >= 0 else len(content)], content[end:] if end >= 0 else b""
