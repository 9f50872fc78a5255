"""How unlike the training images an image is: a Mahalanobis distance between the activations of two layers.

The features of a layer are the mean of each channel over the image and the logarithm of its standard deviation. Their
distance is that to the mean of the training images under their covariance, which is shrunk (Ledoit & Wolf, J. Multivar. Anal.
88:365, 2004), as in Lee et al., "A simple unified framework for detecting out-of-distribution samples", NeurIPS 2018. The
distance of an image is the larger one of an early and a late layer. The early layer recognises noise, blank fields, drawings
and wrong colours, the late layer recognises scenes and textures that have the colour of skin. docs/experiments.md compares
other choices.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import cv2
import numpy as np
import numpy.typing as npt

from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.regular_file import read_file

if TYPE_CHECKING:
    import keras

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

LARGEST_FILE: Final = 256_000_000
"""Bytes; a thousand times what the arrays of `LAYERS` take."""

LAYERS: Final = {"Conv1_relu": 32, "block_12_add": 96}
"""Names of the layers and their numbers of channels. The layers between these respond to sharpness above all: they would
flag the same lesions photographed at another resolution."""

SOFTENED: Final = 0.01
"""Added to a standard deviation before its logarithm, so that a channel without activation is close to one with little."""

SMALLEST_SPREAD: Final = 1e-3
"""Smallest standard deviation of a feature over the training images: a feature that is the same in all has this one."""

RIDGE: Final = 1e-4
"""Added to the variance of each standardised feature, so that the covariance of images that are all alike has an inverse."""

SCALE_QUANTILE: Final = 0.95
"""On the scale of each layer, this quantile of the distances of unseen images is 1."""


@dataclass(frozen=True)
class FeatureDistance:
    """The distance to the training images. That of a feature vector x of one layer is the length of (x - mean) @ whitening.

    Attributes:
        means: for each of `LAYERS` the mean of the training images, float32 (d,).
        whitenings: for each of `LAYERS` a square root of the inverse covariance, scaled, float32 (d, d).
    """

    means: tuple[Array, ...]
    whitenings: tuple[Array, ...]

    @classmethod
    def fit(cls, originals: Array, shifted: Array, unseen: Array) -> Self:
        """Return the distance to training images.

        Args:
            originals: features (n, d) of the training images.
            shifted: features (m, d) of the same images as another camera would show them (`other_camera`). They count as
                training images too.
            unseen: features (k, d) of images that are not among the training images, whose distances are larger. The scale
                of each layer is set such that `SCALE_QUANTILE` of these is 1.
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
        """Return the distance of each feature vector (n, d), a float64 array of shape (n,)."""
        layers = zip(_by_layer(features), self.means, self.whitenings, strict=True)
        lengths = [np.linalg.norm((vectors - mean) @ whitening, axis=1) for vectors, mean, whitening in layers]
        return np.asarray(np.max(lengths, axis=0))

    def write(self, path: Path) -> None:
        """Write the distance as an .npz file, whole or not at all."""
        arrays = {f"mean_{index}": mean for index, mean in enumerate(self.means)}
        arrays |= {f"whitening_{index}": whitening for index, whitening in enumerate(self.whitenings)}
        with atomic.replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the distance that `write` wrote. Raises DataError if the file is missing or damaged."""
        try:
            with np.load(io.BytesIO(read_file(path, most=LARGEST_FILE)), allow_pickle=False) as arrays:
                means = tuple(arrays[f"mean_{index}"] for index in range(len(LAYERS)))
                whitenings = tuple(arrays[f"whitening_{index}"] for index in range(len(LAYERS)))
        except Exception as error:  # NumPy raises errors of the zip file, of the array and of its name
            raise DataError(
                f"{path} cannot be read ({error}): expected the arrays with which the decision rule beside it computes "
                "distances. If the pipeline wrote the file, train again with `force`."
            ) from None
        return cls(means, whitenings)


def other_camera(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return the image in another light, white balance and sharpness, none of which makes it unlike the training images."""
    lit = image * (rng.uniform(0.75, 1.25) * rng.uniform(0.93, 1.07, 3))
    blurred = cv2.GaussianBlur(lit, (0, 0), rng.uniform(0.3, 1.5))
    # A factor above 1 sharpens (unsharp masking), a factor below 1 blurs.
    return np.clip(blurred + rng.uniform(0, 2) * (lit - blurred), 0, 255).astype(np.uint8)


def with_features(model: keras.Model) -> keras.Model:
    """Return the classifier with a second output, the features (n, d) of which distances are computed."""
    import keras

    return keras.Model(model.inputs[0], [model.outputs[0], keras.ops.concatenate(_features(model), axis=1)])


def with_distance(model: keras.Model, distance: FeatureDistance) -> keras.Model:
    """Return the classifier with a second output, the distance (n, 1). Raises DataError if it is for another network."""
    import keras

    ops = keras.ops
    features = _features(model)
    expected, found = [mean.shape for mean in distance.means], [feature.shape[1:] for feature in features]
    if expected != found:
        raise DataError(
            f"The distances of the decision rule are for features of the shapes {expected}; the model has {found}. Put the "
            "files of one candidate together."
        )
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
                f"The model has no layer {name}: the decision rule beside it is for another network. Put the files of one "
                "candidate together."
            ) from None
        mean = ops.mean(seen, axis=(1, 2), keepdims=True)
        deviation = ops.sqrt(ops.mean(ops.square(seen - mean), axis=(1, 2)))
        features.append(ops.concatenate([mean[:, 0, 0, :], ops.log(deviation + SOFTENED)], axis=1))
    return features


def _by_layer(features: Array) -> list[Array]:
    """Return the part of each layer in feature vectors (n, d): a mean and a deviation for each channel."""
    return np.split(features, np.cumsum([2 * channels for channels in LAYERS.values()])[:-1], axis=1)
