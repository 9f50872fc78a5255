"""Print texts and tables so that nothing of them is cut, however wide the terminal is, and whole into a pipe or a file."""

from __future__ import annotations

import textwrap
from typing import Final, NamedTuple

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

_GAP: Final = 2
"""Between columns."""
_NO_LIMIT: Final = 1_000_000


def print_whole(console: Console, *content: str | Table, indent: int = 0, style: str = "") -> None:
    """Print texts and tables.

    In a terminal they are wrapped to its width between words; no heading and no path is broken. A column with a `max_width`
    is for words of any length, which are broken there. Elsewhere each line of a text, and each row of a table, is one line.

    Args:
        console: where to.
        content: texts and tables.
        indent: number of spaces before the second and further lines that a line of a text is wrapped into.
        style: of the texts, as rich has it.
    """
    width = console.width if console.is_terminal else _NO_LIMIT
    for one in content:
        if isinstance(one, Table):
            _fit(console, one, width)
            console.print(one, soft_wrap=True)
        else:
            for line in one.split("\n"):
                wrapped = textwrap.fill(
                    line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
                )
                console.print(wrapped, style=style, markup=False, soft_wrap=True)


def _fit(console: Console, table: Table, width: int) -> None:
    """Set the widths of the columns: that of the longest word, and more where it saves lines, as far as there is room."""
    table.box, table.show_edge, table.pad_edge, table.padding = box.SIMPLE_HEAD, False, False, (0, _GAP - 1, 0, 0)
    columns = [_Column.of(console, column, breaks_words=width < _NO_LIMIT) for column in table.columns]
    gaps = _GAP * (len(columns) - 1)
    if width - gaps >= sum(column.widest for column in columns):
        widths = [column.widest for column in columns]
    else:
        widths = [column.narrowest for column in columns]
        heights = [column.height(column.narrowest) for column in columns]
        for _ in range(width - gaps - sum(widths)):
            narrow = [at for at, column in enumerate(columns) if widths[at] < column.widest]
            tallest = max(narrow, key=heights.__getitem__)
            widths[tallest] += 1
            heights[tallest] = columns[tallest].height(widths[tallest])
    for column, columns_width in zip(table.columns, widths, strict=True):
        column.overflow, column.width = "fold", columns_width
    table.width = sum(widths) + gaps


class _Column(NamedTuple):
    """The texts of a column, and the least and the greatest width that it can use."""

    texts: list[Text]
    narrowest: int
    widest: int

    @classmethod
    def of(cls, console: Console, column: Column, *, breaks_words: bool) -> _Column:
        cells = (column.header, *column.cells)
        texts = [cell if isinstance(cell, Text) else console.render_str(str(cell)) for cell in cells]
        sizes = [Measurement.get(console, console.options.update(max_width=_NO_LIMIT), text) for text in texts]
        narrowest, widest = max(size.minimum for size in sizes), max(size.maximum for size in sizes)
        if breaks_words and column.max_width is not None:
            widest = min(widest, max(column.max_width, sizes[0].minimum))
        return cls(texts, min(narrowest, widest), widest)

    def height(self, width: int) -> int:
        """Return the number of lines of the tallest text."""
        return max(len(textwrap.wrap(text.plain, width)) for text in self.texts)
