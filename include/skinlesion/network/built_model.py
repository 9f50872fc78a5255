"""The record beside the built model: what it was built from, so that no reader of it needs TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import Record
from skinlesion.foundation.regular_file import NotAFile


class BuiltModel(Record):
    """What the model before training was built from.

    Attributes:
        key: of weights and settings.
        weights_key: of the backbone's weights alone.
        sha256: of the .h5 file.
    """

    remedy: ClassVar[str] = "Remove it and run build again."

    key: str
    weights_key: str
    sha256: str

    @staticmethod
    def path(models: Path) -> Path:
        """Return the path of the record."""
        return layout.built_model(models).with_suffix(".json")


def read_built_model(models: Path) -> BuiltModel | None:
    """Return the record of the built model; None without a model, or if its file is not the one that was recorded.

    Raises DataError if the record does not fit.
    """
    record = BuiltModel.read_if_there(BuiltModel.path(models))
    try:
        return record if record is not None and sha256_of(layout.built_model(models)) == record.sha256 else None
    except (FileNotFoundError, NotAFile):
        return None


def require_built_model(models: Path) -> BuiltModel:
    """Return the record of the built model. Raises DataError if there is no model, or another than was recorded."""
    record = read_built_model(models)
    if record is None:
        raise DataError(
            f"{layout.built_model(models)} is missing, or is not the file that build wrote: expected the model that "
            "`skinlesion build` writes. Run build first."
        )
    return record
