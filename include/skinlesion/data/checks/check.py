"""One check of the data: how its figure is judged, and the finding that results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pandas as pd

from skinlesion.data.checks.settings import CheckSettings
from skinlesion.data.finding import Finding, Row, Verdict
from skinlesion.foundation.wording import counted

OFF: Final = 1.0
"""The bound that switches a check off: no share and no distance is larger."""


@dataclass(frozen=True)
class Check:
    """A check.

    Attributes:
        name: of the setting that is its bound, or that switches it on.
        title: what is looked at.
        compares: whether it compares with the accepted catalog.
    """

    config: CheckSettings
    name: str
    title: str
    compares: bool = True

    @property
    def bound(self) -> float:
        """The largest figure that passes; 0 for a setting that only switches the check on."""
        bound: float = getattr(self.config, self.name)
        return 0 if isinstance(bound, bool) else bound

    def not_judged(self, why: str) -> Finding:
        """Return the finding of a figure that is not judged."""
        return Finding(self.name, self.title, None, self.bound, "not judged", why)

    def unless_judged(self, images: int) -> Finding | None:
        """Return the finding where the check is switched off or has too few images; None where it is to be judged."""
        bound = getattr(self.config, self.name)
        if bound is False or (bound is not True and bound >= OFF):
            return self.not_judged("the check is switched off.")
        if images < self.config.min_images_checked:
            return self.not_judged(
                f"{counted(images, 'image')}; fewer than {self.config.min_images_checked} are not judged."
            )
        return None

    def finding(
        self,
        figure: float,
        found: str,
        remedy: str,
        rows: pd.DataFrame | None = None,
        why: pd.Series | None = None,
        *,
        passed: bool | None = None,
        bound: float | None = None,
    ) -> Finding:
        """Return the finding on a figure.

        Args:
            figure: the figure.
            found: a sentence with it.
            remedy: what to do where it does not pass.
            rows: the images concerned; columns image, file.
            why: the reason of each of these rows.
            passed: whether it passes; by default a figure that is not above the bound does.
            bound: another bound than the setting's.
        """
        bound = self.bound if bound is None else bound
        passed = figure <= bound if passed is None else passed
        verdict: Verdict = "passed" if passed else "accepted" if self.config.accept_data_changes else "failed"
        named: tuple[Row, ...] = ()
        if rows is not None and why is not None:
            named = tuple(map(Row, rows["image"], rows["file"], why.astype("str")))
        return Finding(self.name, self.title, figure, bound, verdict, found, remedy, named, self.compares)

    def of_share(self, rows: pd.DataFrame, why: pd.Series, total: int, found: str, remedy: str) -> Finding:
        """Return the finding on the share of rows that count against it, of so many. found: what they are, after their number."""
        if unjudged := self.unless_judged(total):
            return unjudged
        share = len(rows) / total
        sentence = f"{len(rows):,} of {total:,} {found} ({share:.1%}); at most {self.bound:.1%} may be."
        return self.finding(share, sentence, f"{remedy}, or raise {self.name}.", rows, why)
