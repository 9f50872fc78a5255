"""The gate's settings of a run that are looser than they may be without a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from skinlesion.foundation.record import RecordPart
from skinlesion.promotion.change_plan.plan import ChangePlan, shown
from skinlesion.promotion.settings import PromotionSettings

LOOSER_BELOW: Final = ("_min_", "confidence", "require")
"""Parts of the names of settings that let more through the smaller they are."""

LOOSER_ABOVE: Final = ("_max_", "margin", "error_budget")
"""Parts of the names of settings that let more through the larger they are."""


class Loosened(RecordPart):
    """A setting of the gate that is looser than it may be.

    Attributes:
        name, title: of the setting.
        found: its value in this run.
        bound: the loosest value that needs no person.
        against: where the bound stands, in words.
    """

    name: str
    title: str
    found: JsonValue
    bound: JsonValue
    against: str

    @property
    def sentence(self) -> str:
        """What was loosened, from what, and by how much."""
        by = ""
        if not any(isinstance(one, bool | str) or one is None for one in (self.found, self.bound)):
            by = f" (by {abs(self.found - self.bound):g})"  # type: ignore[operator]
        return f"{self.name} is {shown(self.found)} instead of {shown(self.bound)}{by} against {self.against}"


def gate_settings(config: PromotionSettings) -> dict[str, JsonValue]:
    """Return the gate's settings by name."""
    return {name: getattr(config, name) for name in PromotionSettings.own_fields() if name.startswith("gate_")}


def bounds_in_force(plan: ChangePlan | None) -> dict[str, JsonValue]:
    """Return the loosest value of each of the gate's settings that needs no person.

    It is the plan's or, where that states none or is damaged (None), the installation's own setting.
    """
    return gate_settings(PromotionSettings.of({})) | (dict(plan.gate) if plan is not None else {})


def loosened(
    gate: Mapping[str, JsonValue], plan: ChangePlan | None, accepted: Mapping[str, JsonValue]
) -> tuple[Loosened, ...]:
    """Return the gate's settings that are looser than the bounds in force or, without a bound in the plan, than the last ones.

    Args:
        gate: the settings of the gate that a version was judged by.
        plan: the plan; None for a damaged one.
        accepted: the bounds under which the last promotion was decided, by name; empty if they are not known.
    """
    stated = plan.gate if plan is not None else {}
    found = []
    for name, bound in bounds_in_force(plan).items():
        against = "the plan" if name in stated else "the plan (the installation's setting)"
        before = bound if name in stated else accepted.get(name, bound)
        value = gate.get(name, bound)
        for loosest, where in ((bound, against), (before, "the bound at the last promotion")):
            if _is_looser(name, value, loosest):
                title = str(PromotionSettings.model_fields[name].title)
                found.append(Loosened(name=name, title=title, found=value, bound=loosest, against=where))
                break
    return tuple(found)


def _is_looser(name: str, value: JsonValue, bound: JsonValue) -> bool:
    """Return whether a value lets more through than its bound; any other value does of a setting of no known direction."""
    if isinstance(value, int | float) and isinstance(bound, int | float):
        if any(part in name for part in LOOSER_BELOW):
            return value < bound
        if any(part in name for part in LOOSER_ABOVE):
            return value > bound
    return value != bound
