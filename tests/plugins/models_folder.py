"""A models folder for the page: candidates whose model files hold a few bytes, registered, judged, in service."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.measured import metrics_record
from tests.registry.trained import trained
from tests.stand_in_verdict import verdict_of
from tests.training_record import write_training_record

from skinlesion.foundation import layout
from skinlesion.promotion.decide import note_verdict
from skinlesion.registry import versions
from skinlesion.registry.figure import Figure
from skinlesion.registry.register import register
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.verdict import Criterion
from skinlesion.registry.versions import FIGURES, Measurement, Registered
from skinlesion.stages.settings import PipelineConfig

PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010806000000") + b"..."
FILES: dict[str, bytes] = {
    "report.html": b"<!DOCTYPE html><h1>The report</h1><script>document.title = 'acted'</script>",
    "data_report.html": b"<!DOCTYPE html><h1>The data report</h1>",
    "model_card.md": b"# The model card\n\n| n | of |\n|---|---|\n| 7 | lesions |\n\n<script>document.title = 'acted'</script>\n",
    "confusion_matrix.png": PNG,
    "roc.png": PNG,
    "reliability.png": PNG,
}


def add(models: Path, run: str, balanced_accuracy: float = 0.8) -> int:
    """Make a candidate that was trained and evaluated; give its version."""
    candidate = trained(models, run)
    for name, content in FILES.items():
        (candidate.folder / name).write_bytes(content)
    write_training_record(candidate, training_version="7ra1n")
    interval = [balanced_accuracy - 0.04, balanced_accuracy + 0.04]
    metrics = metrics_record(run=run, balanced_accuracy=balanced_accuracy, intervals={"balanced_accuracy": interval})
    metrics.write(candidate.metrics)
    return register(models, candidate, metrics).number


def judge(models: Path, number: int, *, passed: bool) -> None:
    """Write down a verdict of two lines, beside what is in service now."""
    criteria = (
        Criterion(
            name="min_auroc",
            title="Malignant AUROC",
            passed=True,
            found=0.9,
            bound=0.8,
            sentence="Malignant AUROC is 0.900; at least 0.8 is asked for.",
        ),
        Criterion(
            name="sensitivity_margin",
            title="Sensitivity for malignant beside the model in service",
            passed=passed,
            found=-0.0312 if passed else -0.1234,
            bound=-0.08,
            sentence="The sensitivity for malignant is as it is.",
            numbers={"candidate": 0.8711, "champion": 0.8822, "difference": -0.0111, "confidence": 0.9},
        ),
    )
    verdict = verdict_of(Registry.read(models), number, criteria[0]).model_copy(update={"criteria": criteria})
    note_verdict(PipelineConfig.of({"models": models}), verdict, "skin_lesion_promote scheduled__1")


def many(models: Path, count: int) -> None:
    """Register so many versions at once, with a measurement and a verdict each: nights of a few years."""
    night = datetime(2024, 1, 1, 2, tzinfo=UTC)
    lines: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        at = (night + timedelta(days=number)).isoformat(timespec="seconds")
        version = Registered(
            number=number,
            run=f"run{number:04d}",
            created=at,
            sha256={"model.keras": f"{number:064x}"},
            training_version="7ra1n",
            git_revision="f00d",
        )
        figure = Figure(value=0.7 + number / 10_000, low=0.65, high=0.85)
        held_out = "h3ld" if number < count - 30 else "0ther"
        figures = dict.fromkeys(FIGURES, figure)
        measured = Measurement(at=at, figures=figures, images=420, lesions=400, held_out_version=held_out)
        lines += [{"registered": version.model_dump()}, {"number": number, "measured": measured.model_dump()}]
        lost = [] if number % 3 else ["Malignant AUROC is 0.700; at least 0.8 is asked for, of the first model too."]
        verdict = {"passed": not lost, "against": number - 1 or None, "lost": lost, "at": at}
        entries.append(
            {"at": at, "what": "judged", "actor": f"skin_lesion_promote scheduled__{at}", "version": number,
             "previous": None, "reason": "As the gate said", "verdict": verdict, "switch": None}
        )  # fmt: skip
    folder = layout.registry(models)
    folder.mkdir(parents=True)
    versions.path(models).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "history.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def renamed(models: Path, number: int, run: str) -> None:
    """Let a version have this run's name, as no version that is registered would."""
    before = versions.KnownVersions.read(models).registered[number].run
    path = versions.path(models)
    path.write_text(path.read_text().replace(json.dumps(before), json.dumps(run, ensure_ascii=False)))
