"""The phases of training, first the head, then fine-tuning, for both loaders."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.labels.classes import LABEL_OF_DX, LABELS
from skinlesion.data.settings import IMAGE_SIDE
from skinlesion.data.training_view import view_files
from skinlesion.foundation import layout
from skinlesion.network.backbone import activations_folder
from skinlesion.network.built_model import BuiltModel
from skinlesion.network.feature_store import FeatureStore
from skinlesion.network.settings import POOLED
from skinlesion.training.rows import REPLAYED, ArraySource, Batches, ImageSource, InputSource, OneViewAnEpoch, Targets
from skinlesion.training.settings import TrainingSettings
from skinlesion.training.warm_start import WarmStart

HEAD_RATE: Final = 10
"""Learning rate of the head alone, as a multiple of that of fine-tuning: the head is small and starts at random."""

WARM_RATE: Final = 0.1
"""Learning rate of a warm start, as a multiple of that of fine-tuning: the champion is close to an optimum."""

FEWEST_STEPS: Final = 20
"""Smallest number of steps in an epoch. With few images the batches are smaller than the setting, so that it is reached."""

TRAINED: Final = {"head": "the head", "tail": "the layers above the cut", "full": "the whole network"}
"""What a phase trains, by its name, as in "Training the head"."""

POOLING_BATCH: Final = 128
"""Images in a batch when pooled vectors are computed from stored activations."""


class EpochData(Protocol):
    """Batches whose order depends on the epoch alone, so that an interrupted training continues as if it had not been."""

    def start_epoch(self, epoch: int) -> None:
        """Set the order of this epoch, counted from 0."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any:
        """Return a batch: inputs, targets and weights, with tuples of targets and weights for several outputs."""
        ...


@dataclass(frozen=True)
class Phase:
    """A part of training with its own data, layers and learning rate.

    Attributes:
        name: one of `TRAINED`, for progress and the history.
        part: the part of the network that is fed and trained.
        trainable_from: the layer after which layers are trained; None trains all.
        loss_weights: weight of the loss of each output of the part.
        training: batches that are trained on.
        inner_fold: batches that early stopping measures.
        epochs: largest number of epochs.
        learning_rate: the peak.
    """

    name: str
    part: keras.Model
    trainable_from: str | None
    loss_weights: Sequence[float]
    training: EpochData
    inner_fold: Batches
    epochs: int
    learning_rate: float


