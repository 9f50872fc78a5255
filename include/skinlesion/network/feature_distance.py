"""How unlike the training images a picture is: a Mahalanobis distance of what an early and a late layer see.

For each channel of a layer its mean over the picture and the logarithm of its deviation; of these vectors the distance to
the training images' mean under their covariance, shrunk (Ledoit & Wolf, J. Multivar. Anal. 88:365, 2004), as in Lee et al.,
"A simple unified framework for detecting out-of-distribution samples", NeurIPS 2018. The larger of the two layers' distances
counts. The early layer sees noise, blank fields, drawings and wrong colours, the late one scenes and textures of skin's
colour. docs/experiments.md has what was compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import cv2
import numpy as np
import numpy.typing as npt

from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError

if TYPE_CHECKING:
    import keras

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

LAYERS: Final = {"Conv1_relu": 32, "block_12_add": 96}
"""Names and channels. Layers between them see sharpness before all: they would flag the same lesions photographed at
another resolution."""

SOFTENED: Final = 0.01
"""Added to a deviation before its logarithm: a channel that is off is like one that is nearly off."""

SMALLEST_SPREAD: Final = 1e-3
"""A feature that is the same in all training images counts as having this deviation."""

RIDGE: Final = 1e-4
"""Added to the variance of each feature, whose own is 1: pictures that are all alike have none."""

SCALE_QUANTILE: Final = 0.95
"""This quantile of unseen images' distances is 1 on each layer's scale."""


@dataclass(frozen=True)
class FeatureDistance:
    """For each of `LAYERS` the training images' mean, float32 (d,), and what makes their distance: float32 (d, d).

    The distance of a vector x is the length of (x - mean) @ whitening.
    """

    means: tuple[Array, ...]
    whitenings: tuple[Array, ...]

    @classmethod
    def fit(cls, originals: Array, shifted: Array, unseen: Array) -> Self:
        """Give the distance to training images.

        originals: features (n, d) of the images as they are. shifted: (m, d), of `other_camera`'s pictures of them, which are
        as good training images. unseen: (k, d), of images that are not among them, since these lie further out; their
        95 % quantile is 1 on each layer's scale.
        """
        from sklearn.covariance import LedoitWolf

        means, whitenings = [], []
        known = np.concatenate([originals, shifted]).astype(np.float64)
        for vectors, others in zip(_by_layer(known), _by_layer(unseen), strict=True):
            mean = vectors.mean(axis=0)
            spread = np.maximum(vectors.std(axis=0), SMALLEST_SPREAD)
            covariance = LedoitWolf(assume_centered=True).fit((vectors - mean) / spread).covariance_
            precision = np.linalg.inv(covariance + RIDGE * np.eye(len(mean)))
            whitening = np.linalg.cholesky(precision) / spread[:, np.newaxis]
            lengths = np.linalg.norm((others - mean) @ whitening, axis=1)
            means.append(mean.astype(np.float32))
            scale = max(1.0, float(np.quantile(lengths, SCALE_QUANTILE)))
            whitenings.append((whitening / scale).astype(np.float32))
        return cls(tuple(means), tuple(whitenings))

    def __call__(self, features: Array) -> Floats:
        """Give the distance of each vector, features (n, d), float64 (n,)."""
        layers = zip(_by_layer(features), self.means, self.whitenings, strict=True)
        lengths = [np.linalg.norm((vectors - mean) @ whitening, axis=1) for vectors, mean, whitening in layers]
        return np.asarray(np.max(lengths, axis=0))

    def write(self, path: Path) -> None:
        """Write it as an .npz file, whole or not at all."""
        arrays = {f"mean_{index}": mean for index, mean in enumerate(self.means)}
        arrays |= {f"whitening_{index}": whitening for index, whitening in enumerate(self.whitenings)}
        with atomic.replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Give what `write` wrote. Raises DataError when it is missing or damaged."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                means = tuple(arrays[f"mean_{index}"] for index in range(len(LAYERS)))
                whitenings = tuple(arrays[f"whitening_{index}"] for index in range(len(LAYERS)))
        except Exception as error:  # a zip file, an array or a key: each has its own
            raise DataError(
                f"{path} cannot be read ({error}): expected what the decision rule beside it computes distances with. "
                "If the pipeline wrote it, train again with `force`."
            ) from None
        return cls(means, whitenings)


def other_camera(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Give the picture in another light, white balance and sharpness: what must not count as unlike the training images."""
    lit = image * (rng.uniform(0.75, 1.25) * rng.uniform(0.93, 1.07, 3))
    blurred = cv2.GaussianBlur(lit, (0, 0), rng.uniform(0.3, 1.5))
    # Above 1 the difference to the blurred picture is exaggerated: sharper.
    return np.clip(blurred + rng.uniform(0, 2) * (lit - blurred), 0, 255).astype(np.uint8)


def with_features(model: keras.Model) -> keras.Model:
    """Give the classifier with a second output, the features (n, d) that distances are made from."""
    import keras

    return keras.Model(model.inputs[0], [model.outputs[0], keras.ops.concatenate(_features(model), axis=1)])


def with_distance(model: keras.Model, distance: FeatureDistance) -> keras.Model:
    """Give the classifier with a second output, the distance (n, 1). Raises DataError when it is for another network."""
    import keras

    ops = keras.ops
    features = _features(model)
    expected, found = [mean.shape for mean in distance.means], [feature.shape[1:] for feature in features]
    if expected != found:
        raise DataError(f"The decision rule's distances are for features of {expected}, the model has {found}.")
    lengths = [
        ops.sqrt(ops.sum(ops.square(ops.matmul(feature - mean, whitening)), axis=1, keepdims=True))
        for feature, mean, whitening in zip(features, distance.means, distance.whitenings, strict=True)
    ]
    return keras.Model(
        model.inputs[0], [model.outputs[0], ops.max(ops.concatenate(lengths, axis=1), axis=1, keepdims=True)]
    )


def _features(model: keras.Model) -> list[Any]:
    import keras

    ops = keras.ops
    features = []
    for name in LAYERS:
        try:
            seen = model.get_layer(name).output
        except ValueError:
            raise DataError(
                f"The model has no layer {name}: the decision rule beside it is not for this network. Remove the rule to "
                "predict without it."
            ) from None
        mean = ops.mean(seen, axis=(1, 2), keepdims=True)
        deviation = ops.sqrt(ops.mean(ops.square(seen - mean), axis=(1, 2)))
        features.append(ops.concatenate([mean[:, 0, 0, :], ops.log(deviation + SOFTENED)], axis=1))
    return features


def _by_layer(features: Array) -> list[Array]:
    """Give each layer's part of feature vectors (n, d): a mean and a deviation for each channel."""
    return np.split(features, np.cumsum([2 * channels for channels in LAYERS.values()])[:-1], axis=1)
