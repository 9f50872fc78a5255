"""The plots of the report as PNG bytes.

A plot is 960 pixels wide, to be shown at 480; that of robustness is twice as wide. Equal input gives equal bytes with one
version of matplotlib. Only objects of matplotlib are used, so its global state does not change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, PercentFormatter

from skinlesion.data.labels.classes import LABELS
from skinlesion.registry.figure import FEWEST_LESIONS
from skinlesion.registry.metrics_record import (
    MetricsRecord,
    ModelFigures,
    ReliabilityBin,
    RiskCoverage,
    Robustness,
    RobustnessFigures,
)

# Okabe & Ito, "Color universal design" (2008): distinct for colour-blind readers and, by lightness, in grey.
BLUE: Final = "#0072B2"
ORANGE: Final = "#D55E00"
INK: Final = "#1f2933"
GREY: Final = "#8a94a0"
RULE: Final = "#d9dee4"
SHADES: Final = LinearSegmentedColormap.from_list("white to blue", ["#ffffff", "#9cc7e0", "#005a8f"])

WIDTH: Final = 4.8
"""Inches; 960 pixels at 200 dots an inch, so text of 10 points is legible at half size."""
DPI: Final = 200
TEXT: Final = 9.5
FEW_IN_A_BIN: Final = 10
"""The point of a reliability bin with fewer images is hollow and not joined to the others."""


def all_pngs(metrics: MetricsRecord, history: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Return every plot that there are figures for, as PNG by name. history: of training, a row an epoch."""
    plots = {
        "confusion_matrix": confusion_matrix_png(metrics),
        "roc": roc_png(metrics),
        "reliability": reliability_png(metrics),
        "risk_coverage": risk_coverage_png(metrics.risk_coverage),
        "history": history_png(history),
    }
    if metrics.robustness:
        plots["robustness"] = robustness_png(metrics.robustness)
    return plots


def confusion_matrix_png(metrics: ModelFigures) -> bytes:
    """Return counts and row percentages of the confusion matrix (rows diagnosis, columns predicted) as PNG."""
    counts = np.asarray(metrics.confusion_matrix, dtype=np.int64)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    figure, (axes,) = _figure(4.0)
    axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.6 else INK
        axes.text(column, row - 0.1, f"{count:,}", ha="center", va="center", color=ink, size=13, weight="bold")
        if totals[row, 0] and metrics.per_class[LABELS[row]].lesions >= FEWEST_LESIONS:
            axes.text(column, row + 0.19, f"{shares[row, column]:.1%}", ha="center", va="center", color=ink, size=TEXT)
    at = range(len(LABELS))
    axes.set_xticks(at, LABELS)
    axes.set_yticks(at, [f"{label}\nn = {total:,}" for label, total in zip(LABELS, totals[:, 0], strict=True)])
    axes.set_xlabel("predicted")
    axes.set_ylabel("diagnosis")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for edge in (0.5, 1.5):
        axes.axhline(edge, color="white", linewidth=2)
        axes.axvline(edge, color="white", linewidth=2)
    return _png(figure)


def roc_png(metrics: ModelFigures) -> bytes:
    """Return the ROC curve of malignant against the rest as PNG, or a sentence where it is not measured."""
    roc, point = metrics.roc, metrics.operating_point
    if point.sensitivity is None or point.specificity is None:
        return _nothing("ROC curve not measured: malignant and\nother images are both needed.")
    figure, (axes,) = _figure(4.4)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.fill_between(roc.fpr, roc.tpr, color=BLUE, alpha=0.08, linewidth=0)
    axes.plot(roc.fpr, roc.tpr, color=BLUE, linewidth=2)
    x, y, words = 1 - point.specificity, point.sensitivity, f"threshold {point.threshold:.3f}"
    for name in ("sensitivity", "specificity"):
        shown = metrics.figure(name)
        words += f"\n{name} {shown.number}" if shown.is_shown else ""
    axes.plot([x], [y], marker="o", markersize=7, color=ORANGE, linestyle="none")
    near_right = x > 0.5
    axes.annotate(
        words,
        (x, y),
        xytext=(-9 if near_right else 9, -9),
        textcoords="offset points",
        ha="right" if near_right else "left",
        va="top",
        size=TEXT,
        color=ORANGE,
        path_effects=[withStroke(linewidth=3, foreground="white")],  # the curve may pass behind the words
    )
    shown = metrics.figure("malignant_auroc")
    words = f"AUROC {shown.number}" if shown.is_shown else f"AUROC: {shown.number}"
    words += f"\n95% interval {shown.interval}" if shown.interval else ""
    axes.text(0.97, 0.05, words, ha="right", va="bottom", size=11, color=INK)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    axes.set_xlabel("1 − specificity (other lesions called malignant)")
    axes.set_ylabel("sensitivity (malignant found)")
    return _png(figure)


