"""The loss of the classes: cross-entropy, and how often malignant images are ranked below others."""

from __future__ import annotations

from typing import Any, Final

import keras

from skinlesion.data.labels.classes import LABELS

_MALIGNANT: Final = LABELS.index("malignant")
_SMALLEST: Final = 1e-6  # keeps the log-odds of a probability of 0 or 1 finite


class RankedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of each row, plus the ranking loss of its batch (`pairs_out_of_order`) times a weight."""

    def __init__(self, label_smoothing: float, ranking_weight: float) -> None:
        super().__init__(name="ranked_cross_entropy")
        self._label_smoothing = label_smoothing
        self._ranking_weight = ranking_weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each row, float32 (n,), of one-hot classes and probabilities, both (n, 3)."""
        entropy = keras.losses.categorical_crossentropy(y_true, y_pred, label_smoothing=self._label_smoothing)
        return entropy + self._ranking_weight * pairs_out_of_order(y_true, y_pred)


def pairs_out_of_order(y_true: Any, y_pred: Any) -> Any:
    """Return a smooth count of the pairs of a malignant image and another in which the other has the higher probability.

    It is the mean over all such pairs of a batch of log(1 + exp(z' - z)) with the log-odds of malignant, z of the malignant
    image and z' of the other. Minimising it maximises the area under the ROC curve (Gao and Zhou 2015, "On the consistency of
    AUC pairwise optimization"). A batch without a pair has 0.

    Args:
        y_true: one-hot classes, (n, 3).
        y_pred: probabilities, (n, 3).
    """
    probability = keras.ops.clip(y_pred[:, _MALIGNANT], _SMALLEST, 1 - _SMALLEST)
    log_odds = keras.ops.log(probability) - keras.ops.log(1 - probability)
    malignant = y_true[:, _MALIGNANT]
    is_pair = malignant[:, None] * (1 - malignant)[None, :]
    out_of_order = keras.ops.softplus(log_odds[None, :] - log_odds[:, None])
    return keras.ops.sum(is_pair * out_of_order) / keras.ops.maximum(keras.ops.sum(is_pair), 1)