@dataclass(frozen=True)
class TrainingSet:
    """The training rows.

    Attributes:
        rows: the training rows of the manifest.
        inner: bool (n,), which rows belong to the inner fold.
        class_weights: float32 (3,), the weight of each class in the loss.
        warm_start: which rows are new to the champion, if training continues from it; None if it begins with the built model.
    """

    rows: pd.DataFrame
    inner: npt.NDArray[np.bool_]
    class_weights: npt.NDArray[np.float32]
    warm_start: WarmStart | None = None

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class of each row as its number in `LABELS`, (n,)."""
        return self.rows["label"].map(LABELS.index).to_numpy(dtype=np.int64)

    @property
    def targets(self) -> Targets:
        """Classes of all rows with their weights in the loss."""
        return Targets(self.labels, self.class_weights)

    @property
    def fit_positions(self) -> npt.NDArray[np.int64]:
        """Positions of the rows that are trained on."""
        return np.flatnonzero(~self.inner)

    @property
    def inner_positions(self) -> npt.NDArray[np.int64]:
        """Positions of the rows that early stopping measures: originals only, as among the held-out images."""
        return np.flatnonzero(self.inner & (self.rows["copy"] == 0).to_numpy())


def batch_size_used(config: TrainingSettings, images: int) -> int:
    """Return the batch size for an epoch of this number of images; see `FEWEST_STEPS`."""
    return max(1, min(config.batch_size, images // FEWEST_STEPS))


def class_weights(rows: pd.DataFrame, weighting: str) -> npt.NDArray[np.float32]:
    """Return the weight of each class in the loss, a float32 array of shape (3,).

    Their mean over the rows is 1. A class without rows has the weight 0.
    """
    return _weights_of([int((rows["label"] == label).sum()) for label in LABELS], weighting)


def diagnosis_targets(rows: pd.DataFrame, weighting: str) -> Targets | None:
    """Return the diagnoses as targets; None if they are no finer than the classes.

    A diagnosis without a short code counts as its class: the ISIC Archive has hundreds, many of them with a handful of images.
    """
    fine = [dx if dx and dx in LABEL_OF_DX else label for dx, label in zip(rows["dx"], rows["label"], strict=True)]
    numbers, names = pd.factorize(np.array(fine, dtype=object), sort=True)
    if len(names) <= rows["label"].nunique():
        return None
    return Targets(numbers.astype(np.int64), _weights_of(np.bincount(numbers).tolist(), weighting))


def _weights_of(images: Sequence[int], weighting: str) -> npt.NDArray[np.float32]:
    """Return the weight of each class from its number of images; the setting `class_weighting` names the formula."""
    counts = np.array(images, dtype=np.float64)
    power = {"none": 0.0, "sqrt-inverse": 0.5, "inverse": 1.0}[weighting]
    raw = np.divide(1.0, counts**power, out=np.zeros_like(counts), where=counts > 0)
    scale = counts.sum() / (raw * counts).sum()
    return np.asarray(raw * scale, dtype=np.float32)


def phases_from_activations(
    config: TrainingSettings, model: keras.Model, built: BuiltModel, data: TrainingSet
) -> Sequence[Callable[[], Phase]]:
    """Return functions that make the phases of training from the activations that embed stored.

    A phase is made when its turn comes, since it may depend on what the phases before it trained.

    Args:
        config: the settings.
        model: the network.
        built: the record of the built model.
        data: the training rows.
    """
    cut = config.stored_cut
    if cut is None:
        raise ValueError("expected the loader `stored-activations`")
    folder = activations_folder(config.dataset, built.weights_key, cut, config.stored_ways)
    stored = FeatureStore(folder).open(data.rows["sha256"].tolist())

    fine = None
    if config.diagnosis_share > 0 and data.warm_start is None:
        fine = diagnosis_targets(data.rows, config.class_weighting)
    diagnoses = None
    if fine is not None:
        # An auxiliary head, removed after training: to predict the diagnosis teaches the layers below it more.
        layer = keras.layers.Dense(len(fine.class_weights), activation="softmax", name="diagnoses")
        diagnoses = layer(model.get_layer("head_dropout").output)

    def phase(
        name: str,
        data: TrainingSet,
        first: str | None,
        source: InputSource,
        fine: Targets | None,
        epochs: int,
        rate: float,
    ) -> Phase:
        start = model.input if first is None else model.get_layer(first).output
        outputs = model.output if fine is None else [model.output, diagnoses]
        part = keras.Model(start, outputs, name="trained_part")
        targets = [data.targets] if fine is None else [data.targets, fine]
        shares = [1.0] if fine is None else [1 - config.diagnosis_share, config.diagnosis_share]
        warm = data.warm_start
        return Phase(
            name=name,
            part=part,
            trainable_from=first,
            loss_weights=shares,
            training=_epochs(config, data, source, targets),
            inner_fold=_inner_fold(config, data, source),
            epochs=epochs if warm is None else config.warm_epochs,
            learning_rate=rate * config.learning_rate * (1 if warm is None else WARM_RATE),
        )

    def head_on_vectors() -> Phase:
        epochs = config.epochs if config.fine_tune == "none" else config.head_epochs
        return phase("head", data, POOLED, stored, fine, epochs, HEAD_RATE)

    def head_below_tail() -> Phase:
        # On originals alone, which is faster: fine-tuning soon changes the vectors on which the head is trained here.
        is_original = (data.rows["copy"] == 0).to_numpy()
        originals = replace(data, rows=data.rows[is_original].reset_index(drop=True), inner=data.inner[is_original])
        to_pool = keras.Model(model.get_layer(cut).output, model.get_layer(POOLED).output)
        batches = Batches(stored, [data.targets], np.flatnonzero(is_original), POOLING_BATCH)
        vectors = np.concatenate([np.asarray(to_pool.predict_on_batch(batches[i][0])) for i in range(len(batches))])
        of_originals = None if fine is None else fine[is_original]
        return phase("head", originals, POOLED, ArraySource(vectors), of_originals, config.head_epochs, HEAD_RATE)

    def tail() -> Phase:
        return phase("tail", data, cut, stored, fine, config.epochs, 1)

    def full() -> Phase:
        images = ImageSource(view_files(config.dataset, data.rows), config.stored_ways)
        return phase("full", data, None, images, fine, config.epochs, 1)

    if config.fine_tune == "none":
        return [head_on_vectors]
    head, fine_tuning = (head_below_tail, tail) if config.fine_tune == "tail" else (head_on_vectors, full)
    return [head, fine_tuning] if config.head_epochs and data.warm_start is None else [fine_tuning]


def phases_from_image_data_generator(
    config: TrainingSettings, model: keras.Model, data: TrainingSet
) -> Sequence[Callable[[], Phase]]:
    """Return functions that make the phases of the plain recipe, in which Keras's ImageDataGenerator feeds the whole network.

    The generator neither augments nor rescales: the copies exist already, and rescaling is a layer of the model.
    """
    folder = layout.output(config.dataset)

    def phase(name: str, trainable_from: str | None, epochs: int, rate: int) -> Phase:
        inner = _inner_fold(config, data, ImageSource(view_files(config.dataset, data.rows), orientations=1))
        training = GeneratorEpochs(config, data, folder)
        learning_rate = rate * config.learning_rate
        return Phase(name, model, trainable_from, [1.0], training, inner, epochs, learning_rate)

    if config.fine_tune == "none":
        return [lambda: phase("head", POOLED, config.epochs, HEAD_RATE)]
    trainable_from = config.cut if config.fine_tune == "tail" else None
    fine_tuning = [lambda: phase(config.fine_tune, trainable_from, config.epochs, 1)]
    head = [lambda: phase("head", POOLED, config.head_epochs, HEAD_RATE)] if config.head_epochs else []
    return head + fine_tuning


class GeneratorEpochs:
    """Batches of the training rows from ImageDataGenerator, in an order that depends on seed and epoch alone."""

    def __init__(self, config: TrainingSettings, data: TrainingSet, folder: Path) -> None:
        import tensorflow as tf

        rows = data.rows.iloc[data.fit_positions]
        frame = pd.DataFrame(
            {"file": rows["file"].astype(object), "label": rows["label"].astype(object),
             "weight": data.class_weights[data.labels[data.fit_positions]]}
        )  # fmt: skip
        generator = tf.keras.preprocessing.image.ImageDataGenerator()
        with contextlib.redirect_stdout(io.StringIO()):  # Keras prints the number of files
            self._iterator: Any = generator.flow_from_dataframe(
                frame, directory=str(folder), x_col="file", y_col="label", weight_col="weight", classes=list(LABELS),
                class_mode="categorical", target_size=(IMAGE_SIDE, IMAGE_SIDE), shuffle=True, seed=config.seed,
                batch_size=batch_size_used(config, len(rows)), validate_filenames=False,
            )  # fmt: skip
        self._seed = config.seed
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Shuffle the rows. The iterator does so in `on_epoch_end`, with NumPy's global generator, which is seeded here."""
        np.random.seed((self._seed + 1_000_003 * epoch) % 2**32)
        self._iterator.total_batches_seen = epoch * len(self._iterator)
        self._iterator.on_epoch_end()

    def __len__(self) -> int:
        return len(self._iterator)

    def __getitem__(self, index: int) -> Any:
        return self._iterator[index]


def _epochs(
    config: TrainingSettings, data: TrainingSet, source: InputSource, targets: Sequence[Targets]
) -> OneViewAnEpoch:
    positions = data.fit_positions
    images = pd.factorize(data.rows["image"].iloc[positions])[0].astype(np.int64)
    new = None if data.warm_start is None else data.warm_start.new[positions]
    count = int(images.max()) + 1
    if new is not None:
        count = min(count, len(np.unique(images[new])) + REPLAYED)
    return OneViewAnEpoch(source, targets, positions, batch_size_used(config, count), images, config.seed, new)


def _inner_fold(config: TrainingSettings, data: TrainingSet, source: InputSource) -> Batches:
    return Batches(source, [data.targets], data.inner_positions, config.batch_size)
