"""Records on disk: typed, with a version number, and with an error that names the file and the field that does not fit.

A record is a pydantic model that is stored as a JSON file of its own (`read`, `write`) or as a line of a file of JSON lines
(`of_line`, `line`). What is nested in a record is a `RecordPart`.

    class Answer(Record):
        remedy = "Ask again with `skinlesion ask`."
        text: str

    Answer(text="yes").write(path)
    Answer.read(path).text
"""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.regular_file import NotAFile, read_file

LARGEST_RECORD: Final = 256_000_000
"""Bytes; a thousand times what the largest record has."""

_NO_FILE: Final = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EACCES)
"""Error numbers of what is no file that can be read, today and tomorrow."""


class RecordPart(BaseModel):
    """Part of a record. Frozen; a missing field and a value of another type are refused.

    A field that this program does not know is ignored: a newer program may write more without counting the format up, and
    whoever goes back to this one can still read it.
    """

    model_config = ConfigDict(
        frozen=True, extra="ignore", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )


class Record(RecordPart):
    """A record on disk.

    Attributes:
        current_format: number of the format that this program writes. Count it up when older programs would misread it.
        remedy: what a person does about a file that does not fit, one sentence.
        format_version: number of the format that a file has; a file without one has format 1.
    """

    current_format: ClassVar[int] = 1
    remedy: ClassVar[str] = "Restore the file from a back-up, or remove it and run the stage that writes it again."

    format_version: int = 1

    @field_validator("format_version")
    @classmethod
    def _is_known_format(cls, value: int) -> int:
        if not 1 <= value <= cls.current_format:
            raise ValueError(f"this program reads formats 1 to {cls.current_format}; a newer program wrote this one")
        return value

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the record in a file.

        Raises FileNotFoundError, DataError if the content does not fit or what is there is no file that this user may read,
        and other OSErrors, which another attempt may not meet.
        """
        try:
            content = read_file(path, most=LARGEST_RECORD)
        except FileNotFoundError:
            if path.is_symlink():
                raise DataError(f"{path} is a link to nothing; expected a file. {cls.remedy}") from None
            raise
        except OSError as error:
            if isinstance(error, NotAFile) or error.errno in _NO_FILE:
                raise DataError(f"{path} cannot be read ({error.strerror}). {cls.remedy}") from error
            raise
        return cls._of_json(content, str(path))

    @classmethod
    def read_if_there(cls, path: Path) -> Self | None:
        """Return the record in a file, None if there is no file. Raises DataError if the content does not fit."""
        try:
            return cls.read(path)
        except FileNotFoundError:
            return None

    @classmethod
    def of_line(cls, line: str | bytes, path: Path, number: int) -> Self:
        """Return the record in line `number` (from 1) of a file of JSON lines. Raises DataError if it does not fit."""
        return cls._of_json(line, f"{path}, line {number}")

    def line(self) -> str:
        """Return the record as one line of JSON, without the line break."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False)

    def write(self, path: Path) -> None:
        """Store the record in a file, whole or not at all; leave a file that holds it already as it is."""
        atomic.write_if_changed(path, json.dumps(self.model_dump(mode="json"), indent=1).encode())

    @classmethod
    def _of_json(cls, content: str | bytes, where: str) -> Self:
        try:
            return cls.model_validate_json(content, strict=True)
        except ValidationError as error:
            raise DataError(f"{where}: {_first_problem(error)} {cls.remedy}") from None


def _first_problem(error: ValidationError) -> str:
    """Return where the content does not fit, what was expected and what was found, as one sentence."""
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"]))
    further = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if not field:
        return f"{first['msg']}{further}."
    if first["type"] == "missing":
        return f"the field `{field}` is missing{further}."
    return f"the field `{field}` does not fit: {first['msg']}, found {str(first['input'])[:80]!r}{further}."
