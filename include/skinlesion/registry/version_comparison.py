"""Two versions beside each other, as the command line and the page show them. It loads no pandas."""

from __future__ import annotations

import re

from pydantic import JsonValue

from skinlesion.foundation.record import RecordPart
from skinlesion.foundation.settings import value_text
from skinlesion.registry.figure import Figure
from skinlesion.registry.metrics_record import LeftOut, PairedFigure, compared_figure
from skinlesion.registry.snapshot import Version


class ComparedFigure(RecordPart):
    """A figure of two versions on the same images.

    Attributes:
        name, title: as in `versions.FIGURES`.
        paired: the second version minus the first; None if it cannot be computed.
    """

    name: str
    title: str
    first: Figure
    second: Figure
    paired: PairedFigure | None

    @property
    def difference(self) -> tuple[str, str]:
        """The second version minus the first with its interval, and what it says, as text; empty where it cannot be told."""
        difference, says = compared_figure(self.second, self.first, self.paired)
        return difference.signed if difference.value is not None or difference.has_too_few else "", says


class ComparedFigures(RecordPart):
    """The headline of two versions on their common held-out images.

    Attributes:
        images, lesions: number of those images and of their lesions.
        left_out: further images in common, whose lesions one of the versions learnt.
        relabelled: number of those images whose class was another when the version measured first was measured. The class
            that holds for both is that of the later measurement.
        unpaired_because: why there are no differences; empty if there are. The figures are then the recorded ones.
    """

    images: int
    lesions: int
    left_out: LeftOut
    relabelled: int
    unpaired_because: str
    figures: tuple[ComparedFigure, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what the figures do not cover, none where they cover everything."""
        said = [self.left_out.sentence] if self.left_out.images else []
        if self.unpaired_because:
            said.append(f"No differences: {self.unpaired_because}")
        if self.relabelled:
            changed = f"{self.relabelled} of these images got another class between the evaluations of the two versions"
            said.append(f"{changed}; both are measured by the later class.")
        return tuple(said)


class Differing(RecordPart):
    """Something in which two versions differ. first, second: the values; None for a version that has none."""

    name: str
    first: JsonValue
    second: JsonValue

    @property
    def values(self) -> tuple[str, str]:
        """Both values as text; of a hash its beginning, which is enough to tell two apart."""
        return _as_text(self.first), _as_text(self.second)


class VersionComparison(RecordPart):
    """Two versions beside each other.

    Attributes:
        held_out: their figures.
        settings, data, origin: what differs in the settings, in the training and held-out images, and in the weights that
            training began with, the code and the packages.
    """

    first: Version
    second: Version
    held_out: ComparedFigures
    settings: tuple[Differing, ...]
    data: tuple[Differing, ...]
    origin: tuple[Differing, ...]

    @property
    def parts(self) -> tuple[tuple[str, tuple[Differing, ...]], ...]:
        """What differs by part, each with its title."""
        return ("settings", self.settings), ("data", self.data), ("made from", self.origin)


def _as_text(value: JsonValue) -> str:
    is_hash = isinstance(value, str) and re.fullmatch("[0-9a-f]{16,64}", value)
    return str(value)[:12] if is_hash else value_text(value)
