"""The headline figures by sex, age band, site and source."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd

from skinlesion.data.labels.classes import LABELS
from skinlesion.evaluation.metrics import balanced_accuracy, draw_figures, intervals, malignant_auroc
from skinlesion.evaluation.scored_images import ScoredImages

AGE_BANDS: Final = (0, 20, 40, 60, 80, 131)
"""Years; the last band has no upper end."""
SMALLEST: Final = 20
"""Images, and lesions, below which a slice shows its size and no figure."""
RESAMPLES_OF_A_SLICE: Final = 500
NOT_RECORDED: Final = "not recorded"

FIGURES: Final = ("balanced_accuracy", "malignant_auroc", "sensitivity", "specificity")


def measure_slices(
    scored: ScoredImages, slices: pd.DataFrame, minimum: int = SMALLEST, *, threshold: float | None = None
) -> list[dict[str, Any]]:
    """Give the headline figures for each value of each column of `slices` (one row an image, in their order).

    A row has `column`, `value`, `n` (images), `n_lesions`, `n_malignant` (lesions), `classes` (present in the slice;
    balanced accuracies over different classes do not compare), the figures of `FIGURES` and `intervals` (95 %). Figures
    are None where images or lesions are below `minimum`, those of the threshold also without one. Missing values make
    a slice of their own, the last. Raises ValueError when the number of rows differs.
    """
    if len(slices) != len(scored):
        raise ValueError(f"slices must have one row an image, {len(scored)}; received {len(slices)}")
    rows: list[dict[str, Any]] = []
    for column in slices.columns:
        values = slices[column].reset_index(drop=True)
        for value, found in values.groupby(values, dropna=False, observed=True):
            name = NOT_RECORDED if pd.isna(value) else str(value)
            rows.append(
                {"column": str(column), "value": name} | _row(scored.part(found.index.to_numpy()), threshold, minimum)
            )
    return rows


def _row(part: ScoredImages, threshold: float | None, minimum: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "n": len(part),
        "n_lesions": part.lesions,
        "n_malignant": part.lesions_of(part.malignant),
        "classes": [LABELS[index] for index in np.unique(part.labels)],
        **dict.fromkeys(FIGURES),
        "intervals": dict.fromkeys(FIGURES),
    }
    if min(part.lesions, len(part)) < minimum:
        return row
    drawn = draw_figures(part, threshold, resamples=RESAMPLES_OF_A_SLICE)
    row |= {"balanced_accuracy": balanced_accuracy(part), "malignant_auroc": malignant_auroc(part)}
    for name in FIGURES[2:]:
        if name in drawn and np.isfinite(drawn[name].point):
            row[name] = drawn[name].point
    found = intervals(part, drawn)
    row["intervals"] = {name: found.get(name) for name in FIGURES}
    return row


def slice_columns(images: pd.Series, catalog: pd.DataFrame) -> pd.DataFrame:
    """Give sex, age band, site and source of the images, one row each; a column that is recorded nowhere is left out."""
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
