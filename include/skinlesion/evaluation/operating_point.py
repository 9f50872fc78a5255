"""What the model does at the threshold for malignant that training chose."""

from __future__ import annotations

from typing import Final

from skinlesion.evaluation.scored_images import ScoredImages
from skinlesion.evaluation.shares import Share, finite
from skinlesion.registry.metrics_record import OperatingPoint

SHARES: Final = ("sensitivity", "specificity")


def operating_shares(scored: ScoredImages, threshold: float) -> dict[str, Share]:
    """Return sensitivity and specificity of `P(malignant) >= threshold`, malignant against the rest."""
    called, malignant = scored.scores >= threshold, scored.malignant
    return {
        "sensitivity": Share.of(called[malignant], scored.groups[malignant]),
        "specificity": Share.of(~called[~malignant], scored.groups[~malignant]),
    }


def operating_point(
    scored: ScoredImages, threshold: float, target: float, lesions: int | None = None
) -> OperatingPoint:
    """Return sensitivity and specificity at a threshold that was fixed beforehand.

    target: sensitivity that the threshold was chosen for. lesions: malignant ones that it was chosen on; None if nobody knows.
    """
    shares = operating_shares(scored, threshold)
    called, malignant = scored.scores >= threshold, scored.malignant
    return OperatingPoint(
        threshold=threshold,
        target_sensitivity=target,
        chosen_on_lesions=lesions,
        sensitivity=finite(shares["sensitivity"].point),
        specificity=finite(shares["specificity"].point),
        intervals={name: share.interval() if share.lesions > 1 else None for name, share in shares.items()},
        called_malignant=int(called.sum()),
        caught=int((called & malignant).sum()),
        missed=int((~called & malignant).sum()),
        prevalence=float(malignant.mean()),
    )
