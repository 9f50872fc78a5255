"""`skinlesion why IMAGE`: what each stage has of an image, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from skinlesion.command_line.options import Dataset, Models, Settings, config_of, out
from skinlesion.foundation import atomic
from skinlesion.foundation.terminal import print_whole


def why(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Name of an image as in the tables, or of its file.")],
    dataset: Dataset = None,
    models: Models = None,
    settings: Settings = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what is shown to this file.")] = None,
) -> None:
    """Show what each stage has of an image, from which content and when, and why the next run does it again or not."""
    from skinlesion.stages.why import why as steps_of

    steps = steps_of(config_of(dataset, models, settings), image)
    if json_file is not None:
        atomic.write_text(json_file.absolute(), json.dumps([step._asdict() for step in steps], indent=1))
    for step in steps:
        source = [f"from {step.content}"] * bool(step.content) + [f"written {step.at}"] * bool(step.at)
        said = f"{step.because} ({', '.join(source)})" if source else step.because
        print_whole(out, f"{step.stage:<10}{step.state:<10}{said}", indent=20)
