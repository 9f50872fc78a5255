"""One HTML file that says what a run's model is worth, on which data, and where it fails."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from skinlesion.foundation import html_page

REFUSED_SHOWN: Final = 200
"""Refused images listed by name; the rest only counted, so that the file stays small."""
SPLITS: Final = ("train", "held_out")
NONE: Final = "–"

COMPARED: Final = (
    ("Balanced accuracy", "balanced_accuracy", True),
    ("Malignant AUROC", "malignant_auroc", True),
    ("Sensitivity at its own threshold", "sensitivity", True),
    ("Specificity at its own threshold", "specificity", True),
    ("Specificity at 95% sensitivity", "specificity_at_95_sensitivity", True),
    ("Macro F1", "macro_f1", True),
    ("Accuracy", "accuracy", True),
    ("Log loss", "log_loss", False),
    ("Calibration error", "expected_calibration_error", False),
)
"""Figures set beside those of the model in service: name, key in the metrics, whether more is better."""


@dataclass(frozen=True)
class ReportContext:
    """What the report is made from; every text may come from the user's files and is escaped.

    Attributes:
        title: headline of the report.
        run_id: the run that made the model.
        created: ISO 8601 time.
        metrics: from `skinlesion.evaluation.metrics.measure`; with it, each only where it was measured: `operating_point`,
            `calibration`, `risk_coverage`, `decisions`, `out_of_distribution`, `robustness`, `paired` (the differences to
            the model in service).
        plots: from `skinlesion.evaluation.plots.all_pngs`.
        slices: from `measure_slices`.
        data: `counts`: list of {"label", "split", "images", "lesions"}; `refused`: list of {"image", "reason"}, with
            `refused_total` and `refused_by_reason` ({reason: count}) where that list is only a part; `notes`: list of
            sentences; `report`: {"file", "verdict", "beyond"} of the data report that lies beside this one. Each may be
            missing.
        versions: name and value of what the figures depend on: data, code, packages.
        stages: list of {"stage", "seen", "done", "skipped", "refused", "seconds"}.
        settings: the run's settings, nested or flat; must hold no secret.
        champion_metrics: `measure` of the model in service on the same images, None where there is none.
        mistakes: worst first, {"image", "truth", "predicted", "probability", "jpeg"}; `probability` is that of the
            predicted class, `jpeg` the bytes of the picture shown. `overlay`, if there is one, is the same with Grad-CAM
            for the predicted class; `decision` and `reason` are the rule's.
        files: name and words of further files beside the report that exist.
    """

    title: str
    run_id: str
    created: str
    metrics: dict[str, Any]
    plots: dict[str, bytes] = field(default_factory=dict)
    slices: list[dict[str, Any]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    champion_metrics: dict[str, Any] | None = None
    mistakes: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)


def render_report(context: ReportContext) -> str:
    """Give the report as one HTML document that loads nothing: styles inline, pictures as data URIs, no script."""
    environment = html_page.environment(Path(__file__).with_name("templates"))
    environment.filters |= {
        "figure": figure,
        "interval": interval,
        "percent": percent,
        "signed": signed,
        "signed_interval": signed_interval,
        "spaced": _spaced,
    }
    metrics = context.metrics
    slices: dict[str, list[dict[str, Any]]] = {}
    for row in context.slices:
        slices.setdefault(row["column"], []).append(row)
    refused = list(context.data.get("refused", []))
    by_reason = context.data.get("refused_by_reason") or Counter(row["reason"] for row in refused)
    return environment.get_template("report.html.j2").render(
        context=context,
        metrics=metrics,
        figures={name: _png(picture) for name, picture in context.plots.items()},
        slices=slices,
        slices_have_shares=any(row.get("sensitivity") is not None for row in context.slices),
        classes=sum(row["support"] > 0 for row in metrics["per_class"].values()),
        compared=_compared(metrics, context.champion_metrics) if context.champion_metrics else [],
        counts=_counts(context.data.get("counts", [])),
        refused=refused[:REFUSED_SHOWN],
        refused_total=context.data.get("refused_total", max(len(refused), sum(by_reason.values()))),
        refused_by_reason=sorted(by_reason.items(), key=lambda item: (-item[1], item[0])),
        notes=context.data.get("notes", []),
        data_report=context.data.get("report"),
        settings=list(_flat(context.settings)),
    )


def _compared(metrics: Mapping[str, Any], champion: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give one row a figure: both models' value and interval, the difference, its interval and what it says."""
    paired = metrics.get("paired") or {}
    rows = []
    for name, key, more_is_better in COMPARED:
        new, old = _value(metrics, key), _value(champion, key)
        if new is None and old is None and key in ("sensitivity", "specificity"):
            continue
        difference = None if new is None or old is None else round(new - old, 3) + 0.0  # + 0.0: no "-0.000"
        verdict = ""
        if difference:
            verdict = "better" if (difference > 0) == more_is_better else "worse"
        rows.append(
            {
                "name": name,
                "new": new,
                "old": old,
                "new_interval": metrics.get("intervals", {}).get(key),
                "old_interval": champion.get("intervals", {}).get(key),
                "difference": signed(difference),
                "difference_interval": paired.get(key, {}).get("interval"),
                "verdict": paired.get(key, {}).get("verdict", verdict),
            }
        )
    return rows


def _value(metrics: Mapping[str, Any], key: str) -> float | None:
    if key in ("sensitivity", "specificity"):
        return (metrics.get("operating_point") or {}).get(key)
    return metrics.get(key)


def _counts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Give `splits` (training first) and one row a label, and the total, of (images, lesions) a split."""
    found = list(dict.fromkeys(row["split"] for row in rows))
    splits = [split for split in SPLITS if split in found] + [split for split in found if split not in SPLITS]
    labels = list(dict.fromkeys(row["label"] for row in rows))

    def summed(**wanted: str) -> tuple[int, int]:
        chosen = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
        return sum(row["images"] for row in chosen), sum(row["lesions"] for row in chosen)

    table = [(label, [summed(label=label, split=split) for split in splits]) for label in labels]
    return {"splits": splits, "rows": table, "total": [summed(split=split) for split in splits]}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def figure(value: float | None) -> str:
    """Give a figure with three decimals."""
    return NONE if value is None else f"{value:.3f}"


def interval(bounds: list[float] | None) -> str:
    """Give an interval with three decimals."""
    return "no interval" if bounds is None else f"{bounds[0]:.3f}–{bounds[1]:.3f}"


def signed_interval(bounds: list[float]) -> str:
    """Give the interval of a difference."""
    return f"{signed(bounds[0])} to {signed(bounds[1])}"


def percent(value: float | None) -> str:
    """Give a share in per cent, with one decimal."""
    return NONE if value is None else f"{value:.1%}"


def signed(value: float | None) -> str:
    """Give a difference with its sign."""
    return NONE if value is None else f"{value:+.3f}".replace("-", "−")


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _png(picture: bytes) -> str:
    return f"data:image/png;base64,{b64encode(picture).decode()}"
