"""What people read of a run: a sentence for each stage, the headline of a version, durations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from skinlesion.foundation import layout
from skinlesion.foundation.stage_report import StageReport
from skinlesion.foundation.wording import counted
from skinlesion.registry import in_service
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.metrics_record import MetricsRecord
from skinlesion.stages.settings import PipelineConfig

NO_DEVICE: Final = "Research and education only: not a medical device."

_LISTED: Final = 3
"""Reasons or diagnoses in a sentence. Further ones are counted; the data report has all."""


def sentence(report: StageReport) -> str:
    """Return what a stage did as one or a few sentences."""
    return _SENTENCES[report.stage](report, report.details)


def duration(seconds: float) -> str:
    """Return a duration for people: `0.4 s`, `42 s`, `3:05 min`, `2:10 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


def headline(config: PipelineConfig, metrics: MetricsRecord) -> dict[str, str]:
    """Return the figures of a candidate with their intervals, what is to be known about them, and the paths to look at."""
    candidate = Candidate(layout.candidate(config.models, metrics.run))
    now = in_service.read(config.models)
    is_in_service = now is not None and now.run == metrics.run
    lines = {}
    for name, title in (("balanced_accuracy", "Balanced accuracy"), ("malignant_auroc", "Malignant AUROC")):
        figure = metrics.figure(name)
        lines[title] = f"{figure.number} (95 % interval {figure.interval})" if figure.interval else figure.text
    lines["Measured on"] = f"{counted(metrics.images, 'held-out image')} of {counted(metrics.lesions, 'lesion')}"
    if metrics.warnings:
        lines["Notes"] = "\n".join(metrics.warnings)
    lines["Model"] = short(layout.model_in_service(config.models) if is_in_service else candidate.h5)
    lines["Report"] = short(candidate.report)
    if layout.data_report(config.dataset).is_file():
        lines["Data report"] = short(layout.data_report(config.dataset))
    return lines


def _collect(report: StageReport, details: Mapping[str, Any]) -> str:
    if not details["sources"]:
        return "No source of new images is set: the images are those in images/."
    waiting = sum(source["waiting"] for source in details["sources"].values())
    refused = f", {report.refused} could not be taken" if report.refused else ""
    names = ", ".join(name.replace("_", " ") for name in details["sources"])
    there = report.skipped - waiting
    return f"{counted(report.done, 'file')} arrived ({names}); {counted(there, 'was', 'were')} there already, {counted(waiting, 'waits', 'wait')}{refused}."


def _examine(report: StageReport, details: Mapping[str, Any]) -> str:
    unusable = f" {report.refused} of them cannot be used." if report.refused else ""
    if not report.done:
        return f"Nothing to do: {counted(report.seen, 'image file')} unchanged.{unusable}"
    known = f", {counted(report.skipped, 'was', 'were')} known" if report.skipped else ""
    return f"{counted(report.done, 'image file')} read and checked{known}.{unusable}"


def _ingest(report: StageReport, details: Mapping[str, Any]) -> str:
    from skinlesion.data.split import HELD_OUT, TRAIN  # pandas, which not every command needs

    def images(side: str) -> int:
        return sum(sides[side]["images"] for sides in details["classes"].values() if side in sides)

    waiting = f", {details['waiting']:,} without a diagnosis" if details["waiting"] else ""
    parts = [
        f"{counted(details['accepted'], 'image')} accepted, {report.refused} refused{waiting}: "
        f"{images(TRAIN)} to train on, {images(HELD_OUT)} held out."
    ]
    if report.refused:
        parts.append(f"Refused: {_listed(details['refused_because'])}.")
    colours = {what: count for what, count in details["colours"].items() if what}
    if colours:
        parts.append(f"Colours: {_listed(colours)}.")
    if details["equal_copies"]:
        copies = counted(details["equal_copies"], "file")
        parts.append(f"{copies} of the same content and name as another, or without a row, count once.")
    if details["other_files"]:
        named = ", ".join(details["other_files_named"])
        named += ", ..." if details["other_files"] > len(details["other_files_named"]) else ""
        parts.append(f"{counted(details['other_files'], 'file')} in images/ that are no images are not read: {named}.")
    if details["unrecognised_dx"]:
        images_of = sum(details["unrecognised_dx"].values())
        parts.append(
            f"{counted(len(details['unrecognised_dx']), 'word')} for diagnoses not known: {counted(images_of, 'image')} with them "
            f"count as unknown: {_listed(details['unrecognised_dx'])}. The data report names them."
        )
    parts += details["notes"]
    return " ".join(parts)


def _resize(report: StageReport, details: Mapping[str, Any]) -> str:
    refused = f" {report.refused} could not be used." if report.refused else ""
    return f"{_made(report, 'image', 'brought to 224x224')}{_removed(details)}{refused}"


def _augment(report: StageReport, details: Mapping[str, Any]) -> str:
    if not report.seen:
        return f"No augmented copies are wanted.{_removed(details)}"
    return f"{_made(report, 'augmented copy', 'made of the training images')}{_removed(details)}"


def _organize(report: StageReport, details: Mapping[str, Any]) -> str:
    both = details["lesions_on_both_sides"]
    checked = (
        "no lesion is on both sides" if both == 0 else f"{counted(both, 'lesion is', 'lesions are')} on both sides"
    )
    sides = (
        f"{counted(details['training_files'], 'file')} to train on, {details['held_out_files']} held out; {checked}."
    )
    left_out = details["left_out_as_held_out_twins"]
    equal = counted(left_out, "training image is equal to a held-out one", "training images are equal to held-out ones")
    twins = f" {equal} and left out." if left_out else ""
    return f"{'' if report.done else 'Nothing to do: '}{sides}{twins}"


def _build(report: StageReport, details: Mapping[str, Any]) -> str:
    weights = weights_in_words(details["weights"])
    return f"The untrained model was built with {weights}." if report.done else f"Nothing to do: it has {weights}."


def weights_in_words(weights: str) -> str:
    """Return the setting `weights` as it stands in a sentence."""
    named = {"imagenet": "ImageNet's weights", "random": "random weights", "drawn": "weights trained on drawn images"}
    return named.get(weights, f"the weights of {weights}")


def _embed(report: StageReport, details: Mapping[str, Any]) -> str:
    if "why" in details:
        return f"Nothing to do: {details['why']}."
    device = f" ({details['device']})" if details["device"] else ""
    return _made(report, "training file", f"run through the frozen part of the network{device}")


def _train(report: StageReport, details: Mapping[str, Any]) -> str:
    epochs, files = counted(details["epochs"], "epoch"), counted(report.seen, "file")
    began = " It went on from the model in service." if details["warm_start"] else ""
    if not report.done:
        return f"Nothing to do: candidate {details['run']} is trained ({epochs} on {files})."
    return f"{epochs} on {files} made candidate {details['run']}.{began}"


def _evaluate(report: StageReport, details: Mapping[str, Any]) -> str:
    figures = (
        f"{name}{' ' if details['shown'][key][0].isdigit() else ': '}{details['shown'][key]}"
        for key, name in (("balanced_accuracy", "balanced accuracy"), ("malignant_auroc", "malignant AUROC"))
    )
    where = f"{counted(details['images'], 'held-out image')} of {counted(details['lesions'], 'lesion')}"
    version = f"Version {details['version']}," if report.done else f"Nothing to do: version {details['version']} was"
    return f"{version} measured on {where}: {'; '.join(figures)}."


def _review(report: StageReport, details: Mapping[str, Any]) -> str:
    if not report.seen:
        return "No queue of images to look at is wanted."
    begins = "" if report.done else "Nothing to do: "
    waiting = f", {counted(details['waiting'], 'has', 'have')} none" if details["waiting"] else ""
    second, third = details["waiting_readers"]
    readers = (
        f"; {counted(second, 'waits', 'wait')} for a second reader, {third:,} for a third" if second + third else ""
    )
    return (
        f"{begins}{counted(details['asked'], 'image')} in the queue of the page Review; of {counted(report.seen, 'image')} with a "
        f"diagnosis {counted(details['doubted'], 'is', 'are')} doubted{waiting}{readers}."
    )


def _promote(report: StageReport, details: Mapping[str, Any]) -> str:
    return str(details["verdict"])


_SENTENCES: Final[dict[str, Callable[[StageReport, Mapping[str, Any]], str]]] = {
    "collect": _collect,
    "examine": _examine,
    "ingest": _ingest,
    "resize": _resize,
    "augment": _augment,
    "organize": _organize,
    "build": _build,
    "embed": _embed,
    "train": _train,
    "evaluate": _evaluate,
    "promote": _promote,
    "review": _review,
}


def _made(report: StageReport, item: str, what: str) -> str:
    if not report.done:
        return f"Nothing to do: {counted(report.seen, item)} up to date."
    known = f", {counted(report.skipped, 'was', 'were')} up to date" if report.skipped else ""
    return f"{counted(report.done, item)} {what}{known}."


def _removed(details: Mapping[str, Any]) -> str:
    unwanted = counted(details["removed"], "that is no longer wanted was", "that are no longer wanted were")
    return f" {unwanted} removed." if details["removed"] else ""


def _listed(counts: Mapping[str, int]) -> str:
    first = [f"{name} ({count})" for name, count in list(counts.items())[:_LISTED]]
    return "; ".join(first) + (f" and {counted(len(counts) - _LISTED, 'other')}" if len(counts) > _LISTED else "")


def short(path: str | Path) -> str:
    """Return a path as it is named from the working directory, whole if it lies elsewhere."""
    whole = Path(path)
    return str(whole.relative_to(Path.cwd())) if whole.is_relative_to(Path.cwd()) else str(whole)
