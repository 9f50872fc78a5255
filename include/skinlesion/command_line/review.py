"""`skinlesion review`: which labels people should look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from skinlesion.command_line.options import Dataset, Models, Settings, config_of, out, show_log
from skinlesion.foundation import atomic
from skinlesion.foundation.spreadsheet import csv_text
from skinlesion.foundation.terminal import print_whole

_SHOWN = 20

review_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Labels that are likely wrong, for people who can mend them.",
    pretty_exceptions_enable=False,
)


@review_app.callback()
def options() -> None:
    """Keep `list` a command of its own: Typer makes a single command the group itself."""


@review_app.command("list", rich_help_panel="Look")
def list_suspects(
    most: Annotated[int, typer.Option(min=1, help="Number of images, the likeliest errors first.")] = 500,
    output: Annotated[Path | None, typer.Option(help="Table to write (.csv), with every column.")] = None,
    dataset: Dataset = None,
    models: Models = None,
    settings: Settings = None,
) -> None:
    """List the images whose diagnosis is likely wrong, each with its reason; the tables of labels stay as they are.

    Every label is judged by models that saw no picture of its lesion. To mend one, correct its row in the table that it comes
    from; the next run learns from it.
    """
    from skinlesion.review.suspects import COLUMNS
    from skinlesion.stages.review import likely_wrong

    show_log(quiet=True)
    found = likely_wrong(config_of(dataset, models, settings))
    if output is not None:
        atomic.write_text(output.absolute(), csv_text([*COLUMNS], found.head(most).astype(str).values.tolist()))
    if found.empty:
        print_whole(out, "No label is doubted.")
        return
    table = Table("", "Image", "Says", "Perhaps", "Reason")
    for _, row in found.head(min(most, _SHOWN)).iterrows():
        table.add_row(str(row["rank"]), row["image"], row["dx"], row["suggested"], row["reason"])
    print_whole(out, table)
    rest = min(most, len(found)) - _SHOWN
    more = f"; {rest} more are in {output}" if output is not None and rest > 0 else ""
    print_whole(out, f"{len(found)} labels are doubted, of which the likeliest errors stand first{more}.")
