"""The report of an evaluation: one HTML file with the figures of a model, the data behind them, and its mistakes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from skinlesion.data.labels.classes import ClassCount
from skinlesion.data.split import SPLITS
from skinlesion.evaluation.mistakes import Mistake
from skinlesion.evaluation.operating_point import SHARES
from skinlesion.foundation import html_page
from skinlesion.registry.metrics_record import Interval, MetricsRecord, ModelFigures, Slice

REFUSED_SHOWN: Final = 200
"""Refused images that are listed by name; the rest are counted, which keeps the file small."""
NONE: Final = "–"

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
        title: headline of the report.
        created: when the model was trained, ISO 8601.
        metrics: content of metrics.json.
        plots: from `skinlesion.evaluation.plots.all_pngs`.
        versions: name and value of what the figures depend on: data, code, packages.
        settings: those of the run, nested or flat; must hold no secret.
        mistakes: the worst first.
        files: name and description of further files beside the report.
    """

    title: str
    created: str
    metrics: MetricsRecord
    plots: Mapping[str, bytes] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    mistakes: Sequence[Mistake] = ()
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Compared:
    """One figure of the candidate beside that of the model in service."""

    name: str
    new: float | None
    old: float | None
    new_interval: Interval | None
    old_interval: Interval | None
    difference: str
    difference_interval: Interval | None
    verdict: str


class CountTable(NamedTuple):
    """Images and lesions of each class by side of the split, and the total of each side."""

    splits: list[str]
    rows: list[tuple[str, list[tuple[int, int]]]]
    total: list[tuple[int, int]]


def render_report(context: ReportContext) -> str:
    """Return the report as one HTML document that loads nothing: styles inline, pictures as data URIs, no script."""
    environment = html_page.environment(Path(__file__).with_name("templates"))
    environment.filters |= {
        "figure": figure,
        "interval": interval,
        "percent": percent,
        "signed": signed,
        "signed_interval": signed_interval,
        "spaced": _spaced,
    }
    metrics, data = context.metrics, context.metrics.data
    return environment.get_template("report.html.j2").render(
        context=context,
        metrics=metrics,
        data=data,
        figures={name: _png(picture) for name, picture in context.plots.items()},
        slices=by_column(metrics.slices),
        slices_have_shares=any(row.sensitivity is not None for row in metrics.slices),
        classes=sum(row.support > 0 for row in metrics.per_class.values()),
        compared=_compared(metrics, metrics.model_in_service) if metrics.model_in_service else [],
        counts=_counts(data.counts),
        refused=data.refused[:REFUSED_SHOWN],
        refused_by_reason=sorted(data.refused_by_reason.items(), key=lambda item: (-item[1], item[0])),
        settings=list(_flat(context.settings)),
    )


def by_column(slices: Iterable[Slice]) -> dict[str, list[Slice]]:
    """Return the slices by their column, in the order in which they come."""
    columns: dict[str, list[Slice]] = {}
    for row in slices:
        columns.setdefault(row.column, []).append(row)
    return columns


def _compared(metrics: MetricsRecord, other: ModelFigures) -> list[Compared]:
    rows = []
    candidate = metrics.model_in_service.candidate if metrics.model_in_service else None
    beside = candidate or metrics
    for name, key in COMPARED:
        new, old = _value(beside, key), _value(other, key)
        if new is None and old is None and key in SHARES:
            continue
        difference = None if new is None or old is None else round(new - old, 3) + 0.0  # + 0.0: no "-0.000"
        paired = (metrics.paired or {}).get(key)
        rows.append(
            Compared(
                name=name,
                new=new,
                old=old,
                new_interval=beside.intervals.get(key),
                old_interval=other.intervals.get(key),
                difference=signed(difference),
                difference_interval=paired.interval if paired else None,
                verdict=paired.verdict if paired else "" if difference is None else "cannot be told",
            )
        )
    return rows


def _value(metrics: ModelFigures, key: str) -> float | None:
    holder = metrics.operating_point if key in SHARES else metrics
    value: float | None = getattr(holder, key, None)
    return value


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


def _flat(settings: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def figure(value: float | None) -> str:
    """Return a figure with three decimals."""
    return NONE if value is None else f"{value:.3f}"


def interval(bounds: Interval | None) -> str:
    """Return an interval with three decimals."""
    return "no interval" if bounds is None else f"{bounds[0]:.3f}–{bounds[1]:.3f}"


def signed_interval(bounds: Interval) -> str:
    """Return the interval of a difference, each end with its sign."""
    return f"{signed(bounds[0])} to {signed(bounds[1])}"


def percent(value: float | None) -> str:
    """Return a share in per cent with one decimal."""
    return NONE if value is None else f"{value:.1%}"


def signed(value: float | None) -> str:
    """Return a difference with its sign."""
    return NONE if value is None else f"{value:+.3f}".replace("-", "−")


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _png(picture: bytes) -> str:
    return f"data:image/png;base64,{b64encode(picture).decode()}"
