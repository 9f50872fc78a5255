"""Probabilities of held-out images, as a candidate's LiteRT file gives them."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from skinlesion.bucket_table import read_table
from skinlesion.candidate import Candidate
from skinlesion.config import PipelineConfig
from skinlesion.diagnosis import LABELS
from skinlesion.litert import OneForEachThread
from skinlesion.prediction import classifier_of
from skinlesion.progress import progress
from skinlesion.training_view import ViewFile, view_files
from skinlesion.workers import spread

PREDICTION_COLUMNS: Final = {
    "image": "str",
    "sha256": "str",
    "label": "str",
    "group": "str",
    **dict.fromkeys(LABELS, "float32"),
}


def probabilities_of(config: PipelineConfig, candidate: Candidate, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Give the candidate's probabilities of these files, (n, 3)."""
    classifiers = OneForEachThread(classifier_of(candidate.tflite))

    def one(file: ViewFile) -> npt.NDArray[np.float32]:
        return classifiers.get()(file.read()).probabilities

    files = view_files(config.dataset, rows)
    results = np.empty((len(files), len(LABELS)), dtype=np.float64)
    with progress("evaluate", len(files)) as advance:
        for position, result in enumerate(spread(one, files, workers=config.workers_used(), kind="threads")):
            results[position] = result
            advance(1)
    return results


def stored_probabilities_of(
    config: PipelineConfig, candidate: Candidate, rows: pd.DataFrame
) -> npt.NDArray[np.float64]:
    """Give the candidate's probabilities of these files, (n, 3): as stored for those it was asked before."""
    names = list(LABELS)
    try:
        stored = (
            read_table(candidate.predictions, PREDICTION_COLUMNS).drop_duplicates("sha256").set_index("sha256")[names]
        )
    except (OSError, ValueError, pa.ArrowException):
        stored = pd.DataFrame(columns=names, dtype="float32")
    result = stored.reindex(rows["sha256"]).to_numpy(dtype=np.float64)
    asked = np.flatnonzero(np.isnan(result).any(axis=1))
    if len(asked):
        result[asked] = probabilities_of(config, candidate, rows.iloc[asked])
    return result
