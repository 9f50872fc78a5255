"""Whether a 95 % interval holds the truth in 95 of 100 cases: `python -m benchmarks.interval_coverage`.

Each simulation draws held-out images of a known world, as many and as rare as HAM10000's (2,000 images, 65 of them unknown),
several of a lesion, which are alike; then it asks the project's own intervals, and plain percentiles beside those of a bootstrap.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import typer
from joblib import Parallel, delayed

from skinlesion.data.labels.classes import LABELS
from skinlesion.evaluation.calibration import calibration_error
from skinlesion.evaluation.lesion_bootstrap import RESAMPLES, Drawn
from skinlesion.evaluation.metrics import balanced_accuracy, draw_figures, intervals, malignant_auroc
from skinlesion.evaluation.paired import paired_differences
from skinlesion.evaluation.scored_images import ScoredImages
from skinlesion.evaluation.shares import Interval

IMAGES: Final = {"benign": 1610, "malignant": 325, "unknown": 65}
"""About so many of each class are drawn; the number of lesions is fixed, as the split fixes it."""
IMAGES_OF_A_LESION: Final = (0.75, 0.18, 0.05, 0.02)
"""Shares of lesions with one to four images; HAM10000 has 1.34 a lesion."""
LOGITS: Final = np.array([[2.2, 0.0, -1.6], [0.4, 1.6, -1.2], [0.6, 0.3, 0.7]])
"""Mean logits of each class (rows), chosen to give about the figures of a real model: AUROC .91, balanced accuracy .67."""
OF_LESION: Final = 1.0
OF_IMAGE: Final = 0.7
"""Standard deviations of the logits: what the images of a lesion share, and what each has of its own."""
WORSE: Final = 0.6
"""Of the second model in the paired comparison: further noise in each logit."""
THRESHOLD: Final = 0.12
LESIONS_OF_THE_TRUTH: Final = 200_000

FIGURES: Final = (
    "balanced_accuracy", "malignant_auroc", "sensitivity", "specificity", "macro_f1", "accuracy", "expected_calibration_error",
)  # fmt: skip

Lesions = tuple[int, ...]


def lesions_of(scale: float = 1.0) -> Lesions:
    """Give how many lesions of each class make `scale` times the images."""
    mean = float(np.dot(np.arange(1, 5), IMAGES_OF_A_LESION))
    return tuple(max(2, round(scale * count / mean)) for count in IMAGES.values())


def simulated(seed: int | list[int], lesions: Lesions) -> tuple[ScoredImages, ScoredImages]:
    """Give the images of so many lesions of each class as a model scores them, and as a worse model does."""
    generator = np.random.default_rng(seed)
    classes = np.repeat(np.arange(len(LABELS)), lesions)
    sizes = generator.choice(np.arange(1, 5), p=IMAGES_OF_A_LESION, size=len(classes))
    groups = np.repeat(np.arange(len(classes)), sizes)
    labels = classes[groups]
    shared = generator.normal(scale=OF_LESION, size=(len(classes), len(LABELS)))[groups]
    logits = LOGITS[labels] + shared + generator.normal(scale=OF_IMAGE, size=shared.shape)
    worse = logits + generator.normal(scale=WORSE, size=logits.shape)
    return tuple(ScoredImages(labels, _softmax(one), groups) for one in (logits, worse))  # type: ignore[return-value]


@cache
def truth() -> dict[str, tuple[float, float]]:
    """Give each figure of the two models in the whole world, of hundreds of thousands of lesions."""
    mean = float(np.dot(np.arange(1, 5), IMAGES_OF_A_LESION))
    total = sum(IMAGES.values())
    scale = LESIONS_OF_THE_TRUTH * mean / total
    models = simulated([0, 1], lesions_of(scale))
    return {name: (_figure(name, models[0]), _figure(name, models[1])) for name in FIGURES}


def _figure(name: str, scored: ScoredImages) -> float:
    functions: dict[str, Callable[[ScoredImages], Any]] = {
        "balanced_accuracy": balanced_accuracy,
        "malignant_auroc": malignant_auroc,
        "sensitivity": lambda images: np.mean(images.scores[images.malignant] >= THRESHOLD),
        "specificity": lambda images: np.mean(images.scores[~images.malignant] < THRESHOLD),
        "accuracy": lambda images: np.mean(images.right),
        "macro_f1": _macro_f1,
        "expected_calibration_error": lambda images: calibration_error(images.right, images.confidence)[0],
    }
    return float(functions[name](scored))


def _macro_f1(scored: ScoredImages) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(scored.labels, scored.predicted, average="macro"))


def coverage(
    simulations: int, resamples: int = RESAMPLES, seed: int = 1, scale: float = 1.0, workers: int = 1
) -> dict[str, dict[str, float]]:
    """Give, for each figure and way, the share of simulations whose interval holds the truth, misses it below and above,
    and its mean width. Ways: `ours`, `percentile`, `paired` (of the difference between the two models)."""
    found = Parallel(n_jobs=workers)(
        delayed(_simulation)([seed, number], resamples, lesions_of(scale)) for number in range(simulations)
    )
    known = truth()
    table: dict[str, dict[str, float]] = {}
    for name, way in found[0]:
        value = known[name][0] - known[name][1] if way == "paired" else known[name][0]
        ends = np.array([one[name, way] for one in found if one[name, way] is not None])
        table[f"{name}, {way}"] = {
            "truth": value,
            "covered": float(np.mean((ends[:, 0] <= value) & (value <= ends[:, 1]))),
            "truth_below": float(np.mean(value < ends[:, 0])),
            "truth_above": float(np.mean(value > ends[:, 1])),
            "width": float(np.mean(ends[:, 1] - ends[:, 0])),
        }
    return table


def _simulation(seed: list[int], resamples: int, lesions: Lesions) -> dict[tuple[str, str], Interval | None]:
    model, worse = simulated(seed, lesions)
    ours = intervals(model, THRESHOLD, resamples=resamples, seed=seed[-1])
    drawn = draw_figures(model, resamples=resamples, seed=seed[-1])
    pairs = paired_differences(model, worse, (THRESHOLD, THRESHOLD), resamples=resamples, seed=seed[-1])
    found: dict[tuple[str, str], Interval | None] = {}
    for name in FIGURES:
        found[name, "ours"] = ours[name]
        if name in drawn:
            found[name, "percentile"] = _percentiles(drawn[name])
        found[name, "paired"] = pairs[name].interval
    return found


def _percentiles(drawn: Drawn) -> Interval:
    return [float(end) for end in np.nanquantile(drawn.values, [0.025, 0.975])]


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float64)


def main(
    simulations: Annotated[int, typer.Option(help="How many.")] = 1000,
    resamples: Annotated[int, typer.Option(help="Of each bootstrap.")] = RESAMPLES,
    seed: Annotated[int, typer.Option(help="Another seed, other simulations.")] = 1,
    scale: Annotated[float, typer.Option(help="Times HAM10000's held-out images.")] = 1.0,
    workers: Annotated[int, typer.Option(help="Processes; -1 takes every core.")] = -1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the table to this file.")] = None,
) -> None:
    """Show how often each interval holds the truth. The share of 1,000 simulations has a standard error of .007."""
    table = coverage(simulations, resamples, seed, scale, workers)
    typer.echo(f"{'figure, way':44} {'truth':>7} {'covered':>8} {'below':>6} {'above':>6} {'width':>6}")
    for name, row in table.items():
        typer.echo(
            f"{name:44} {row['truth']:7.3f} {row['covered']:8.3f} {row['truth_below']:6.3f} {row['truth_above']:6.3f} "
            f"{row['width']:6.3f}"
        )
    if json_file is not None:
        json_file.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
