"""The headline figures by how diagnoses were made, sex, age band, site and source."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from skinlesion.data.labels.classes import LABELS
from skinlesion.evaluation.metrics import balanced_accuracy, fewest_lesions, intervals, malignant_auroc
from skinlesion.evaluation.operating_point import SHARES, operating_shares
from skinlesion.evaluation.scored_images import ScoredImages
from skinlesion.evaluation.shares import finite
from skinlesion.registry.figure import FEWEST_LESIONS, Figure
from skinlesion.registry.metrics_record import Slice

AGE_BANDS: Final = (0, 20, 40, 60, 80, 131)
"""Years; the last band has no upper end."""
RESAMPLES_OF_A_SLICE: Final = 500
NOT_RECORDED: Final = "not recorded"

FIGURES: Final = ("balanced_accuracy", "malignant_auroc", *SHARES)


def measure_slices(scored: ScoredImages, slices: pd.DataFrame, *, threshold: float) -> list[Slice]:
    """Return the headline figures for each value of each column of `slices` (one row an image, in their order).

    `classes` are those present in the slice; balanced accuracies over different classes do not compare. Missing values make
    a slice of their own, the last.
    """
    rows: list[Slice] = []
    for column in slices.columns:
        values = slices[column].reset_index(drop=True)
        for value, found in values.groupby(values, dropna=False, observed=True):
            name = NOT_RECORDED if pd.isna(value) else str(value)
            rows.append(_slice(str(column), name, scored.part(found.index.to_numpy()), threshold))
    return rows


def _slice(column: str, value: str, part: ScoredImages, threshold: float) -> Slice:
    behind = {name: fewest_lesions(part, name) for name in FIGURES}
    figures = {name: Figure(lesions=lesions) for name, lesions in behind.items()}
    if max(behind.values()) >= FEWEST_LESIONS:
        bounds = intervals(part, threshold, resamples=RESAMPLES_OF_A_SLICE)
        points = {"balanced_accuracy": balanced_accuracy(part), "malignant_auroc": malignant_auroc(part)}
        shares = operating_shares(part, threshold)
        points |= {name: finite(share.point) for name, share in shares.items()}
        figures = {name: Figure.of(points[name], bounds.get(name), lesions) for name, lesions in behind.items()}
    return Slice(
        column=column,
        value=value,
        n=len(part),
        n_lesions=part.lesions,
        classes=[LABELS[index] for index in np.unique(part.labels)],
        figures=figures,
    )


def slice_columns(images: pd.Series, catalog: pd.DataFrame) -> pd.DataFrame:
    """Return how diagnoses were made, sex, age band, site and source, one row an image; a column without any value is left out."""
    of_image = catalog.set_index("image").loc[images].reset_index(drop=True)
    frame = of_image[["dx_type", "sex", "site", "source"]]
    frame = frame.where(frame != "", None)
    frame.insert(2, "age_band", pd.cut(of_image["age"], AGE_BANDS, right=False, labels=_band_names()))
    return frame[[name for name in frame if frame[name].notna().any()]]


def _band_names() -> list[str]:
    bands = [f"{low}-{high - 1}" for low, high in pairwise(AGE_BANDS)]
    return [*bands[:-1], f"{AGE_BANDS[-2]}+"]
