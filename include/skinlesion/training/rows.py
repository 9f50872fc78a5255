"""The rows a network is fed with: inputs by position, labels, weights; and the order in which an epoch takes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt

from skinlesion.training_view import ViewFile

Inputs = npt.NDArray[np.float32]


class InputSource(Protocol):
    """Gives inputs by position: stored activations, pooled vectors in memory, or images from files."""

    def __len__(self) -> int: ...

    def take(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Give the inputs at these positions, (len(positions), ...)."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """Inputs in memory, (n, ...)."""

    array: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.array)

    def take(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Give the inputs at these positions."""
        return self.array[positions]


@dataclass(frozen=True)
class ImageSource:
    """Images of the training view, RGB (n, 224, 224, 3), read when asked for."""

    files: Sequence[ViewFile]

    def __len__(self) -> int:
        return len(self.files)

    def take(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Give the images at these positions, uint8."""
        return np.stack([self.files[position].read() for position in positions])


@dataclass(frozen=True)
class SubsetSource:
    """Some rows of another source."""

    source: InputSource
    positions: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Give the inputs at these positions of the subset."""
        return self.source.take(self.positions[positions])


class Batches(keras.utils.PyDataset):
    """Batches of rows in a fixed order: inputs float32 (b, ...), one-hot labels (b, 3), weights (b,)."""

    def __init__(
        self,
        source: InputSource,
        labels: npt.NDArray[np.int64],
        class_weights: npt.NDArray[np.float32],
        batch_size: int,
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.source = source
        self.labels = labels
        self.class_weights = class_weights
        self.rows_a_batch = batch_size
        self.order = np.arange(len(labels), dtype=np.int64)

    def __len__(self) -> int:
        return math.ceil(len(self.order) / self.rows_a_batch)

    def __getitem__(self, index: int) -> tuple[Inputs, Inputs, Inputs]:
        positions = self.order[index * self.rows_a_batch : (index + 1) * self.rows_a_batch]
        labels = self.labels[positions]
        one_hot = np.eye(len(self.class_weights), dtype=np.float32)[labels]
        return self.source.take(positions).astype(np.float32), one_hot, self.class_weights[labels]


class OneViewAnEpoch(Batches):
    """Each epoch passes once over the images, in an order and with a view (original or copy) drawn from seed and epoch.

    So more copies cost no more time an epoch, and an epoch can be repeated without those before it.
    images: int64 (n,), the same number for the views of one image.
    """

    def __init__(
        self,
        source: InputSource,
        labels: npt.NDArray[np.int64],
        class_weights: npt.NDArray[np.float32],
        batch_size: int,
        images: npt.NDArray[np.int64],
        seed: int,
    ) -> None:
        super().__init__(source, labels, class_weights, batch_size)
        self._by_image = np.argsort(images, kind="stable")
        self._first = np.flatnonzero(np.diff(images[self._by_image], prepend=-1))
        self._views = np.diff(self._first, append=len(images))
        self._seed = seed
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Draw the order and the views of this epoch, 0-based."""
        draws = np.random.default_rng([self._seed, epoch])
        views = draws.integers(self._views)
        self.order = draws.permutation(self._by_image[self._first + views])
