"""`skinlesion models`: the versions, what is in service, promotion and rollback by hand, the history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from skinlesion.command_line.completion import versions_that_begin
from skinlesion.command_line.display import Display
from skinlesion.command_line.options import Dataset, Models, commands, config_of, out
from skinlesion.evaluation.in_use.record import ShadowRecord
from skinlesion.foundation import layout
from skinlesion.foundation.terminal import print_whole
from skinlesion.foundation.wording import counted
from skinlesion.promotion.change_plan.document import note_decisions
from skinlesion.registry.history import HistoryEntry, this_user
from skinlesion.registry.model_files import CHANGE_RECORD_PAGE
from skinlesion.registry.on_disk import on_disk
from skinlesion.registry.report_files import report_file
from skinlesion.registry.restore import restore
from skinlesion.registry.snapshot import Registry, Version
from skinlesion.registry.switch import promote, rollback, set_reference
from skinlesion.registry.verdict import read_verdict
from skinlesion.registry.versions import FIGURES

if TYPE_CHECKING:
    from skinlesion.registry.version_comparison import VersionComparison

models_app = commands("Versions of the model: list them, show and compare their figures, put one in service, go back.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str, typer.Option(help="The reason, which the history keeps.")]
Number = Annotated[
    int,
    typer.Argument(
        metavar="VERSION", help="Number, as `skinlesion models list` shows it.", autocompletion=versions_that_begin
    ),
]


@models_app.command("list", rich_help_panel="Look")
def list_versions(
    models: Models = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many to list, the newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List the versions, newest first, with state, figures and verdict."""
    registry = Registry.read(_folder(models))
    versions = registry.versions[:count]
    if as_json:
        _print_json([version.model_dump() for version in versions])
        registry.require_whole()
        return
    if not versions:
        registry.require_whole()
        print_whole(out, f"There is no version in {registry.models} yet. Train one with `skinlesion run`.")
        return
    table = Table("no.", "created (UTC)", "state", "balanced accuracy", "malignant AUROC", "sensitivity", "gate")
    for version in versions:
        figures = (version.figure(name).text for name in ("balanced_accuracy", "malignant_auroc", "sensitivity"))
        table.add_row(
            str(version.number), version.created[:16].replace("T", " "), version.standing, *figures, _gate(version)
        )
    print_whole(out, table, "", _in_service(registry), *_reference(registry), on_disk(registry.models).sentence())
    registry.require_whole()


@models_app.command(rich_help_panel="Look")
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
    Display(out).pairs(
        {
            "Version": f"{number}, {version.standing}" + (", the reference" if registry.reference == number else ""),
            "Run": version.run,
            "Created": version.created,
            "Code": version.git_revision,
            **{title: version.figure(name).text for name, title in FIGURES.items()},
            "Report": str(report_file(registry, number, "report.html") or "(removed)"),
            "Changes": str(report_file(registry, number, CHANGE_RECORD_PAGE) or "(no record)"),
            "Files": str(layout.candidate(registry.models, version.run)) if version.has_files else "(removed)",
        }
    )
    if version.measured is not None and version.measured.warnings:
        print_whole(out, "", "Read with care:")
        for sentence in version.measured.warnings:
            print_whole(out, f"  {sentence}", indent=4)
    if verdict is None:
        print_whole(out, "", "The gate has not judged it.", "")
    else:
        on = f"on {counted(verdict.images, 'image')} of {counted(verdict.lesions, 'lesion')}"
        print_whole(out, "", f"The gate, {verdict.at}, {on}: {verdict.outcome}.")
        for criterion in verdict.criteria:
            result = {"yes": "holds", "no": "LOST"}.get(criterion.says, criterion.says)
            print_whole(out, f"  {result:<16} {criterion.title}: {criterion.sentence}", indent=19)
        print_whole(out, "")
    agreements, problem = ShadowRecord.known(registry.models, number)
    for one in agreements:
        table = Table(*one.table[0])
        for row in one.table[1:]:
            table.add_row(*row)
        print_whole(out, " ".join(one.sentences), table, "")
    print_whole(out, *([problem] if problem else []), *_reference(registry), "")
    for entry in registry.of_version(number):
        _print_entry(entry)
    registry.require_whole()


@models_app.command(rich_help_panel="Look")
def compare(first: Number, second: Number, models: Models = None, as_json: Json = False) -> None:
    """Show the figures of two versions on the held-out lesions of both, and what differs in settings, data and weights.

    The difference is the second version minus the first, with its 95 % interval.
    """
    from skinlesion.evaluation.version_comparison import compare_versions

    found = compare_versions(Registry.read(_folder(models)), first, second)
    if as_json:
        _print_json(found.model_dump())
        return
    print_whole(out, *_compared(found))


@models_app.command("promote", rich_help_panel="Decide")
def promote_version(number: Number, reason: Reason, models: Models = None) -> None:
    """Put a version in service whatever the gate said of it; the history notes who did it and why."""
    folder = _folder(models)
    _print_entry(promote(folder, number, actor=this_user(), reason=reason))
    note_decisions(folder, number)


