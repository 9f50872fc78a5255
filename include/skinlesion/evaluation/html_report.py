"""The report of an evaluation: one HTML file with the figures of a model, the data behind them, and its mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from skinlesion.data.labels.classes import ClassCount
from skinlesion.data.review.making import TITLES
from skinlesion.data.split import SPLITS
from skinlesion.evaluation.gallery import CONFIDENCES, ERRORS, Seen, is_beside
from skinlesion.evaluation.mistakes import Mistake
from skinlesion.evaluation.operating_point import SHARES
from skinlesion.foundation import html_page
from skinlesion.prediction.decision import chosen
from skinlesion.registry.figure import FEWEST_LESIONS, NONE, Figure, signed
from skinlesion.registry.group_decisions import DECISIONS, GroupDecisions
from skinlesion.registry.metrics_record import MetricsRecord, ModelFigures, Slice, compared_figure
from skinlesion.registry.model_files import GALLERY
from skinlesion.registry.training_record import TrainingRecord

REFUSED_SHOWN: Final = 200
"""Refused images that are listed by name; the rest are counted, which keeps the file small."""

NAMES: Final = {dx: f"{title[0].upper()}{title[1:]} ({dx})" for dx, title in TITLES.items()} | {"unk": "Unknown (unk)"}
"""Names of diagnoses that people read, by that of the labels."""

COLUMNS: Final = {"dx_type": "How the diagnosis was made"}
"""Titles of columns of slices whose names do not say enough."""

COMPARED: Final = (
    ("Balanced accuracy", "balanced_accuracy"),
    ("Malignant AUROC", "malignant_auroc"),
    ("Sensitivity at its own threshold", "sensitivity"),
    ("Specificity at its own threshold", "specificity"),
    ("Specificity at 95% sensitivity", "specificity_at_95_sensitivity"),
    ("Macro F1", "macro_f1"),
    ("Accuracy", "accuracy"),
    ("Log loss", "log_loss"),
    ("Calibration error", "expected_calibration_error"),
)
"""Figures that are compared with those of the model in service: name and field of the metrics.

