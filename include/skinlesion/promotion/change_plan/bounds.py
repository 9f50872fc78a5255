"""The gate's settings of a run that are looser than they may be without a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import JsonValue

from skinlesion.foundation.record import RecordPart
from skinlesion.promotion.change_plan.plan import ChangePlan, shown
from skinlesion.promotion.settings import PromotionSettings

LOOSER_BELOW: Final = ("_min_", "confidence", "require")
"""Parts of the names of settings that let more through the smaller they are."""

LOOSER_ABOVE: Final = ("_max_", "margin")
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


def loosened(
    config: PromotionSettings, plan: ChangePlan | None, accepted: Mapping[str, JsonValue]
) -> tuple[Loosened, ...]:
    """Return the gate's settings that are looser than the plan's bounds, or than those of the last promotion.

    Args:
        config: settings of this run.
        plan: the plan; None for a damaged one, where the installation's own settings are the bounds.
        accepted: the gate's settings under which the last promotion was decided, by name; empty if they are not known.
    """
    stated = plan.gate if plan is not None else {}
    installation = gate_settings(PromotionSettings.of({}))
    found: dict[str, Loosened] = {}
    for name, bound, against in (
        *((name, stated[name], "the plan") for name in stated),
        *((name, bound, "the plan (the installation's setting)") for name, bound in installation.items()
          if name not in stated),
        *((name, bound, "the last promotion") for name, bound in accepted.items()),
    ):  # fmt: skip
        value = getattr(config, name, None)
        if name in installation and name not in found and _is_looser(name, value, bound):
            title = str(PromotionSettings.model_fields[name].title)
            found[name] = Loosened(name=name, title=title, found=value, bound=bound, against=against)
    return tuple(found.values())


def bounds_in_force(plan: ChangePlan) -> Iterator[tuple[str, str, JsonValue, bool]]:
    """Yield name, title and loosest bound of each of the gate's settings, and whether the plan itself states it."""
    for name, installed in gate_settings(PromotionSettings.of({})).items():
        title = str(PromotionSettings.model_fields[name].title)
        yield name, title, plan.gate.get(name, installed), name in plan.gate


def _is_looser(name: str, value: JsonValue, bound: JsonValue) -> bool:
    """Return whether a value lets more through than its bound; any other value does of a setting of no known direction."""
    if isinstance(value, int | float) and isinstance(bound, int | float):
        if any(part in name for part in LOOSER_BELOW):
            return value < bound
        if any(part in name for part in LOOSER_ABOVE):
            return value > bound
    return value != bound
