"""A candidate beside the model in service and beside the reference, on the same held-out lesions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from skinlesion.evaluation.paired import Decided, Difference, compare
from skinlesion.promotion.compared_models import Compared
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.looks import Looks, is_better, is_draw, level
from skinlesion.registry.verdict import Criterion, Look

Role = Literal["the model in service", "the reference"]

_BALANCED_ACCURACY: Final = "balanced accuracy"
_SENSITIVITY: Final = "sensitivity for malignant"


@dataclass(frozen=True)
class _Measure:
    """A figure in which a candidate must be no worse.

    name: of its line beside the model in service. in_reference: of that beside the reference. few: which lesions it may lack.
    """

    name: str
    in_reference: str
    what: str
    margin: float
    few: str

    def title(self, role: Role) -> str:
        return f"{self.what[0].upper()}{self.what[1:]} beside {role}"

    def line(self, role: Role) -> str:
        return self.name if role == "the model in service" else self.in_reference


def _measures(config: PromotionSettings) -> tuple[_Measure, _Measure]:
    return (
        _Measure(
            "balanced_accuracy_margin",
            "reference_balanced_accuracy",
            _BALANCED_ACCURACY,
            config.gate_balanced_accuracy_margin,
            "lesions of the rarest class",
        ),
        _Measure(
            "sensitivity_margin",
            "reference_sensitivity",
            _SENSITIVITY,
            config.gate_sensitivity_margin,
            "malignant lesions",
        ),
    )


@dataclass(frozen=True)
class OnLesions:
    """The held-out images that both models may be measured on, and a candidate's answers for them.

    Attributes:
        labels: (n,) int64. lesions: n names.
        decided: the candidate's answers.
        answers_of: returns those of another model.
    """

    labels: npt.NDArray[np.int64]
    lesions: list[str]
    decided: Decided
    answers_of: Callable[[Candidate], Decided]


def beside_others(
    config: PromotionSettings, number: int, on: OnLesions, champion: Compared, reference: Compared, looks: Looks
) -> tuple[list[Criterion], Look | None]:
    """Return the lines of a version beside the model in service and the reference, and the judgement beside the reference.

    looks: what the held-out lesions were asked before.
    """
    usual = 1 - config.gate_confidence
    allowed = usual if config.gate_error_budget >= 1 else min(usual, level(config.gate_error_budget, looks.draws))
    if champion.candidate is None:
        return [*_not_compared(config, "the model in service", champion, number)], None
    is_one = reference.number == champion.number
    found = _differences(config, on, champion.candidate, allowed if is_one else usual)
    lines = _lines("the model in service", champion, found, allowed if is_one else usual)
    if not is_one and reference.candidate is None:
        return [*lines, *_not_compared(config, "the reference", reference, number)], None
    if not is_one and reference.candidate is not None:
        found = _differences(config, on, reference.candidate, allowed)
        lines += _lines("the reference", reference, found, allowed)
    compared = [one for measure, one in found if one is not None and measure.margin < 1]
    if not compared or reference.number is None:
        return lines, None
    p_worse = max(one.p_worse for one in compared)
    look = Look(
        reference=reference.number,
        lesions=looks.lesions,
        confidence=1 - allowed,
        p_worse=p_worse,
        is_draw=is_draw(p_worse),
        is_better=is_better((one.p_no_better, one.difference) for one in compared),
    )
    return [*lines, _budget(looks, look)], look


def _differences(
    config: PromotionSettings, on: OnLesions, other: Candidate, allowed: float
) -> list[tuple[_Measure, Difference | None]]:
    accuracy, sensitivity = _measures(config)
    margins = min(accuracy.margin, 0.999), min(sensitivity.margin, 0.999)
    beside = on.answers_of(other)
    found = compare(on.labels, on.lesions, on.decided, beside, confidence=1 - allowed, margins=margins)
    return [(accuracy, found[0]), (sensitivity, found[1])]


def _lines(
    role: Role, other: Compared, found: list[tuple[_Measure, Difference | None]], allowed: float
) -> list[Criterion]:
    return [_not_worse(measure, role, one, other, allowed) for measure, one in found]


def _not_worse(measure: _Measure, role: Role, found: Difference | None, other: Compared, allowed: float) -> Criterion:
    name, title, margin = measure.line(role), measure.title(role), measure.margin
    if found is None:
        return Criterion(
            name=name,
            title=title,
            passed=margin >= 1,
            unjudged="not compared" if margin >= 1 else "too few to judge",
            bound=-margin,
            sentence=f"The {measure.what} cannot be compared: no malignant lesion is held out. Add labelled images.",
        )
    numbers: dict[str, JsonValue] = {
        "candidate": found.candidate,
        "champion" if role == "the model in service" else "reference": found.other,
        "difference": found.difference,
        "lower": found.lower,
        "lesions": found.lesions,
        "confidence": 1 - allowed,
        "margin": margin,
        "p_worse": found.p_worse,
    }
    passed = margin >= 1 or found.p_worse <= allowed
    is_open = not passed and found.difference >= -margin
    which = "" if role == "the model in service" else ", the reference,"
    measured = (
        f"The {measure.what} is {found.candidate:.3f}, version {other.number}{which} has {found.other:.3f}: a difference of "
        f"{found.difference:+.3f}, {in_percent(1 - allowed)} sure above {found.lower:+.3f}"
    )
    if passed:
        sentence = f"{measured}; no worse than {-margin:+.3f} is allowed."
    elif is_open:
        sentence = f"{measured}; it must be sure above {-margin:+.3f}. Too few {measure.few} to judge: {found.lesions} held out."
    else:
        sentence = f"{measured}; it must be above {-margin:+.3f}."
    return Criterion(
        name=name,
        title=title,
        passed=passed,
        unjudged="too few to judge" if is_open else None,
        found=found.lower,
        bound=-margin,
        sentence=sentence,
        numbers=numbers,
    )


def _not_compared(config: PromotionSettings, role: Role, other: Compared, number: int) -> Iterator[Criterion]:
    """Yield the lines of a comparison with nothing: they hold for a first model, not beside a broken one."""
    by_hand = f"`skinlesion models promote {number} --reason ...`"
    sentence = "No model is in service yet: the floors decide."
    if other.problem and role == "the reference":
        sentence = (
            f"{other.problem}: the candidate cannot be compared with the reference. Restore the files, make another version the "
            f"reference (`skinlesion models reference VERSION --reason ...`), or decide by hand: {by_hand}."
        )
    elif other.problem:
        sentence = f"{other.problem}: nothing can be compared. Roll back, or decide by hand: {by_hand}."
    for measure in _measures(config):
        yield Criterion(
            name=measure.line(role),
            title=measure.title(role),
            passed=not other.problem,
            unjudged="not compared",
            bound=-measure.margin,
            sentence=sentence,
        )


def _budget(before: Looks, look: Look) -> Criterion:
    after = Looks(before.lesions, before.judged + 1, before.draws + look.is_draw)
    return Criterion(
        name="error_budget",
        title="Judgements by these lesions",
        passed=True,
        sentence=f"{after.sentence} This judgement had to be {in_percent(look.confidence)} sure beside version {look.reference}, the "
        f"reference{', and drew on it' if look.is_draw else ''}.",
        numbers={"judged": after.judged, "draws": after.draws, "left": after.left},
    )


def in_percent(confidence: float) -> str:
    """Return a confidence with as many digits as tell it from certainty: `90%`, `99.97%`."""
    return f"{confidence:.{max(0, math.ceil(-math.log10(max(1 - confidence, 1e-12)) - 1e-9) - 1)}%}"