Those without a paired bootstrap have no interval of the difference, so which model is better cannot be told from them."""


@dataclass(frozen=True)
class ReportContext:
    """What the report is made from; every text may come from the user's files and is escaped.

    Attributes:
        created: when the model was trained, ISO 8601.
        metrics: content of metrics.json.
        training: content of training.json.
        plots: from `skinlesion.evaluation.plots.all_pngs`.
        mistakes: the worst first.
        gallery: the held-out images to look through.
    """

    created: str
    metrics: MetricsRecord
    training: TrainingRecord
    plots: Mapping[str, bytes]
    mistakes: Sequence[Mistake] = ()
    gallery: Sequence[Seen] = ()

    @property
    def gallery_file(self) -> str:
        """The file beside the report that has the gallery; empty if it is in the report."""
        return GALLERY if is_beside(self.gallery) else ""


@dataclass(frozen=True)
class Compared:
    """One figure of the candidate beside that of the model in service. verdict: empty where there is no difference to judge."""

    name: str
    new: Figure
    old: Figure
    difference: Figure
    verdict: str


class CountTable(NamedTuple):
    """Images and lesions of each class by side of the split, and the total of each side."""

    splits: list[str]
    rows: list[tuple[str, list[tuple[int, int]]]]
    total: list[tuple[int, int]]


def render_report(context: ReportContext) -> str:
    """Return the report as one HTML document that loads nothing: styles inline, pictures as data URIs, no script."""
    return _rendered("report.html.j2", context)


def render_gallery(context: ReportContext) -> str:
    """Return the gallery as an HTML document of its own, as `render_report`."""
    return _rendered("gallery_page.html.j2", context)


def _rendered(template: str, context: ReportContext) -> str:
    environment = html_page.environment(Path(__file__).with_name("templates"))
    environment.filters |= {"figure": figure, "percent": percent, "signed": signed}
    metrics, data = context.metrics, context.metrics.data
    lows, highs = (0.0, *CONFIDENCES), (*CONFIDENCES, 1.0)
    return environment.get_template(template).render(
        context=context,
        metrics=metrics,
        data=data,
        figures={name: html_page.picture(png) for name, png in context.plots.items()},
        slices=by_column(metrics.slices),
        classes=sum(row.support > 0 for row in metrics.per_class.values()),
        compared=compared(metrics),
        counts=_counts(data.counts),
        refused=data.refused[:REFUSED_SHOWN],
        refused_by_reason=sorted(data.refused_by_reason.items(), key=lambda item: (-item[1], item[0])),
        versions=versions(metrics, context.training),
        settings=context.training.settings,
        decided=DECISIONS,
        diagnosis=diagnosis,
        names=NAMES,
        columns=COLUMNS,
        errors=ERRORS,
        bands=[f"{100 * low:.0f} to {100 * high:.0f} %" for low, high in zip(lows, highs, strict=True)],
        choices={
            "dx": len({one.dx for one in context.gallery}),
            "de": len(DECISIONS),
            "er": len(ERRORS),
            "co": len(lows),
        },
        chosen=chosen(metrics.operating_point.target_sensitivity, metrics.operating_point.chosen_on_lesions),
        gain=gain(metrics),
        fewest=FEWEST_LESIONS,
    )


def gain(metrics: ModelFigures) -> Figure | None:
    """Return the change of balanced accuracy when the least certain get no answer; None where it is not measured."""
    found = metrics.risk_coverage.gain
    if found.balanced_accuracy is None:
        return None
    return Figure.of(found.balanced_accuracy, found.interval, metrics.lesions_behind("balanced_accuracy"))


def versions(metrics: MetricsRecord, training: TrainingRecord) -> dict[str, str]:
    """Return what the figures depend on, by name: data, code, packages."""
    packages = ", ".join(f"{name} {number}" for name, number in sorted(training.packages.items()))
    return {
        "Data version": metrics.data_version,
        "Training rows": metrics.training_version,
        "Held-out rows": metrics.held_out_version,
        "Git revision": training.git_revision,
        "Packages": packages,
    }


def diagnosis(group: GroupDecisions) -> str:
    """Return the name of a diagnosis for people."""
    return NAMES.get(group.name, group.name) if group.name else "not recorded"


def by_column(slices: Iterable[Slice]) -> dict[str, list[Slice]]:
    """Return the slices by their column, in the order in which they come."""
    columns: dict[str, list[Slice]] = {}
    for row in slices:
        columns.setdefault(row.column, []).append(row)
    return columns


def compared(metrics: MetricsRecord) -> list[Compared]:
    """Return the figures beside those of the model in service; none without one."""
    other = metrics.model_in_service
    if other is None:
        return []
    rows, beside = [], other.candidate or metrics
    for name, key in COMPARED:
        new, old, paired = beside.figure(key), other.figure(key), (metrics.paired or {}).get(key)
        if new.value is None and old.value is None and key in SHARES:
            continue
        rows.append(Compared(name, new, old, *compared_figure(new, old, paired)))
    return rows


def _counts(rows: Sequence[ClassCount]) -> CountTable:
    found = list(dict.fromkeys(row.split for row in rows))
    splits = [split for split in SPLITS if split in found] + [split for split in found if split not in SPLITS]

    def summed(chosen: Iterable[ClassCount]) -> list[tuple[int, int]]:
        of_split = {split: [row for row in chosen if row.split == split] for split in splits}
        return [(sum(row.images for row in part), sum(row.lesions for row in part)) for part in of_split.values()]

    labels = dict.fromkeys(row.label for row in rows)
    return CountTable(
        splits, [(label, summed([r for r in rows if r.label == label])) for label in labels], summed(rows)
    )


def figure(value: float | None) -> str:
    """Return a figure with three decimals."""
    return NONE if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    """Return a share in per cent with one decimal."""
    return NONE if value is None else f"{value:.1%}"
