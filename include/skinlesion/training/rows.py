"""What a network is trained on: inputs by position, targets and weights, and the order in which an epoch takes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from skinlesion.data.images.orientation import oriented
from skinlesion.data.training_view import ViewFile

Inputs = npt.NDArray[np.float32]

REPLAYED: Final = 2048
"""Number of images known to the champion that each epoch of a warm start draws, so that it does not forget them."""


class InputSource(Protocol):
    """Inputs by position: activations from the store, pooled vectors in memory, or images from files."""

    @property
    def orientations(self) -> int:
        """Number of orientations (see `skinlesion.data.images.orientation`) in which each image can be taken."""
        ...

    def take(self, positions: npt.NDArray[np.int64], orientations: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return the inputs at these positions, (len(positions), ...), each in its one of the orientations."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """Inputs in memory, (n, ...), in one orientation."""

    array: npt.NDArray[Any]
    orientations: int = 1

    def take(self, positions: npt.NDArray[np.int64], orientations: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return the inputs at these positions."""
        return self.array[positions]


@dataclass(frozen=True)
class ImageSource:
    """Images of the training view, RGB uint8 (224, 224, 3), read when they are taken."""

    files: Sequence[ViewFile]
    orientations: int

    def take(self, positions: npt.NDArray[np.int64], orientations: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return the images at these positions, uint8 (len(positions), 224, 224, 3), each in its one of the orientations."""
        chosen = zip(positions, orientations, strict=True)
        return np.stack([oriented(self.files[position].read(), orientation) for position, orientation in chosen])


@dataclass(frozen=True)
class Targets:
    """The targets of one output of a network.

    Attributes:
        numbers: int64 (n,), the number of the class of each row.
        class_weights: float32 (classes,), the weight of each class in the loss.
    """

    numbers: npt.NDArray[np.int64]
    class_weights: npt.NDArray[np.float32]

    def __getitem__(self, positions: npt.NDArray[Any]) -> Targets:
        return Targets(self.numbers[positions], self.class_weights)

    def one_hot(self) -> Inputs:
        """Return the classes of the rows, one-hot, float32 (n, classes)."""
        return np.eye(len(self.class_weights), dtype=np.float32)[self.numbers]

    def weights(self) -> Inputs:
        """Return the weight of each row in the loss, float32 (n,)."""
        return self.class_weights[self.numbers]


class Batches:
    """Batches of rows in a fixed order, each image in its original orientation.

    A batch of b rows consists of inputs, float32 (b, ...), one-hot targets (b, classes) and weights (b,). If the network has
    several outputs, targets and weights are tuples with one entry an output.
    """

    def __init__(
        self, source: InputSource, targets: Sequence[Targets], positions: npt.NDArray[np.int64], batch_size: int
    ) -> None:
        """Take the rows at these positions of the source.

        Args:
            source: the inputs.
            targets: for each output the targets of all rows of the source.
            positions: the rows to take.
            batch_size: rows in a batch.
        """
        self.source = source
        self.targets = targets
        self.batch_size = batch_size
        self.order = positions
        self.orientations = np.zeros(len(positions), dtype=np.int64)

    def __len__(self) -> int:
        return math.ceil(len(self.order) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[Inputs, Any, Any]:
        batch = slice(index * self.batch_size, (index + 1) * self.batch_size)
        positions = self.order[batch]
        targets = [target[positions] for target in self.targets]
        one_hot, weights = tuple(t.one_hot() for t in targets), tuple(t.weights() for t in targets)
        inputs = self.source.take(positions, self.orientations[batch]).astype(np.float32)
        return (inputs, one_hot, weights) if len(targets) > 1 else (inputs, one_hot[0], weights[0])


class OneViewAnEpoch(Batches):
    """Batches in which each epoch takes one view of every image: the original or a copy, in one orientation.

    Order and views are drawn from seed and epoch. So more views do not make an epoch longer, and an epoch can be repeated
    without the epochs before it.
    """

    def __init__(
        self,
        source: InputSource,
        targets: Sequence[Targets],
        positions: npt.NDArray[np.int64],
        batch_size: int,
        images: npt.NDArray[np.int64],
        seed: int,
        new: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Take the rows at these positions of the source.

        Args:
            source: the inputs.
            targets: for each output the targets of all rows of the source.
            positions: int64 (n,), the rows to take.
            batch_size: rows in a batch.
            images: int64 (n,), the number of the image of which each of these rows is a view.
            seed: of the draws.
            new: bool (n,), the rows whose image every epoch takes; of the others each epoch draws `REPLAYED`. None takes all images.
        """
        super().__init__(source, targets, positions, batch_size)
        by_image = np.argsort(images, kind="stable")
        self._rows_by_image = positions[by_image]
        self._first = np.flatnonzero(np.diff(images[by_image], prepend=-1))
        self._views = np.diff(self._first, append=len(images))
        is_new_image = (np.ones(len(images), dtype=np.bool_) if new is None else new)[by_image[self._first]]
        self._always, self._replayable = np.flatnonzero(is_new_image), np.flatnonzero(~is_new_image)
        self._replayed = min(REPLAYED, len(self._replayable))
        self._seed = seed
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Draw the order and the views of this epoch, counted from 0."""
        draws = np.random.default_rng([self._seed, epoch])
        views = self._first + draws.integers(self._views)
        taken = self._always
        if self._replayed:
            taken = np.concatenate([taken, draws.choice(self._replayable, self._replayed, replace=False)])
        self.order = draws.permutation(self._rows_by_image[views[taken]])
        self.orientations = draws.integers(self.source.orientations, size=len(self.order))
