"""Print texts and tables so that nothing of them is cut, however wide the terminal is, and whole into a pipe or a file."""

from __future__ import annotations

import textwrap
from typing import Final

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
                console.print(wrapped(line, width, " " * indent), style=style, markup=False, soft_wrap=True)


def wrapped(line: str, width: int, indent: str) -> str:
    """Return a line broken between words, with this indentation of the second and further ones."""
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _fit(console: Console, table: Table, width: int) -> None:
    """Set the widths of the columns: that of the longest word, and an equal share of what is wished beyond it."""
    table.box, table.show_edge, table.pad_edge, table.padding = box.SIMPLE_HEAD, False, False, (0, _GAP - 1, 0, 0)
    sizes = [_narrowest_and_widest(console, column, breaks_words=width < _NO_LIMIT) for column in table.columns]
    gaps = _GAP * (len(sizes) - 1)
    room = max(0, width - gaps - sum(least for least, _ in sizes))
    wished = sum(most - least for least, most in sizes)
    for column, (least, most) in zip(table.columns, sizes, strict=True):
        wish = most - least
        column.overflow, column.width = "fold", least + (wish if room >= wished else wish * room // wished)
    table.width = sum(column.width or 0 for column in table.columns) + gaps


def _narrowest_and_widest(console: Console, column: Column, *, breaks_words: bool) -> tuple[int, int]:
    cells = (column.header, *column.cells)
    texts = [cell if isinstance(cell, Text) else console.render_str(str(cell)) for cell in cells]
    sizes = [Measurement.get(console, console.options.update(max_width=_NO_LIMIT), text) for text in texts]
    widest = max(size.maximum for size in sizes)
    if breaks_words and column.max_width is not None:
        widest = min(widest, max(column.max_width, sizes[0].minimum))
    return min(max(size.minimum for size in sizes), widest), widest
