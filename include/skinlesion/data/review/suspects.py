"""Which labels are likely wrong, by models that have not seen the lesion, by its other pictures, and by near-duplicates.

The models are linear ones on activations of the backbone before any training on these labels. The network that was trained
cannot judge its own labels: it has learnt them. An image is judged by the model of another fold, which has seen no picture
of its lesion, and with the mean over the pictures of the lesion.
"""

from __future__ import annotations

import warnings
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

COLUMNS: Final = {
    "rank": "int64",
    "image": "str",
    "file": "str",
    "dx": "str",
    "label": "str",
    "split": "str",
    "suggested": "str",
    "quality": "float64",
    "reason": "str",
}
"""Columns of the list, the likeliest errors first. `dx` is what the tables say, `suggested` the likeliest diagnosis otherwise;
`quality` is 1 for a label that the models are sure of, 0 for one that they exclude (see `label_quality`)."""

FOLDS: Final = 5

LEAST_LESIONS: Final = 2 * FOLDS
"""Lesions that a diagnosis needs to be told apart. Those with fewer count as one diagnosis."""

_WEIGHT_OF_DATA: Final = 24.0
"""Sum of scikit-learn's C over the images of a fold, for standardised features: .003 each for the 8,000 of HAM10000, where .01
found fewer of 5 % swapped labels. With fewer images each weighs more; with more, no less."""

_RARE: Final = "(rare)"
_NAMED: Final = 3


class OutOfFold(NamedTuple):
    """What models say that saw no picture of the lesion.

    probabilities: float64 (n, k), the mean over the pictures of each lesion. codes: the k diagnoses, sorted; those with fewer
    than `LEAST_LESIONS` lesions are one, `(rare)`. position: int64 (n,), the column of each image's own diagnosis.
    """

    probabilities: Floats
    codes: list[str]
    position: npt.NDArray[np.int64]


def out_of_fold(activations: npt.NDArray[np.float32], dx: pd.Series, groups: pd.Series) -> OutOfFold | None:
    """Return the probabilities of each image's diagnoses by a logistic regression on the other folds.

    Returns None where fewer than two diagnoses have enough lesions.

    activations: float32 (n, d). dx, groups: str (n,), the diagnosis and the lesion (its group) of each image.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold
    from sklearn.preprocessing import StandardScaler

    lesions = groups.groupby(dx.to_numpy()).transform("nunique")
    named = dx.where(lesions >= LEAST_LESIONS, _RARE)
    position, found = pd.factorize(named, sort=True)
    codes = [str(code) for code in found]
    if len(codes) < 2 or groups.nunique() < LEAST_LESIONS:
        return None
    scaled = StandardScaler().fit_transform(activations)
    probabilities = np.zeros((len(dx), len(codes)))
    folds = GroupKFold(FOLDS, shuffle=True, random_state=0)
    for others, fold in folds.split(scaled, position, groups):
        weight = max(0.003, _WEIGHT_OF_DATA / len(others))
        with warnings.catch_warnings():  # more iterations move the ranking by less than another seed does
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = LogisticRegression(C=weight, max_iter=60).fit(scaled[others], position[others])
        probabilities[np.ix_(fold, fitted.classes_)] = fitted.predict_proba(scaled[fold])
    of_lesion = pd.DataFrame(probabilities).groupby(groups.to_numpy()).transform("mean").to_numpy()
    return OutOfFold(of_lesion, codes, position)


def label_quality(probabilities: Floats, position: npt.NDArray[np.int64]) -> Floats:
    """Return the quality of each label, float64 (n,): half of one plus its probability less the largest other one.

    It is the normalised margin of Northcutt, Jiang, Chuang, "Confident learning" (JAIR 2021), as cleanlab computes it. Ranking
    by the label's own probability fills the top with rare diagnoses.
    """
    rows = np.arange(len(position))
    others = probabilities.copy()
    others[rows, position] = -np.inf
    quality: Floats = (probabilities[rows, position] - others.max(axis=1) + 1) / 2
    return quality


def suspects(images: pd.DataFrame, found: OutOfFold | None, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the images whose label is likely wrong, `COLUMNS`, the likeliest errors first.

    Where pictures of one lesion, or near-duplicates, have different diagnoses, at most one of them is right, so those that
    the models and the other pictures speak against come first. The others follow by the quality of their label, as far as
    another diagnosis is likelier.

    images: columns image, file, dx, label, split, group and original (SHA-256), one row an image with a diagnosis. found: of
    the same rows. pairs: columns first and second, contents that are near-duplicates.
    """
    images = images.reset_index(drop=True)
    dx, names = images["dx"].astype(str).tolist(), images["image"].astype(str).tolist()
    quality = np.full(len(images), 0.5) if found is None else label_quality(found.probabilities, found.position)
    contradicted = _contradicted(images, dx, pairs)
    suggested, reasons, loses = [], [], np.zeros(len(images), dtype=np.bool_)
    for row, own in enumerate(dx):
        others = contradicted.get(row, [])
        votes = _votes(dx, row, others, found)
        best = max(votes, key=lambda code: (votes[code], code == own, code))
        loses[row] = bool(others) and best != own
        suggested.append(best)
        against = [f"{names[one]} ({dx[one]})" for one in others if dx[one] != own]
        reasons.append(" ".join(filter(None, (_of_pictures(against), _of_models(own, row, found)))))
    kept = loses | ((quality < 0.5) & (np.array(suggested) != images["dx"].to_numpy()))
    table = images.assign(quality=quality.round(4), suggested=suggested, reason=reasons, rank=0, first=~loses)[kept]
    table = table.sort_values(["first", "quality", "image"], ignore_index=True)
    table["rank"] = np.arange(1, len(table) + 1)
    listed: pd.DataFrame = table[list(COLUMNS)].astype(COLUMNS)
    return listed


