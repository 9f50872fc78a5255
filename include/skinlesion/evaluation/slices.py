"""The headline figures by sex, age band, site and source."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from skinlesion.data.labels.classes import LABELS
from skinlesion.evaluation.metrics import balanced_accuracy, intervals, malignant_auroc
from skinlesion.evaluation.operating_point import SHARES, operating_shares
from skinlesion.evaluation.scored_images import ScoredImages
from skinlesion.registry.metrics_record import Slice

AGE_BANDS: Final = (0, 20, 40, 60, 80, 131)
"""Years; the last band has no upper end."""
SMALLEST: Final = 20
"""A slice with fewer images or lesions has its size and no figures."""
RESAMPLES_OF_A_SLICE: Final = 500
NOT_RECORDED: Final = "not recorded"

FIGURES: Final = ("balanced_accuracy", "malignant_auroc", *SHARES)


def measure_slices(
    scored: ScoredImages, slices: pd.DataFrame, minimum: int = SMALLEST, *, threshold: float | None = None
) -> list[Slice]:
    """Return the headline figures for each value of each column of `slices` (one row an image, in their order).

    `classes` are those present in the slice; balanced accuracies over different classes do not compare. Figures are None
    where images or lesions are fewer than `minimum`, sensitivity and specificity also without a threshold. Missing values
    make a slice of their own, the last. Raises ValueError when the number of rows differs.
    """
    if len(slices) != len(scored):
        raise ValueError(f"slices must have one row an image, {len(scored)}; received {len(slices)}")
    rows: list[Slice] = []
    for column in slices.columns:
        values = slices[column].reset_index(drop=True)
        for value, found in values.groupby(values, dropna=False, observed=True):
            name = NOT_RECORDED if pd.isna(value) else str(value)
            rows.append(_slice(str(column), name, scored.part(found.index.to_numpy()), threshold, minimum))
    return rows


def _slice(column: str, value: str, part: ScoredImages, threshold: float | None, minimum: int) -> Slice:
    found = Slice(
        column=column,
        value=value,
        n=len(part),
        n_lesions=part.lesions,
        n_malignant=part.lesions_of(part.malignant),
        classes=[LABELS[index] for index in np.unique(part.labels)],
        intervals=dict.fromkeys(FIGURES),
    )
    if min(part.lesions, len(part)) < minimum:
        return found
    bounds = intervals(part, threshold, resamples=RESAMPLES_OF_A_SLICE)
    figures: dict[str, float | None] = {
        "balanced_accuracy": balanced_accuracy(part),
        "malignant_auroc": malignant_auroc(part),
    }
    if threshold is not None:
        figures |= {name: share.point for name, share in operating_shares(part, threshold).items() if share.lesions}
    return found.model_copy(update=figures | {"intervals": {name: bounds.get(name) for name in FIGURES}})


def slice_columns(images: pd.Series, catalog: pd.DataFrame) -> pd.DataFrame:
    """Return sex, age band, site and source of the images, one row each; a column without any value is left out."""
    of_image = catalog.set_index("image").loc[images]
    bands = pd.cut(of_image["age"], AGE_BANDS, right=False, labels=_band_names())
    columns = {"sex": of_image["sex"], "age_band": bands, "site": of_image["site"], "source": of_image["source"]}
    frame = pd.DataFrame(columns).reset_index(drop=True)
    for name in ("sex", "site", "source"):
        frame[name] = frame[name].where(frame[name] != "", None)
    return frame[[name for name in frame if frame[name].notna().any()]]


def _band_names() -> list[str]:
    bands = [f"{low}-{high - 1}" for low, high in pairwise(AGE_BANDS)]
    return [*bands[:-1], f"{AGE_BANDS[-2]}+"]
