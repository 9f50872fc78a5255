"""What a candidate answers for held-out images: asked once, stored beside it, and read by whoever judges it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from skinlesion.data.images.file import Pixels
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.training_view import view_files
from skinlesion.foundation.progress import progress
from skinlesion.foundation.settings import RunSettings
from skinlesion.foundation.tables import read_table, write_table
from skinlesion.foundation.workers import spread
from skinlesion.network.litert import OneForEachThread
from skinlesion.prediction.classifier import Answer, classifier_of
from skinlesion.registry.candidate import Candidate

PREDICTION_COLUMNS: Final = {
    "image": "str",
    "sha256": "str",
    "label": "str",
    "group": "str",
    **dict.fromkeys(LABELS, "float32"),
    "distance": "float32",
    "decision": "str",
    "reason": "str",
}
"""Of predictions.parquet: `distance` from the training images is NaN where the model does not tell, `decision` and `reason`
are the decision rule's."""


@dataclass(frozen=True)
class Answers:
    """What a model says of n images: probabilities (n, 3), distances (n,) or NaN, the rule's decisions and reasons."""

    probabilities: npt.NDArray[np.float64]
    distances: npt.NDArray[np.float64]
    decisions: list[str]
    reasons: list[str]

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> Self:
        """Give the answers of single images as one."""
        return cls(
            np.array([answer.probabilities for answer in answers], dtype=np.float64).reshape(-1, len(LABELS)),
            np.array([np.nan if answer.distance is None else answer.distance for answer in answers], dtype=np.float64),
            [answer.decision for answer in answers],
            [answer.reason for answer in answers],
        )

    @property
    def known_distances(self) -> npt.NDArray[np.float64] | None:
        """The distances; None where the model does not tell any."""
        return None if np.isnan(self.distances).any() else self.distances


def probabilities_of(config: RunSettings, candidate: Candidate, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Give the candidate's probabilities of these files, (n, 3), asked anew."""
    return answers_of(config, candidate, rows).probabilities


def stored_probabilities_of(config: RunSettings, candidate: Candidate, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Give the candidate's probabilities of these files, (n, 3): as stored for those it was asked before."""
    columns = {name: PREDICTION_COLUMNS[name] for name in ("sha256", *LABELS)}
    try:
        stored = read_table(candidate.predictions, columns).drop_duplicates("sha256").set_index("sha256")
    except (OSError, ValueError, pa.ArrowException):
        stored = pd.DataFrame(columns=list(LABELS), dtype="float32")
    result = stored.reindex(rows["sha256"]).to_numpy(dtype=np.float64)
    asked = np.flatnonzero(np.isnan(result).any(axis=1))
    if len(asked):
        result[asked] = probabilities_of(config, candidate, rows.iloc[asked])
    return result


def stored_answers_of(config: RunSettings, candidate: Candidate, rows: pd.DataFrame) -> Answers:
    """Give the candidate's answers for these files: as stored where it was asked for all of them before, else asked anew."""
    try:
        stored = read_table(candidate.predictions, PREDICTION_COLUMNS).drop_duplicates("sha256").set_index("sha256")
    except (OSError, ValueError, pa.ArrowException):
        return answers_of(config, candidate, rows)
    if not rows["sha256"].isin(stored.index).all():
        return answers_of(config, candidate, rows)
    found = stored.loc[rows["sha256"]]
    return Answers(
        found[list(LABELS)].to_numpy(dtype=np.float64),
        found["distance"].to_numpy(dtype=np.float64),
        found["decision"].tolist(),
        found["reason"].tolist(),
    )


def answers_of(config: RunSettings, candidate: Candidate, rows: pd.DataFrame) -> Answers:
    """Give the candidate's answers for these files of the manifest, in their order, asked anew."""
    return _asked(config, candidate, [file.read for file in view_files(config.dataset, rows)])


def answers_for_pictures(config: RunSettings, candidate: Candidate, pictures: Sequence[Pixels]) -> Answers:
    """Give the candidate's answers for pictures, RGB uint8 (224, 224, 3), in their order."""
    return _asked(config, candidate, [partial(_as_it_is, picture) for picture in pictures])


def _asked(config: RunSettings, candidate: Candidate, pictures: Sequence[Callable[[], Pixels]]) -> Answers:
    classifiers = OneForEachThread(classifier_of(candidate.tflite))

    def one(picture: Callable[[], Pixels]) -> Answer:
        return classifiers.get()(picture())

    answers = []
    with progress("evaluate", len(pictures)) as advance:
        for answer in spread(one, pictures, workers=config.workers_used(), kind="threads"):
            answers.append(answer)
            advance(1)
    return Answers.of(answers)


def _as_it_is(picture: Pixels) -> Pixels:
    return picture


def write_answers(candidate: Candidate, rows: pd.DataFrame, answers: Answers) -> None:
    """Store the answers for these rows of the manifest beside the candidate."""
    columns = dict(zip(LABELS, answers.probabilities.T, strict=True))
    table = rows[["image", "sha256", "label", "group"]].assign(
        **columns, distance=answers.distances, decision=answers.decisions, reason=answers.reasons
    )
    write_table(candidate.predictions, table, PREDICTION_COLUMNS)
