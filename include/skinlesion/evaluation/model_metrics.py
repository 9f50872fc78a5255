"""Everything that is measured of one model on the held-out images."""

from __future__ import annotations

from collections.abc import Sequence

from skinlesion.evaluation.calibration import calibration_before_and_after
from skinlesion.evaluation.decisions import abstained, decisions_summary
from skinlesion.evaluation.metrics import measure
from skinlesion.evaluation.operating_point import operating_point
from skinlesion.evaluation.risk_coverage import risk_coverage
from skinlesion.evaluation.scored_images import ScoredImages
from skinlesion.prediction.answers import Answers
from skinlesion.prediction.decision import DecisionRule
from skinlesion.registry.metrics_record import ModelFigures


def model_metrics(
    scored: ScoredImages, rule: DecisionRule, answers: Answers, diagnoses: Sequence[str] | None = None
) -> ModelFigures:
    """Return all figures of a model. answers: those of the model for the same images; diagnoses: of the images, where at hand."""
    reasons = abstained(rule, answers.probabilities, answers.known_distances)
    return ModelFigures(
        **dict(measure(scored, threshold=rule.malignant_threshold)),
        operating_point=operating_point(
            scored, rule.malignant_threshold, rule.target_sensitivity, rule.malignant_lesions
        ),
        calibration=calibration_before_and_after(scored, rule.temperature, rule.inner_fold),
        risk_coverage=risk_coverage(scored, rule.confidence(scored.probabilities)),
        decisions=decisions_summary(scored, answers.decisions, reasons, rule.malignant_threshold, diagnoses),
    )
