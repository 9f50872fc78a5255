"""`skinlesion change-plan`: the plan and every version's change record as one document."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skinlesion.command_line.options import Dataset, Models, Settings, config_of, out
from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.terminal import print_whole


def change_plan(
    dataset: Dataset = None,
    models: Models = None,
    settings: Settings = None,
    output: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("change_plan.html"),
    print_default: Annotated[
        bool, typer.Option("--print-default", help="Print the program's default plan, and write nothing.")
    ] = False,
) -> None:
    """Write the change plan, the protocol and the change record of every version as one document (HTML) for a reviewer."""
    from skinlesion.promotion.change_plan.document import document
    from skinlesion.promotion.change_plan.plan import DEFAULT, PlanInForce

    if print_default:
        typer.echo(DEFAULT.read_text(), nl=False)
        return
    config = config_of(dataset, models, settings)
    path = output.absolute()
    if path.suffix not in (".html", ".htm"):
        raise DataError(f"--output {output}: expected the name of an HTML file, such as change_plan.html.")
    if not path.parent.is_dir() or path.is_dir():
        raise DataError(f"--output {output}: expected a file in a folder that is there.")
    atomic.write_if_changed(path, document(config).encode())
    print_whole(out, PlanInForce.of(config).sentence)
    print_whole(out, f"The document: {path}")
