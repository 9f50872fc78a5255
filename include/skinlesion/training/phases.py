"""The phases of training, the head first, then what is fine-tuned; for each way of feeding the network."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.labels.classes import LABEL_OF_DX, LABELS
from skinlesion.data.training_view import view_files
from skinlesion.foundation import layout
from skinlesion.network.backbone import activations_key
from skinlesion.network.built_model import BuiltModel
from skinlesion.network.feature_store import FeatureStore
from skinlesion.network.settings import POOLED
from skinlesion.training.rows import (
    ArraySource,
    Batches,
    ImageSource,
    InputSource,
    OneViewAnEpoch,
    StoredViews,
    SubsetSource,
    Targets,
)
from skinlesion.training.settings import TrainingSettings
from skinlesion.training.warm_start import WarmStart

HEAD_RATE = 10
"""The head alone learns at so many times the fine-tuning rate: it is small and starts from nothing."""

WARM_RATE = 0.1
"""A warm start learns at this share of the rate: the champion is near where it should be."""

FEWEST_STEPS = 20
"""An epoch of fewer steps teaches little: with few images the batches are made smaller than the setting says."""


class EpochData(Protocol):
    """Batches whose order can be set for an epoch, so that an interrupted training goes on as if it had not been."""

    def start_epoch(self, epoch: int) -> None:
        """Set the order of this epoch, 0-based."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Phase:
    """One `fit`: which part of the model is trained, from which layer on, on what, how long, at which peak rate.

    loss_weights: one an output of the part.
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
    """The manifest's training rows, which of them are the inner fold's, and the weight of each class, float32 (3,).

    warm_start: where training goes on from the champion, which rows are new to it and how many others are replayed.
    """

    rows: pd.DataFrame
    inner: npt.NDArray[np.bool_]
    class_weights: npt.NDArray[np.float32]
    warm_start: WarmStart | None = None

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class numbers in `LABELS`' order, (n,)."""
        return self.rows["label"].map(LABELS.index).to_numpy(dtype=np.int64)

    @property
    def targets(self) -> Targets:
        """The three classes of all rows, and their weights."""
        return Targets(self.labels, self.class_weights)

    @property
    def fit_positions(self) -> npt.NDArray[np.int64]:
        """Rows that are trained on."""
        return np.flatnonzero(~self.inner)

    @property
    def inner_positions(self) -> npt.NDArray[np.int64]:
        """Rows that early stopping looks at: originals only, as the held-out ones are."""
        return np.flatnonzero(self.inner & (self.rows["copy"] == 0).to_numpy())


