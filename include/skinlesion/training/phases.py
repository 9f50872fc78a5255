"""The phases of training, the head first, then what is fine-tuned; for each way of feeding the network."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion import layout
from skinlesion.backbone import activations_key
from skinlesion.built_model import BuiltModel
from skinlesion.config import POOLED, PipelineConfig
from skinlesion.diagnosis import LABELS
from skinlesion.features import FeatureStore
from skinlesion.model import trained_part
from skinlesion.training.rows import ArraySource, Batches, ImageSource, InputSource, OneViewAnEpoch, SubsetSource
from skinlesion.training_view import view_files

HEAD_RATE = 10
"""The head alone learns at so many times the fine-tuning rate: it is small and starts from nothing."""


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
    """One `fit`: which part of the model is trained, from which layer on, on what, how long, at which peak rate."""

    name: str
    part: keras.Model
    trainable_from: str | None
    training: EpochData
    inner_fold: Batches
    epochs: int
    learning_rate: float


@dataclass(frozen=True)
class TrainingSet:
    """The manifest's training rows, which of them are the inner fold's, and the weight of each class, float32 (3,)."""

    rows: pd.DataFrame
    inner: npt.NDArray[np.bool_]
    class_weights: npt.NDArray[np.float32]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class numbers in `LABELS`' order, (n,)."""
        return self.rows["label"].map(LABELS.index).to_numpy(dtype=np.int64)

    @property
    def fit_positions(self) -> npt.NDArray[np.int64]:
        """Rows that are trained on."""
        return np.flatnonzero(~self.inner)

    @property
    def inner_positions(self) -> npt.NDArray[np.int64]:
        """Rows that early stopping looks at: originals only, as the held-out ones are."""
        return np.flatnonzero(self.inner & (self.rows["copy"] == 0).to_numpy())


def batch_size_used(config: PipelineConfig, images: int) -> int:
    """Give the batch size for so many images an epoch."""
    return max(1, min(config.batch_size, images // FEWEST_STEPS))


def class_weights(rows: pd.DataFrame, weighting: str) -> npt.NDArray[np.float32]:
    """Give the loss's weight of each class, float32 (3,); their mean over the rows is 1, a class without rows has 0."""
    counts = np.array([(rows["label"] == label).sum() for label in LABELS], dtype=np.float64)
    power = {"none": 0.0, "sqrt-inverse": 0.5, "inverse": 1.0}[weighting]
    raw = np.divide(1.0, counts**power, out=np.zeros_like(counts), where=counts > 0)
    scale = counts.sum() / (raw * counts).sum()
    return np.asarray(raw * scale, dtype=np.float32)


def phases_from_activations(
    config: PipelineConfig, model: keras.Model, built: BuiltModel, data: TrainingSet
) -> Sequence[Callable[[], Phase]]:
    """Give the phases that train from what embed stored; each is made when its turn comes."""
    cut = config.stored_cut
    if cut is None:
        raise ValueError("expected a way of training that stores activations")
    store = FeatureStore(layout.features(config.dataset) / activations_key(built.weights_key, cut))
    stored = store.open(data.rows["sha256"].tolist())

    def head_on_vectors() -> Phase:
        epochs = config.epochs if config.fine_tune == "none" else config.head_epochs
        return _phase(config, data, "head", trained_part(model, POOLED), POOLED, stored, epochs, HEAD_RATE)

    def head_below_tail() -> Phase:
        # The tail's own pooled vectors, of originals only: what the head learns here the tail soon changes.
        is_original = (data.rows["copy"] == 0).to_numpy()
        originals = _with_rows(data, is_original)
        source = SubsetSource(stored, np.flatnonzero(is_original))
        to_pool = keras.Model(model.get_layer(cut).output, model.get_layer(POOLED).output)
        batches = Batches(source, originals.labels, data.class_weights, 128)
        vectors = np.concatenate([np.asarray(to_pool.predict_on_batch(batches[i][0])) for i in range(len(batches))])
        part = trained_part(model, POOLED)
        return _phase(config, originals, "head", part, POOLED, ArraySource(vectors), config.head_epochs, HEAD_RATE)

    def tail() -> Phase:
        return _phase(config, data, "tail", trained_part(model, cut), cut, stored, config.epochs, 1)

    def full() -> Phase:
        images = ImageSource(view_files(config.dataset, data.rows))
        return _phase(config, data, "full", model, None, images, config.epochs, 1)

    head = head_below_tail if config.fine_tune == "tail" else head_on_vectors
    if config.fine_tune == "none":
        return [head]
    fine_tuning = tail if config.fine_tune == "tail" else full
    return [head, fine_tuning] if config.head_epochs else [fine_tuning]


def phases_from_image_data_generator(
    config: PipelineConfig, model: keras.Model, data: TrainingSet
) -> Sequence[Callable[[], Phase]]:
    """Give the phases of the plain way: Keras's ImageDataGenerator over the manifest's split, the whole network in the
    loop. Augmentation has happened already; the model holds its own rescaling.
    """
    folder = layout.output(config.dataset)

    def phase(name: str, trainable_from: str | None, epochs: int, rate: int) -> Phase:
        inner = _inner_fold(config, data, ImageSource(view_files(config.dataset, data.rows)))
        training = GeneratorEpochs(config, data, folder)
        return Phase(name, model, trainable_from, training, inner, epochs, rate * config.learning_rate)

    if config.fine_tune == "none":
        return [lambda: phase("head", POOLED, config.epochs, HEAD_RATE)]
    trainable_from = config.cut if config.fine_tune == "tail" else None
    fine_tuning = [lambda: phase(config.fine_tune, trainable_from, config.epochs, 1)]
    head = [lambda: phase("head", POOLED, config.head_epochs, HEAD_RATE)] if config.head_epochs else []
    return head + fine_tuning


class GeneratorEpochs(keras.utils.PyDataset):
    """ImageDataGenerator's batches of the training rows, in an order that depends on seed and epoch alone."""

    def __init__(self, config: PipelineConfig, data: TrainingSet, folder: Path) -> None:
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


def _phase(
    config: PipelineConfig,
    data: TrainingSet,
    name: str,
    part: keras.Model,
    trainable_from: str | None,
    source: InputSource,
    epochs: int,
    rate: int,
) -> Phase:
    positions = data.fit_positions
    images = pd.factorize(data.rows["image"].iloc[positions])[0].astype(np.int64)
    training = OneViewAnEpoch(
        SubsetSource(source, positions),
        data.labels[positions],
        data.class_weights,
        batch_size_used(config, images.max() + 1),
        images,
        config.seed,
    )
    inner = _inner_fold(config, data, source)
    return Phase(name, part, trainable_from, training, inner, epochs, rate * config.learning_rate)


def _inner_fold(config: PipelineConfig, data: TrainingSet, source: InputSource) -> Batches:
    positions = data.inner_positions
    return Batches(SubsetSource(source, positions), data.labels[positions], data.class_weights, config.batch_size)


def _with_rows(data: TrainingSet, chosen: npt.NDArray[np.bool_]) -> TrainingSet:
    return TrainingSet(data.rows[chosen].reset_index(drop=True), data.inner[chosen], data.class_weights)
