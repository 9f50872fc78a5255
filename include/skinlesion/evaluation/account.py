"""The decisions of a model by class and diagnosis, and what a decision is worth where malignancy is rarer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skinlesion.data.labels.classes import BENIGN, LABELS, MALIGNANT
from skinlesion.evaluation.scored_images import Bools, Floats, ScoredImages
from skinlesion.evaluation.shares import Interval, Share
from skinlesion.registry.figure import Figure
from skinlesion.registry.group_decisions import DECISIONS, PREVALENCES, Account, AtPrevalence, GroupDecisions


def account(scored: ScoredImages, decided: Sequence[str], threshold: float) -> Account:
    """Return the account of malignant lesions. decided: the decision for each image."""
    malignant, names = scored.malignant, np.asarray(decided, dtype=np.str_)
    found = (scored.predicted == LABELS.index(MALIGNANT))[malignant]
    labels = np.asarray(LABELS)[scored.labels]
    return Account(
        classes=tuple(group_decisions(scored, names, labels, labels, threshold)),
        threshold=threshold,
        likeliest=Share.of(found, scored.groups[malignant]).figure,
        likeliest_count=int(found.sum()),
        at_prevalence=tuple(
            AtPrevalence(
                prevalence=prevalence,
                **{
                    decision: malignant_among(prevalence, _shares(names == decision, scored))
                    for decision in (MALIGNANT, BENIGN)
                },
            )
            for prevalence in PREVALENCES
        ),
    )


def group_decisions(
    scored: ScoredImages, decided: np.ndarray, names: np.ndarray, labels: np.ndarray, threshold: float
) -> list[GroupDecisions]:
    """Return what is said of the images of each name, those of malignant diagnoses first, then by number of lesions.

    decided, names, labels: (n,) str: the decision, the name of the group and the class of each image.
    """
    outcomes = {name: decided == name for name in DECISIONS} | {"at_threshold": scored.scores >= threshold}
    rows = []
    for name in np.unique(names).tolist():
        at = names == name
        shares = {one: Share.of(holds[at], scored.groups[at]) for one, holds in outcomes.items()}
        rows.append(
            GroupDecisions(
                name=name,
                label=str(labels[at][0]),
                images=int(at.sum()),
                lesions=scored.lesions_of(at),
                counts={one: int(holds[at].sum()) for one, holds in outcomes.items()},
                shares={one: share.figure for one, share in shares.items()},
            )
        )
    order = [MALIGNANT, *(label for label in reversed(LABELS) if label != MALIGNANT)]
    return sorted(rows, key=lambda row: (order.index(row.label), -row.lesions, row.name))


def malignant_among(prevalence: float, shares: tuple[Share, Share]) -> Figure:
    """Return the share of malignant lesions among the images for which something holds, where so many lesions are malignant.

    The odds are those of the prevalence times the ratio of two independent shares. shares: how often it holds among the
    malignant and among the other images.
    """
    among, others = shares
    lesions = min(among.lesions, others.lesions)
    if not lesions or not among.hits.sum() + others.hits.sum():
        return Figure(lesions=lesions)
    odds = prevalence / (1 - prevalence)
    with np.errstate(divide="ignore", invalid="ignore"):
        point = _of_odds(odds * np.float64(among.point) / others.point)
        ends = odds * _ratio_interval(among.point, among.interval(), others.point, others.interval())
    return Figure.of(point, [_of_odds(end) for end in ends], lesions)


def _shares(holds: Bools, scored: ScoredImages) -> tuple[Share, Share]:
    malignant = scored.malignant
    return (
        Share.of(holds[malignant], scored.groups[malignant]),
        Share.of(holds[~malignant], scored.groups[~malignant]),
    )


def _ratio_interval(above: float, above_ends: Interval, below: float, below_ends: Interval) -> Floats:
    """Return the interval of the ratio of two independent shares, (2,), from 0 to infinity.

    The squares of the distances of the logarithms add up (Zou & Donner, Stat. Med. 27:1693, 2008). Where a share is 0, the ends of
    both shares bound the ratio.
    """
    ratio = np.log(np.float64(above)) - np.log(np.float64(below))
    low = ratio - np.hypot(np.log(above / np.float64(above_ends[0])), np.log(below_ends[1] / np.float64(below)))
    high = ratio + np.hypot(np.log(above_ends[1] / np.float64(above)), np.log(below / np.float64(below_ends[0])))
    widest = np.array(above_ends) / np.array(below_ends[::-1])
    return np.where(np.isfinite([low, high]), np.exp([low, high]), widest)


def _of_odds(odds: float) -> float:
    """Return the probability of these odds."""
    return 1.0 if np.isinf(odds) else float(odds / (1 + odds))