def _contradicted(images: pd.DataFrame, dx: list[str], pairs: pd.DataFrame) -> dict[int, list[int]]:
    """Return, for each row that another of its lesion or a near-duplicate contradicts, the rows of all of these."""
    found: dict[int, set[int]] = {}
    several = images[images["group"].duplicated(keep=False)]
    for _, members in several.groupby("group"):
        rows = [int(row) for row in members.index]
        if len({dx[row] for row in rows}) > 1:
            for row in rows:
                found.setdefault(row, set()).update(set(rows) - {row})
    row_of = dict(zip(images["original"], range(len(images)), strict=True))
    for first, second in zip(pairs["first"], pairs["second"], strict=True):
        one, other = row_of.get(first), row_of.get(second)
        if one is not None and other is not None and dx[one] != dx[other]:
            found.setdefault(one, set()).add(other)
            found.setdefault(other, set()).add(one)
    return {row: sorted(others) for row, others in found.items()}


def _votes(dx: list[str], row: int, others: list[int], found: OutOfFold | None) -> dict[str, float]:
    """Return what speaks for each diagnosis: one for each picture that has it, and its probability."""
    votes: dict[str, float] = {}
    if others:
        for one in (row, *others):
            votes[dx[one]] = votes.get(dx[one], 0.0) + 1
    if found is not None:
        for code, probability in zip(found.codes, found.probabilities[row].tolist(), strict=True):
            if code != _RARE and (not others or code in votes):
                votes[code] = votes.get(code, 0.0) + probability
    return votes or {dx[row]: 1.0}


def _of_pictures(against: list[str]) -> str:
    """Return what other pictures say against a label, empty if none does."""
    if not against:
        return ""
    more = f" and {len(against) - _NAMED} more" if len(against) > _NAMED else ""
    return (
        f"Pictures of the same lesion, or nearly the same pictures, say otherwise: {', '.join(against[:_NAMED])}{more}."
    )


def _of_models(dx: str, row: int, found: OutOfFold | None) -> str:
    """Return what the models say against a label, empty if they do not."""
    if found is None or (best := int(found.probabilities[row].argmax())) == found.position[row]:
        return ""
    likely, doubted = found.probabilities[row, best], found.probabilities[row, found.position[row]]
    return f"A model that saw no picture of this lesion gives {found.codes[best]} {likely:.0%} and {dx} {doubted:.0%}."
