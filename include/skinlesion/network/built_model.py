"""The record beside the built model: what it was built from, so that nobody needs TensorFlow to know."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError


@dataclass(frozen=True)
class BuiltModel:
    """key: of weights and settings; weights_key: of the backbone's weights alone; sha256: of the .h5 file."""

    key: str
    weights_key: str
    sha256: str

    @staticmethod
    def path(models: Path) -> Path:
        """Give the record's path."""
        return layout.built_model(models).with_suffix(".json")

    def as_dict(self) -> dict[str, str]:
        """Give the record as it is stored."""
        return asdict(self)


def read_built_model(models: Path) -> BuiltModel | None:
    """Read the record; None when there is no built model or its file is not the one that was recorded."""
    try:
        record = BuiltModel(**json.loads(BuiltModel.path(models).read_text()))
        content = layout.built_model(models).read_bytes()
    except (OSError, ValueError, TypeError):
        return None
    return record if sha256_of(content) == record.sha256 else None


def require_built_model(models: Path) -> BuiltModel:
    """Read the record. Raises DataError when there is none that fits."""
    record = read_built_model(models)
    if record is None:
        raise DataError(
            f"{layout.built_model(models)} is missing or not as build left it: expected the model that `skinlesion build` "
            "writes. Run build first."
        )
    return record
