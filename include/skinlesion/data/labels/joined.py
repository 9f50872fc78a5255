"""What several tables of one set of images say together: one row an image, and what they disagree on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True, slots=True)
class TableValue:
    """A value in a table, and the number of its row; the header is row 1."""

    table: str
    row: int
    value: str

    def __str__(self) -> str:
        return f"{self.table} row {self.row} {self.value!r}"


@dataclass(frozen=True)
class Conflict:
    """Different values that tables give to an image.

    Attributes:
        what: `diagnoses`, `lesions`, `patients`, `sex`, `age` or `source`.
        values: the values, in the order of the tables.
        becomes: what was made of them.
    """

    image: str
    what: str
    values: tuple[TableValue, ...]
    becomes: str

    def __str__(self) -> str:
        return f"{self.image!r} has different {self.what}: {', '.join(map(str, self.values))}; {self.becomes}"


@dataclass(frozen=True)
class Labels:
    """The content of a set of tables.

    Attributes:
        rows: `LABEL_COLUMNS`, one row an image, in the order of the tables. `label` is the class of dx; text that is not
            known is empty; `age` is in years or NaN; `row` is where the image is named first; `refused` is why the row
            cannot be used; `expected` is whether an image of this name should be there.
        layouts: the layout of each table, by its name.
        refined: number of images to which one table gives a finer diagnosis than another, by (coarser, finer).
        conflicts: the first `CONFLICTS_LISTED` conflicts.
        conflict_counts: number of all conflicts, by what they are about.
        decided: what the other tables say and what the deciding table says, by image, where the two differ; the former is
            empty without a diagnosis.
        notes: sentences on how ids and names were read, where that is more than taking them as they are.
    """

    rows: pd.DataFrame
    layouts: dict[str, str]
    refined: Counter[tuple[str, str]]
    conflicts: list[Conflict]
    conflict_counts: Counter[str]
    decided: dict[str, tuple[str, str]]
    notes: list[str]

    @property
    def title(self) -> str:
        """The name of the tables in a message."""
        return next(iter(self.layouts)) if len(self.layouts) == 1 else f"the {len(self.layouts)} tables of labels"
