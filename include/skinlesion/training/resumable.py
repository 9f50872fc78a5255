"""Keras's BackupAndRestore, made safe against a kill at any moment, with the best epoch kept and early stopping."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from skinlesion.foundation import atomic

log = logging.getLogger(__name__)

Measure = Callable[[keras.Model], dict[str, float]]
"""Gives what is measured of a model on the inner fold, as `measure_inner_fold` does; nothing where the fold is empty, and
then the last epoch counts as the best."""


def shortfall(figures: dict[str, Any]) -> list[float] | None:
    """Give what the best epoch has least of; None where nothing was measured.

    What the malignant AUROC and the mean AUROC of the classes lack of 1; the loss where two epochs are equal in it. The
    loss alone prefers an early epoch: it rises with confidence while these improve. Balanced accuracy would say more of
    what evaluation leads with, but a fold with two dozen images of the rarest class moves it by .03 from one epoch
    to the next, and the best of sixteen epochs is then the luckiest.
    """
    if figures.get("val_loss") is None:
        return None
    scores = [figures[name] for name in ("val_malignant_auroc", "val_mean_auroc") if name in figures]
    return [1 - sum(scores) / len(scores) if scores else 0.0, figures["val_loss"]]


def is_worth_keeping(history: Sequence[dict[str, Any]], before: list[float] | None) -> bool:
    """Tell whether the last epoch of a history should take the place of the one kept until now.

    It should where it falls short of the best by no more than one standard error of the fold's malignant AUROC, as the
    simplest model within one is chosen in cross-validation (Breiman et al., Classification and Regression Trees, 1984): the
    rate sinks to nothing, so the later of two epochs that the fold cannot tell apart has settled, the earlier was
    lucky. And where it does not fall behind what there was before training, as fine-tuning on a few images may.
    """
    now = shortfall(history[-1])
    if now is None:
        return True
    if before is not None and now > before:
        return False
    best = min(short for short in (shortfall(row) for row in history) if short is not None)
    error = history[-1].get("val_auroc_error")
    return now == best if error is None else now[0] <= best[0] + error


class ResumableTraining(keras.callbacks.BackupAndRestore):
    """After each epoch: measures the inner fold, keeps the best weights, and saves all that the next epoch depends on.

    Keras writes its backup in place, first the weights, then the epoch: a kill between the two repeats an epoch on the
    weights that already had it. Here the weights of an epoch get a file of their own and one small file, replaced
    atomically, names them; it also carries the history, the best epoch and whether training is finished, which
    `EarlyStopping` and `ModelCheckpoint` forget.
    """

    def __init__(self, folder: Path, measure: Measure, patience: int, epochs: int, phase: str) -> None:
        super().__init__(str(folder), delete_checkpoint=False)
        self.folder = folder
        self.state_path = folder / "state.json"
        self.best_path = folder / "best.npz"
        self.measure = measure
        self.patience = patience
        self.epochs = epochs
        self.phase = phase
        self.state: dict[str, Any] = {"epoch": 0, "weights": "", "history": [], "before": None, "finished": False}
        if self.state_path.exists():
            self.state = json.loads(self.state_path.read_text())
        atomic.remove_partials(folder)

    @property
    def finished(self) -> bool:
        """Tell whether there is no epoch left to train."""
        return bool(self.state["finished"])

    def load_best(self, model: keras.Model) -> None:
        """Give the model the weights of its best epoch."""
        with np.load(self.best_path) as stored:
            model.set_weights([stored[f"{number}"] for number in range(len(stored.files))])

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Go on from the last finished epoch; before the first one, keep the weights as they are.

        Where no epoch improves on them, as when fine-tuning a few images only does harm, they are the best.
        """
        if self.state["epoch"] == 0:
            self._keep_as_best()
            self.state["before"] = shortfall(self.measure(self.model))
            return
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        self.model.load_weights(str(self.folder / self.state["weights"]))
        self.model._initial_epoch = self.state["epoch"]  # as BackupAndRestore does; fit offers no other way
        log.info("%s goes on from epoch %d of %d", self.phase, self.state["epoch"] + 1, self.epochs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure, keep the best, save."""
        entry = {"phase": self.phase, "epoch": epoch + 1, **{k: float(v) for k, v in (logs or {}).items()}}
        with self._averaged():
            entry |= self.measure(self.model)
        history = [*self.state["history"], entry]
        if is_worth_keeping(history, self.state["before"]):
            with self._averaged():
                self._keep_as_best()
        all_short = [self.state["before"], *(shortfall(row) for row in history)]
        measured = [short for short in all_short if short is not None]
        best_epoch = measured.index(min(measured)) if len(measured) == len(all_short) else epoch + 1
        stopped = epoch + 1 - best_epoch >= self.patience
        weights = self.folder / f"epoch-{epoch + 1}.weights.h5"
        with atomic.replacing(weights) as partial:
            self._save_weights(partial)
        before = self.state["weights"]
        self.state = {
            "epoch": epoch + 1,
            "weights": weights.name,
            "history": history,
            "before": self.state["before"],
            "finished": stopped or epoch + 1 == self.epochs,
        }
        atomic.write_text(self.state_path, json.dumps(self.state))
        if before:
            (self.folder / before).unlink(missing_ok=True)
        self.model.stop_training = stopped
        figures = ", ".join(f"{name} {value:.4f}" for name, value in entry.items() if isinstance(value, float))
        log.info("%s epoch %d of %d: %s", self.phase, epoch + 1, self.epochs, figures)

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """Give the model the optimizer's moving average of its weights for a while.

        Keras's SwapEMAWeights leaves the average in the model between two epochs, where a backup would take it for the
        weights that training goes on from.
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
        # Of the model alone: Keras's own file would hold the optimizer's state of this phase as well.
        weights = {f"{number}": array for number, array in enumerate(self.model.get_weights())}
        with atomic.replacing(self.best_path) as partial:
            np.savez(partial, **weights)

    def _save_weights(self, path: Path) -> None:
        # Keras insists on the double suffix; a partial file's name ends in .h5 alone.
        written = path.with_name(path.name.removesuffix(".h5") + ".weights.h5")
        self.model.save_weights(str(written))
        written.rename(path)
