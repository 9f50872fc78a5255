"""The names of the files that make a model, wherever it lies."""

from __future__ import annotations

from typing import Final

RULE_FILE: Final = "decision_rule.json"
DISTANCE_FILE: Final = "feature_distance.npz"
"""What distances are computed with; beside the rule, which names it."""
