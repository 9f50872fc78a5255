"""What the shell offers when Tab is pressed. It loads neither pandas nor TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import typer

from skinlesion.command_line.settings import describe_settings
from skinlesion.foundation.errors import DataError
from skinlesion.registry.snapshot import Registry
from skinlesion.stages.settings import PipelineConfig


def settings_that_begin(incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield `name=value` with its title for each setting: its choices if it has some, else its value now, to be changed."""
    for described in describe_settings():
        choices = described["choices"] or [described["value"]]
        for value in choices:
            offered = f"{described['name']}={'' if value is None else str(value)}"
            if offered.startswith(incomplete):
                yield offered, described["title"]


def versions_that_begin(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the numbers of the versions in the models folder that the command names, newest first, with their states."""
    models: Path | None = context.params.get("models")
    try:
        versions = Registry.read(PipelineConfig.of({} if models is None else {"models": models}).models).versions
    except (DataError, OSError):
        return []
    return [(str(one.number), one.state) for one in versions if str(one.number).startswith(incomplete)]