def reliability_png(metrics: ModelFigures) -> bytes:
    """Return how often the likeliest class is right at each confidence, and before temperature scaling behind it, as PNG."""
    filled = [part for part in metrics.reliability if part.count]
    joined = [part for part in filled if part.count >= FEW_IN_A_BIN]
    before = metrics.calibration.held_out.before
    figure, (upper, lower) = _figure(4.8, rows=2, sharex=True, height_ratios=[4, 1])
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    few = [part for part in filled if part.count < FEW_IN_A_BIN]
    own = {
        "color": BLUE,
        "linewidth": 1.8,
        "markersize": 5,
        "label": f"as saved: error {metrics.expected_calibration_error:.3f}",
    }
    uncalibrated = [part for part in before.reliability if part.count >= FEW_IN_A_BIN]
    label = f"before temperature: error {before.expected_calibration_error:.3f}"
    behind = {"color": GREY, "linewidth": 1.2, "markersize": 3.5, "label": label}
    hollow = {"color": BLUE, "linestyle": "none", "markersize": 4, "markerfacecolor": "white", "alpha": 0.5}
    curves: list[tuple[list[ReliabilityBin], dict[str, Any]]] = [(uncalibrated, behind), (joined, own), (few, hollow)]
    for parts, style in curves:
        points = np.array([(part.confidence, part.accuracy) for part in parts], dtype=np.float64).reshape(-1, 2)
        upper.plot(*points.T, marker="o", **style)
    upper.legend(frameon=False, fontsize=TEXT, labelcolor=INK, loc="upper left")
    upper.text(0.97, 0.06, "below the line: overconfident", ha="right", size=TEXT, color=GREY)
    upper.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    upper.set_ylabel("share that is right")
    upper.yaxis.set_major_formatter(PercentFormatter(1.0))
    lower.bar(
        [part.low for part in filled],
        [part.count for part in filled],
        width=[part.high - part.low for part in filled],
        align="edge",
        color=BLUE,
        edgecolor="white",
        linewidth=0.8,
        alpha=0.6,
    )
    lower.set_ylabel("images")
    lower.set_xlabel("probability of the class that the model names")
    lower.xaxis.set_major_formatter(PercentFormatter(1.0))
    lower.yaxis.set_major_locator(MaxNLocator(nbins=2, integer=True))
    return _png(figure)


