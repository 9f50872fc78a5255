"""The state of a training: keeps the best epoch, stops early, and lets a training continue after a kill at any moment."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import keras
import numpy as np
from pydantic import ConfigDict, Field

from skinlesion.foundation import atomic
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import Record
from skinlesion.network.classifier import bytes_of

log = logging.getLogger(__name__)

Measure = Callable[[keras.Model], dict[str, float]]
"""Returns what is measured of a model on the inner fold, as `measure_inner_fold` does. If that is nothing because the fold is
empty, the last epoch counts as the best."""


def shortfall(figures: Mapping[str, float]) -> list[float] | None:
    """Return two numbers that rank epochs, the smallest first, the second for ties; None if nothing was measured.

    Both are infinite for an epoch with a figure that is not a number, which ranks last.

    The first is what the mean of the malignant AUROC and of the mean AUROC of the classes lacks of 1, the second is the loss.
    The loss alone would prefer an early epoch: it rises with confidence while these improve. Balanced accuracy, the headline
    of the evaluation, is too noisy: in a fold with two dozen images of the rarest class it moves by .03 from one epoch to
    the next, and the best of many epochs would be the luckiest.
    """
    if "val_loss" not in figures:
        return None
    scores = [figures[name] for name in ("val_malignant_auroc", "val_mean_auroc") if name in figures]
    ranks = [1 - sum(scores) / len(scores) if scores else 0.0, figures["val_loss"]]
    return ranks if all(map(math.isfinite, ranks)) else [math.inf, math.inf]


def is_worth_keeping(history: Sequence[Mapping[str, float]], before: list[float] | None) -> bool:
    """Return whether the last epoch of a history replaces the epoch that has been kept so far.

    It does if it is at most one standard error of the fold's malignant AUROC worse than the best epoch, as cross-validation
    chooses the simplest model within one standard error (Breiman et al., Classification and Regression Trees, 1984). Since
    the learning rate decreases to nearly nothing, the later one of two epochs that the fold cannot distinguish has settled;
    the earlier one was lucky. It does not if it is worse than the model was before training, as happens when a few images
    are fine-tuned on.

    Args:
        history: the figures of each epoch.
        before: the `shortfall` before training.
    """
    now = shortfall(history[-1])
    if now is None:
        return True
    if before is not None and now > before:
        return False
    best = min(short for short in (shortfall(figures) for figures in history) if short is not None)
    error = history[-1].get("val_auroc_error")
    return now == best if error is None else now[0] <= best[0] + error


class TrainingState(Record):
    """State of the training of one phase after its last finished epoch.

    Attributes:
        history: the figures of each finished epoch.
        before: the `shortfall` before the first epoch; None if nothing was measured.
        finished: whether no epoch is left to train.
        sha256: of the files of weights that go with it, by name.
    """

    model_config = ConfigDict(ser_json_inf_nan="constants")  # a training that diverges has such figures
    remedy: ClassVar[str] = "It is made anew."

    sha256: dict[str, str] = Field(default_factory=dict)
    history: tuple[dict[str, float], ...] = ()
    before: list[float] | None = None
    finished: bool = False

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.history)


class ResumableTraining:
    """After each epoch: measures the inner fold, keeps the best weights, saves everything that the next epoch depends on.

    Keras's own BackupAndRestore writes the weights in place, then the epoch: a kill between the two repeats an epoch on
    weights that have had it. Here the weights of each epoch are a file of their own and state.json, replaced atomically, says
    which epoch is finished. It also carries the history and the best epoch, which Keras's EarlyStopping and ModelCheckpoint
    forget.
    """

    def __init__(
        self, folder: Path, model: keras.Model, measure: Measure, patience: int, epochs: int, phase: str
    ) -> None:
        self.folder = folder
        self.model = model
        self.measure = measure
        self.patience = patience
        self.epochs = epochs
        self.phase = phase
        self.state = self._usable_state()
        atomic.remove_partials(folder)

    def _usable_state(self) -> TrainingState:
        """Return the state to go on from; that of a training that has not begun if a file of it is missing or damaged."""
        try:
            state = TrainingState.read_if_there(self._state_path)
            if state is None:
                return TrainingState()
            files = (self._best_path, self._weights_path(state.epoch))
            altered = [path for path in files if sha256_of(path) != state.sha256.get(path.name)]
        except (DataError, OSError) as error:
            problem = str(error)
        else:
            if not altered:
                return state
            problem = f"{altered[0]} is not what was saved"
        log.warning("%s. This part of training (%s) begins anew", problem.rstrip("."), self.phase)
        return TrainingState()

    @property
    def _state_path(self) -> Path:
        return self.folder / "state.json"

    @property
    def _best_path(self) -> Path:
        return self.folder / "best.npz"

    def _weights_path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch}.weights.h5"

    def load_best(self) -> None:
        """Set the weights of the model, in place, to those of its best epoch."""
        with np.load(self._best_path) as stored:
            self.model.set_weights([stored[f"{number}"] for number in range(len(stored.files))])

    def begin(self) -> None:
        """Load the weights of the last finished epoch. Before the first epoch, keep those of the model as the best.

        They remain the best if no epoch improves on them, as when fine-tuning on a few images only does harm.
        """
        if self.state.epoch == 0:
            self._keep_as_best()
            self.state = TrainingState(before=shortfall(self.measure(self.model)))
            return
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        self.model.load_weights(str(self._weights_path(self.state.epoch)))

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        """Measure the epoch that has just been trained, keep its weights if they are the best, save the state.

        Args:
            losses: the training losses of the epoch by name.
        """
        figures = dict(losses)
        with self._averaged():
            figures |= self.measure(self.model)
        history = (*self.state.history, figures)
        before = self.state.before
        if is_worth_keeping(history, before):
            with self._averaged():
                self._keep_as_best()
        stopped = len(history) - _best_epoch(history, before) >= self.patience
        self._save_weights(self._weights_path(len(history)))
        finished = stopped or len(history) == self.epochs
        files = (self._best_path, self._weights_path(len(history)))
        sha256 = {path.name: sha256_of(path) for path in files}
        self.state = TrainingState(history=history, before=before, finished=finished, sha256=sha256)
        self.state.write(self._state_path)
        self._weights_path(len(history) - 1).unlink(missing_ok=True)
        named = {
            "loss": "loss", "val_balanced_accuracy": "balanced accuracy", "val_malignant_auroc": "malignant AUROC",
        }  # fmt: skip
        shown = ", ".join(f"{title} {figures[name]:.3f}" for name, title in named.items() if name in figures)
        log.info("epoch %d of %d: %s", len(history), self.epochs, shown)
        if stopped and len(history) < self.epochs:
            log.info("%d epochs brought nothing better: this part of training ends here", self.patience)

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """Set the weights of the model to the optimizer's moving average of them while the context is entered.

        Keras's SwapEMAWeights leaves the average in the model between two epochs, where it would be saved as the weights from
        which training goes on.
        """
        variables = self.model.trainable_variables
        raw = [variable.numpy() for variable in variables]
        for variable, average in zip(variables, self.model.optimizer._model_variables_moving_average, strict=True):
            variable.assign(average)
        try:
            yield
        finally:
            for variable, value in zip(variables, raw, strict=True):
                variable.assign(value)

    def _keep_as_best(self) -> None:
        # Keras's own file of weights would also hold the state of the optimizer.
        weights = {f"{number}": array for number, array in enumerate(self.model.get_weights())}
        with atomic.replacing(self._best_path) as partial:
            np.savez(partial, **weights)

    def _save_weights(self, path: Path) -> None:
        with atomic.replacing(path) as partial:
            atomic.require_room(path.parent, bytes_of(self.model))
            # Keras requires the double suffix; the name of the partial file ends in .h5 alone.
            written = partial.with_name(partial.name.removesuffix(".h5") + ".weights.h5")
            self.model.save_weights(str(written))
            written.rename(partial)


def _best_epoch(history: Sequence[Mapping[str, float]], before: list[float] | None) -> int:
    """Return the number of the best epoch, counted from 1; 0 if the model was best before training.

    If nothing was measured it is the last epoch.
    """
    shortfalls = [before, *(shortfall(figures) for figures in history)]
    measured = [short for short in shortfalls if short is not None]
    return measured.index(min(measured)) if len(measured) == len(shortfalls) else len(history)
