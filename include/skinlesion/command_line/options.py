"""What the commands share: their options, the settings made from them, and output."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from skinlesion.command_line.completion import settings_that_begin
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.shard import Shard
from skinlesion.stages.settings import PipelineConfig

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

Dataset = Annotated[Path | None, typer.Option(help="Folder with images/ and diagnoses.csv.", show_default="dataset")]
Models = Annotated[Path | None, typer.Option(help="Folder for models.", show_default="models")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting; may be repeated. List them with `skinlesion settings`.",
        autocompletion=settings_that_begin,
    ),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the stage reports and metrics to this file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and errors.")]


def key_values(settings: list[str] | None) -> dict[str, str | Path]:
    """Return the settings of `--set KEY=VALUE` by name. Raises DataError for one without `=`."""
    values: dict[str, str | Path] = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise DataError(f"--set {setting}: expected KEY=VALUE, for example --set epochs=3.")
        values[key.strip()] = value.strip()
    return values


def config_of(dataset: Path | None, models: Path | None, settings: list[str] | None) -> PipelineConfig:
    """Return the settings of a command. Raises DataError for a setting that does not exist or has a wrong value."""
    folders = {"dataset": dataset, "models": models}
    named = {name: folder.absolute() for name, folder in folders.items() if folder is not None}
    return PipelineConfig.of(key_values(settings) | named)


def shard_of(text: str) -> Shard:
    """Return the shard of `--shard I/N`. Raises DataError if there is none."""
    try:
        return Shard.of_text(text)
    except ValueError:
        raise DataError(f"--shard {text}: expected I/N with 1 <= I <= N <= 64, for example 2/4.") from None


def commands(help: str) -> typer.Typer:
    """Return a group of commands, which has none yet."""
    return typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help=help, pretty_exceptions_enable=False)


def show_log(quiet: bool) -> None:
    """Print log messages of this package to standard error, all of them or only errors."""
    handler = RichHandler(console=err, show_path=False, show_time=False, markup=False)
    logging.basicConfig(level=logging.ERROR if quiet else logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("skinlesion").setLevel(logging.ERROR if quiet else logging.INFO)
