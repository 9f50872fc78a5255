"""A candidate in the shadow beside the version in service: where they agree, and what late diagnoses say where they do not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pandas as pd

from skinlesion.data.labels.classes import LABELS
from skinlesion.evaluation.in_use.monitor import LEARNT, groups_of, labels_of
from skinlesion.evaluation.in_use.record import Agreement, ShadowRecord
from skinlesion.evaluation.in_use.settings import MonitorSettings
from skinlesion.evaluation.shares import Share
from skinlesion.prediction.log import diagnoses
from skinlesion.prediction.log.reading import read_log

_READ: Final = ("at", "number", "decision", "learnt", "file", "picture", "case")


def compare_shadow(settings: MonitorSettings, known: Mapping[str, str], actinic_keratosis: str) -> ShadowRecord:
    """Return what candidates in the shadow said beside the answers; arguments and errors as of `monitor`."""
    folder, at = settings.log_folder(), datetime.now(UTC).isoformat(timespec="seconds")
    beside = read_log(folder, _READ, of_shadow=True)
    if beside.empty:
        return ShadowRecord(at=at, agreements=())
    answers = read_log(folder, _READ)
    label = labels_of(folder, answers, diagnoses.read(folder), known, actinic_keratosis)
    answers = answers.assign(group=groups_of(answers), label=label).set_index("id")
    beside = beside.set_index("beside")[["number", "decision", "learnt"]].add_prefix("shadow_")
    pairs = answers.join(beside, how="inner").sort_values("at")
    found = [
        _agreement(of_both, answers[answers["number"] == of_both["number"].iloc[0]])
        for _, of_both in pairs.groupby(["shadow_number", "number"], sort=False)
    ]
    return ShadowRecord(at=at, agreements=tuple(sorted(found, key=lambda one: (one.number, one.last))))


def _agreement(pairs: pd.DataFrame, answers: pd.DataFrame) -> Agreement:
    """Return the agreement on answers of one version beside which one candidate was asked; answers: all of that version."""
    first, last = int(pairs["at"].iloc[0]), int(pairs["at"].iloc[-1])
    of_that_time = int(answers["at"].between(first, last).sum())
    is_learnt = pairs[["learnt", "shadow_learnt"]].isin(LEARNT).any(axis=1)
    seen = pairs[~is_learnt]
    decided, beside = (seen[name].to_numpy(dtype=object) for name in ("decision", "shadow_decision"))
    true = np.array([*LABELS, ""], dtype=object)[seen["label"].to_numpy()]
    groups, differs = seen["group"].to_numpy(dtype=np.int64), decided != beside
    judged = differs & (true != "")
    counts = pd.crosstab(seen["decision"], seen["shadow_decision"])
    return Agreement(
        number=int(pairs["shadow_number"].iloc[0]),
        against=int(pairs["number"].iloc[0]),
        first=_day(first),
        last=_day(last),
        pictures=len(seen),
        cases=len(np.unique(groups)),
        not_asked=of_that_time - len(pairs),
        learnt=int(is_learnt.sum()),
        alike=Share.of(~differs, groups).figure,
        counts={str(one): {str(other): int(n) for other, n in row.items() if n} for one, row in counts.iterrows()},
        differ=int(differs.sum()),
        diagnosed=int(judged.sum()),
        right=Share.of((beside == true)[judged], groups[judged]).figure,
        right_in_service=Share.of((decided == true)[judged], groups[judged]).figure,
    )


def _day(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).date().isoformat()
