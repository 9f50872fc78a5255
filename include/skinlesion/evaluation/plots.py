"""The report's figures as PNG bytes, drawn with matplotlib's objects so that nothing global is touched.

Every figure is 960 pixels wide, meant to be shown at 480. Equal input gives equal bytes on one matplotlib version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from skinlesion.diagnosis import LABELS

# Okabe & Ito, "Color universal design" (2008): told apart by colour-blind readers, and in grey by their lightness.
BLUE: Final = "#0072B2"
ORANGE: Final = "#D55E00"
INK: Final = "#1f2933"
GREY: Final = "#8a94a0"
RULE: Final = "#d9dee4"
SHADES: Final = LinearSegmentedColormap.from_list("white to blue", ["#ffffff", "#9cc7e0", "#005a8f"])

WIDTH: Final = 4.8
"""Inches; at 200 dots an inch 960 pixels, so that 10 points stay legible at half size."""
DPI: Final = 200
TEXT: Final = 9.5


def confusion_matrix_png(metrics: Mapping[str, Any]) -> bytes:
    """Draw counts and row percentages of `metrics["confusion_matrix"]` (rows truth, columns predicted) as PNG."""
    counts = np.asarray(metrics["confusion_matrix"], dtype=np.int64)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    figure, axes = _figure(height=4.0)
    axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.6 else INK
        axes.text(column, row - 0.1, f"{count:,}", ha="center", va="center", color=ink, size=13, weight="bold")
        if totals[row, 0]:
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


def roc_png(metrics: Mapping[str, Any]) -> bytes:
    """Draw `metrics["roc"]`, malignant against the rest, as PNG; says so where it is not measured."""
    roc, auroc = metrics["roc"], metrics["malignant_auroc"]
    if auroc is None or not roc["fpr"]:
        return _nothing("ROC curve not measured: malignant and\nother images are both needed.")
    figure, axes = _figure(height=4.4)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.fill_between(roc["fpr"], roc["tpr"], color=BLUE, alpha=0.08, linewidth=0)
    axes.plot(roc["fpr"], roc["tpr"], color=BLUE, linewidth=2)
    specificity = metrics.get("specificity_at_95_sensitivity")
    if specificity is not None:
        axes.plot([1 - specificity], [0.95], marker="o", markersize=6, color=ORANGE, linestyle="none")
        near_right = specificity < 0.5
        axes.annotate(
            f"sensitivity 95%,\nspecificity {specificity:.0%}",
            (1 - specificity, 0.95),
            xytext=(-8 if near_right else 8, -8),
            textcoords="offset points",
            ha="right" if near_right else "left",
            va="top",
            size=TEXT,
            color=ORANGE,
        )
    interval = (metrics.get("intervals") or {}).get("malignant_auroc")
    words = f"AUROC {auroc:.3f}" + (f"\n95% interval {interval[0]:.3f}–{interval[1]:.3f}" if interval else "")
    axes.text(0.97, 0.05, words, ha="right", va="bottom", size=11, color=INK)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    axes.set_xlabel("1 − specificity (other lesions called malignant)")
    axes.set_ylabel("sensitivity (malignant found)")
    return _png(figure)


def reliability_png(metrics: Mapping[str, Any]) -> bytes:
    """Draw how often the top class is right at each confidence, from `metrics["reliability"]`, as PNG."""
    filled = [part for part in metrics["reliability"] if part["count"]]
    figure = Figure(figsize=(WIDTH, 4.8), dpi=DPI, layout="constrained", facecolor="white")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    for axes in (upper, lower):
        _dress(axes)
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    confidence = [part["confidence"] for part in filled]
    accuracy = [part["accuracy"] for part in filled]
    upper.vlines(confidence, confidence, accuracy, color=ORANGE, linewidth=1.5, alpha=0.6)
    upper.plot(confidence, accuracy, color=BLUE, linewidth=1.5, marker="o", markersize=5)
    error = metrics.get("expected_calibration_error")
    if error is not None:
        upper.text(0.97, 0.06, f"calibration error {error:.3f}", ha="right", size=11, color=INK)
    upper.text(0.03, 0.95, "underconfident", va="top", size=TEXT, color=GREY)
    upper.text(0.97, 0.17, "overconfident", ha="right", size=TEXT, color=GREY)
    upper.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    upper.set_ylabel("share that is right")
    upper.yaxis.set_major_formatter(PercentFormatter(1.0))
    lower.bar(
        [part["low"] for part in filled],
        [part["count"] for part in filled],
        width=[part["high"] - part["low"] for part in filled],
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


def history_png(history: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw losses and balanced accuracy over the epochs of all phases, in the order given, as PNG.

    An epoch may hold `phase`, `loss`, `val_loss` and `val_balanced_accuracy`; what it lacks is left out.
    """
    if not history:
        return _nothing("No training history.")
    panels = [
        [("loss", "training", BLUE, "-"), ("val_loss", "validation fold", ORANGE, "-")],
        [("val_balanced_accuracy", "balanced accuracy, validation fold", ORANGE, "-")],
    ]
    panels = [[line for line in panel if any(_finite(epoch.get(line[0])) for epoch in history)] for panel in panels]
    panels = [panel for panel in panels if panel]
    if not panels:
        return _nothing("No training history.")
    figure = Figure(figsize=(WIDTH, 2.5 * len(panels)), dpi=DPI, layout="constrained", facecolor="white")
    starts = [
        index for index in range(1, len(history)) if history[index].get("phase") != history[index - 1].get("phase")
    ]
    column = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for number, (panel, axes) in enumerate(zip(panels, column, strict=True)):
        _dress(axes)
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
                if history[start].get("phase"):
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


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained", facecolor="white")
    axes = figure.subplots()
    _dress(axes)
    return figure, axes


def _dress(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(colors=INK, labelsize=TEXT, color=RULE)
    axes.grid(color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, size=TEXT)


def _nothing(words: str) -> bytes:
    figure, axes = _figure(height=1.6)
    axes.set_axis_off()
    axes.text(0.5, 0.5, words, ha="center", va="center", size=11, color=GREY, transform=axes.transAxes)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    out = BytesIO()
    # Without `Software: None` the bytes would name matplotlib's version.
    figure.savefig(out, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return out.getvalue()
