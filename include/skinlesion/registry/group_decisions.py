"""The decisions of a model for groups of held-out images, and the one account of the malignant ones.

The sentences here are the only ones: report, card, prediction page and API show them as they are.
"""

from __future__ import annotations

from typing import Final

from skinlesion.data.labels.classes import BENIGN, LABELS, MALIGNANT, UNKNOWN
from skinlesion.foundation.record import RecordPart
from skinlesion.foundation.wording import counted
from skinlesion.registry.figure import Figure

NO_ANSWER: Final = "no answer"
"""The decision where the rule withholds an answer; `unknown` is an answer: the diagnosis is indeterminate."""

DECISIONS: Final = {
    MALIGNANT: "Malignant",
    NO_ANSWER: "No answer",
    BENIGN: "Benign",
    UNKNOWN: "Unknown (indeterminate lesion)",
}
"""Every decision and how people read it, in the order of tables."""

PREVALENCES: Final = (0.01, 0.03, 0.10)
"""Shares of malignant lesions where such a tool would be used; in a collection of excised lesions it is far higher."""


class GroupDecisions(RecordPart):
    """What is said of a group of held-out images.

    Attributes:
        name: of the group: a class, or a diagnosis as the labels have it.
        label: the class of the group.
        images, lesions: how many there are.
        counts: number of images by decision, and in `at_threshold` of those whose probability of malignant reaches the threshold,
            answered or not.
        shares: the same as shares.
    """

    name: str
    label: str
    images: int
    lesions: int
    counts: dict[str, int]
    shares: dict[str, Figure]


class AtPrevalence(RecordPart):
    """How often a decision is right where another share of the lesions is malignant.

    Attributes:
        prevalence: that share.
        malignant: share of malignant lesions among the images that are called malignant.
        benign: share of malignant lesions among the images that are called benign.
    """

    prevalence: float
    malignant: Figure
    benign: Figure


class Account(RecordPart):
    """The one account of what becomes of malignant lesions.

    Attributes:
        classes: what is said of each class of diagnosis that is held out.
        threshold: the operating point.
        likeliest: share of the malignant images whose likeliest class is malignant; likeliest_count: their number.
        at_prevalence: of 100 so decided so many are malignant.
    """

    classes: tuple[GroupDecisions, ...]
    threshold: float
    likeliest: Figure
    likeliest_count: int
    at_prevalence: tuple[AtPrevalence, ...]

    @property
    def malignant(self) -> GroupDecisions | None:
        """What is said of the malignant images; None without any."""
        return next((one for one in self.classes if one.label == MALIGNANT), None)

    @property
    def sentence(self) -> str:
        """How the three shares of malignant images that people mix up differ."""
        group = self.malignant
        if group is None:
            return "No malignant lesion is held out, so nothing is known of how many are found."
        at, decided = group.shares["at_threshold"], group.shares[MALIGNANT]
        few = ""
        if decided.has_too_few:
            few = f" No share is given: {counted(group.lesions, 'lesion is', 'lesions are')} too few to judge one."
        return (
            f"Three counts of the same {counted(group.images, 'malignant image')} answer three questions. Malignant is the likeliest "
            f"of the {len(LABELS)} classes for {_counted(self.likeliest_count, self.likeliest)} (recall). Its probability reaches the "
            f"threshold of {self.threshold:.3f} for {_counted(group.counts['at_threshold'], at)} (sensitivity), whether or not the model "
            f"answers. People are told “malignant” for {_counted(group.counts[MALIGNANT], decided)} (decision): below the threshold it "
            f"is not said, and {counted(group.counts[NO_ANSWER], 'gets', 'get')} no answer.{few}"
        )

    def meaning(self, decision: str) -> str:
        """Return what a decision is worth, one sentence."""
        if decision in (MALIGNANT, BENIGN):
            first, *others = [(row.prevalence, getattr(row, decision)) for row in self.at_prevalence]
            if not first[1].is_shown:
                return f"Of 100 pictures that are called {decision}, how many are malignant: {first[1].number}."
            rest = "; ".join(f"{figure.of_100} where {_prevalence(share)} are" for share, figure in others)
            return (
                f"Of 100 pictures that are called {decision}, {first[1].of_100} are malignant where {_prevalence(first[0])} "
                f"lesions is malignant; {rest}."
            )
        group = self.malignant
        share = group.shares[decision].of_100 if group is not None else "not measured"
        says = "get no answer" if decision == NO_ANSWER else "are called unknown"
        return f"It does not mean benign. Of 100 pictures of malignant lesions so many {says}: {share}."


def _prevalence(share: float) -> str:
    return f"{100 * share:.0f} of 100"


def _counted(count: int, figure: Figure) -> str:
    return f"{count}, {figure.text}" if figure.is_shown else str(count)
