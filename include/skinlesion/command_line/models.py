"""`skinlesion models`: the versions, what is in service, promotion and rollback by hand, the history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from skinlesion.command_line.completion import versions_that_begin
from skinlesion.foundation import layout
from skinlesion.registry.history import HistoryEntry, this_user
from skinlesion.registry.report_files import report_file
from skinlesion.registry.snapshot import Registry, Version
from skinlesion.registry.switch import promote, rollback
from skinlesion.registry.verdict import read_verdict
from skinlesion.registry.versions import FIGURES, Figure
from skinlesion.stages.settings import PipelineConfig

models_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Versions of the model: list them, show and compare their figures, put one in service, go back.",
    pretty_exceptions_enable=False,
)
out = Console(soft_wrap=True, highlight=False)

Models = Annotated[Path | None, typer.Option(help="Folder for models.", show_default="models")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str, typer.Option(help="The reason, which the history keeps.")]
Number = Annotated[
    int,
    typer.Argument(
        metavar="VERSION", help="Number, as `skinlesion models list` shows it.", autocompletion=versions_that_begin
    ),
]


@models_app.command("list")
def list_versions(
    models: Models = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many to list, the newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List the versions, newest first, with state, figures and verdict."""
    registry = Registry.read(_folder(models))
    shown = registry.versions[:count]
    if as_json:
        _print_json([version.model_dump() for version in shown])
        return
    if not shown:
        out.print(f"There is no version in {registry.models} yet. Train one with `skinlesion run`.", markup=False)
        return
    created = Column("created", min_width=len("2026-07-01"))  # else 80 columns would cut it off
    table = Table("version", created, "state", "balanced accuracy", "malignant AUROC", "sensitivity", "gate")
    for version in shown:
        figures = [_figure(version.figure(name)) for name in ("balanced_accuracy", "malignant_auroc", "sensitivity")]
        table.add_row(
            str(version.number), version.created[:16].replace("T", "\n"), version.state, *figures, _gate(version)
        )
    out.print(table)
    _print_in_service(registry)


@models_app.command()
def show(number: Number, models: Models = None, as_json: Json = False) -> None:
    """Show a version: figures, each line of its verdict, its files, its history."""
    registry = Registry.read(_folder(models))
    version = registry.version(number)
    verdict = read_verdict(registry.models, version.run, number)
    if as_json:
        _print_json(
            version.model_dump() | {"criteria": [one.model_dump() for one in verdict.criteria] if verdict else None}
        )
        return
    _print_pairs(
        {
            "Version": f"{number}, {version.state}",
            "Run": version.run,
            "Created": version.created,
            "Code": version.git_revision,
            **{title: _figure(version.figure(name)) for name, title in FIGURES.items()},
            "Report": str(report_file(registry, number, "report.html") or "(removed)"),
            "Files": str(layout.candidate(registry.models, version.run)) if version.has_files else "(removed)",
        }
    )
    if verdict is None:
        out.print("The gate has not judged it.")
    else:
        out.print(f"\nThe gate, {verdict.at}, on {verdict.images} images of {verdict.lesions} lesions:", markup=False)
        for criterion in verdict.criteria:
            out.print(
                f"  {'holds' if criterion.passed else 'LOST ':<6} {criterion.title}: {criterion.sentence}", markup=False
            )
    out.print()
    for entry in registry.of_version(number):
        _print_entry(entry)


@models_app.command("promote")
def promote_version(number: Number, reason: Reason, models: Models = None) -> None:
    """Put a version in service whatever the gate said of it; the history notes who did it and why."""
    _print_entry(promote(_folder(models), number, actor=this_user(), reason=reason))


@models_app.command("rollback")
def roll_back(
    reason: Reason,
    to: Annotated[
        int | None,
        typer.Option(help="Number of a former champion; without it, the version before.", show_default=False),
    ] = None,
    models: Models = None,
) -> None:
    """Go back to the version that was in service before."""
    _print_entry(rollback(_folder(models), actor=this_user(), reason=reason, to=to))


@models_app.command()
def history(
    models: Models = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="How many entries to show, the newest first.")
    ] = 50,
    as_json: Json = False,
) -> None:
    """Show who did what, when and why."""
    registry = Registry.read(_folder(models))
    entries = registry.history[:count]
    if as_json:
        _print_json([entry.model_dump(exclude={"format_version"}) for entry in entries])
        return
    for entry in entries:
        _print_entry(entry)
    if not entries:
        out.print("Nothing has happened yet.")


def _folder(models: Path | None) -> Path:
    return PipelineConfig.of({} if models is None else {"models": models.absolute()}).models


def _print_json(content: object) -> None:
    typer.echo(json.dumps(content, indent=1))


def _print_pairs(pairs: dict[str, str]) -> None:
    width = max(map(len, pairs)) + 2
    for name, value in pairs.items():
        out.print(f"{name + ':':<{width}}{value}", markup=False)


def _print_in_service(registry: Registry) -> None:
    now = registry.in_service
    if now is None:
        out.print(
            "No model is in service. `skinlesion models promote VERSION --reason ...` puts one there.", markup=False
        )
        return
    out.print(f"Version {now.version} is in service since {now.since} ({now.actor}): {now.reason}", markup=False)


def _print_entry(entry: HistoryEntry) -> None:
    instead = f" in the place of {entry.previous}" if entry.previous is not None else ""
    out.print(f"{entry.at}  {entry.actor}: version {entry.version} {entry.what}{instead}. {entry.reason}", markup=False)


def _gate(version: Version) -> str:
    if version.verdict is None:
        return ""
    return "passed" if version.verdict.passed else f"lost {len(version.verdict.lost)}"


def _figure(figure: Figure) -> str:
    if figure.value is None:
        return "not measured"
    interval = f" ({figure.low:.3f} to {figure.high:.3f})" if figure.low is not None and figure.high is not None else ""
    return f"{figure.value:.3f}{interval}"
