"""Warm start: continue from the model in service when only a few images are new, instead of training from ImageNet.

It never circumvents the split. The champion's weights are used only if everything it was trained on still is training
data, with the same labels: an image that was withdrawn, relabelled or became held out cannot be unlearnt.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.examined_files import FILE_COLUMNS
from skinlesion.data.manifest import version
from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.membership import is_in
from skinlesion.foundation.settings import fingerprint
from skinlesion.foundation.tables import BucketTable, read_table, write_table
from skinlesion.network.built_model import BuiltModel
from skinlesion.prediction.learnt import LearntPictures
from skinlesion.prediction.measurable import LEARNT_COLUMNS, UnknownWhatWasLearnt, read_learnt
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.in_service import candidate_in_service
from skinlesion.registry.training_record import Origin, TrainingRecord, WarmStartRecord
from skinlesion.training.settings import TrainingSettings

log = logging.getLogger(__name__)

TRAINING_VERSION: Final = 4
"""Number of the training code. It counts up when training gives another result for a reason that is no setting."""


@dataclass(frozen=True)
class WarmStart:
    """The model that training continues from, and which training images it has not seen.

    Attributes:
        champion: the candidate in service.
        new: bool (n,), the training rows whose image the champion has not seen.
        known_inner: bool (n,), the training rows that the champion's inner fold held.
        record: what training.json and metrics.json say of it.
    """

    champion: Candidate
    new: npt.NDArray[np.bool_]
    known_inner: npt.NDArray[np.bool_]
    record: WarmStartRecord

    def inner_fold(self, rows: pd.DataFrame, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return which rows form the inner fold, bool (n,). A lesion that the champion learnt is never among them.

        They are the rows of the champion's inner fold, the new images of its lesions, and, of lesions that are new as a
        whole, those that are `chosen`.
        """
        lesions = rows["group"]
        is_known = is_in(lesions, lesions[~self.new]).to_numpy()
        is_held = is_in(lesions, lesions[self.known_inner]).to_numpy()
        return self.known_inner | (self.new & np.where(is_known, is_held, chosen))


def candidate_of(config: TrainingSettings, rows: pd.DataFrame, built: BuiltModel) -> Candidate:
    """Return the candidate that training from the built model leads to. Its name is a hash of all that its result depends on.

    rows: the manifest's training rows; the held-out rows have no influence.
    """
    inputs = [TRAINING_VERSION, version(rows), built.key, config.fingerprint("train")]
    return Candidate(layout.candidate(config.models, fingerprint(inputs)))


def candidate_to_train(
    config: TrainingSettings, rows: pd.DataFrame, built: BuiltModel
) -> tuple[Candidate, WarmStart | None]:
    """Return the candidate that these training rows and settings lead to, and what it continues from.

    The second is None for a training from the built model. With `warm_start`, the champion is the candidate if it was
    trained on these very rows.
    """
    cold = candidate_of(config, rows, built)
    if not config.warm_start or config.force or config.loader != "stored-activations":
        return cold, None
    if cold.read_training() is not None:
        return cold, None
    champion = candidate_in_service(config.models)
    if champion is None:
        return cold, None
    record = champion.read_training()
    if record is None or record.origin != origin(config, built):
        log.info("warm start: the model in service was trained with other settings; training from the built model")
        return cold, None
    if record.training_version == version(rows):
        return champion, None
    warm, why = _warm_start(config, rows, champion, record)
    if warm is None:
        log.info("warm start: %s; training from the built model", why)
        return cold, None
    run = fingerprint([cold.run, champion.run, config.warm_epochs])
    return Candidate(layout.candidate(config.models, run)), warm


def candidate_to_evaluate(config: TrainingSettings, rows: pd.DataFrame, built: BuiltModel) -> Candidate:
    """Return the candidate that training on these rows led to: the model in service if a warm start trained it on them.

    So an evaluation by hand finds the candidate of a scheduled night, whatever `warm_start` and `force` are now.
    """
    candidate, _ = candidate_to_train(config, rows, built)
    if candidate.read_training() is not None:
        return candidate
    champion = candidate_in_service(config.models)
    record = champion.read_training() if champion is not None else None
    if champion is None or record is None:
        return candidate
    is_of_these = record.origin == origin(config, built) and record.training_version == version(rows)
    return champion if is_of_these else candidate


def origin(config: TrainingSettings, built: BuiltModel) -> Origin:
    """Return what two trainings must share for one to go on from the other."""
    return Origin(training_version=TRAINING_VERSION, settings=config.fingerprint("train"), built=built.key)


def write_trained_on(
    candidate: Candidate, rows: pd.DataFrame, inner: npt.NDArray[np.bool_], warm: WarmStart | None = None
) -> str:
    """Write the table of the originals that a candidate learnt; return its SHA-256.

    The weights of a warm start know what the champion learnt, so its table is part of this one.
    """
    originals = (rows["copy"] == 0).to_numpy()
    table = rows[originals].assign(inner=inner[originals])[[*LEARNT_COLUMNS]]
    if warm is not None:
        table = pd.concat([table, read_learnt(warm.champion)], ignore_index=True)
        table = table.drop_duplicates([name for name in LEARNT_COLUMNS if name != "inner"])
    write_table(candidate.trained_on, table, LEARNT_COLUMNS)
    return sha256_of(candidate.trained_on)


def write_learnt_pictures(dataset: Path, candidate: Candidate) -> None:
    """Write the hashes of the pictures that a candidate learnt, those of its warm start's champion included."""
    learnt = read_table(candidate.trained_on, LEARNT_COLUMNS)
    files = BucketTable(layout.tables(dataset, "ingest"), FILE_COLUMNS).read()
    looks = files.loc[is_in(files["sha256"], learnt["original"]), "look"]
    LearntPictures.of(learnt["original"], looks).write(candidate.learnt_pictures)


def _warm_start(
    config: TrainingSettings, rows: pd.DataFrame, champion: Candidate, record: TrainingRecord
) -> tuple[WarmStart | None, str]:
    """Return what training continues from, or None and the reason why it must begin with the built model."""
    try:
        known = read_learnt(champion)
    except UnknownWhatWasLearnt as error:
        return None, str(error)
    originals = rows[rows["copy"] == 0]
    meaning = originals["sha256"] + " " + originals["label"] + " " + originals["dx"]
    known_meaning = known["sha256"] + " " + known["label"] + " " + known["dx"]
    if not is_in(known_meaning, meaning).all():
        return None, "images that the model in service learnt are no longer training images, or have another label"
    is_new = ~is_in(meaning, known_meaning)
    before = record.warm_start
    new_images = int(is_new.sum()) + (before.new_images if before else 0)
    share = new_images / len(originals)
    if share > config.warm_start_share:
        return None, f"{share:.0%} of the training images are new since the last start from the built model"
    new_names = originals.loc[is_new, "image"]
    inner_names = originals.loc[is_in(meaning, known_meaning[known["inner"]]), "image"]
    return (
        WarmStart(
            champion=champion,
            new=is_in(rows["image"], new_names).to_numpy(),
            known_inner=is_in(rows["image"], inner_names).to_numpy(),
            record=WarmStartRecord(
                champion=champion.run, new_images=new_images, nights=(before.nights if before else 0) + 1
            ),
        ),
        "",
    )
