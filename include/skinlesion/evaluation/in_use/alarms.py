"""When people are told: a difference that is sure, that matters, and that stays.

A signal is beyond its bound in a week if its whole 99 % interval is. There is an alarm where it is so, to the same side, in
`monitor_weeks` weeks in a row that have `monitor_cases` cases; or where the whole 99.9 % interval of the last four to eight
weeks together is, which finds what is small and stays. How rarely it fires without a cause: `python -m benchmarks.in_use alarms`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from skinlesion.evaluation.in_use.record import PERFORMANCE, SIGNALS, Alarm, Effect, Week
from skinlesion.evaluation.in_use.settings import MonitorSettings
from skinlesion.foundation.wording import counted
from skinlesion.registry.figure import Figure

TOGETHER: Final = 8
"""Weeks that are taken together."""

FEWEST_TOGETHER: Final = 4
"""Weeks that there must be to take them together."""

LEVEL_TOGETHER: Final = 0.999

_PICTURES: Final = (
    "Look at where the pictures come from: another camera, dermatoscope, light, export or clinic? Until it is known, trust answers "
    "and estimates less. If the pictures stay so, collect such pictures with diagnoses and retrain."
)
_MIXTURE: Final = (
    "Ask whether other patients or lesions are sent than before. If so, the answers may be as good as they were, but of those called "
    "malignant another share is. Compare the estimate with the diagnoses that have come in."
)
_NO_ANSWER: Final = (
    "Look at pictures without an answer: do they show no lesion, or come from another camera? The reasons of the answers say whether "
    "they were unlike the training images or not sure enough."
)
_LOSS: Final = (
    "Bring diagnoses of these weeks in (`skinlesion diagnoses TABLE`) and compare. If the loss is measured as well, go back to an "
    "earlier version (`skinlesion models rollback`) or retrain with such pictures."
)
REMEDIES: Final = {
    "p_malignant": _MIXTURE,
    "called_malignant": _MIXTURE,
    "no_answer": _NO_ANSWER,
    **dict.fromkeys(PERFORMANCE, _LOSS),
}
"""What a person does, by signal; of the others it is `_PICTURES`."""


class Judged(NamedTuple):
    """A week as the rules see it. together: the effects of this week and the seven before, at 99.9 %."""

    week: Week
    together: Mapping[str, Effect]


def alarms_at(weeks: Sequence[Judged], reference: Mapping[str, Figure], settings: MonitorSettings) -> list[Alarm]:
    """Return the alarms at the end of the last of these weeks, oldest first, all of them over. reference: of its version."""
    if not weeks or weeks[-1].week.cases < settings.monitor_cases:
        return []
    last = weeks[-1]
    recent = [one.week for one in weeks[-settings.monitor_weeks :]]
    is_enough = len(recent) == settings.monitor_weeks and all(week.cases >= settings.monitor_cases for week in recent)
    found = []
    for signal in SIGNALS:
        in_a_row = [_side(week.effects.get(signal), settings.monitor_effect) for week in recent]
        together = last.together.get(signal) if len(weeks) >= FEWEST_TOGETHER else None
        if is_enough and in_a_row[0] and len(set(in_a_row)) == 1:
            effect = last.week.effects[signal]
            when, level = f"in {_weeks(len(recent))}, the last of which began on {last.week.monday}", "99 %"
            found.append(_alarm(signal, in_a_row[0], last.week, _says(signal, effect, in_a_row[0], when, level)))
        elif together is not None and (side := _side(together, settings.monitor_effect)):
            when = f"in the {min(TOGETHER, len(weeks))} weeks up to that of {last.week.monday} together"
            found.append(_alarm(signal, side, last.week, _says(signal, together, side, when, "99.9 %")))
    return [*found, *_losses(recent, reference, settings, is_enough=is_enough)]


def _losses(
    recent: Sequence[Week], reference: Mapping[str, Figure], settings: MonitorSettings, *, is_enough: bool
) -> Iterator[Alarm]:
    for name, title in PERFORMANCE.items():
        held_out = reference.get(name, Figure()).value
        if held_out is None:
            continue
        bound, last = held_out - settings.monitor_drop, recent[-1]
        measured = last.measured.get(name, Figure())
        estimates = [week.estimated.get(name, Figure()).high for week in recent]
        if measured.is_shown and measured.high is not None and measured.high < bound:
            found, how = measured, f"measured on {counted(last.diagnosed, 'image')} with a diagnosis"
        elif is_enough and all(high is not None and high < bound for high in estimates):
            found, how = last.estimated[name], f"estimated without labels in {_weeks(len(recent))}"
        else:
            continue
        yield _alarm(
            name,
            "below",
            last,
            f"{title}, {how}, is {found.text} in the week of {last.monday}; on the held-out images it was {held_out:.3f}.",
        )


def _side(effect: Effect | None, bound: float) -> str:
    if effect is None:
        return ""
    return "above" if effect.low > bound else "below" if effect.high < -bound else ""


def _says(signal: str, effect: Effect, side: str, when: str, level: str) -> str:
    near, far = sorted((abs(effect.low), abs(effect.high)))
    return (
        f"{SIGNALS[signal]} lies {abs(effect.value):.2f} standard deviations ({level} interval {near:.2f} to {far:.2f}) {side} the "
        f"held-out images {when}."
    )


def _alarm(signal: str, side: str, week: Week, sentence: str) -> Alarm:
    return Alarm(
        signal=signal,
        side=side,
        monday=week.monday,
        since=week.monday,
        sentence=sentence,
        remedy=REMEDIES.get(signal, _PICTURES),
    )


def _weeks(count: int) -> str:
    return "one week" if count == 1 else f"{count} weeks in a row"
