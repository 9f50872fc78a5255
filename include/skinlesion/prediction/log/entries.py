"""An entry of the prediction log: one answer, with nothing in it that shows the picture or names a person."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Final

from skinlesion.data.images import statistics
from skinlesion.data.images.file import ImageHeader, Pixels
from skinlesion.data.labels.classes import LABELS
from skinlesion.foundation.drawn_key import drawn_key, read_key
from skinlesion.foundation.errors import DataError
from skinlesion.prediction.classifier import Answer

Entry = dict[str, str | int | float | None]

COLUMNS: Final = {
    "id": "uint64",
    "at": "int64",
    "version": "str",
    "number": "int32",
    **dict.fromkeys(LABELS, "float32"),
    "distance": "float32",
    "decision": "str",
    "reason": "str",
    "learnt": "str",
    "width": "int32",
    "height": "int32",
    "format": "str",
    **statistics.COLUMNS,
    "file": "str",
    "picture": "str",
    "case": "str",
    "beside": "uint64",
}
"""The columns of the log.

`id` is unique. `at` is when the answer was given, in microseconds since 1970 (UTC). `version` is the run that trained the model,
`number` its number in the registry, 0 without one. `distance` from the training images is NaN where the model does not measure
it. `learnt` says whether the model learnt from the picture (see `prediction.learnt`). `width` and `height` are the file's, in
pixels; the statistics are those of the 224x224 pixels that the model saw. `file`, `picture` and `case` are keyed hashes: of the
file's SHA-256, of those pixels, and of the caller's id of the case (empty without one). `beside` is 0 for an answer; for what a
candidate in the shadow said of the same picture it is the answer's `id`.
"""

KEY_FILE: Final = "log.key"

_HEX_DIGITS: Final = 32
_LONGEST_CASE: Final = 100


class LogKey:
    """The key of a log. Whoever has the log without it cannot find out whether a picture or a case is in it."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def drawn(cls, folder: Path) -> LogKey:
        """Return the key of the log in a folder, drawn now if there is none."""
        return cls(drawn_key(folder / KEY_FILE, "key"))

    @classmethod
    def of(cls, folder: Path) -> LogKey:
        """Return the key of the log in a folder. Raises DataError if there is none."""
        key = read_key(folder / KEY_FILE)
        if not key:
            raise DataError(
                f"{folder} holds no prediction log: expected {KEY_FILE}, which `skinlesion serve` makes where its setting `log` "
                "(SKINLESION_SERVE_LOG) names the folder."
            )
        return cls(key)

    def of_case(self, case: str) -> str:
        """Return the hash of a caller's id of a case; empty for none. Blanks around an id do not count."""
        return self._hash(b"case", case.strip().encode()) if case.strip() else ""

    def of_file(self, sha256: str) -> str:
        """Return the hash of a file, of which the SHA-256 in hex digits is given: the catalog has the same."""
        return self._hash(b"file", bytes.fromhex(sha256))

    def of_picture(self, pixels: Pixels) -> str:
        """Return the hash of what the model saw, RGB uint8 (224, 224, 3)."""
        return self._hash(b"picture", pixels.tobytes())

    def _hash(self, what: bytes, content: bytes) -> str:
        return hmac.digest(self._key, what + b"\0" + content, "sha256").hex()[:_HEX_DIGITS]


def is_case(case: str) -> bool:
    """Return whether a text may be the id of a case."""
    return 0 < len(case.strip()) <= _LONGEST_CASE and case.isprintable()


def entry_of(
    key: LogKey, version: str, number: int | None, answer: Answer, header: ImageHeader, pixels: Pixels, sha256: str
) -> Entry:
    """Return the entry for an answer, still without `id`, `at` and `case`.

    pixels: what the model saw; sha256: of the image file. Of the header only sizes and the name of the format are taken: what
    else a file says of itself, a name of its colour profile for example, is free text.
    """
    return {
        **said(version, number, answer),
        "width": header.width,
        "height": header.height,
        "format": header.format.partition(",")[0][:20],
        **{name: round(value, 3) for name, value in statistics.image_statistics(pixels).items()},
        "file": key.of_file(sha256),
        "picture": key.of_picture(pixels),
        "beside": 0,
    }


def said(version: str, number: int | None, answer: Answer) -> Entry:
    """Return the part of an entry that depends on the model."""
    return {
        "version": version,
        "number": number or 0,
        **{label: round(float(p), 6) for label, p in zip(LABELS, answer.probabilities, strict=True)},
        "distance": None if answer.distance is None else round(answer.distance, 6),
        "decision": answer.decision,
        "reason": answer.reason,
        "learnt": answer.learnt,
    }
