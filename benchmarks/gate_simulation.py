"""How often the gate's comparison lets a candidate pass: truly equal ones, and ones that find fewer malignant lesions.

    python -m benchmarks.gate_simulation              1,500 lesions, 300 of them malignant
    python -m benchmarks.gate_simulation --few        from 1 malignant lesion on, a candidate that is worse by .20

Both models are asked about the same lesions. Whether a model is right about a lesion depends on how hard the lesion is, which
both share, and on the model: a Gaussian copula. At a correlation of .6 two equal models disagree about 20 % of the malignant
lesions at a sensitivity of .85; two trainings on HAM10000 with other settings disagree about 8 % at the operating point.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, norm

from skinlesion.data.labels.classes import LABELS
from skinlesion.evaluation.paired import Decided, compare
from skinlesion.stages.settings import PipelineConfig

LESIONS: Final = {"benign": 1100, "malignant": 300, "unknown": 100}
"""1,500 held-out lesions, as many as of HAM10000."""

FEW: Final = (1, 2, 3, 5, 10, 30, 100, 300)
"""Numbers of malignant lesions; of the others there are as many as in HAM10000."""

RECALL: Final = {"benign": 0.9, "malignant": 0.7, "unknown": 0.7}
"""Of the likeliest class."""


@dataclass(frozen=True)
class Case:
    """A candidate beside the champion.

    sensitivity: the champion's, at its operating point. drop: how much lower the candidate's is. correlation: of how hard
    the lesions are for both. recall_drop: how much lower the candidate's recall of each class is. malignant: number of lesions.
    """

    name: str
    sensitivity: float
    drop: float
    correlation: float
    recall_drop: float = 0.0
    malignant: int = LESIONS["malignant"]


CASES: Final = tuple(
    Case(f"{what}, sensitivity {sensitivity:g}, correlation {correlation:g}", sensitivity, drop, correlation)
    for what, drop in (("equal", 0.0), (".05 less sensitive", 0.05), (".10 less sensitive", 0.1))
    for sensitivity in (0.95, 0.85)
    for correlation in (0.6, 0.9)
)


def worse_cases(few: tuple[int, ...] = FEW) -> list[Case]:
    """Return candidates that are worse by .20 in sensitivity or in balanced accuracy, each with so many malignant lesions."""
    return [
        Case(
            f"{what} lower by .20, correlation {correlation:g}, {count} malignant",
            0.95,
            drop,
            correlation,
            recall,
            count,
        )
        for what, drop, recall in (("sensitivity", 0.2, 0.0), ("balanced accuracy", 0.0, 0.2))
        for correlation in (0.6, 0.9)
        for count in few
    ]


def passing_share(case: Case, draws: int, *, seed: int = 0) -> float:
    """Return the share of drawn candidates that pass both comparisons at the default settings."""
    config = PipelineConfig.of({})
    generator = np.random.default_rng(seed)
    counts = LESIONS | {"malignant": case.malignant}
    labels = np.repeat(np.arange(len(LABELS)), [counts[label] for label in LABELS])
    lesions = np.arange(len(labels))
    passed = 0
    for _ in range(draws):
        both = _drawn(case, labels, generator)
        accuracy, sensitivity = compare(labels, lesions, *both, confidence=config.gate_confidence)
        assert sensitivity is not None
        is_accurate = accuracy.lower >= -config.gate_balanced_accuracy_margin
        is_sensitive = sensitivity.lower >= -config.gate_sensitivity_margin
        # A candidate that is less accurate alone has to be kept out by the comparison of accuracies alone.
        passed += is_accurate and (is_sensitive or case.recall_drop > 0)
    return passed / draws


def _drawn(case: Case, labels: npt.NDArray[np.int64], generator: np.random.Generator) -> tuple[Decided, Decided]:
    """Return what candidate and champion say of the lesions."""
    recall = np.array([RECALL[label] for label in LABELS])
    shared = generator.normal(size=(2, len(labels)))
    models = []
    for drop, recall_drop in ((case.drop, case.recall_drop), (0.0, 0.0)):
        own = generator.normal(size=(2, len(labels)))
        ease = np.sqrt(case.correlation) * shared + np.sqrt(1 - case.correlation) * own
        is_right = ease[0] < norm.ppf(recall[labels] - recall_drop)
        predicted = np.where(is_right, labels, (labels + 1) % len(LABELS))
        models.append(Decided(predicted, ease[1] < norm.ppf(case.sensitivity - drop)))
    return models[0], models[1]


def main() -> None:
    """Print the share of each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--few", action="store_true", help="from 1 malignant lesion on")
    asked = parser.parse_args()
    for case in worse_cases() if asked.few else CASES:
        share = passing_share(case, asked.draws)
        ends = binomtest(round(share * asked.draws), asked.draws).proportion_ci(method="wilson")
        print(f"{case.name:<70} {share:6.1%} ({ends.low:.1%} to {ends.high:.1%})", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
