"""A training that diverged: its network's outputs are no longer numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from skinlesion.foundation.errors import DataError


def require_numbers(*outputs: npt.NDArray[Any]) -> None:
    """Raise DataError unless every output of the network is a number."""
    if not all(np.isfinite(output).all() for output in outputs):
        raise DataError("Training diverged: the model's probabilities are not numbers. Lower `learning_rate`.")