def batch_size_used(config: TrainingSettings, images: int) -> int:
    """Give the batch size for so many images an epoch."""
    return max(1, min(config.batch_size, images // FEWEST_STEPS))


def class_weights(rows: pd.DataFrame, weighting: str) -> npt.NDArray[np.float32]:
    """Give the loss's weight of each class, float32 (3,); their mean over the rows is 1, a class without rows has 0."""
    return _weights_of([int((rows["label"] == label).sum()) for label in LABELS], weighting)


def diagnosis_targets(rows: pd.DataFrame, weighting: str) -> Targets | None:
    """Give the diagnoses behind the classes as targets; None where they tell no more than the classes do.

    A diagnosis without a short code counts as its class: the archive names hundreds, many of them on a handful of images.
    """
    fine = [dx if dx and dx in LABEL_OF_DX else label for dx, label in zip(rows["dx"], rows["label"], strict=True)]
    numbers, names = pd.factorize(np.array(fine, dtype=object), sort=True)
    if len(names) <= rows["label"].nunique():
        return None
    return Targets(numbers.astype(np.int64), _weights_of(np.bincount(numbers).tolist(), weighting))


def _weights_of(images: Sequence[int], weighting: str) -> npt.NDArray[np.float32]:
    counts = np.array(images, dtype=np.float64)
    power = {"none": 0.0, "sqrt-inverse": 0.5, "inverse": 1.0}[weighting]
    raw = np.divide(1.0, counts**power, out=np.zeros_like(counts), where=counts > 0)
    scale = counts.sum() / (raw * counts).sum()
    return np.asarray(raw * scale, dtype=np.float32)


def phases_from_activations(
    config: TrainingSettings, model: keras.Model, built: BuiltModel, data: TrainingSet
) -> Sequence[Callable[[], Phase]]:
    """Give the phases that train from what embed stored; each is made when its turn comes."""
    cut = config.stored_cut
    if cut is None:
        raise ValueError("expected a way of training that stores activations")
    key = activations_key(built.weights_key, cut, config.stored_ways)
    stored = StoredViews(FeatureStore(layout.features(config.dataset) / key).open(data.rows["sha256"].tolist()))

    fine = None
    if config.diagnosis_share > 0 and data.warm_start is None:
        fine = diagnosis_targets(data.rows, config.class_weighting)
    diagnoses = None
    if fine is not None:
        # A second head, on the diagnoses behind the classes, that only training has: it teaches the layers below more.
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
        # The tail's own pooled vectors, of originals only: what the head learns here the tail soon changes.
        is_original = (data.rows["copy"] == 0).to_numpy()
        originals = _with_rows(data, is_original)
        source = SubsetSource(stored, np.flatnonzero(is_original))
        to_pool = keras.Model(model.get_layer(cut).output, model.get_layer(POOLED).output)
        batches = Batches(source, [originals.targets], 128)
        vectors = np.concatenate([np.asarray(to_pool.predict_on_batch(batches[i][0])) for i in range(len(batches))])
        of_originals = None if fine is None else fine[is_original]
        return phase("head", originals, POOLED, ArraySource(vectors), of_originals, config.head_epochs, HEAD_RATE)

    def tail() -> Phase:
        return phase("tail", data, cut, stored, fine, config.epochs, 1)

    def full() -> Phase:
        images = ImageSource(view_files(config.dataset, data.rows), config.stored_ways)
        return phase("full", data, None, images, fine, config.epochs, 1)

    head = head_below_tail if config.fine_tune == "tail" else head_on_vectors
    if config.fine_tune == "none":
        return [head]
    fine_tuning = tail if config.fine_tune == "tail" else full
    return [head, fine_tuning] if config.head_epochs and data.warm_start is None else [fine_tuning]


def phases_from_image_data_generator(
    config: TrainingSettings, model: keras.Model, data: TrainingSet
) -> Sequence[Callable[[], Phase]]:
    """Give the phases of the plain way: Keras's ImageDataGenerator over the manifest's split, the whole network in the
    loop. Augmentation has happened already; the model holds its own rescaling.
    """
    folder = layout.output(config.dataset)

    def phase(name: str, trainable_from: str | None, epochs: int, rate: int) -> Phase:
        inner = _inner_fold(config, data, ImageSource(view_files(config.dataset, data.rows), ways=1))
        training = GeneratorEpochs(config, data, folder)
        return Phase(name, model, trainable_from, [1.0], training, inner, epochs, rate * config.learning_rate)

    if config.fine_tune == "none":
        return [lambda: phase("head", POOLED, config.epochs, HEAD_RATE)]
    trainable_from = config.cut if config.fine_tune == "tail" else None
    fine_tuning = [lambda: phase(config.fine_tune, trainable_from, config.epochs, 1)]
    head = [lambda: phase("head", POOLED, config.head_epochs, HEAD_RATE)] if config.head_epochs else []
    return head + fine_tuning


class GeneratorEpochs(keras.utils.PyDataset):
    """ImageDataGenerator's batches of the training rows, in an order that depends on seed and epoch alone."""

    def __init__(self, config: TrainingSettings, data: TrainingSet, folder: Path) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        import tensorflow as tf

        rows = data.rows.iloc[data.fit_positions]
        frame = pd.DataFrame(
            {"file": rows["file"].astype(object), "label": rows["label"].astype(object),
             "weight": data.class_weights[data.labels[data.fit_positions]]}
        )  # fmt: skip
        generator = tf.keras.preprocessing.image.ImageDataGenerator()
        with contextlib.redirect_stdout(io.StringIO()):  # Keras prints how many files it was given
            self._iterator: Any = generator.flow_from_dataframe(
                frame, directory=str(folder), x_col="file", y_col="label", weight_col="weight", classes=list(LABELS),
                class_mode="categorical", target_size=(224, 224), batch_size=batch_size_used(config, len(rows)), shuffle=True,
                seed=config.seed, validate_filenames=False,
            )  # fmt: skip
        self._seed = config.seed
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Shuffle as seed and epoch say. The iterator shuffles from NumPy's global generator, in `on_epoch_end`."""
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
    warm = data.warm_start
    new = None if warm is None else warm.new[positions]
    replayed = None if warm is None else warm.replayed
    count = int(images.max()) + 1
    if new is not None and replayed is not None:
        count = min(count, len(np.unique(images[new])) + replayed)
    return OneViewAnEpoch(
        SubsetSource(source, positions),
        [target[positions] for target in targets],
        batch_size_used(config, count),
        images,
        config.seed,
        new,
        replayed,
    )


def _inner_fold(config: TrainingSettings, data: TrainingSet, source: InputSource) -> Batches:
    positions = data.inner_positions
    return Batches(SubsetSource(source, positions), [data.targets[positions]], config.batch_size)


def _with_rows(data: TrainingSet, chosen: npt.NDArray[np.bool_]) -> TrainingSet:
    return replace(data, rows=data.rows[chosen].reset_index(drop=True), inner=data.inner[chosen])
