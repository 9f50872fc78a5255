"""The settings of evaluation."""

from __future__ import annotations

from skinlesion.foundation.settings import RunSettings, setting


class EvaluationSettings(RunSettings):
    """What evaluation measures beyond the figures that it always gives."""

    section = "Evaluation"

    robustness_lesions: int = setting(
        300,
        "Robustness: lesions",
        "Number of held-out lesions, one image each, on which evaluate also measures how rotation, light, blur, JPEG quality "
        "and scale change the figures. It scores each of these images 17 more times. 0: not measured.",
        ge=0,
        le=10_000,
    )
