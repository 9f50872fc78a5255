"""The commands about data: `skinlesion sample`, `labels` and `fetch`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from skinlesion.command_line.options import Dataset, Quiet, Settings, config_of, err, out, show_log
from skinlesion.data.sources.official_sets import SETS
from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.wording import counted


def sample(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write images/ and diagnoses.csv.")],
    images: Annotated[int, typer.Option(min=1, max=100_000, help="Number of images.")] = 240,
    seed: Annotated[int, typer.Option(min=0, help="Other seeds give other lesions.")] = 0,
) -> None:
    """Draw procedural dermoscopic images with labels, to try things out without a download."""
    from skinlesion.data.sources.drawn.sample import write_sample

    report = write_sample(folder, images=images, seed=seed)
    counts = ", ".join(f"{count} {label}" for label, count in report.per_label.items())
    out.print(f"{counted(report.images, 'image')} of {counted(report.lesions, 'lesion')} ({counts}) in {report.folder}")


def labels(
    tables: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="TABLE", help="Tables of any known layout; without them, those of the data set.", show_default=False
        ),
    ] = None,
    dataset: Dataset = None,
    settings: Settings = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what is shown to this file.")] = None,
    quiet: Quiet = False,
) -> None:
    """Show what tables of diagnoses become, without images: classes, groups, refused rows, contradictions."""
    from skinlesion.data.labels.join import join_tables
    from skinlesion.data.labels.of_dataset import labels_of_dataset
    from skinlesion.data.labels.review_log import read_reviews
    from skinlesion.data.report.labels_summary import labels_summary, print_summary

    config = config_of(dataset, None, settings)
    for folder in filter(Path.is_dir, tables or ()):
        raise DataError(f"{folder} is a folder: name its tables, or take it as the data set with --dataset {folder}.")
    if tables:
        joined = join_tables(tables, (), config.actinic_keratosis)
    else:
        joined = labels_of_dataset(config, read_reviews(config.dataset).of_image)
    found = labels_summary(joined, config.held_out_fraction)
    if json_file is not None:
        found.write(json_file.absolute())
    if not quiet:
        print_summary(found, out)


def fetch(
    name: Annotated[
        str, typer.Argument(metavar="SET", help="isic-2019, isic-2018 or ham10000.", autocompletion=lambda: list(SETS))
    ],
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Where to write images/ and labels/; then a data set for --dataset."),
    ],
    settings: Settings = None,
    keep_zips: Annotated[bool, typer.Option("--keep-zips", help="Keep the zips once they are unpacked.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report to this file.")] = None,
    quiet: Quiet = False,
) -> None:
    """Download an official data set with its labels, licence and attribution; run it again to go on.

    Files whose name is taken by other content are left out and listed; the exit status is then 1.
    """
    from skinlesion.data.sources.fetch import fetch as fetch_set

    config = config_of(None, None, settings)
    show_log(quiet)
    report = fetch_set(name, folder.absolute(), config, keep_zips=keep_zips)
    if json_file is not None:
        written = {"set": name, "folder": str(report.folder), "files": report.files}
        atomic.write_text(json_file.absolute(), json.dumps(written | report.placed.summary().model_dump(), indent=1))
    if not quiet:
        for file, what in report.files.items():
            out.print(f"{file}: {what}", markup=False)
        out.print(f"Licence and attribution: {folder}/images/*.{name}.txt. No commercial use.", markup=False)
    for file, reason in report.placed.failed.items():
        err.print(f"not taken {file}: {reason}", markup=False)
    if report.placed.failed:
        raise typer.Exit(1)