def risk_coverage_png(risk: RiskCoverage) -> bytes:
    """Return error and balanced accuracy of the most confident images by their share, as PNG."""
    figure, (upper, lower) = _figure(4.8, rows=2, sharex=True)
    for axes, key, words, colour in (
        (upper, "balanced_accuracy", "balanced accuracy", BLUE),
        (lower, "error", "share that is wrong", ORANGE),
    ):
        points = [(row.coverage, getattr(row, key)) for row in risk.curve if getattr(row, key) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=2)
        axes.set_ylabel(words)
        axes.set_xlim(0, 1.01)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.axvline(1 - risk.gain.abstained, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
    gain = risk.gain
    if gain.balanced_accuracy is not None:
        words = f"{gain.balanced_accuracy:+.3f} by not answering\nthe least certain {gain.abstained:.0%}"
        upper.text(
            0.04, 0.06, words.replace("-", "−"), transform=upper.transAxes, va="bottom", size=TEXT, color=INK
        )  # fmt: skip
    lower.set_xlabel("share of the images answered, the most confident first")
    lower.xaxis.set_major_formatter(PercentFormatter(1.0))
    return _png(figure)


def robustness_png(robustness: Robustness) -> bytes:
    """Return AUROC and balanced accuracy by the strength of each alteration, a panel a kind, as one wide PNG.

    A figure that is not measured has no line.
    """
    curves = robustness.curves
    figure, panels = _figure(2.9, width=2 * WIDTH, columns=len(curves), sharey=True)
    lines = (("malignant_auroc", "malignant AUROC", BLUE), ("balanced_accuracy", "balanced accuracy", ORANGE))
    for axes, (name, curve) in zip(panels, curves.items(), strict=True):
        at: list[tuple[float, RobustnessFigures]] = [(curve.unaltered, robustness.unaltered)]
        at = sorted([*at, *((point.strength, point) for point in curve.points)], key=lambda pair: pair[0])
        for key, words, colour in lines:
            of_key = [(strength, getattr(figures, key)) for strength, figures in at]
            known = [(strength, one) for strength, one in of_key if one.value is not None]
            x = [strength for strength, _ in known]
            axes.plot(
                x, [one.value for _, one in known], color=colour, linewidth=1.6, marker="o", markersize=3.5, label=words
            )
            if all(one.low is not None for _, one in known):
                low, high = [one.low for _, one in known], [one.high for _, one in known]
                axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.axvline(curve.unaltered, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
        if at[0][0] < curve.unaltered == at[-1][0]:
            axes.invert_xaxis()  # stronger to the right
        axes.set_title(name, size=11, color=INK)
        axes.set_xlabel(curve.unit)
        axes.set_ylim(0.3, 1.0)
    panels[0].legend(frameon=False, fontsize=TEXT - 1, labelcolor=INK, loc="lower left")
    return _png(figure)


def history_png(history: Sequence[Mapping[str, Any]]) -> bytes:
    """Return losses and balanced accuracy over the epochs of all phases, in the order given, as PNG.

    An epoch has `phase` and `loss`, and unless the inner fold is empty `val_loss` and `val_balanced_accuracy`.
    """
    panels = [
        [("loss", "training", BLUE, "-"), ("val_loss", "validation fold", ORANGE, "-")],
        [("val_balanced_accuracy", "balanced accuracy, validation fold", ORANGE, "-")],
    ]
    panels = [[line for line in panel if any(_finite(epoch.get(line[0])) for epoch in history)] for panel in panels]
    panels = [panel for panel in panels if panel]
    starts = [at for at in range(1, len(history)) if history[at]["phase"] != history[at - 1]["phase"]]
    figure, column = _figure(2.5 * len(panels), rows=len(panels))
    for number, (panel, axes) in enumerate(zip(panels, column, strict=True)):
        for key, name, colour, style in panel:
            points = [(at, epoch[key]) for at, epoch in enumerate(history, start=1) if _finite(epoch.get(key))]
            axes.plot(*zip(*points, strict=True), label=name, color=colour, linestyle=style, marker="o", markersize=3)
        axes.set_xlim(0.5, len(history) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(y=0.12)
        for start in starts:
            axes.axvline(start + 0.5, color=GREY, linewidth=1, linestyle=(0, (2, 2)))
        if number == 0:
            for start in (0, *starts):
                axes.text(
                    start + 0.5, 1.02, f" {history[start]['phase']}", transform=axes.get_xaxis_transform(),
                    va="bottom", size=TEXT, color=GREY, parse_math=False,
                )  # fmt: skip
        if len(panel) > 1:
            axes.legend(frameon=False, fontsize=TEXT, labelcolor=INK)
            axes.set_ylabel("loss")
        else:
            axes.set_ylabel(panel[0][1].replace(", ", ",\n"))
    axes.set_xlabel("epoch")
    return _png(figure)


def _finite(value: Any) -> bool:
    return value is not None and bool(np.isfinite(value))


def _figure(
    height: float, *, width: float = WIDTH, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels, row by row. options: of `Figure.subplots`."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    panels = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(RULE)
        axes.tick_params(colors=INK, labelsize=TEXT, color=RULE)
        axes.grid(color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set(color=INK, size=TEXT)
    return figure, panels


def _nothing(words: str) -> bytes:
    figure, (axes,) = _figure(1.6)
    axes.set_axis_off()
    axes.text(0.5, 0.5, words, ha="center", va="center", size=11, color=GREY, transform=axes.transAxes)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    out = BytesIO()
    # Without `Software: None` the bytes would name matplotlib's version.
    figure.savefig(out, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return out.getvalue()
