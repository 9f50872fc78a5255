"""The contract of the tables of ingest, which is checked before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pandas as pd

from skinlesion.data import catalog as contract
from skinlesion.data.images.statistics import COLUMNS as STATISTICS
from skinlesion.foundation.errors import DataError

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

CELLS_NAMED: Final = 10


def images_schema() -> DataFrameSchema:
    """Return the contract of accepted images beyond the catalog's own: a size, and statistics of the pixels."""
    import pandera.pandas as pa

    return pa.DataFrameSchema(
        {
            "sha256": pa.Column("str", pa.Check.str_length(64, 64)),
            "size": pa.Column("int64", pa.Check.ge(1)),
            "width": pa.Column("int32", pa.Check.ge(1)),
            "height": pa.Column("int32", pa.Check.ge(1)),
            **{name: pa.Column(dtype, pa.Check.in_range(0, 255), nullable=True) for name, dtype in STATISTICS.items()},
        }
    )


def require_sound(catalog: pd.DataFrame, images: pd.DataFrame) -> None:
    """Raise DataError that names every cell in which the tables break their contract.

    catalog: `catalog.COLUMNS`. images: its accepted rows with their image statistics.
    """
    from pandera.errors import SchemaErrors

    for schema, table in ((contract.schema(), catalog), (images_schema(), images)):
        try:
            schema.validate(table, lazy=True)
        except SchemaErrors as problems:
            cells = problems.failure_cases
            named = "; ".join(_cell(cell, table) for cell in cells.head(CELLS_NAMED).itertuples())
            more = f"; and {len(cells) - CELLS_NAMED} more" if len(cells) > CELLS_NAMED else ""
            raise DataError(
                f"{len(cells)} cells of the new catalog break its contract: {named}{more}. Correct these rows of the table "
                "of diagnoses; if they are right, remove dataset/tables/ingest so that the images are read again."
            ) from None


def _cell(cell: object, table: pd.DataFrame) -> str:
    column, check, value, index = (getattr(cell, name) for name in ("column", "check", "failure_case", "index"))
    image = table["image"].get(index, "the table") if pd.notna(index) else "the table"
    return f"{image}: {column} is {value!r}, expected {check}"