@models_app.command("rollback", rich_help_panel="Decide")
def roll_back(
    reason: Reason,
    to: Annotated[
        int | None,
        typer.Option(help="Number of a former champion; without it, the version before.", show_default=False),
    ] = None,
    models: Models = None,
) -> None:
    """Go back to the version that was in service before."""
    folder = _folder(models)
    entry = rollback(folder, actor=this_user(), reason=reason, to=to)
    _print_entry(entry)
    note_decisions(folder, entry.version)


@models_app.command("open-sealed", rich_help_panel="Decide")
def open_sealed_part(number: Number, reason: Reason, dataset: Dataset = None, models: Models = None) -> None:
    """Measure a version on the sealed part of the held-out lesions, which no night scores; the history notes it.

    The figures stand beside the nightly ones. The more often the part is opened, the less it is worth.
    """
    from skinlesion.promotion.sealed import open_sealed

    config = config_of(dataset, models, None)
    _print_entry(open_sealed(config, number, actor=this_user(), reason=reason))


@models_app.command(rich_help_panel="Decide")
def reference(number: Number, reason: Reason, models: Models = None) -> None:
    """Make a version the reference: the one that every candidate must be no worse than, beside the model in service.

    It moves up by itself to a version that is shown to be better. Only this command moves it down.
    """
    _print_entry(set_reference(_folder(models), number, actor=this_user(), reason=reason))


@models_app.command(rich_help_panel="Look")
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
        registry.require_whole()
        return
    for entry in entries:
        _print_entry(entry)
    registry.require_whole()
    if not entries:
        print_whole(out, "Nothing has happened yet.")


@models_app.command("restore", rich_help_panel="Decide")
def restore_registry(models: Models = None) -> None:
    """Write the registry's files anew where they are damaged or lost.

    It takes what can be read of them and what the candidates and the releases know, and keeps the files as they were beside
    the new ones. What is in service stays as it is.
    """
    done = restore(_folder(models))
    if not done.damage and not done.kept:
        print_whole(out, "Nothing is damaged or lost.")
        return
    for sentence in done.damage:
        print_whole(out, sentence, indent=4)
    print_whole(
        out,
        "",
        f"The registry has {counted(done.versions, 'version')} now, and its history {counted(done.entries, 'entry')}.",
    )
    for path in done.kept:
        print_whole(out, f"The file as it was: {path}")
    if done.unknown:
        numbers = ", ".join(map(str, done.unknown))
        print_whole(out, f"Nothing is left of the versions {numbers} but their numbers, which no other version gets.")
    Registry.read(_folder(models)).require_whole()


def _folder(models: Path | None) -> Path:
    return config_of(None, models, None).models


def _print_json(content: object) -> None:
    typer.echo(json.dumps(content, indent=1))


def _in_service(registry: Registry) -> str:
    now = registry.in_service
    if registry.in_service_damage:
        return "What is in service cannot be read."
    if now is None:
        return "No model is in service. `skinlesion models promote VERSION --reason ...` puts one there."
    return f"Version {now.version} is in service since {now.entry.at} ({now.entry.actor}): {now.entry.reason}"


def _reference(registry: Registry) -> Iterator[str]:
    """Yield which version is the reference, and how often the held-out lesions have judged."""
    if registry.reference is not None:
        yield f"Version {registry.reference} is the reference, which a candidate must be no worse than."
    if registry.looks.judged:
        yield registry.looks.sentence


def _print_entry(entry: HistoryEntry) -> None:
    instead = f" in the place of {entry.previous}" if entry.previous is not None else ""
    print_whole(
        out, f"{entry.at}  {entry.actor}: version {entry.version} {entry.what}{instead}. {entry.reason}", indent=4
    )


def _compared(found: VersionComparison) -> Iterator[str | Table]:
    """Yield a comparison as a person reads it."""
    both, held_out = (found.first, found.second), found.held_out
    titles = [f"version {version.number}" for version in both]
    for version in both:
        yield f"Version {version.number}, {version.state}, created {version.created[:16].replace('T', ' ')} UTC"
    yield ""
    yield f"On the {counted(held_out.images, 'held-out image')}, of {counted(held_out.lesions, 'lesion')}, that both were measured on:"
    yield from held_out.notes
    yield ""
    figures = Table("", *titles, "difference", "")
    for one in held_out.figures:
        figures.add_row(one.title, one.first.text, one.second.text, *one.difference)
    yield figures
    for what, differing in found.parts:
        yield "" if differing else f"\n{what.capitalize()}: no difference."
        if differing:
            table = Table(what, *(Column(title, max_width=30) for title in titles))
            for row in differing:
                table.add_row(row.name, *map(Text, row.values))
            yield table


def _gate(version: Version) -> str:
    if version.verdict is None:
        return ""
    outcome = version.verdict.outcome
    return f"lost {len(version.verdict.lost)}" if outcome == "not passed" else outcome
