"""A candidate's answers for the held-out images: predicted once, stored beside it, and read by the gate and the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import pandas as pd

from skinlesion.data.images import statistics
from skinlesion.data.images.file import Pixels
from skinlesion.data.training_view import view_files
from skinlesion.foundation.membership import is_in
from skinlesion.foundation.progress import progress
from skinlesion.foundation.settings import RunSettings
from skinlesion.foundation.tables import read_table, write_table
from skinlesion.foundation.workers import spread
from skinlesion.network.litert import OneForEachThread
from skinlesion.prediction.answers import ANSWER_COLUMNS, Answers
from skinlesion.prediction.classifier import Answer, classifier_of
from skinlesion.registry.candidate import Candidate

PREDICTION_COLUMNS: Final = {"image": "str", "sha256": "str", "label": "str", "group": "str", **ANSWER_COLUMNS}
"""Columns of predictions.parquet."""

STATISTICS_COLUMNS: Final = {"sha256": "str", "width": "int32", "height": "int32", **statistics.COLUMNS}
"""Columns of picture_statistics.parquet: the size of the image file, and measures of the 224x224 pixels that the model saw."""


def stored_table(candidate: Candidate) -> pd.DataFrame | None:
    """Return the candidate's stored answers, `PREDICTION_COLUMNS`; None if there are none that can be read."""
    try:
        return read_table(candidate.predictions, PREDICTION_COLUMNS)
    except OSError:
        return None


def stored_answers_of(config: RunSettings, candidate: Candidate, rows: pd.DataFrame) -> Answers:
    """Return the candidate's answers for these files: the stored ones, and where none is stored what is predicted anew."""
    table = stored_table(candidate)
    if table is None:
        return answers_of(config, candidate, rows)
    stored = table.drop_duplicates("sha256").set_index("sha256")
    missing = rows[~is_in(rows["sha256"], table["sha256"])].drop_duplicates("sha256")
    if len(missing):
        asked = answers_of(config, candidate, missing)
        stored = pd.concat([stored, pd.DataFrame(asked.as_columns(), index=missing["sha256"])])
    return Answers.of_table(stored.loc[rows["sha256"]])


def answers_of(config: RunSettings, candidate: Candidate, rows: pd.DataFrame) -> Answers:
    """Return the candidate's answers for these files of the manifest, in their order, predicted anew."""
    return measured_answers_of(config, candidate, rows)[0]


def measured_answers_of(config: RunSettings, candidate: Candidate, rows: pd.DataFrame) -> tuple[Answers, pd.DataFrame]:
    """Return the same, and measures of each picture as the model saw it, `statistics.COLUMNS`."""
    return _asked(config, candidate, [file.read for file in view_files(config.dataset, rows)])


def answers_for_pictures(config: RunSettings, candidate: Candidate, pictures: Sequence[Pixels]) -> Answers:
    """Return the candidate's answers for images, RGB, uint8 arrays of shape (224, 224, 3), in their order."""
    return _asked(config, candidate, [partial(_as_it_is, picture) for picture in pictures])[0]


def _asked(
    config: RunSettings, candidate: Candidate, pictures: Sequence[Callable[[], Pixels]]
) -> tuple[Answers, pd.DataFrame]:
    classifiers = OneForEachThread(classifier_of(candidate.tflite))

    def one(picture: Callable[[], Pixels]) -> tuple[Answer, dict[str, float]]:
        pixels = picture()
        return classifiers.get()(pixels), statistics.image_statistics(pixels)

    answers, measures = [], []
    with progress("evaluate", len(pictures)) as advance:
        for answer, measured in spread(one, pictures, workers=config.workers_used(), kind="threads"):
            answers.append(answer)
            measures.append(measured)
            advance(1)
    return Answers.of(answers), pd.DataFrame(measures, columns=list(statistics.COLUMNS), dtype="float32")


def _as_it_is(picture: Pixels) -> Pixels:
    return picture


def write_statistics(candidate: Candidate, rows: pd.DataFrame, measures: pd.DataFrame, catalog: pd.DataFrame) -> None:
    """Store the measures of these rows' pictures beside the candidate, with the sizes that the catalog has."""
    sizes = catalog.set_index("image")[["width", "height"]].reindex(rows["image"]).fillna(0).reset_index(drop=True)
    table = pd.concat([rows["sha256"].reset_index(drop=True), sizes, measures], axis=1)
    write_table(candidate.picture_statistics, table, STATISTICS_COLUMNS)


def write_answers(candidate: Candidate, rows: pd.DataFrame, answers: Answers) -> None:
    """Store the answers for these rows of the manifest beside the candidate."""
    table = rows[["image", "sha256", "label", "group"]].assign(**answers.as_columns())
    write_table(candidate.predictions, table, PREDICTION_COLUMNS)
