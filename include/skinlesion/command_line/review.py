"""`skinlesion review`: which labels people should look at, and what they say elsewhere than on the page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from skinlesion.command_line.options import Dataset, Models, Settings, commands, config_of, out, show_log
from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.spreadsheet import csv_text
from skinlesion.foundation.terminal import print_whole
from skinlesion.foundation.wording import counted

_SHOWN = 20

review_app = commands("Labels that are likely wrong: what to look at, and what people say who looked.")


@review_app.command("list", rich_help_panel="Look")
def list_suspects(
    most: Annotated[int, typer.Option(min=1, help="Number of images, the likeliest errors first.")] = 500,
    output: Annotated[Path | None, typer.Option(help="Table to write (.csv), with every column.")] = None,
    dataset: Dataset = None,
    models: Models = None,
    settings: Settings = None,
) -> None:
    """List the images whose diagnosis is likely wrong, each with its reason, and make the queue of the page Review anew.

    Every label is judged by models that saw no picture of its lesion. The labels stay as they are: to mend one, say so on the
    page or with `skinlesion review import`, or correct its row in the table that it comes from; the next run learns from it.
    """
    from skinlesion.data.labels.readings import sentence_of_waiting
    from skinlesion.data.labels.review_log import read_reviews
    from skinlesion.data.review.suspects import COLUMNS
    from skinlesion.stages.review import make_queue

    show_log(quiet=True)
    config = config_of(dataset, models, settings)
    reviews = read_reviews(config.dataset)
    _, found = make_queue(config, config.review_queue, reviews)
    if output is not None:
        atomic.write_text(output.absolute(), csv_text([*COLUMNS], found.head(most).astype(str).values.tolist()))
    if waits := sentence_of_waiting(reviews.of_image):
        print_whole(out, waits)
    if found.empty:
        print_whole(out, "No label is doubted.")
        return
    table = Table("", "Image", "Says", "Perhaps", "Reason")
    for _, row in found.head(min(most, _SHOWN)).iterrows():
        table.add_row(str(row["rank"]), row["image"], row["dx"], row["suggested"], row["reason"])
    print_whole(out, table)
    rest = min(most, len(found)) - _SHOWN
    more = f"; {rest} more are in {output}" if output is not None and rest > 0 else ""
    print_whole(out, f"{counted(len(found), 'label is', 'labels are')} doubted, the likeliest error first{more}.")


@review_app.command("export", rich_help_panel="Label elsewhere")
def export_queue(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A table to fill in (.csv), or tasks for Label Studio (.json).")
    ],
    dataset: Dataset = None,
    settings: Settings = None,
) -> None:
    """Write the queue of images for people who label elsewhere; `skinlesion review import` takes their answers.

    In the table they fill in the column dx with a diagnosis, `wrong` or `cannot tell`. For Label Studio the labelling interface is written
    beside the tasks (.xml); serve it the data set's images/ as local files.
    """
    from skinlesion.data.review.exchange import as_csv, as_tasks, labelling_interface

    folder = config_of(dataset, None, settings).dataset
    match file.suffix.lower():
        case ".csv":
            text = as_csv(folder)
        case ".json":
            text = as_tasks(folder)
            atomic.write_text(file.absolute().with_suffix(".xml"), labelling_interface(folder))
        case suffix:
            raise DataError(f"{file} ends in {suffix or 'nothing'}; expected .csv, or .json for Label Studio.")
    atomic.write_text(file.absolute(), text)
    out.print(f"{file}", markup=False)


@review_app.command("import", rich_help_panel="Label elsewhere")
def import_answers(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="The table with the columns image and dx, or Label Studio's export (.json)."
        ),
    ],
    by: Annotated[str, typer.Option(help="Who said it, where the file does not say.", show_default="this user")] = "",
    dataset: Dataset = None,
    settings: Settings = None,
) -> None:
    """Note what people said of images elsewhere, all of it or nothing; the next run learns from it.

    What a person said of an image last is not noted again, so that a file may be taken twice.
    """
    from skinlesion.data.review.exchange import take
    from skinlesion.registry.history import this_user

    new, every = take(config_of(dataset, None, settings), file, by or this_user())
    out.print(f"Of {counted(every, 'answer')} in {file} {counted(new, 'was', 'were')} new and noted.", markup=False)
