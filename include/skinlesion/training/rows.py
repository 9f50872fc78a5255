"""The rows a network is fed with: inputs by position, labels, weights; and the order in which an epoch takes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt

from skinlesion.data.images.orientation import oriented
from skinlesion.data.training_view import ViewFile
from skinlesion.network.feature_store import StoredActivations

Inputs = npt.NDArray[np.float32]


class InputSource(Protocol):
    """Gives inputs by position: stored activations, pooled vectors in memory, or images from files."""

    def __len__(self) -> int: ...

    @property
    def ways(self) -> int:
        """In so many ways (see `skinlesion.data.images.orientation`) each picture is there."""
        ...

    def take(self, positions: npt.NDArray[np.int64], ways: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Give the inputs at these positions, (len(positions), ...), each laid in its way."""
        ...


@dataclass(frozen=True)
class StoredViews:
    """Activations as embed stores them: a row holds those of all ways to lay one picture, (ways, ...)."""

    stored: StoredActivations

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def ways(self) -> int:
        """As many as were stored."""
        return self.stored.shape[0]

    def take(self, positions: npt.NDArray[np.int64], ways: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Give the activations at these positions, float16."""
        return self.stored.take_items(positions, ways)


@dataclass(frozen=True)
class ArraySource:
    """Inputs in memory, (n, ...), in one way."""

    array: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.array)

    @property
    def ways(self) -> int:
        """One."""
        return 1

    def take(self, positions: npt.NDArray[np.int64], ways: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Give the inputs at these positions."""
        return self.array[positions]


@dataclass(frozen=True)
class ImageSource:
    """Images of the training view, RGB (n, 224, 224, 3), read when asked for."""

    files: Sequence[ViewFile]
    ways: int

    def __len__(self) -> int:
        return len(self.files)

    def take(self, positions: npt.NDArray[np.int64], ways: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Give the images at these positions, uint8."""
        return np.stack([oriented(self.files[at].read(), way) for at, way in zip(positions, ways, strict=True)])


@dataclass(frozen=True)
class SubsetSource:
    """Some rows of another source."""

    source: InputSource
    positions: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def ways(self) -> int:
        """As of the other source."""
        return self.source.ways

    def take(self, positions: npt.NDArray[np.int64], ways: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Give the inputs at these positions of the subset."""
        return self.source.take(self.positions[positions], ways)


@dataclass(frozen=True)
class Targets:
    """What one output of a network should say: class numbers int64 (n,), and each class's weight in the loss, float32."""

    numbers: npt.NDArray[np.int64]
    class_weights: npt.NDArray[np.float32]

    def __getitem__(self, positions: npt.NDArray[Any]) -> Targets:
        return Targets(self.numbers[positions], self.class_weights)

    def one_hot(self) -> Inputs:
        """Give them as float32 (n, classes)."""
        return np.eye(len(self.class_weights), dtype=np.float32)[self.numbers]

    def weights(self) -> Inputs:
        """Give each row's weight, float32 (n,)."""
        return self.class_weights[self.numbers]


class Batches(keras.utils.PyDataset):
    """Batches of rows in a fixed order, each picture as it is: inputs float32 (b, ...), one-hot targets (b, classes), weights (b,).

    With several targets, one an output, the second and the third are tuples.
    """

    def __init__(self, source: InputSource, targets: Sequence[Targets], batch_size: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.source = source
        self.targets = targets
        self.rows_a_batch = batch_size
        self.order = np.arange(len(targets[0].numbers), dtype=np.int64)
        self.ways = np.zeros(len(self.order), dtype=np.int64)

    def __len__(self) -> int:
        return math.ceil(len(self.order) / self.rows_a_batch)

    def __getitem__(self, index: int) -> tuple[Inputs, Any, Any]:
        batch = slice(index * self.rows_a_batch, (index + 1) * self.rows_a_batch)
        positions = self.order[batch]
        targets = [target[positions] for target in self.targets]
        one_hot, weights = tuple(t.one_hot() for t in targets), tuple(t.weights() for t in targets)
        inputs = self.source.take(positions, self.ways[batch]).astype(np.float32)
        return (inputs, one_hot, weights) if len(targets) > 1 else (inputs, one_hot[0], weights[0])


class OneViewAnEpoch(Batches):
    """Each epoch passes once over the images, in an order and with a view (original or copy, laid in one of the source's
    ways) drawn from seed and epoch.

    So more views cost no more time an epoch, and an epoch can be repeated without those before it.
    images: int64 (n,), the same number for the views of one image. replayed: of the images that are not `new`, bool (n,),
    so many are drawn in each epoch; without it, all.
    """

    def __init__(
        self,
        source: InputSource,
        targets: Sequence[Targets],
        batch_size: int,
        images: npt.NDArray[np.int64],
        seed: int,
        new: npt.NDArray[np.bool_] | None = None,
        replayed: int | None = None,
    ) -> None:
        super().__init__(source, targets, batch_size)
        self._by_image = np.argsort(images, kind="stable")
        self._first = np.flatnonzero(np.diff(images[self._by_image], prepend=-1))
        self._views = np.diff(self._first, append=len(images))
        is_new = np.ones(len(images), dtype=np.bool_) if new is None or replayed is None else new
        of_image = is_new[self._by_image[self._first]]
        self._always, self._replayable = np.flatnonzero(of_image), np.flatnonzero(~of_image)
        self._replayed = min(replayed or 0, len(self._replayable))
        self._seed = seed
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Draw the order and the views of this epoch, 0-based."""
        draws = np.random.default_rng([self._seed, epoch])
        views = self._first + draws.integers(self._views)
        taken = self._always
        if self._replayed:
            taken = np.concatenate([taken, draws.choice(self._replayable, self._replayed, replace=False)])
        self.order = draws.permutation(self._by_image[views[taken]])
        self.ways = draws.integers(self.source.ways, size=len(self.order))
